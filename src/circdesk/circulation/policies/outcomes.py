"""Outcomes: what a rule makes of a loan or a hold that is there, one facet at a time."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from circdesk.circulation.models import LoanPolicy
from circdesk.circulation.policies.calendars import Calendar
from circdesk.circulation.policies.due_dates import Due
from circdesk.circulation.policies.terms import FeeTerms

# A row of what is looked at: columns of a loan, or of a hold, and of whose it is.
AnyRow = Row[*tuple[Any, ...]]
DueDate = Callable[[LoanPolicy, Calendar, datetime], Due]
Outcome = Callable[[LoanPolicy, AnyRow, Calendar, "Person"], Any]


class Person:
    """What one person has, and how it counts against the limits of rules.

    Args:
        rows: The person's open loans, or active holds.
        since: Which column says when each of them began.
        debt: What the person owes.
        now: The present moment at the desk.
        due_date: The function of that name, which may remember what it has answered.
    """

    def __init__(
        self,
        rows: Sequence[AnyRow],
        since: str,
        debt: Decimal,
        now: datetime,
        due_date: DueDate,
    ) -> None:
        self.debt = debt
        self.now = now
        self.due_date = due_date
        self._rows = sorted(rows, key=attrgetter(since))
        self._places: dict[str, dict[UUID, int]] = {}

    def place(self, rule: LoanPolicy, row: AnyRow) -> int:
        """Which one it was of those that the rule counts, from 1; 0 where it does not count."""
        # The counts depend on nothing else of the rule.
        if rule.scope not in self._places:
            counted = (found.id for found in self._rows if _counts(rule, found))
            self._places[rule.scope] = {each: place for place, each in enumerate(counted, start=1)}
        return self._places[rule.scope].get(row.id, 0)

    def overdue(self) -> int:
        """How many of the loans are overdue now."""
        return sum(row.status == "open" and row.due_at < self.now for row in self._rows)


def outcome(facet: Outcome, rule: LoanPolicy | None, *of: Any) -> Any:
    """What the rule makes of it; None where there is no rule."""
    return None if rule is None else facet(rule, *of)


def _counts(rule: LoanPolicy, row: AnyRow) -> bool:
    return (
        row.status != "lost"
        and rule.material_type in (None, row.material_type)
        and rule.branch_id in (None, row.branch_id)
    )


def _is_lent(rule: LoanPolicy, loan: AnyRow, calendar: Calendar, person: Person) -> bool:
    within = rule.max_loans is None or person.place(rule, loan) <= rule.max_loans
    return rule.lends and within and not person.due_date(rule, calendar, loan.lent_at).over


def _due_at(rule: LoanPolicy, loan: AnyRow, calendar: Calendar, person: Person) -> datetime:
    return person.due_date(rule, calendar, loan.renewed_at or loan.lent_at).at


def _is_renewable(rule: LoanPolicy, loan: AnyRow, calendar: Calendar, person: Person) -> bool:
    due = person.due_date(rule, calendar, person.now)
    return (
        loan.status == "open"
        and rule.lends
        and loan.renewals < rule.renewals
        and not _is_too_soon(rule, loan, calendar, person.now)
        and (rule.max_overdue is None or person.overdue() <= rule.max_overdue)
        and (rule.max_debt is None or person.debt < rule.max_debt)
        and not due.over
        and due.at > loan.due_at
    )


def _is_too_soon(rule: LoanPolicy, loan: AnyRow, calendar: Calendar, now: datetime) -> bool:
    if rule.renewable_days is None:
        return False
    first = calendar.local_day(loan.due_at) - timedelta(days=rule.renewable_days)
    return calendar.local_day(now) < first


def _terms(rule: LoanPolicy, _loan: AnyRow, _calendar: Calendar, _person: Person) -> FeeTerms:
    return FeeTerms.of(rule)


def _recall_days(rule: LoanPolicy, _loan: AnyRow, _calendar: Calendar, _p: Person) -> int | None:
    return rule.recall_days


def _is_placed(rule: LoanPolicy, hold: AnyRow, _: Calendar, person: Person) -> bool:
    return rule.holds and (rule.max_holds is None or person.place(rule, hold) <= rule.max_holds)


def _shelf_days(rule: LoanPolicy, _hold: AnyRow, _calendar: Calendar, _person: Person) -> int:
    return rule.hold_shelf_days


# By the names of the contract.
OF_LOANS: Mapping[str, Outcome] = MappingProxyType(
    {
        "lending": _is_lent,
        "due_date": _due_at,
        "renewal": _is_renewable,
        "fees": _terms,
        "recall": _recall_days,
    }
)
OF_HOLDS: Mapping[str, Outcome] = MappingProxyType(
    {"placing": _is_placed, "shelf_days": _shelf_days}
)
