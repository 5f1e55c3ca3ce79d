"""Money: decimal amounts in the library's one currency, stored as whole hundredths."""

from decimal import Decimal
from typing import Annotated, Any

from sqlalchemy import BigInteger, Dialect, TypeDecorator
from sqlalchemy.orm import mapped_column

JSON = dict[str, Any]

CENT = Decimal("0.01")
NOTHING = Decimal("0.00")


class Hundredths(TypeDecorator[Decimal]):
    """A decimal of two places, stored as an integer, so that both engines add it up exactly."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(
        self,
        value: Decimal | None,
        dialect: Dialect,  # noqa: ARG002 - SQLAlchemy's signature.
    ) -> int | None:
        """Refuse what two places cannot hold."""
        if value is None:
            return None
        if value != value.quantize(CENT):
            raise ValueError(f"more than two decimal places: {value}")
        return int(value.scaleb(2))

    def process_result_value(
        self,
        value: Any,
        dialect: Dialect,  # noqa: ARG002 - SQLAlchemy's signature.
    ) -> Decimal | None:
        """Two places, always; sums come as other integers than columns do."""
        return None if value is None else Decimal(int(value)).scaleb(-2).quantize(CENT)


Amount = Annotated[Decimal, mapped_column(Hundredths)]


def present_money(amount: Decimal, currency: str) -> JSON:
    """Money as the contract shows it: the amount a decimal string of two places."""
    return {"amount": str(amount.quantize(CENT)), "currency": currency}
