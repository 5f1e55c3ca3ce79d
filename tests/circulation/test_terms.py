"""What overdue loans cost by the terms that they were lent on."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from circdesk.circulation.models import Loan, LoanPolicy
from circdesk.circulation.policies.calendars import Calendar
from circdesk.circulation.policies.terms import FeeTerms, overdue_fee

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday")
WORKING = {day: [{"opens": "09:00", "closes": "18:00"}] for day in WEEKDAYS}
BERLIN = Calendar("Europe/Berlin", WORKING, ["2026-12-25"])
# A Monday, at closing time.
DUE = datetime(2026, 11, 23, 17, tzinfo=UTC)


def terms(cap: str | None = "2.00", grace: int = 0) -> FeeTerms:
    return FeeTerms(Decimal("0.20"), Decimal(cap) if cap else None, grace, Decimal("25.00"))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("until", "fee"),
    [
        # Before it is due, in time, and after the closing of the same day.
        ("2026-11-20T10:00", "0.00"),
        ("2026-11-23T17:00", "0.00"),
        ("2026-11-23T22:59", "0.00"),
        # At midnight in Berlin the first day begins.
        ("2026-11-23T23:00", "0.20"),
        ("2026-11-27T10:00", "0.80"),
        ("2026-11-29T10:00", "0.80"),
        ("2026-11-30T10:00", "1.00"),
        ("2026-12-04T10:00", "1.80"),
        ("2027-11-23T10:00", "2.00"),
    ],
)
def test_each_open_day_costs_up_to_the_cap(until: str, fee: str) -> None:
    found = overdue_fee(terms(), BERLIN, DUE, at(until))
    assert str(found) == fee


def test_days_of_grace_are_free() -> None:
    assert overdue_fee(terms(grace=3), BERLIN, DUE, at("2026-11-26T10:00")) == Decimal(0)
    assert overdue_fee(terms(grace=3), BERLIN, DUE, at("2026-11-27T10:00")) == Decimal("0.20")


def test_without_a_cap_it_grows() -> None:
    # 261 working days in between, less Christmas.
    found = overdue_fee(terms(cap=None), BERLIN, DUE, at("2027-11-23T10:00"))
    assert found == Decimal("52.00")


def test_closed_days_cost_nothing() -> None:
    christmas_eve = at("2026-12-24T17:00")
    assert overdue_fee(terms(), BERLIN, christmas_eve, at("2026-12-27T10:00")) == Decimal(0)


def test_terms_outlive_their_rule() -> None:
    rule = LoanPolicy(
        fee_per_day=Decimal("0.10"), fee_cap=None, grace_days=2, lost_fee=Decimal("30.00")
    )
    agreed = FeeTerms.of(rule)
    assert agreed.as_json() == {
        "fee_per_day": "0.10",
        "fee_cap": None,
        "grace_days": 2,
        "lost_fee": "30.00",
    }
    rule.fee_per_day = Decimal("9.99")
    assert FeeTerms.of_loan(Loan(terms=agreed.as_json())) == agreed
    assert FeeTerms.of_loan(Loan(terms=terms().as_json())) == terms()
