"""Which rules are for a borrower, a copy and a branch, the one that decides first."""

from typing import Any, TypedDict

from sqlalchemy import ColumnElement, true
from sqlalchemy.orm import Session

from circdesk.accounts.models import User
from circdesk.accounts.users import find_user
from circdesk.catalog.branches import find_branch
from circdesk.catalog.copies import find_copy
from circdesk.circulation.policies.loan_policies import present_policy
from circdesk.circulation.policies.matching import find_rules
from circdesk.visits import Caller

JSON = dict[str, Any]


class EffectiveQuery(TypedDict):
    """What rules are asked for: a borrower and a copy, or what of them counts."""

    user: str | None
    copy: str | None
    user_category: str | None
    material_type: str | None
    branch: str | None


def list_effective(session: Session, caller: Caller, query: EffectiveQuery) -> JSON:
    """All rules that match, the most specific first.

    Raises NotFound for a user, a copy or a branch that is not there, and for a user whom the
    caller may not see, in the same words.
    """
    asked = _asked(session, caller, query)
    rules = find_rules(session, asked["user_category"], asked["material_type"], asked["branch_id"])
    return {**asked, "items": [present_policy(session, rule) for rule in rules]}


def _asked(session: Session, caller: Caller, query: EffectiveQuery) -> JSON:
    """What the rules are asked for; what is named itself counts before what user and copy say."""
    asked: JSON = {"user_category": None, "material_type": None, "branch_id": None}
    if query["user"] is not None:
        user = find_user(session, query["user"], _is_visible_to(caller))
        asked["user_category"] = user.category
    if query["copy"] is not None:
        copy = find_copy(session, query["copy"])
        asked |= {"material_type": copy.material_type, "branch_id": copy.branch_id}
    if query["branch"] is not None:
        asked["branch_id"] = find_branch(session, query["branch"]).id
    own = {"user_category": query["user_category"], "material_type": query["material_type"]}
    return asked | {name: value for name, value in own.items() if value is not None}


def _is_visible_to(caller: Caller) -> ColumnElement[bool]:
    return true() if caller.may("circulation:read") else User.id == caller.user_id
