"""What people see and change of their own account."""

from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from circdesk.accounts.contents import apply, present
from circdesk.accounts.models import User
from circdesk.accounts.users import find_user
from circdesk.audit.entries import record
from circdesk.db.versions import raise_if_modified, show_version
from circdesk.visits import Caller

JSON = dict[str, Any]


def read_account(session: Session, caller: Caller, user_id: UUID) -> JSON:
    """The caller's account, and the credential that is used."""
    user = find_user(session, user_id)
    show_version(session, user)
    return _present(user, caller)


def patch_account(session: Session, caller: Caller, user_id: UUID, changes: JSON) -> JSON:
    """Apply a merge patch (RFC 7396) to what people may change of themselves.

    Raises PreconditionFailed, and EmailTaken.
    """
    user = find_user(session, user_id, changing=True)
    raise_if_modified(session, user)
    if changed := apply(session, user, changes):
        record(session, "user.update", "user", user.id, fields=sorted(changed))
    return _present(user, caller)


def _present(user: User, caller: Caller) -> JSON:
    credential = {
        "type": caller.credential,
        "id": caller.credential_id,
        "scopes": sorted(caller.scopes),
        "client_id": caller.client_id,
    }
    return {"user": present(user), "credential": credential}
