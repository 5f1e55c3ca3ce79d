"""HTTP face of the service about itself."""

from typing import Any

from flask import current_app

from circdesk.contract.problems import find_problem, registered_problems
from circdesk.contract.representations import Representation
from circdesk.contract.requests import NotFound
from circdesk.service.contract_bodies import CONTRACT_JSON, CONTRACT_YAML
from circdesk.service.index import index_body, problem_entry
from circdesk.service.probes import current_probes
from circdesk.visits import current_visit


def get_index() -> dict[str, Any]:
    """The way in: where everything is."""
    return index_body()


async def get_health() -> dict[str, Any]:
    """How the service is."""
    return await current_probes().health()


async def get_liveness() -> dict[str, str]:
    """The process lives."""
    return {"status": "alive"}


async def get_readiness() -> dict[str, Any]:
    """The service can do its work: all that it needs is there."""
    return await current_probes().readiness()


def get_rate_limit() -> tuple[dict[str, Any], int, dict[str, str]]:
    """The policies that apply to the caller, and what is left of them."""
    limits = current_app.extensions["circdesk.rate_limits"]
    return {"items": list(limits.describe(current_visit()))}, 200, {"Cache-Control": "no-store"}


def list_problems() -> dict[str, Any]:
    """Every problem that the service can answer."""
    return {"items": [problem_entry(problem) for problem in registered_problems()]}


def get_problem(*, code: str) -> dict[str, Any]:
    """One problem, explained."""
    problem = find_problem(code)
    if problem is None:
        raise NotFound(f"No problem has the code {code!r}.")
    return problem_entry(problem)


def get_openapi_json() -> Representation:
    """The contract as JSON."""
    representation: Representation = current_app.extensions[CONTRACT_JSON]()
    return representation


def get_openapi_yaml() -> Representation:
    """The contract as YAML."""
    representation: Representation = current_app.extensions[CONTRACT_YAML]()
    return representation
