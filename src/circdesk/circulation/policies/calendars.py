"""Calendars: when a branch is open, by its own clock.

Days and hours are local to the branch; every moment that goes in or comes out is aware, and those
that come out are in UTC. Local wall time decides, so nothing is an hour off after the clocks were
changed.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from circdesk.catalog.models import Branch
from circdesk.catalog.opening_hours import WEEKDAYS

# Where there is no open day within a year, there is none worth waiting for.
_SEARCHED = 366
_DAY = timedelta(days=1)
_MIDNIGHT = 24 * 60
_LAST_SECOND = time(23, 59, 59)

# The opening and the closing of one span, in minutes after midnight.
Span = tuple[int, int]

_ALL_DAY: Sequence[Span] = ((0, _MIDNIGHT),)
_known: dict[UUID, tuple[datetime, "Calendar"]] = {}


class Calendar:
    """The days and hours on which a branch is open.

    A branch that has told no hours for any day of the week counts as open round the clock: it
    lends, after all. Its closed days are closed nevertheless.

    Args:
        zone: The name of its time zone, as the IANA database has it.
        hours: Its spans by weekday, in their order, as `circdesk.catalog.opening_hours` keeps them.
        closed: The days on which it is closed besides, as ISO dates.
    """

    def __init__(self, zone: str, hours: Mapping[str, Any], closed: Sequence[str]) -> None:
        self.zone = ZoneInfo(zone)
        self._week = [_spans(hours.get(day) or ()) for day in WEEKDAYS]
        if not any(self._week):
            self._week = [_ALL_DAY] * 7
        self._closed = frozenset(date.fromisoformat(day) for day in closed)
        # Those that make a difference; the others are closed by the week.
        self._days_off = sorted(day for day in self._closed if self._week[day.weekday()])
        self._closings: dict[date, datetime] = {}

    @classmethod
    def of(cls, branch: Branch | None) -> "Calendar":
        """The calendar of a branch, worked out once for each state of it.

        A branch that is gone has no calendar left: every day is open, by UTC.
        """
        if branch is None:
            return _OF_NONE
        known = _known.get(branch.id)
        if known is not None and known[0] == branch.updated_at:
            return known[1]
        calendar = cls(branch.time_zone, branch.opening_hours, branch.closed_days)
        _known[branch.id] = (branch.updated_at, calendar)
        return calendar

    def local_day(self, moment: datetime) -> date:
        """The day that it is at the branch in this moment."""
        return moment.astimezone(self.zone).date()

    def is_open(self, day: date) -> bool:
        """Whether the branch opens at all on this day."""
        return bool(self._spans_on(day))

    def is_open_at(self, moment: datetime) -> bool:
        """Whether the branch is open in this moment; it still is when it closes."""
        local = moment.astimezone(self.zone)
        seconds = local.hour * 3600 + local.minute * 60 + local.second + local.microsecond / 1e6
        spans = self._spans_on(local.date())
        return any(opens * 60 <= seconds <= closes * 60 for opens, closes in spans)

    def closing(self, day: date) -> datetime:
        """When the branch closes for the last time on this day; the day's end if it is closed."""
        if day not in self._closings:
            spans = self._spans_on(day)
            self._closings[day] = self._closing(day, spans[-1][1] if spans else _MIDNIGHT)
        return self._closings[day]

    def next_open_day(self, day: date) -> date:
        """The first open day from this one on; this one where none is within a year."""
        return next(filter(self.is_open, _days(day, _DAY)), day)

    def previous_open_day(self, day: date) -> date:
        """The last open day up to this one; this one where none is within a year."""
        return next(filter(self.is_open, _days(day, -_DAY)), day)

    def open_days(self, after: date, until: date) -> int:
        """How many days are open after the one day up to the other, which is counted too."""
        number = (until - after).days
        if number <= 0:
            return 0
        weeks, rest = divmod(number, 7)
        open_in_week = sum(map(bool, self._week))
        rests = (bool(self._week[(after.weekday() + 1 + place) % 7]) for place in range(rest))
        off = bisect_right(self._days_off, until) - bisect_right(self._days_off, after)
        return weeks * open_in_week + sum(rests) - off

    def next_opening(self, moment: datetime) -> datetime | None:
        """When the branch opens next, at this moment or after it; None for not within a year."""
        for day in _days(self.local_day(moment), _DAY):
            for opens, _ in self._spans_on(day):
                if (found := self._moment(day, _clock(opens))) >= moment:
                    return found
        return None

    def previous_closing(self, moment: datetime) -> datetime | None:
        """When the branch closed last, at this moment or before; None for not within a year."""
        for day in _days(self.local_day(moment), -_DAY):
            for _, closes in reversed(self._spans_on(day)):
                if (found := self._closing(day, closes)) <= moment:
                    return found
        return None

    def _spans_on(self, day: date) -> Sequence[Span]:
        return () if day in self._closed else self._week[day.weekday()]

    def _closing(self, day: date, minutes: int) -> datetime:
        # Midnight is a second of the next day already, and what is due then is due on this one.
        wall = _LAST_SECOND if minutes == _MIDNIGHT else _clock(minutes)
        # An hour that comes twice closes the second time, and one that is left out when it is over.
        return max(self._moment(day, wall), self._moment(day, wall.replace(fold=1)))

    def _moment(self, day: date, wall: time) -> datetime:
        return datetime.combine(day, wall, self.zone).astimezone(UTC)


def _spans(periods: Sequence[Mapping[str, str]]) -> Sequence[Span]:
    return [(_minutes(period["opens"]), _minutes(period["closes"])) for period in periods]


def _minutes(text: str) -> int:
    """Minutes after midnight of `HH:MM`, up to `24:00`."""
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)


def _clock(minutes: int) -> time:
    return time(*divmod(minutes, 60))


def _days(first: date, step: timedelta) -> Iterator[date]:
    return (first + number * step for number in range(_SEARCHED + 1))


_OF_NONE = Calendar("UTC", {}, ())
