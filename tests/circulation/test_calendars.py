"""Calendars of branches: days, hours and closings by the branch's own clock."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from circdesk.catalog.models import Branch
from circdesk.circulation.policies.calendars import Calendar

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday")
WORKING = {day: [{"opens": "09:00", "closes": "18:00"}] for day in WEEKDAYS}
# Two spans on weekdays, one on Saturdays.
SPLIT = {
    day: [{"opens": "09:30", "closes": "13:00"}, {"opens": "14:00", "closes": "18:00"}]
    for day in WEEKDAYS
} | {"saturday": [{"opens": "10:00", "closes": "13:00"}]}
CHRISTMAS_WEEK = [f"2026-12-{day}" for day in range(24, 32)] + ["2027-01-01"]


def calendar(zone: str = "Europe/Berlin", hours: Any = WORKING, closed: Any = ()) -> Calendar:
    return Calendar(zone, hours, closed)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class TestDays:
    def test_the_day_is_the_one_at_the_branch(self) -> None:
        moment = utc("2026-03-01T23:30")
        assert calendar("Europe/Berlin").local_day(moment) == date(2026, 3, 2)
        assert calendar("Europe/Lisbon").local_day(moment) == date(2026, 3, 1)
        assert calendar("America/New_York").local_day(utc("2026-03-02T04:30")) == date(2026, 3, 1)

    def test_a_weekday_without_hours_and_a_closed_day_are_closed(self) -> None:
        found = calendar(closed=["2026-12-25"])
        assert found.is_open(date(2026, 12, 24))
        assert not found.is_open(date(2026, 12, 25))
        assert not found.is_open(date(2026, 12, 26))

    def test_an_open_day_is_its_own_next_and_previous_one(self) -> None:
        monday = date(2026, 11, 23)
        assert calendar().next_open_day(monday) == calendar().previous_open_day(monday) == monday

    def test_a_closed_christmas_week_is_skipped_in_both_directions(self) -> None:
        found = calendar(closed=CHRISTMAS_WEEK)
        assert found.next_open_day(date(2026, 12, 24)) == date(2027, 1, 4)
        assert found.previous_open_day(date(2027, 1, 3)) == date(2026, 12, 23)

    def test_a_branch_that_is_closed_for_more_than_a_year_keeps_the_day(self) -> None:
        first = date(2026, 1, 1)
        closed = [(first + timedelta(days=number)).isoformat() for number in range(-400, 400)]
        found = calendar(closed=closed)
        assert found.next_open_day(first) == found.previous_open_day(first) == first
        assert found.next_opening(utc("2026-01-01T12:00")) is None
        assert found.previous_closing(utc("2026-01-01T12:00")) is None


class TestOpenDays:
    @pytest.mark.parametrize(
        ("after", "until", "number"),
        [
            (date(2026, 11, 20), date(2026, 11, 20), 0),
            (date(2026, 11, 20), date(2026, 11, 19), 0),
            # A weekend, the Monday after it, and a whole year.
            (date(2026, 11, 20), date(2026, 11, 22), 0),
            (date(2026, 11, 20), date(2026, 11, 23), 1),
            (date(2026, 11, 20), date(2026, 12, 4), 10),
            (date(2025, 12, 31), date(2026, 12, 31), 261),
        ],
    )
    def test_they_are_counted_after_the_first_up_to_the_last(
        self, after: date, until: date, number: int
    ) -> None:
        assert calendar().open_days(after, until) == number

    def test_a_leap_day_is_a_day(self) -> None:
        assert calendar().open_days(date(2028, 2, 28), date(2028, 3, 1)) == 2
        assert calendar().open_days(date(2027, 2, 28), date(2027, 3, 1)) == 1

    def test_it_agrees_with_counting_them_one_by_one(self) -> None:
        found = calendar(hours=SPLIT, closed=[*CHRISTMAS_WEEK, "2026-11-29"])
        first = date(2026, 11, 15)
        for start in range(14):
            for length in range(80):
                after = first + timedelta(days=start)
                days = [after + timedelta(days=1 + number) for number in range(length)]
                assert found.open_days(after, after + timedelta(days=length)) == sum(
                    map(found.is_open, days)
                )


class TestClosing:
    @pytest.mark.parametrize(
        ("zone", "day", "closes"),
        [
            # The last day before and the first one after the clocks are changed, both ways.
            ("Europe/Berlin", date(2026, 3, 27), "2026-03-27T17:00"),
            ("Europe/Berlin", date(2026, 3, 30), "2026-03-30T16:00"),
            ("Europe/Berlin", date(2026, 10, 23), "2026-10-23T16:00"),
            ("Europe/Berlin", date(2026, 10, 26), "2026-10-26T17:00"),
            ("Europe/Lisbon", date(2026, 3, 27), "2026-03-27T18:00"),
            ("Europe/Lisbon", date(2026, 3, 30), "2026-03-30T17:00"),
            ("Europe/Lisbon", date(2026, 10, 23), "2026-10-23T17:00"),
            ("Europe/Lisbon", date(2026, 10, 26), "2026-10-26T18:00"),
            ("America/New_York", date(2026, 3, 6), "2026-03-06T23:00"),
            ("America/New_York", date(2026, 3, 9), "2026-03-09T22:00"),
            ("America/New_York", date(2026, 10, 30), "2026-10-30T22:00"),
            ("America/New_York", date(2026, 11, 2), "2026-11-02T23:00"),
        ],
    )
    def test_it_is_the_same_on_the_wall_across_daylight_saving(
        self, zone: str, day: date, closes: str
    ) -> None:
        assert calendar(zone).closing(day) == utc(closes)

    def test_it_is_the_end_of_the_last_span(self) -> None:
        found = calendar("Europe/Lisbon", SPLIT)
        assert found.closing(date(2026, 1, 5)) == utc("2026-01-05T18:00")

    def test_a_closed_day_ends_with_its_last_second(self) -> None:
        assert calendar().closing(date(2026, 1, 4)) == utc("2026-01-04T22:59:59")

    def test_midnight_still_belongs_to_the_day(self) -> None:
        found = calendar(hours={"monday": [{"opens": "10:00", "closes": "24:00"}]})
        closes = found.closing(date(2026, 1, 5))
        assert closes == utc("2026-01-05T22:59:59")
        assert found.local_day(closes) == date(2026, 1, 5)

    def test_an_hour_that_comes_twice_closes_the_second_time(self) -> None:
        night = {"sunday": [{"opens": "00:00", "closes": "02:30"}]}
        assert calendar(hours=night).closing(date(2026, 10, 25)) == utc("2026-10-25T01:30")

    def test_an_hour_that_is_left_out_closes_when_it_is_over(self) -> None:
        night = {"sunday": [{"opens": "00:00", "closes": "02:30"}]}
        assert calendar(hours=night).closing(date(2026, 3, 29)) == utc("2026-03-29T01:30")

    @pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Africa/Cairo"])
    def test_it_falls_on_its_own_day_all_year_round(self, zone: str) -> None:
        for found in (calendar(zone), calendar(zone, {})):
            for number in range(366):
                day = date(2028, 1, 1) + timedelta(days=number)
                assert found.local_day(found.closing(day)) == day


class TestHours:
    def test_it_is_open_from_its_opening_up_to_its_closing(self) -> None:
        found = calendar("Europe/Lisbon", SPLIT)
        times = ["09:29", "09:30", "13:00", "13:01", "13:59", "14:00", "18:00", "18:01"]
        opened = [found.is_open_at(utc(f"2026-01-05T{time}")) for time in times]
        assert opened == [False, True, True, False, False, True, True, False]

    def test_it_opens_next_at_once_later_today_or_on_another_day(self) -> None:
        found = calendar("Europe/Lisbon", SPLIT)
        assert found.next_opening(utc("2026-01-05T09:30")) == utc("2026-01-05T09:30")
        assert found.next_opening(utc("2026-01-05T09:31")) == utc("2026-01-05T14:00")
        assert found.next_opening(utc("2026-01-10T11:00")) == utc("2026-01-12T09:30")

    def test_it_closed_last_just_now_earlier_today_or_on_another_day(self) -> None:
        found = calendar("Europe/Lisbon", SPLIT)
        assert found.previous_closing(utc("2026-01-05T13:00")) == utc("2026-01-05T13:00")
        assert found.previous_closing(utc("2026-01-05T17:00")) == utc("2026-01-05T13:00")
        assert found.previous_closing(utc("2026-01-05T09:00")) == utc("2026-01-03T13:00")


class TestWithoutHours:
    def test_a_branch_without_any_hours_is_open_all_day(self) -> None:
        found = calendar(hours={})
        assert found.is_open(date(2026, 1, 4))
        assert found.is_open_at(utc("2026-01-04T22:59:59.9"))
        assert found.closing(date(2026, 1, 4)) == utc("2026-01-04T22:59:59")
        assert found.open_days(date(2026, 1, 1), date(2026, 1, 15)) == 14

    def test_its_closed_days_are_closed(self) -> None:
        found = calendar(hours={}, closed=["2026-01-04"])
        assert not found.is_open(date(2026, 1, 4))
        assert found.open_days(date(2026, 1, 1), date(2026, 1, 15)) == 13


@pytest.fixture
def make_branch() -> Callable[..., Branch]:
    def make(**values: Any) -> Branch:
        known: Any = {"id": uuid4(), "time_zone": "Europe/Berlin", "closed_days": []}
        moment = utc("2026-01-01T00:00")
        return Branch(**{**known, "opening_hours": WORKING, "updated_at": moment, **values})

    return make


class TestOfBranch:
    def test_it_is_worked_out_once(self, make_branch: Callable[..., Branch]) -> None:
        branch = make_branch()
        assert Calendar.of(branch) is Calendar.of(branch)

    def test_it_changes_with_the_branch(self, make_branch: Callable[..., Branch]) -> None:
        branch = make_branch()
        monday = date(2026, 1, 5)
        assert Calendar.of(branch).closing(monday) == utc("2026-01-05T17:00")
        branch.opening_hours = {"monday": [{"opens": "09:00", "closes": "20:00"}]}
        branch.updated_at += timedelta(seconds=1)
        assert Calendar.of(branch).closing(monday) == utc("2026-01-05T19:00")

    def test_a_branch_that_is_gone_is_always_open(self) -> None:
        assert Calendar.of(None).closing(date(2026, 1, 4)) == utc("2026-01-04T23:59:59")
