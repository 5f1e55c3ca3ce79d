"""Answers: what a handler returned, as bytes that the contract allows, or not at all.

JSON is serialised first and the bytes are read back for the check, so that what is checked
is exactly what leaves. Headers that the edge adds to every answer are no concern of this
module; house rules see to it that the contract declares them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from circdesk.contract.operations import Operation
from circdesk.contract.parameters import Faults
from circdesk.contract.problems import PROBLEM_JSON, Problem, fault
from circdesk.contract.representations import Representation
from circdesk.contract.requests import InternalError


class ContractBroken(Exception):
    """The service made an answer that its own contract does not allow."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A body that leaves piece by piece; whoever writes the records checks each of them."""

    media_type: str
    chunks: Iterable[bytes]


class Answer(NamedTuple):
    """A status, headers and a body, ready to be sent."""

    status: int
    media_type: str | None
    body: bytes | Iterable[bytes]
    headers: Mapping[str, str] = MappingProxyType({})

    def with_headers(self, headers: Mapping[str, str]) -> "Answer":
        """The same answer with these headers, too."""
        return Answer(self.status, self.media_type, self.body, {**self.headers, **headers})

    def has_header(self, name: str) -> bool:
        """Whether it has this header, in the spelling of handlers or in lower case."""
        return name in self.headers or name.lower() in self.headers


def raw_header_fields(answer: Answer) -> list[tuple[bytes, bytes]]:
    """All headers of an answer as ASGI takes them, those of its body included.

    Raises:
        ValueError: One has a line break, with which it would be several.
    """
    fields = [
        (name.lower().encode(), value.encode("latin-1")) for name, value in answer.headers.items()
    ]
    values = "".join(answer.headers.values())
    if "\n" in values or "\r" in values:
        raise ValueError("a line break in a header")
    if answer.media_type is not None:
        fields.append((b"content-type", answer.media_type.encode()))
    # What has no body by its status has no length (RFC 9110, 8.6).
    if isinstance(answer.body, bytes) and answer.status not in (204, 304):
        fields.append((b"content-length", b"%d" % len(answer.body)))
    return fields


def make_answer(
    operation: Operation, returned: Any, request_headers: Callable[[], Mapping[str, str]] = dict
) -> Answer:
    """The answer for what a handler returned: `body`, `(body, status)` or with headers.

    A body is a JSON value, None for no content, a `Stream` or a `Representation`, which alone
    depends on the headers of the request.

    Raises:
        ContractBroken: The contract does not allow this answer.
    """
    body, status, headers = _unpack(operation, returned)
    if isinstance(body, Representation):
        return _represent(operation, body, request_headers())
    if body is None:
        answer = Answer(status, None, b"", headers)
    elif isinstance(body, Stream):
        answer = Answer(status, body.media_type, body.chunks, headers)
    else:
        answer = Answer(status, "application/json", to_json(body), headers)
    check_answer(operation, answer)
    return answer


def _unpack(operation: Operation, returned: Any) -> tuple[Any, int, Mapping[str, str]]:
    if not isinstance(returned, tuple):
        return returned, operation.success, {}
    body, status, *rest = returned
    return body, status, rest[0] if rest else {}


def _represent(operation: Operation, body: Representation, headers: Mapping[str, str]) -> Answer:
    """A body made before: it is the same for everybody and was checked when it was made."""
    status, fields, content = body.respond(headers)
    named = dict(fields)
    media_type = named.pop("content-type", "").partition(";")[0] or None
    named.pop("content-length", None)
    answer = Answer(status, media_type, content, named)
    check_answer(operation, answer, whole=False)
    return answer


def problem_answer(
    operation: Operation | None, problem: Problem, *, instance: str, request_id: str
) -> Answer:
    """A problem in its one form; an undeclared one is a ContractBroken, as any other answer."""
    body = to_json(problem.body(instance=instance, request_id=request_id))
    answer = Answer(problem.status, PROBLEM_JSON, body, problem.headers)
    if operation is not None and not isinstance(problem, InternalError):
        check_answer(operation, answer)
    return answer


def to_json(value: Any) -> bytes:
    """JSON in UTF-8; aware datetimes in UTC with `Z`, UUIDs as text."""
    return orjson.dumps(value, option=orjson.OPT_UTC_Z)


def check_answer(operation: Operation, answer: Answer, *, whole: bool = True) -> None:
    """Hold an answer against the contract; `whole` includes a JSON body.

    Raises:
        ContractBroken: Status, media type, a header or the body is not what it declares.
    """
    declared = operation.responses.get(answer.status)
    if declared is None:
        raise _broken(operation, answer, "the status is not declared")
    faults: Faults = []
    declared.headers.read({name.lower(): [text] for name, text in answer.headers.items()}, faults)
    if faults:
        raise _broken(operation, answer, _lines(faults))
    if answer.media_type is None:
        if declared.checks:
            raise _broken(operation, answer, "a body is declared and none was made")
        return
    if answer.media_type not in declared.checks:
        raise _broken(operation, answer, f"{answer.media_type} is not declared")
    check = declared.checks[answer.media_type]
    if check is None or not whole or not isinstance(answer.body, bytes):
        return
    value = orjson.loads(answer.body)
    if not check.is_valid(value):
        faults = [fault("body", *violation) for violation in check.violations(value)]
        raise _broken(operation, answer, _lines(faults))


def _lines(faults: Faults) -> str:
    return "; ".join(
        f"{f['in']} {f['pointer'] or '/'} {f['rule']}: {f['message']}" for f in faults[:5]
    )


def _broken(operation: Operation, answer: Answer, reason: str) -> ContractBroken:
    return ContractBroken(f"{operation.operation_id} {answer.status}: {reason}")
