"""The rules of the branch, and what they come to, reckoned day by day and apart from the service.

Loans end when the branch closes. For each day on which it is open after the day when a loan was
due, up to the day when it is back, there is a fee, but for the days of grace, and up to a cap.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

JSON = dict[str, Any]

ZONE = ZoneInfo("Europe/Berlin")
DAY = timedelta(days=1)
NOTHING = Decimal("0.00")
SHELF_DAYS = 7

_WEEK = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
# When it closes; on Sundays it does not open.
_CLOSES = {**dict.fromkeys(_WEEK[:5], "18:00"), "thursday": "20:00", "saturday": "14:00"}
HOURS = {day: [{"opens": "09:30", "closes": closes}] for day, closes in _CLOSES.items()}


@dataclass(frozen=True)
class Rule:
    """What is agreed when a copy is lent."""

    days: int
    renewals: int
    per_day: Decimal
    cap: Decimal
    grace: int
    lost: Decimal
    max_loans: int

    def as_policy(self) -> JSON:
        """The columns of a loan policy."""
        return {
            "period_length": self.days,
            "renewals": self.renewals,
            "fee_per_day": self.per_day,
            "fee_cap": self.cap,
            "grace_days": self.grace,
            "lost_fee": self.lost,
            "max_loans": self.max_loans,
            "max_overdue": 5,
            "max_debt": Decimal("20.00"),
            "max_holds": 5,
            "hold_shelf_days": SHELF_DAYS,
        }


GENERAL = Rule(28, 2, Decimal("0.20"), Decimal("10.00"), 0, Decimal("25.00"), 12)
STUDENT = Rule(14, 3, Decimal("0.10"), Decimal("3.05"), 2, Decimal("20.00"), 20)
VIDEO = Rule(7, 1, Decimal("1.00"), Decimal("12.00"), 1, Decimal("40.00"), 4)


def rule_for(category: str, material: str) -> Rule:
    """Who borrows counts for more than what is borrowed."""
    if category == "student":
        return STUDENT
    return VIDEO if material == "video" else GENERAL


@dataclass(frozen=True)
class Branch:
    """The days of the branch: those on which it is closed beside Sundays."""

    closed: frozenset[date]

    def is_open(self, day: date) -> bool:
        return day.weekday() != 6 and day not in self.closed

    def next_open(self, day: date) -> date:
        while not self.is_open(day):
            day += DAY
        return day

    def closing(self, day: date) -> datetime:
        """When it closes on a day on which it is open."""
        closes = time.fromisoformat(_CLOSES[_WEEK[day.weekday()]])
        return datetime.combine(day, closes, ZONE).astimezone(UTC)

    def due(self, rule: Rule, lent_on: date) -> datetime:
        return self.closing(self.next_open(lent_on + rule.days * DAY))

    def shelf_end(self, since: date) -> datetime:
        return self.closing(self.next_open(since + SHELF_DAYS * DAY))

    def growth(self, rule: Rule, due_on: date, until: date) -> Sequence[Decimal]:
        """What is added to the fee of a loan, day by day, where something is."""
        return [*self._growth(rule, due_on, until)]

    def _growth(self, rule: Rule, due_on: date, until: date) -> Iterator[Decimal]:
        late, fee, day = 0, NOTHING, due_on
        while day < until:
            day += DAY
            late += self.is_open(day)
            grown = min(max(late - rule.grace, 0) * rule.per_day, rule.cap)
            if grown > fee:
                yield grown - fee
            fee = grown


def year_of(now: datetime) -> tuple[date, date]:
    """The first and the last day of the next year to come that has a leap day, from December on."""
    year = now.year + 1
    while year % 4 or date(year - 1, 12, 1) <= now.date():
        year += 1
    return date(year - 1, 12, 1), date(year, 12, 1)


def closed_days(first: date) -> list[date]:
    """From Christmas Eve to New Year, and some days of spring and autumn."""
    days = [date(first.year, 12, 24) + place * DAY for place in range(9)]
    return [*days, date(first.year + 1, 5, 1), date(first.year + 1, 10, 3)]
