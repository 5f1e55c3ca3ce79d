"""Conditional requests: whoever reads is spared what they have, whoever writes overwrites nothing.

RFC 9110, 13, and RFC 6585, 3, for those who must say what they overwrite. Who is calling has been
asked before any of this.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import flask
from sqlalchemy.orm import Session

from circdesk.auth.credentials import missing_scopes, required_scopes
from circdesk.contract.answers import Answer, make_answer
from circdesk.contract.contract import Contract
from circdesk.contract.door import Call
from circdesk.contract.entity_tags import (
    entity_tag,
    http_date,
    is_modified_since,
    listed_versions,
    lists_entity_tag,
)
from circdesk.contract.handlers import find_handlers
from circdesk.contract.operations import Operation
from circdesk.contract.problems import Problem, fault
from circdesk.db.errors import DatabaseBusy
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.db.versions import (
    ChangedMeanwhile,
    PreconditionFailed,
    Shown,
    expect_known,
    expect_versions,
    shown_version,
)
from circdesk.visits import visiting

# What a 304 repeats of the answer that it stands for (RFC 9110, 15.4.5), beside its tag.
_REPEATED = frozenset(("cache-control", "vary"))


class PreconditionRequired(Problem):
    """The operation overwrites all of something, and the caller does not say which version."""

    code = "precondition_required"
    status = 428
    title = "This needs the version that it is to replace."
    advice = (
        "Read it, and send its ETag as If-Match; with `*` you overwrite whatever anybody has "
        "entered meanwhile."
    )


@contextmanager
def preconditions(operation: Operation, call: Call, sessions: Sessions) -> Iterator[None]:
    """Around a unit of work: demand a condition where one is needed, and explain a failed one.

    Raises:
        PreconditionRequired: There is no If-Match, and the operation declares a 428.
        DatabaseBusy: A row changed at the same moment, and the operation declares no 409.
    """
    if 428 in operation.responses and call.edge["if_match"] is None:
        message = "Send the ETag of what this replaces as If-Match."
        details = [fault("header", "/If-Match", "required", message)]
        raise PreconditionRequired(message, details=details, suggestions=_reading(operation, call))
    try:
        yield
    except PreconditionFailed as problem:
        problem.details = [fault("header", "/If-Match", "version", problem.message)]
        problem.suggestions = _reading(operation, call)
        tag = _current_tag(operation, call, sessions)
        problem.headers |= {"ETag": tag} if tag else {}
        raise
    except ChangedMeanwhile as problem:
        if 409 in operation.responses:
            raise
        # It edits nothing that was read before, so that it can be sent again as it is.
        raise DatabaseBusy(problem.message, headers={"Retry-After": "1"}) from problem


def expect_condition(session: Session, operation: Operation, call: Call) -> None:
    """Let what follows change only the versions that If-Match lists, and show nothing known."""

    def has(shown: Shown) -> bool:
        return not_modified(call, _tag(operation, shown), shown.updated_at)

    edge = call.edge
    is_known = edge.get("if_none_match") is not None or edge.get("if_modified_since") is not None
    if is_known and _shows_one(operation):
        expect_known(session, has)
    if_match = edge.get("if_match")
    versions = None if if_match is None else listed_versions(if_match)
    if versions is not None:
        expect_versions(session, versions)


def with_validators(session: Session, operation: Operation, call: Call, answer: Answer) -> Answer:
    """The answer to a read with its ETag and its Last-Modified, or the 304 that will do instead."""
    if "if_none_match" not in operation.edge or answer.status != operation.success:
        return answer
    if answer.has_header("ETag"):
        # It was made before, and so was its tag.
        return answer
    shown = shown_version(session)
    validators = {"ETag": _tag(operation, shown, answer)}
    if shown is not None and _shows_one(operation):
        validators["Last-Modified"] = http_date(shown.updated_at)
    updated_at = shown.updated_at if shown else None
    if not_modified(call, validators["ETag"], updated_at):
        return not_modified_answer(validators["ETag"], answer.headers)
    return answer.with_headers(validators)


def not_modified(call: Call, tag: str, updated_at: datetime | None = None) -> bool:
    """Whether the caller of a read has what would be answered (RFC 9110, 13.2.2).

    Args:
        call: The request.
        tag: The ETag that the answer would have.
        updated_at: When what it shows was last changed, where it is one resource.
    """
    if_none_match = call.edge["if_none_match"]
    if if_none_match is not None:
        return lists_entity_tag(if_none_match, tag)
    since = call.edge.get("if_modified_since")
    return since is not None and updated_at is not None and not is_modified_since(since, updated_at)


def not_modified_answer(tag: str, headers: Mapping[str, str]) -> Answer:
    """The 304 that stands for an answer with this tag and these headers."""
    repeated = {name: value for name, value in headers.items() if name.lower() in _REPEATED}
    return Answer(304, None, b"", {"ETag": tag, **repeated})


def known_answer(operation: Operation, shown: Shown) -> Answer:
    """The 304 to a caller who has what would have been shown."""
    return not_modified_answer(_tag(operation, shown), {})


def _shows_one(operation: Operation) -> bool:
    """Whether it answers one resource, and not what is made of several."""
    return "Last-Modified" in operation.responses[operation.success].headers.names


def _tag(operation: Operation, shown: Shown | None, answer: Answer | None = None) -> str:
    """The tag of an answer, which need not be there where all is known that it follows from."""
    version = shown.version if shown else None
    if shown is not None and shown.content is not None and _shows_one(operation):
        release: str = flask.current_app.extensions["circdesk.release"]
        return entity_tag(release, shown.content.encode(), version)
    if answer is None or not isinstance(answer.body, bytes):
        raise TypeError("what is made of a stream has no tag")
    return entity_tag(answer.media_type or "", answer.body, version)


def _reading(operation: Operation, call: Call) -> list[dict[str, Any]]:
    """The call that reads what the operation changes, as a suggestion."""
    read = _find_read(operation)
    parameters = {name: str(call.arguments[name]) for name in read.path_parameters.names}
    reason = "It answers what is there now, and its ETag."
    return [{"operation_id": read.operation_id, "parameters": parameters, "reason": reason}]


def _find_read(operation: Operation) -> Operation:
    """The GET of the operation's own path, which all have that take If-Match."""
    contract: Contract = flask.current_app.extensions["circdesk.contract"]
    return next(
        read
        for read in contract.operations.values()
        if read.path == operation.path and read.method == "GET"
    )


def _current_tag(operation: Operation, call: Call, sessions: Sessions) -> str | None:
    """The tag that a GET would answer now; None where the caller may not read it, or it is gone."""
    read, caller = _find_read(operation), call.visit.caller
    if missing_scopes(required_scopes(read.security), caller.scopes):
        return None
    handler = find_handlers()[read.tag, read.operation_id]
    arguments = {name: call.arguments[name] for name in read.path_parameters.names}
    with visiting(call.visit), unit_of_work(sessions, writing=False) as session:
        try:
            answer = make_answer(read, handler(**arguments))
            return _tag(read, shown_version(session), answer)
        except Problem:
            return None
