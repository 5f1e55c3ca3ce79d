"""When loans are due by a rule, in the calendar of a branch."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from circdesk.circulation.models import LoanPolicy
from circdesk.circulation.policies.calendars import Calendar
from circdesk.circulation.policies.due_dates import Due, due_date

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday")
WORKING = {day: [{"opens": "09:00", "closes": "18:00"}] for day in WEEKDAYS}
SPLIT = {
    day: [{"opens": "09:30", "closes": "13:00"}, {"opens": "14:00", "closes": "18:00"}]
    for day in WEEKDAYS
}
CHRISTMAS_WEEK = [f"2026-12-{day}" for day in range(24, 32)] + ["2027-01-01"]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def calendar(zone: str = "Europe/Berlin", hours: Any = WORKING, closed: Any = ()) -> Calendar:
    return Calendar(zone, hours, closed)


def days(number: int, closed_days: str = "next_open_day") -> LoanPolicy:
    return LoanPolicy(period_unit="days", period_length=number, closed_days=closed_days)


def hours(number: int, closed_days: str = "next_open_day") -> LoanPolicy:
    return LoanPolicy(period_unit="hours", period_length=number, closed_days=closed_days)


def fixed(day: date, closed_days: str = "next_open_day") -> LoanPolicy:
    return LoanPolicy(period_unit="fixed_date", period_date=day, closed_days=closed_days)


class TestDays:
    @pytest.mark.parametrize(
        ("zone", "start", "due"),
        [
            ("Europe/Berlin", "2026-03-23T10:00", "2026-04-06T16:00"),
            ("Europe/Berlin", "2026-10-19T10:00", "2026-11-02T17:00"),
            ("Europe/Lisbon", "2026-03-23T10:00", "2026-04-06T17:00"),
            ("Europe/Lisbon", "2026-10-19T10:00", "2026-11-02T18:00"),
            ("America/New_York", "2026-03-02T15:00", "2026-03-16T22:00"),
            ("America/New_York", "2026-10-26T15:00", "2026-11-09T23:00"),
        ],
    )
    def test_they_end_at_closing_time_across_daylight_saving(
        self, zone: str, start: str, due: str
    ) -> None:
        assert due_date(days(14), calendar(zone), utc(start)) == Due(
            utc(due), moved=False, over=False
        )

    def test_they_are_counted_from_the_day_at_the_branch(self) -> None:
        # Past midnight in Berlin, where it is Tuesday already.
        found = due_date(days(7), calendar(), utc("2026-01-05T23:30"))
        assert found.at == utc("2026-01-13T17:00")

    def test_a_leap_day_is_counted(self) -> None:
        assert due_date(days(7), calendar(), utc("2028-02-24T10:00")).at == utc("2028-03-02T17:00")
        assert due_date(days(7), calendar(), utc("2027-02-24T10:00")).at == utc("2027-03-03T17:00")
        assert due_date(days(1), calendar(), utc("2028-02-28T10:00")).at == utc("2028-02-29T17:00")

    @pytest.mark.parametrize(
        ("strategy", "due", "moved"),
        [
            ("keep", "2026-12-25T22:59:59", False),
            ("next_open_day", "2027-01-04T17:00", True),
            ("previous_open_day", "2026-12-23T17:00", True),
        ],
    )
    def test_a_closed_christmas_week_is_kept_or_left(
        self, strategy: str, due: str, *, moved: bool
    ) -> None:
        found = due_date(
            days(14, strategy), calendar(closed=CHRISTMAS_WEEK), utc("2026-12-11T10:00")
        )
        assert found == Due(utc(due), moved=moved, over=False)

    def test_the_previous_open_day_is_never_the_day_of_lending(self) -> None:
        # One day from a Friday is a Saturday, and the day before that the Friday itself.
        found = due_date(days(1, "previous_open_day"), calendar(), utc("2026-01-09T10:00"))
        assert found == Due(utc("2026-01-12T17:00"), moved=True, over=False)

    def test_changed_hours_count_for_what_is_lent_from_then_on(self) -> None:
        start = utc("2026-01-05T10:00")
        late = {day: [{"opens": "09:00", "closes": "20:00"}] for day in WEEKDAYS}
        assert due_date(days(7), calendar(), start).at == utc("2026-01-12T17:00")
        assert due_date(days(7), calendar(hours=late), start).at == utc("2026-01-12T19:00")

    def test_a_branch_without_any_hours_ends_the_day_at_midnight(self) -> None:
        found = due_date(days(6), calendar(hours={}), utc("2026-01-05T10:00"))
        assert found == Due(utc("2026-01-11T22:59:59"), moved=False, over=False)

    def test_a_branch_that_never_opens_keeps_the_day(self) -> None:
        closed = [
            date.fromordinal(date(2026, 1, 1).toordinal() + n).isoformat() for n in range(800)
        ]
        found = due_date(days(7), calendar(closed=closed), utc("2026-01-05T10:00"))
        assert found == Due(utc("2026-01-12T22:59:59"), moved=False, over=False)


class TestHours:
    def test_they_end_on_the_minute_while_it_is_open(self) -> None:
        found = due_date(hours(3), calendar(), utc("2026-01-05T10:15"))
        assert found == Due(utc("2026-01-05T13:15"), moved=False, over=False)

    def test_they_are_hours_on_the_clock_that_is_never_changed(self) -> None:
        around_the_clock = calendar(hours={})
        start = utc("2026-03-28T20:00")
        assert due_date(hours(12), around_the_clock, start).at == utc("2026-03-29T08:00")

    @pytest.mark.parametrize(
        ("strategy", "due", "moved"),
        [
            ("keep", "2026-01-05T13:30", False),
            ("next_open_day", "2026-01-05T14:00", True),
            ("previous_open_day", "2026-01-05T13:00", True),
        ],
    )
    def test_a_break_is_kept_or_left(self, strategy: str, due: str, *, moved: bool) -> None:
        found = due_date(
            hours(2, strategy), calendar("Europe/Lisbon", SPLIT), utc("2026-01-05T11:30")
        )
        assert found == Due(utc(due), moved=moved, over=False)

    def test_the_previous_closing_is_never_before_the_loan(self) -> None:
        # Lent in the break, and over within it.
        found = due_date(
            hours(1, "previous_open_day"),
            calendar("Europe/Lisbon", SPLIT | {"monday": SPLIT["monday"][:1]}),
            utc("2026-01-05T13:30"),
        )
        assert found == Due(utc("2026-01-06T09:30"), moved=True, over=False)

    def test_a_branch_that_never_opens_keeps_the_moment(self) -> None:
        closed = [
            date.fromordinal(date(2025, 1, 1).toordinal() + n).isoformat() for n in range(999)
        ]
        for strategy in ("next_open_day", "previous_open_day"):
            found = due_date(hours(2, strategy), calendar(closed=closed), utc("2026-01-05T10:00"))
            assert found == Due(utc("2026-01-05T12:00"), moved=False, over=False)


class TestFixedDate:
    def test_it_ends_when_the_branch_closes_on_it(self) -> None:
        found = due_date(fixed(date(2026, 7, 15)), calendar(), utc("2026-01-05T10:00"))
        assert found == Due(utc("2026-07-15T16:00"), moved=False, over=False)

    @pytest.mark.parametrize(
        ("strategy", "due", "moved"),
        [
            ("keep", "2026-07-18T21:59:59", False),
            ("next_open_day", "2026-07-20T16:00", True),
            ("previous_open_day", "2026-07-17T16:00", True),
        ],
    )
    def test_a_closed_one_is_kept_or_left(self, strategy: str, due: str, *, moved: bool) -> None:
        found = due_date(fixed(date(2026, 7, 18), strategy), calendar(), utc("2026-01-05T10:00"))
        assert found == Due(utc(due), moved=moved, over=False)

    def test_it_is_over_when_the_branch_has_closed(self) -> None:
        rule = fixed(date(2026, 7, 15))
        assert not due_date(rule, calendar(), utc("2026-07-15T15:59")).over
        assert due_date(rule, calendar(), utc("2026-07-15T16:00")).over
        assert due_date(rule, calendar(), utc("2026-09-01T10:00")).over
