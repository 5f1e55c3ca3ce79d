"""Who may see and change which accounts."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, select, true
from sqlalchemy.orm import Session

from circdesk.accounts.models import User
from circdesk.auth.problems import scope_missing
from circdesk.visits import Caller

_MEMBER = "member"
_ADMIN = "admin"


def is_visible_to(caller: Caller) -> ColumnElement[bool]:
    """The condition for the accounts that a caller may read: all, or the own one."""
    return true() if caller.may("users:read") else User.id == caller.user_id


def raise_unless_member(caller: Caller, *roles: str) -> None:
    """Raise ScopeMissing where a role is above a member's and the caller may not give roles."""
    if any(role != _MEMBER for role in roles) and not caller.may("roles:write"):
        raise scope_missing(["roles:write"])


def lock_admins(session: Session) -> Sequence[UUID]:
    """The active administrators, who stay what they are until the transaction ends.

    Whoever takes one away locks them first and in one order, so that two who do so wait for
    each other instead of each leaving it to the other to stay.
    """
    admins = select(User.id).where(User.role == _ADMIN, User.status == "active")
    return session.scalars(admins.order_by(User.id).with_for_update()).all()


def is_last_admin(user_id: UUID, admins: Sequence[UUID]) -> bool:
    """Whether this user is an active administrator, and nobody else is."""
    return [*admins] == [user_id]
