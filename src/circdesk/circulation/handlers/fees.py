"""HTTP face of fees and of what people owe."""

from typing import Unpack
from uuid import UUID

from circdesk.circulation.fees import fee_lists, fees, payments
from circdesk.circulation.fees.fee_lists import EntryQuery, FeeQuery, OwnFeeQuery, UserFeeQuery
from circdesk.circulation.fees.fees import JSON
from circdesk.db.pagination import Page
from circdesk.db.unit_of_work import current_session
from circdesk.visits import current_caller, current_user_id


def list_fees(**query: Unpack[FeeQuery]) -> Page:
    """List fees."""
    return fee_lists.list_fees(current_session(), query)


def create_fee(*, body: JSON) -> tuple[JSON, int, dict[str, str]]:
    """Charge a fee by hand."""
    charged = fees.create_fee(current_session(), current_caller(), body)
    return charged, 201, {"Location": f"/api/fees/{charged['fee']['id']}"}


def get_fee(*, fee_id: UUID) -> JSON:
    """Read one fee."""
    return fees.read_fee(current_session(), current_caller(), fee_id)


def list_fee_entries(**query: Unpack[EntryQuery]) -> Page:
    """List the ledger of a fee."""
    return fee_lists.list_entries(current_session(), current_caller(), query)


def pay_fee(*, fee_id: UUID, body: JSON) -> JSON:
    """Take a payment."""
    return payments.pay_fee(current_session(), current_caller(), fee_id, body)


def waive_fee(*, fee_id: UUID, body: JSON) -> JSON:
    """Let a fee or a part of it go."""
    return payments.waive_fee(current_session(), current_caller(), fee_id, body)


def refund_fee(*, fee_id: UUID, body: JSON) -> JSON:
    """Give back what was paid."""
    return payments.refund_fee(current_session(), current_caller(), fee_id, body)


def list_user_fees(**query: Unpack[UserFeeQuery]) -> Page:
    """List what a user was charged."""
    return fee_lists.list_user_fees(current_session(), current_caller(), query)


def list_my_fees(**query: Unpack[OwnFeeQuery]) -> Page:
    """List what the caller was charged."""
    return fee_lists.list_own_fees(current_session(), current_user_id(), query)


def get_user_balance(*, user_id: str) -> JSON:
    """Read what a user owes."""
    return fee_lists.read_balance(current_session(), current_caller(), user_id)


def get_my_balance() -> JSON:
    """Read what the caller owes."""
    return fee_lists.read_balance(current_session(), current_caller(), current_user_id())
