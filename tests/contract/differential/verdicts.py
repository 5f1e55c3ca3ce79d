"""Verdicts: what became of a request, and where two of them differ."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

from starlette.types import ASGIApp, Message

from tests.contract.differential.requests import JSON, Request

Judge = Callable[[Request], Awaitable["Verdict"]]


@dataclass(frozen=True)
class Verdict:
    """What an application made of a request.

    Attributes:
        status: That of a refusal; of a request that was let in, 200.
        operation_id: What it was let in for.
        arguments: The handler's arguments.
    """

    status: int
    operation_id: str | None = None
    arguments: JSON = field(default_factory=dict)


async def send(app: ASGIApp, request: Request) -> int:
    """The status of the answer; the body comes in one piece."""
    pieces = [{"type": "http.request", "body": request.body, "more_body": False}]
    status = 0

    async def receive() -> Message:
        return pieces.pop() if pieces else {"type": "http.disconnect"}

    async def note(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)

    await app(request.scope(), receive, note)
    return status


def difference(ours: Verdict, theirs: Verdict) -> str | None:
    """What differs, in a few words; None where nothing does."""
    if ours.status != theirs.status:
        return f"ours {_word(ours)}, theirs {_word(theirs)}"
    if ours.operation_id != theirs.operation_id:
        return "let in for different operations"
    names = sorted(ours.arguments.keys() | theirs.arguments.keys())
    unlike = [
        name for name in names if not _same(ours.arguments.get(name), theirs.arguments.get(name))
    ]
    return f"other arguments: {', '.join(unlike)}" if unlike else None


def _word(verdict: Verdict) -> str:
    return "in" if verdict.operation_id else str(verdict.status)


def _same(ours: Any, theirs: Any) -> bool:
    """Whether two arguments say the same; ours have the formats that are texts in JSON parsed."""
    if isinstance(ours, UUID):
        return theirs is not None and ours == UUID(theirs)
    if isinstance(ours, date):
        # A datetime is a date, too.
        return theirs is not None and ours == type(ours).fromisoformat(theirs)
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(_same(ours[k], theirs[k]) for k in ours)
    return type(ours) is type(theirs) and bool(ours == theirs)
