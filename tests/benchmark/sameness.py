"""Whether all contestants do the same: answer the same items, and write the same rows."""

import http.client
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
from contestants import Running  # type: ignore[import-not-found]  # It lies beside this file.
from psycopg.rows import dict_row

JSON = dict[str, Any]

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# What differs from one loan to the next: when it is, its own id, and those of its events.
_OF_ONE_LOAN = ("id", "lent_at", "returned_at", "created_at", "updated_at")
_ROWS = {
    "loans": "SELECT * FROM loans WHERE copy_id = %(copy)s ORDER BY lent_at DESC LIMIT 1",
    "copies": "SELECT * FROM copies WHERE id = %(copy)s",
    "events": "SELECT * FROM events WHERE data ->> 'copy_id' = %(copy)s::text"
    " ORDER BY transaction_id DESC LIMIT 2",
    "audit_log": "SELECT a.* FROM audit_log a JOIN loans l ON l.id = a.target_id"
    " WHERE l.copy_id = %(copy)s ORDER BY a.occurred_at DESC LIMIT 2",
}


class Different(Exception):
    """Two contestants do not answer or write the same."""


@dataclass(frozen=True)
class Answer:
    """An answer, its body read as JSON where it has one."""

    status: int
    headers: Mapping[str, str]
    body: Any


def ask(
    address: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: JSON | None = None,
) -> Answer:
    """Ask once: GET, or POST where there is a body."""
    host = address.removeprefix("http://")
    with closing(http.client.HTTPConnection(host, timeout=30)) as connection:
        method = "GET" if body is None else "POST"
        content = None if body is None else json.dumps(body)
        json_type = {} if body is None else {"Content-Type": "application/json"}
        connection.request(method, path, content, {**(headers or {}), **json_type})
        response = connection.getresponse()
        text = response.read()
        fields = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, fields, json.loads(text) if text else None)


def raise_unless_same_reads(contestants: Sequence[Running], paths: Sequence[str]) -> None:
    """Hold what all answer to these paths against what the first one does, field for field.

    Cursors and links are left aside, and moments may be written in any zone.

    Raises:
        Different: One answers otherwise.
    """
    first, *others = contestants
    for path in paths:
        expected = items_of(first, path)
        if not expected:
            raise Different(f"{first.contestant.name} answers nothing to {path}")
        for other in others:
            found = items_of(other, path)
            if found != expected:
                raise Different(_explain(other, path, expected, found))


def items_of(contestant: Running, path: str) -> list[JSON]:
    """The items of a list, or the one that was asked for, with moments read; and the total."""
    answer = ask(contestant.address, path)
    if answer.status != 200:
        raise Different(f"{contestant.contestant.name} answers {answer.status} to {path}")
    body = answer.body
    found = [*body["items"], {"total": body["total"]}] if "items" in body else [body]
    return [_read(item) for item in found]


def tag_of(contestant: Running, path: str) -> str:
    """The entity tag that is answered, which must be good for a 304.

    Raises:
        Different: It is not.
    """
    tag = ask(contestant.address, path).headers["etag"]
    status = ask(contestant.address, path, {"If-None-Match": tag}).status
    if status != 304:
        raise Different(f"{contestant.contestant.name} answers {status} to its own tag")
    return tag


def count_faults(contestant: Running, path: str) -> tuple[int, int]:
    """The status of a refusal, and of how many faults it tells."""
    answer = ask(contestant.address, path)
    body = answer.body
    if contestant.contestant.kind == "circdesk":
        return answer.status, len(body["details"])
    if isinstance(body.get("errors"), dict):
        return answer.status, sum(map(len, body["errors"].values()))
    faults = body.get("detail")
    return answer.status, len(faults) if isinstance(faults, list) else 1


def raise_unless_same_deeds(
    contestants: Sequence[tuple[Running, str]],
    connection: psycopg.Connection[Any],
    user: UUID,
    copy: UUID,
) -> None:
    """Let each lend and return a copy, and hold answers and rows against those of the first.

    Args:
        contestants: Each with a token that is good for it.
        connection: Where the rows are read.
        user: Who borrows.
        copy: What is borrowed.

    Raises:
        Different: One answers or writes otherwise.
    """
    # The first loan of a copy tells of no event before it, all others do.
    _loans_answered(*contestants[0], user, copy)
    expected: JSON = {}
    for contestant, token in contestants:
        (version,) = connection.execute(
            "SELECT version FROM copies WHERE id = %s", [copy]
        ).fetchone() or (0,)
        found = _loans_answered(contestant, token, user, copy)
        found |= _rows_written(connection, copy, {str(user), str(copy)}, version)
        expected = expected or found
        for name, value in expected.items():
            if found[name] != value:
                raise Different(_explain(contestant, name, value, found[name]))


def _loans_answered(contestant: Running, token: str, user: UUID, copy: UUID) -> JSON:
    headers = {"Authorization": f"Bearer {token}"}
    lent = ask(contestant.address, "/api/loans", headers, {"user": str(user), "copy": str(copy)})
    back = ask(contestant.address, "/api/returns", headers, {"copy": str(copy)})
    if (lent.status, back.status) != (201, 200):
        statuses = f"{lent.status} and {back.status}: {lent.body} {back.body}"
        raise Different(f"{contestant.contestant.name} answers {statuses}")
    rest = {name: value for name, value in back.body.items() if name != "compensation"}
    return {
        "the loan when it is made": _without(_OF_ONE_LOAN, lent.body["loan"]),
        "what is answered to a return": {
            **rest, "loan": _without(_OF_ONE_LOAN, back.body["loan"])
        },
    }  # fmt: skip


def _rows_written(
    connection: psycopg.Connection[Any], copy: UUID, named: set[str], version: int
) -> JSON:
    """The rows after a loan and its return, without what differs from one loan to the next."""
    cursor = connection.cursor(row_factory=dict_row)
    written: JSON = {}
    for table, statement in _ROWS.items():
        rows = cursor.execute(statement, {"copy": copy}).fetchall()
        for row in rows:
            row.pop("transaction_id", None)
            if "version" in row:
                row["version"] -= version
            if row.get("request_id") is not None:
                row["request_id"] = "a request"
        written[f"the rows of {table}"] = [_masked(row, named) for row in rows]
    return written


def _without(names: Sequence[str], item: JSON) -> Any:
    return _read({name: value for name, value in item.items() if name not in names})


def _read(value: Any) -> Any:
    """The value with moments read."""
    if isinstance(value, dict):
        return {name: _read(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_read(each) for each in value]
    if isinstance(value, str) and _MOMENT.match(value):
        return datetime.fromisoformat(value).astimezone(UTC)
    return value


def _masked(value: Any, named: set[str]) -> Any:
    """The value with moments and ids as mere signs, but for the ids that are named."""
    if isinstance(value, dict):
        return {name: _masked(each, named) for name, each in value.items()}
    if isinstance(value, list):
        return [_masked(each, named) for each in value]
    if isinstance(value, datetime):
        return "a moment"
    text = str(value) if isinstance(value, UUID) else value
    if isinstance(text, str) and _ID.fullmatch(text) and text not in named:
        return "an id"
    return text


def _explain(contestant: Running, what: str, expected: Any, found: Any) -> str:
    return (
        f"{contestant.contestant.name} differs in {what}:\n  expected {expected}\n  found {found}"
    )
