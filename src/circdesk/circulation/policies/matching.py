"""Which rules are for a borrower, a material and a branch, the one that decides first."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, Select, case, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from circdesk.circulation.models import LoanPolicy

# A rule that names the branch is more specific than any that does not, and so on down.
_WEIGHTS = (
    (LoanPolicy.branch_id, 4),
    (LoanPolicy.user_category, 2),
    (LoanPolicy.material_type, 1),
)


def find_rules(
    session: Session, user_category: str | None, material_type: str | None, branch_id: UUID | None
) -> Sequence[LoanPolicy]:
    """All rules that match, the most specific first: that one decides, whole.

    None matches rules for any value alone. There are eight at most; one statement.
    """
    return session.scalars(matching(user_category, material_type, branch_id)).all()


def matching(
    user_category: str | None, material_type: str | None, branch_id: UUID | None
) -> Select[LoanPolicy]:
    """The statement of `find_rules`."""
    return (
        select(LoanPolicy)
        .where(
            _names(LoanPolicy.user_category, user_category),
            _names(LoanPolicy.material_type, material_type),
            _names(LoanPolicy.branch_id, branch_id),
        )
        .order_by(specificity().desc())
    )


def scope_of(user_category: str | None, material_type: str | None, branch_id: UUID | None) -> str:
    """What a rule is for in one word, as `LoanPolicy.scope` has it."""
    return f"{user_category or ''}/{material_type or ''}/{branch_id or ''}"


def specificity() -> ColumnElement[int]:
    """How specific a rule is; no two rules that match the same loan are equally so."""
    weights = (case((column.is_not(None), weight), else_=0) for column, weight in _WEIGHTS)
    first, *rest = weights
    return sum(rest, start=first)


def _names(column: InstrumentedAttribute[object], value: object) -> ColumnElement[bool]:
    return column.is_(None) if value is None else or_(column.is_(None), column == value)
