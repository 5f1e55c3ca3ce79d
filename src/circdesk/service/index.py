"""The index at `/api` and the registry of problems, as a caller sees them."""

from typing import Any

from circdesk.contract.problems import Problem

_COLLECTIONS = (
    "authors",
    "books",
    "branches",
    "copies",
    "events",
    "fees",
    "holds",
    "imports",
    "loans",
    "posts",
    "subjects",
    "users",
)


def index_body() -> dict[str, Any]:
    """Name and links: collections, contract, documentation, problems, health."""
    links = {name: f"/api/{name}" for name in _COLLECTIONS}
    links |= {
        "loan_policies": "/api/loan-policies",
        "me": "/api/me",
        "capabilities": "/api/me/capabilities",
        "contract": "/openapi.json",
        "documentation": "/docs",
        "health": "/api/health",
        "problems": "/problems",
        "rate_limit": "/api/rate-limit",
    }
    return {"name": "Circdesk", "links": links}


def problem_entry(problem: type[Problem]) -> dict[str, Any]:
    """One entry of the registry: code, status, meaning, what a caller can do."""
    return {
        "type": f"/problems/{problem.code}",
        "code": problem.code,
        "status": problem.status,
        "title": problem.title,
        "advice": problem.advice,
    }
