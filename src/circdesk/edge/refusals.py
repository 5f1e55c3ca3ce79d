"""Problems that are answered before or around Flask, in the same form as inside it."""

import re

import structlog
from starlette.types import Receive, Scope, Send

from circdesk.contract.answers import Answer, ContractBroken, problem_answer, raw_header_fields
from circdesk.contract.environ import request_uri
from circdesk.contract.operations import Operation
from circdesk.contract.problems import Problem
from circdesk.contract.requests import InternalError

log = structlog.get_logger("circdesk")

# As the contract has it; a longer address is refused, and told so far.
_LONGEST_INSTANCE = 8192
_HALF_AN_ESCAPE = re.compile("%.?$")


async def refuse(
    scope: Scope, receive: Receive, send: Send, problem: Problem, operation: Operation | None
) -> None:
    """Answer a request with a problem; one that the contract does not declare becomes a 500."""
    del receive
    instance, request_id = _instance(scope), scope["circdesk.request_id"]
    try:
        answer = problem_answer(operation, problem, instance=instance, request_id=request_id)
    except ContractBroken as broken:
        log.exception("contract_broken", reason=str(broken))
        problem = InternalError("Something broke.")
        answer = problem_answer(None, problem, instance=instance, request_id=request_id)
    await send_answer(answer, scope, send)


async def send_answer(answer: Answer, scope: Scope, send: Send) -> None:
    """Send an answer whose body is whole, outside of Flask."""
    body = b"" if scope["method"] == "HEAD" else answer.body
    headers = raw_header_fields(answer)
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _instance(scope: Scope) -> str:
    path = request_uri(scope).partition("?")[0]
    return (
        _HALF_AN_ESCAPE.sub("", path[:_LONGEST_INSTANCE]) if len(path) > _LONGEST_INSTANCE else path
    )
