"""Entries of the audit log."""

from collections.abc import Mapping
from typing import Any, Literal, cast
from uuid import UUID

from sqlalchemy import Table, insert
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from circdesk import clock
from circdesk.audit.models import AuditEntry
from circdesk.db.plain_rows import Write, write_rows
from circdesk.db.unit_of_work import store_at_the_end
from circdesk.visits import find_actor, find_visit

Outcome = Literal["success", "failure"]

_TABLE = cast("Table", AuditEntry.__table__)
_INSERT = insert(_TABLE)


def record(
    session: Session,
    action: str,
    target_type: str | None = None,
    target_id: UUID | None = None,
    *,
    outcome: Outcome = "success",
    user_id: UUID | None = None,
    acting_client: UUID | None = None,
    at_the_end: bool = False,
    **details: Any,
) -> None:
    """Add an entry to what the session stores: both are kept, or neither.

    Args:
        session: The unit of work of what is recorded.
        action: What was done, as `noun.verb`: `session.create`, `api_key.revoke`.
        target_type: The kind of thing it was done to, as the contract calls it: `user`, `client`.
        target_id: Its id.
        outcome: Whether it was done, or only tried.
        user_id: The actor where the visit does not know it yet, as at sign-in.
        acting_client: The same for an OAuth client, which proves at OAuth's endpoints who it is.
        at_the_end: Whether it may wait for the end of the unit of work; it may then share a commit
            with the entries of other units of work, if theirs have nothing else to store either.
        details: More, of ids, codes, scopes and counts alone; never a name, an email or a secret.
            Ids become text, and sets of words lists in order.
    """
    entry = describe_entry(action, target_type, target_id, outcome=outcome, **details)
    actor: dict[str, Any] = {}
    if user_id is not None:
        actor = {"actor_type": "user", "actor_id": user_id}
    elif acting_client is not None:
        actor = {"actor_type": "client", "actor_id": acting_client}
    if at_the_end:
        store_at_the_end(session, _INSERT, {**entry.values, **actor})
    else:
        write_rows(session, [Write(_TABLE, {**entry.values, **actor})])


def record_all(
    session: Session, action: str, target_type: str, targets: Mapping[UUID, Mapping[str, Any]]
) -> None:
    """Add an entry for each of many targets, as `record` does for one; one statement.

    Args:
        session: The unit of work of what is recorded.
        action: What was done to each.
        target_type: What they are.
        targets: The details of each, by its id.
    """
    entries = [
        describe_entry(action, target_type, target_id, **details)
        for target_id, details in targets.items()
    ]
    write_rows(session, entries)


def describe_entry(
    action: str,
    target_type: str | None = None,
    target_id: UUID | None = None,
    *,
    outcome: Outcome = "success",
    **details: Any,
) -> Write:
    """An entry by whoever is acting now, to be stored with other rows; see `record`."""
    visit = find_visit()
    actor_type, actor_id = find_actor()
    columns = {
        "id": uuid7(),
        "occurred_at": clock.now(),
        "action": action,
        "outcome": outcome,
        "actor_type": actor_type,
        "actor_id": actor_id,
        "target_type": target_type,
        "target_id": target_id,
        "request_id": visit.request_id if visit else None,
        "address": visit.address if visit else None,
        "details": {name: _plain(value) for name, value in details.items()},
    }
    return Write(_TABLE, columns)


def _plain(value: Any) -> Any:
    """The value as JSON has it."""
    if isinstance(value, UUID):
        return str(value)
    return sorted(value) if isinstance(value, frozenset | set) else value
