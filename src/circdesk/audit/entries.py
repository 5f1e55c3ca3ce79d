"""Entries of the audit log."""

from typing import Any, Literal, cast
from uuid import UUID

from sqlalchemy import Table, insert
from sqlalchemy.orm import Session

from circdesk import clock
from circdesk.audit.models import AuditEntry
from circdesk.visits import Visit, find_visit

Outcome = Literal["success", "failure"]

# Every token that is issued is an entry; to flush an object would cost three times as much.
_INSERT = insert(cast("Table", AuditEntry.__table__))


def record(
    session: Session,
    action: str,
    target_type: str | None = None,
    target_id: UUID | None = None,
    *,
    outcome: Outcome = "success",
    user_id: UUID | None = None,
    acting_client: UUID | None = None,
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
        details: More, of ids, codes, scopes and counts alone; never a name, an email or a secret.
            Ids become text, and sets of words lists in order.
    """
    visit = find_visit()
    actor_type, actor_id = _actor(visit)
    if user_id is not None:
        actor_type, actor_id = "user", user_id
    elif acting_client is not None:
        actor_type, actor_id = "client", acting_client
    session.execute(
        _INSERT,
        {
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
        },
    )


def _actor(visit: Visit | None) -> tuple[str, UUID | None]:
    """Who acts: a command of an operator is the system's own doing."""
    if visit is None:
        return "system", None
    caller = visit.caller
    if caller is None:
        return "anonymous", None
    return ("user", caller.user_id) if caller.user_id else ("client", caller.client_id)


def _plain(value: Any) -> Any:
    """The value as JSON has it."""
    if isinstance(value, UUID):
        return str(value)
    return sorted(value) if isinstance(value, frozenset | set) else value
