"""Due dates: when a loan ends by a rule, in the calendar of the branch."""

from datetime import date, datetime, timedelta
from typing import NamedTuple

from circdesk.circulation.models import LoanPolicy
from circdesk.circulation.policies.calendars import Calendar

_DAY = timedelta(days=1)


class Due(NamedTuple):
    """When a loan is due.

    Attributes:
        at: The moment, in UTC.
        moved: Whether it was moved, because the branch is closed when it would have been.
        over: Whether that is not after the loan began, as with a fixed date that has passed.
    """

    at: datetime
    moved: bool
    over: bool


def due_date(rule: LoanPolicy, calendar: Calendar, start: datetime) -> Due:
    """When a loan that begins, or begins anew, at `start` is due by a rule.

    Days are counted from the day at the branch, and end when it closes; hours from the moment.
    """
    at, moved = (_by_hours if rule.period_unit == "hours" else _by_day)(rule, calendar, start)
    return Due(at, moved, over=at <= start)


def _by_day(rule: LoanPolicy, calendar: Calendar, start: datetime) -> tuple[datetime, bool]:
    today = calendar.local_day(start)
    wanted = _wanted_day(rule, today)
    day = _moved_day(rule.closed_days, calendar, wanted, today + _DAY)
    return calendar.closing(day), day != wanted


def _wanted_day(rule: LoanPolicy, today: date) -> date:
    if rule.period_unit == "fixed_date":
        assert rule.period_date is not None  # noqa: S101 - each unit has its own, by the contract.
        return rule.period_date
    return today + timedelta(days=rule.period_length or 0)


def _moved_day(strategy: str, calendar: Calendar, day: date, earliest: date) -> date:
    """The day itself where the branch is open on it; else another, by the strategy."""
    if strategy == "keep" or calendar.is_open(day):
        return day
    if strategy == "previous_open_day":
        previous = calendar.previous_open_day(day)
        if previous >= earliest:
            return previous
    return calendar.next_open_day(day)


def _by_hours(rule: LoanPolicy, calendar: Calendar, start: datetime) -> tuple[datetime, bool]:
    wanted = start + timedelta(hours=rule.period_length or 0)
    if rule.closed_days == "keep" or calendar.is_open_at(wanted):
        return wanted, False
    if rule.closed_days == "previous_open_day":
        previous = calendar.previous_closing(wanted)
        if previous is not None and previous > start:
            return previous, True
    following = calendar.next_opening(wanted)
    return (wanted, False) if following is None else (following, True)
