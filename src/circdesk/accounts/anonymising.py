"""Deleting users: the row stays for what is counted, and the person is gone from it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.orm import Session

from circdesk import clock
from circdesk.accounts.access import is_last_admin, lock_admins, raise_unless_member
from circdesk.accounts.models import User
from circdesk.accounts.user_problems import last_admin
from circdesk.accounts.users import find_user
from circdesk.audit.entries import record
from circdesk.auth.access import end_access
from circdesk.auth.models import ApiKey, Consent
from circdesk.circulation.departures import find_ties, leave
from circdesk.contract.problems import Problem
from circdesk.db.versions import raise_if_modified
from circdesk.visits import Caller

# Who the person was, how to reach them, and what they chose.
_PERSONAL: Mapping[str, Any] = {
    "name": None,
    "sort_name": "",
    "email": None,
    "card_number": None,
    "expires_on": None,
    "phone": None,
    "postal_address": None,
    "keeps_history": False,
    "receives_news": False,
    "unwanted_notices": [],
    "password_hash": None,
    "password_changed_at": None,
}


def delete_user(session: Session, caller: Caller, key: str) -> None:
    """Forget who a user was, and end everything that the user could sign in with or waits for.

    Role and home branch stay, by which is counted, and which tell of nobody.

    Raises NotFound, PreconditionFailed, ScopeMissing, and what stands in the way, as
    `find_blockers` tells.
    """
    admins = lock_admins(session)
    user = find_user(session, key, changing=True)
    raise_unless_member(caller, user.role)
    raise_if_modified(session, user)
    for problem in find_blockers(session, user, admins):
        raise problem
    leave(session, user.id)
    end_access(session, user.id)
    for credential in (ApiKey, Consent):
        session.execute(delete(credential).where(credential.user_id == user.id))
    for name, value in _PERSONAL.items():
        setattr(user, name, value)
    user.status = "deleted"
    user.anonymised_at = clock.now()
    session.flush()
    record(session, "user.delete", "user", user.id)


def find_blockers(session: Session, user: User, admins: Sequence[UUID]) -> Iterator[Problem]:
    """What stands in the way of deleting a user, the most important first."""
    if is_last_admin(user.id, admins):
        yield last_admin()
    yield from find_ties(session, user.id)
