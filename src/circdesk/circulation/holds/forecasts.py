"""Forecasts: where a hold stands in its queue, and about when its turn comes."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from circdesk.circulation.holds.titles import Place, Title

# Nobody can tell what will be there later than this.
_HORIZON = timedelta(days=3660)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a hold can look forward to.

    Args:
        position: Its place in the queue, from 1.
        expected_on: The day at its pickup branch; None where nobody can tell, or it has its copy.
    """

    position: int
    expected_on: date | None


@dataclass(slots=True)
class _Source:
    """A copy that will be there for somebody, then for the next one, as far as that is known."""

    copy_id: UUID
    free_at: datetime | None
    lasts: timedelta | None

    def is_taken(self, now: datetime) -> None:
        """Let the next one have it only after a loan of this one."""
        if self.free_at is None or self.lasts is None or self.free_at - now > _HORIZON:
            self.free_at = None
        else:
            self.free_at += self.lasts


def forecast(title: Title, now: datetime) -> dict[UUID, Forecast]:
    """The forecast of each hold in the queue of a title, by its id.

    Each in turn gets the copy that is there first, for as long as that copy is lent at present.
    Who is suspended lets the others pass.
    """
    sources = [
        _Source(copy.copy_id, free_at, copy.lasts)
        for copy in title.copies
        if (free_at := copy.free_at(now)) is not None
    ]
    return {
        place.hold_id: Forecast(position, _turn(place, sources, now))
        for position, place in enumerate(title.queue, start=1)
    }


def _turn(place: Place, sources: list[_Source], now: datetime) -> date | None:
    if place.status != "waiting":
        return None
    fitting = [source for source in sources if source.free_at and place.takes(source.copy_id)]
    first = min(fitting, key=lambda source: source.free_at or now, default=None)
    if first is None or first.free_at is None:
        return None
    day = first.free_at.astimezone(place.zone).date()
    if place.waits(now):
        first.is_taken(now)
        return day
    return max(day, place.suspended_until or day)
