"""Reasons: why something is not allowed, must be confirmed, or is worth knowing.

Codes are stable, like those of problems: never renamed, never given another meaning. The contract
lists them (`ReasonCode`), and a test holds the two against each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

JSON = dict[str, Any]

OVERRIDE: Final = "circulation:override"

# What staff with the scope may lift; everything else is as it is.
_LIFTED_BY: Mapping[str, str] = MappingProxyType(
    {
        "card_expired": OVERRIDE,
        "user_blocked": OVERRIDE,
        "debt_limit": OVERRIDE,
        "overdue_limit": OVERRIDE,
        "loan_limit": OVERRIDE,
        "hold_limit": OVERRIDE,
        "held_for_another": OVERRIDE,
        "not_for_loan": OVERRIDE,
        "copy_damaged": OVERRIDE,
        "renewal_limit": OVERRIDE,
        "too_soon": OVERRIDE,
        "held_by_others": OVERRIDE,
        "pickup_not_allowed": OVERRIDE,
        "self_service_not_allowed": "circulation:write",
    }
)

# Every code, with what it means; the contract has the same list.
CODES: Mapping[str, str] = MappingProxyType(
    {
        # The borrower.
        "user_unknown": "There is no such user.",
        "card_expired": "The card has expired.",
        "user_blocked": "The user is blocked.",
        "debt_limit": "The user owes too much.",
        "overdue_limit": "The user has too many overdue loans.",
        "loan_limit": "The user has as many loans as the rule allows.",
        "hold_limit": "The user has as many holds as the rule allows.",
        # The copy, or the title.
        "copy_unknown": "There is no such copy.",
        "book_unknown": "There is no such book.",
        "copy_on_loan": "The copy is on loan.",
        "held_for_another": "The copy is held for somebody else.",
        "copy_in_transit": "The copy is on its way to another branch.",
        "copy_on_order": "The copy has not arrived yet.",
        "not_for_loan": "The copy is not for loan.",
        "copy_damaged": "The copy is damaged.",
        "copy_lost": "The copy is lost.",
        "copy_missing": "The copy is missing.",
        "copy_withdrawn": "The copy was withdrawn.",
        # The rules.
        "no_loan_policy": "No loan policy is for this.",
        "self_service_not_allowed": "This is lent at the desk only.",
        "loan_period_over": "The date on which such loans are due has passed.",
        # Renewals.
        "loan_unknown": "There is no such loan.",
        "loan_not_open": "The loan is not open.",
        "renewal_limit": "The loan was renewed as often as the rule allows.",
        "too_soon": "It is too soon to renew.",
        "would_not_change": "Renewing would not change the due date.",
        "held_by_others": "Somebody else waits for it.",
        "loan_recalled": "The loan was recalled.",
        # Holds.
        "hold_unknown": "There is no such hold.",
        "hold_not_active": "The hold has ended.",
        "already_held": "The user already has a hold on this title.",
        "already_borrowed": "The user has this title on loan.",
        "holds_not_allowed": "The rule takes no holds.",
        "nothing_to_lend": "The title has no copy that could be lent.",
        "branch_unknown": "There is no such branch.",
        "pickup_not_allowed": "Holds cannot be picked up at this branch.",
        # To confirm, or to know.
        "same_title_on_loan": "The user has another copy of this title on loan.",
        "copy_available": "A copy is available at the pickup branch.",
        "due_date_moved": "The due date was moved off a closed day.",
        "card_expires_first": "The card expires before the loan is due.",
        "fulfils_hold": "This ends the user's own hold.",
        "no_open_loan": "The copy was not on loan.",
        "loan_overdue": "The loan is overdue.",
        "copy_found": "The copy had been given up.",
        "recalls_loan": "A borrower will be asked to bring a copy back sooner.",
    }
)


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason, with the values behind it; never who somebody else is.

    Args:
        code: One of `CODES`.
        values: What was compared, JSON values: `{"current": 15, "allowed": 15}`.
        message: The sentence for people, where there is a better one than the code's own.
    """

    code: str
    values: Mapping[str, Any] = field(default_factory=dict)
    message: str | None = None

    @property
    def permission(self) -> str | None:
        """The scope with which staff can lift it, or None where nobody can."""
        return _LIFTED_BY.get(self.code)

    def present(self) -> JSON:
        """The reason as the contract shows it."""
        return {
            "code": self.code,
            "message": self.message or CODES[self.code],
            "values": dict(self.values),
            "permission": self.permission,
        }
