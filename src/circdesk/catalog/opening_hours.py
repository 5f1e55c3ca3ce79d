"""Opening hours of a branch: the periods of each weekday, in their order, none over another."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from circdesk.contract.problems import Problem, fault

JSON = dict[str, Any]
Hours = Mapping[str, list[dict[str, str]] | None]

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class OpeningHoursInvalid(Problem):
    """A period closes before it opens, or begins before the one before it has ended."""

    code: ClassVar[str] = "opening_hours_invalid"
    status: ClassVar[int] = 422
    title: ClassVar[str] = "The opening hours are impossible."
    advice: ClassVar[str] = (
        "Let each period close after it opens, and let the periods of a day not overlap. A night "
        "past midnight is two periods, one on each day."
    )


def ordered_hours(hours: Hours) -> JSON:
    """The same hours, each day's periods in order; days without any are left out.

    Times are `HH:MM`, local to the branch. Raises OpeningHoursInvalid with every fault.
    """
    open_days = {day: periods for day, periods in hours.items() if periods}
    faults = [found for day, periods in open_days.items() for found in _faults(day, periods)]
    if faults:
        number = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise OpeningHoursInvalid(f"The opening hours have {number}.", details=faults)
    return {
        day: sorted(periods, key=lambda period: period["opens"])
        for day, periods in open_days.items()
    }


def every_day(hours: Hours) -> JSON:
    """The hours as they are shown, with an empty day where the branch is closed."""
    return {day: hours.get(day) or [] for day in WEEKDAYS}


def _faults(day: str, periods: list[dict[str, str]]) -> Iterator[JSON]:
    """The faults of a day, at the places that the caller gave its periods."""
    latest = ""
    for place, period in sorted(enumerate(periods), key=lambda placed: placed[1]["opens"]):
        opens, closes = period["opens"], period["closes"]
        pointer = f"/opening_hours/{day}/{place}"
        # Texts of this form compare as the times do.
        if closes <= opens:
            yield fault(
                "body", f"{pointer}/closes", "after_opening", f"{closes} is not after {opens}"
            )
        elif opens < latest:
            message = f"{opens} is before {latest}, when the period before it closes"
            yield fault("body", f"{pointer}/opens", "overlap", message)
        latest = max(latest, closes)
