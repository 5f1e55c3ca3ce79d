"""Errors that a caller sees: one base class, one registry of codes, one form.

A problem is declared beside the code that raises it and carries its own code and status.
Codes are stable: once published, a code is never renamed and never means something else.
The form is RFC 9457 (`application/problem+json`) with `code`, `message` and `details`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

JSON = dict[str, Any]

PROBLEM_JSON = "application/problem+json"

_registry: dict[str, type["Problem"]] = {}


class Problem(Exception):
    """An error with a stable code, an HTTP status, and advice for the caller.

    Subclasses set the first four class attributes; one that sets `commits` is answered like a
    success: what was stored before it was raised stays, as a count of failed attempts must. A
    subclass without a `code` of its own is a
    shared base and is not registered. Two subclasses with one code are a TypeError.

    Args:
        message: What went wrong in this very request, as a sentence.
        details: One entry for each fault, `{in, pointer, rule, message, allowed}` for
            violations of the contract.
        suggestions: Calls that would help: `{operation_id, parameters, body, reason}`.
        headers: Headers that the answer carries besides the usual ones.
    """

    code: ClassVar[str]
    status: ClassVar[int]
    title: ClassVar[str]
    advice: ClassVar[str]
    commits: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        """Register the class under its code."""
        super().__init_subclass__()
        code = cls.__dict__.get("code")
        if code is None:
            return
        if code in _registry:
            message = f"two problems have the code {code!r}: {_registry[code]} and {cls}"
            raise TypeError(message)
        _registry[code] = cls

    def __init__(
        self,
        message: str,
        *,
        details: Sequence[Mapping[str, Any]] = (),
        suggestions: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        self.suggestions = suggestions
        self.headers = dict(headers or {})

    def body(self, *, instance: str, request_id: str) -> JSON:
        """The problem as JSON, for one request; `suggestions` stands only where there are any."""
        body: JSON = {
            "type": f"/problems/{self.code}",
            "title": self.title,
            "status": self.status,
            "instance": instance,
            "request_id": request_id,
            "code": self.code,
            "message": self.message,
            "details": [dict(detail) for detail in self.details],
        }
        if self.suggestions:
            body["suggestions"] = [dict(suggestion) for suggestion in self.suggestions]
        return body


def registered_problems() -> Iterator[type[Problem]]:
    """Every problem that the service can answer, by code."""
    return (_registry[code] for code in sorted(_registry))


def find_problem(code: str) -> type[Problem] | None:
    """The problem with this code, or None."""
    return _registry.get(code)


def fault(
    place: str, pointer: str, rule: str, message: str, allowed: object = None
) -> dict[str, Any]:
    """One entry of `details`: where (`body`, `query`, `path`, `header`), which rule, and why.

    Callers choose the names in a pointer, so it is cut to the length that the contract gives it.
    """
    entry: dict[str, Any] = {
        "in": place,
        "pointer": pointer[:1000],
        "rule": rule,
        "message": message[:2000],
    }
    if allowed is not None:
        entry["allowed"] = allowed
    return entry
