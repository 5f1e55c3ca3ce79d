"""Changing a hold: where it is picked up, since when it takes part, and its place in the queue."""

from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from circdesk.accounts.models import User
from circdesk.audit.entries import record
from circdesk.auth.problems import scope_missing
from circdesk.catalog.branches import is_branch
from circdesk.catalog.copy_problems import ReferenceUnknown
from circdesk.catalog.models import Book, Branch, Copy
from circdesk.circulation.deeds import Deed, record_deeds
from circdesk.circulation.facts import STAFF
from circdesk.circulation.holds.locking import find_held, unknown_hold
from circdesk.circulation.holds.place_reasons import refusal
from circdesk.circulation.holds.presenting import present_holds
from circdesk.circulation.holds.queue import is_active
from circdesk.circulation.holds.ranks import move
from circdesk.circulation.models import Hold, LoanPolicy
from circdesk.circulation.policies.matching import find_rules
from circdesk.circulation.reasons import CODES
from circdesk.circulation.time import now as desk_now
from circdesk.contract.problems import Problem, fault
from circdesk.db.errors import raises_on
from circdesk.db.versions import raise_if_modified
from circdesk.visits import Caller

JSON = dict[str, Any]


class HoldFixed(Problem):
    """The hold has ended, or its copy is set aside already."""

    code: ClassVar[str] = "hold_fixed"
    status: ClassVar[int] = 409
    title: ClassVar[str] = "The hold cannot be changed any more."
    advice: ClassVar[str] = (
        "The pickup branch and the suspension can change while a hold waits, the position until "
        "it has ended. Cancel it, and place another one."
    )


class PickupNotAllowed(Problem):
    """The rule for the branch takes no holds, or there is no rule."""

    code: ClassVar[str] = "pickup_not_allowed"
    status: ClassVar[int] = 409
    title: ClassVar[str] = "The hold cannot be picked up at this branch."
    advice: ClassVar[str] = (
        "Choose another branch; `list_effective_policies` tells which rule it is."
    )


def update_hold(session: Session, caller: Caller, hold_id: UUID, changes: JSON) -> JSON:
    """Apply a merge patch (RFC 7396); answers the hold and the way back.

    Raises:
        NotFound: There is no such hold, or it is somebody else's.
        PreconditionFailed: The caller knows an older version of it.
        ScopeMissing: The position is not for the caller to change.
        HoldFixed: It is too late to change it.
        ReferenceUnknown: There is no such branch.
        PickupNotAllowed: The hold cannot be picked up there.
    """
    if "position" in changes and not caller.may(STAFF):
        raise scope_missing([STAFF])
    held = find_held(session, caller, STAFF, hold_id, locking=True)
    if held is None:
        raise unknown_hold(hold_id)
    hold = held.hold
    raise_if_modified(session, hold)
    _raise_if_fixed(hold, changes)
    deed = Deed("hold.update", now=desk_now(session), user_id=hold.user_id)
    changed = _apply(session, deed, hold, changes)
    if changed:
        with raises_on("fk_holds_pickup_branch_id_branches", _unknown_branch(changes)):
            record_deeds(session, [(deed, hold)])
        record(session, "hold.update", "hold", hold.id, fields=changed)
    return {
        "hold": present_holds(session, [hold], deed.now)[0],
        "warnings": [],
        "compensation": deed.present_compensation() if changed else None,
    }


def _raise_if_fixed(hold: Hold, changes: JSON) -> None:
    if hold.ended_at is not None:
        message = f"The hold is {hold.status}."
        raise HoldFixed(message, details=[fault("path", "/hold_id", "ended", message)])
    fixed = sorted(changes.keys() - {"position"})
    if fixed and hold.status != "waiting":
        message = "A copy is set aside for the hold already."
        raise HoldFixed(message, details=[fault("body", f"/{fixed[0]}", "set_aside", message)])


def _apply(session: Session, deed: Deed, hold: Hold, changes: JSON) -> list[str]:
    """Change what is different; the names of that."""
    changed = []
    if "pickup_branch" in changes and _change_pickup(session, deed, hold, changes):
        changed.append("pickup_branch")
    if "suspended_until" in changes and hold.suspended_until != changes["suspended_until"]:
        deed.change(hold, suspended_until=changes["suspended_until"])
        changed.append("suspended_until")
    if "position" in changes and _change_position(session, deed, hold, changes["position"]):
        changed.append("position")
    return changed


def _change_pickup(session: Session, deed: Deed, hold: Hold, changes: JSON) -> bool:
    branch_id = session.scalar(select(Branch.id).where(is_branch(changes["pickup_branch"])))
    if branch_id is None:
        raise _unknown_branch(changes)
    if branch_id == hold.pickup_branch_id:
        return False
    rule = _rule_at(session, hold, branch_id)
    deed.change(hold, pickup_branch_id=branch_id, shelf_days=rule.hold_shelf_days)
    deed.data["pickup_branch_id"] = str(branch_id)
    return True


def _change_position(session: Session, deed: Deed, hold: Hold, position: int) -> bool:
    queue = (Hold.book_id == hold.book_id) & is_active()
    ahead = session.scalar(select(func.count()).where(queue, Hold.rank < hold.rank)) or 0
    behind = session.scalar(select(func.count()).where(queue, Hold.rank > hold.rank)) or 0
    if min(position, ahead + behind + 1) == ahead + 1:
        return False
    move(session, deed, hold, position)
    deed.data["position"] = position
    return True


def _rule_at(session: Session, hold: Hold, branch_id: UUID) -> LoanPolicy:
    """The rule for the hold at another branch. Raises PickupNotAllowed."""
    category, material_type = session.execute(
        select(User.category, func.coalesce(Copy.material_type, Book.material_type))
        .join_from(Hold, User, User.id == Hold.user_id)
        .join(Book, Book.id == Hold.book_id)
        .outerjoin(Copy, Copy.id == Hold.copy_id)
        .where(Hold.id == hold.id)
    ).one()
    rules = find_rules(session, category, material_type, branch_id)
    refused = refusal(rules[0]) if rules else None
    if not rules or refused is not None:
        message = CODES["no_loan_policy" if refused is None else refused.code]
        raise PickupNotAllowed(
            message, details=[fault("body", "/pickup_branch", "policy", message)]
        )
    return rules[0]


def _unknown_branch(changes: JSON) -> ReferenceUnknown:
    message = f"No branch has the key {changes.get('pickup_branch')}."
    details = [fault("body", "/pickup_branch", "reference", message)]
    return ReferenceUnknown(message, details=details)
