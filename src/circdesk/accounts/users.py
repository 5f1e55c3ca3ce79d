"""What staff can do with users."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, or_, select
from sqlalchemy.orm import Session

from circdesk.accounts.access import (
    is_last_admin,
    is_visible_to,
    lock_admins,
    raise_unless_member,
)
from circdesk.accounts.contents import apply, present
from circdesk.accounts.models import User
from circdesk.accounts.user_problems import CARD_KEY, last_admin
from circdesk.audit.entries import record
from circdesk.auth.access import end_access
from circdesk.auth.models import PasswordReset
from circdesk.catalog.branches import is_branch
from circdesk.catalog.models import Branch
from circdesk.contract.requests import NotFound
from circdesk.db.pagination import Page, PageQuery, paginate
from circdesk.db.text import words
from circdesk.db.versions import raise_if_known, raise_if_modified, show_alone
from circdesk.visits import Caller

JSON = dict[str, Any]

_SORTS = {"name": (User.sort_name,), "created_at": (User.created_at,)}
_THERE = User.status != "deleted"
# What decides what a user may do; a change of it ends what was granted before.
_RIGHTS = ("role", "status")


class UserQuery(PageQuery):
    """What users can be filtered by."""

    q: str | None
    role: str | None
    status: str | None
    branch: str | None


def list_users(session: Session, query: UserQuery) -> Page:
    """One page of the users that match; what a filter names need not exist."""
    found = select(User).where(_THERE)
    if query["q"] is not None:
        found = found.where(_mentions(query["q"]))
    if query["role"] is not None:
        found = found.where(User.role == query["role"])
    if query["status"] is not None:
        found = found.where(User.status == query["status"])
    if query["branch"] is not None:
        branch = select(Branch.id).where(is_branch(query["branch"])).scalar_subquery()
        found = found.where(User.branch_id == branch)
    return paginate(session, found, sorts=_SORTS, query=query, present=lambda row: present(row[0]))


def create_user(session: Session, caller: Caller, content: JSON) -> JSON:
    """Add a user. Raises as `add_user`, and ScopeMissing for a role that the caller cannot give."""
    raise_unless_member(caller, content["role"])
    return present(add_user(session, content))


def add_user(session: Session, content: JSON) -> User:
    """Add a user, whoever asks. Raises EmailTaken, CardNumberTaken and ReferenceUnknown."""
    user = User(status="active")
    apply(session, user, content)
    record(session, "user.create", "user", user.id, role=user.role)
    return user


def read_user(session: Session, caller: Caller, key: str) -> JSON:
    """One user, by id or `card:` and the card's number.

    Raises NotFound, also for a user whom the caller may not see: the same for both.
    """
    visible = is_visible_to(caller)
    raise_if_known(session, User, _THERE, _is_user(key), visible)
    user = find_user(session, key, visible)
    show_alone(session, user)
    return present(user)


def patch_user(session: Session, caller: Caller, key: str, changes: JSON) -> JSON:
    """Apply a merge patch (RFC 7396).

    Raises NotFound, PreconditionFailed, ScopeMissing, LastAdmin, EmailTaken, CardNumberTaken and
    ReferenceUnknown.
    """
    admins = lock_admins(session) if changes.keys() & {*_RIGHTS} else ()
    user = find_user(session, key, changing=True)
    role, status = changes.get("role", user.role), changes.get("status", user.status)
    raise_unless_member(caller, user.role, role)
    raise_if_modified(session, user)
    if is_last_admin(user.id, admins) and (role, status) != ("admin", "active"):
        raise last_admin()
    before = {name: getattr(user, name) for name in _RIGHTS}
    changed = apply(session, user, changes)
    _record_changes(session, user, before, changed)
    _end_what_hung_on(session, user, changed)
    return present(user)


def find_user(
    session: Session, key: str | UUID, *conditions: ColumnElement[bool], changing: bool = False
) -> User:
    """The user with this id or card, if all conditions hold; with `changing`, locked.

    Raises NotFound, with the same words whether there is none or a condition does not hold.
    """
    found = select(User).where(_THERE, _is_user(key), *conditions)
    user = session.scalar(found.with_for_update() if changing else found)
    if user is None:
        raise NotFound(f"No user has the key {key}.")
    return user


def _is_user(key: str | UUID) -> ColumnElement[bool]:
    if isinstance(key, str) and key.startswith(CARD_KEY):
        return User.card_number == key.removeprefix(CARD_KEY)
    return User.id == UUID(str(key))


def _mentions(text: str) -> ColumnElement[bool]:
    """The condition for the users whom a text may mean."""
    plain = text.strip()
    named = [User.sort_name.contains(word, autoescape=True) for word in words(plain)]
    return or_(
        User.card_number == plain,
        User.email.contains(plain.lower(), autoescape=True),
        # A text of signs alone has no words, and names nobody.
        *([and_(*named)] if named else ()),
    )


def _end_what_hung_on(session: Session, user: User, changed: set[str]) -> None:
    if not changed.isdisjoint(_RIGHTS):
        end_access(session, user.id)
    elif "email" in changed:
        # What was sent to the old address must not open the account any more.
        session.execute(delete(PasswordReset).where(PasswordReset.user_id == user.id))


def _record_changes(session: Session, user: User, before: JSON, changed: set[str]) -> None:
    if "role" in changed:
        record(session, "user.role_change", "user", user.id, before=before["role"], after=user.role)
    if "status" in changed:
        deed = "user.block" if user.status == "blocked" else "user.unblock"
        record(session, deed, "user", user.id)
    if fields := sorted(changed.difference(_RIGHTS)):
        record(session, "user.update", "user", user.id, fields=fields)
