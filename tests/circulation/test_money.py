from decimal import Decimal

import pytest
from sqlalchemy import Engine, literal, select

from circdesk.circulation.money import Hundredths, present_money


def test_money_is_a_decimal_string_of_two_places() -> None:
    assert present_money(Decimal("2.5"), "EUR") == {"amount": "2.50", "currency": "EUR"}


@pytest.mark.parametrize("amount", ["0.00", "-0.01", "12345678.90"])
def test_amounts_come_back_as_they_went_in(engine: Engine, amount: str) -> None:
    with engine.connect() as connection:
        found = connection.scalar(select(literal(Decimal(amount), Hundredths)))
    assert str(found) == amount


def test_a_third_place_is_refused() -> None:
    with pytest.raises(ValueError, match="more than two decimal places"):
        Hundredths().process_bind_param(Decimal("0.001"), None)  # type: ignore[arg-type]  # It asks for none.
