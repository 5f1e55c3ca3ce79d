"""What can go wrong with users."""

from typing import ClassVar
from uuid import UUID

from circdesk.catalog.checks import suggestion
from circdesk.contract.problems import Problem, fault

CARD_KEY = "card:"


class EmailTaken(Problem):
    """Another user has this email address; only staff ever hear it."""

    code: ClassVar[str] = "email_taken"
    status: ClassVar[int] = 409
    title: ClassVar[str] = "Another user has this email address."
    advice: ClassVar[str] = "Use another address, or change the user in `suggestions` instead."


class CardNumberTaken(Problem):
    """Another user has a card with this number."""

    code: ClassVar[str] = "card_number_taken"
    status: ClassVar[int] = 409
    title: ClassVar[str] = "Another user has this card number."
    advice: ClassVar[str] = (
        "Use another number, or none for one that the service chooses; the user in `suggestions` "
        "has this one."
    )


class LastAdmin(Problem):
    """Without this user nobody would be left who may give roles."""

    code: ClassVar[str] = "last_admin"
    status: ClassVar[int] = 409
    title: ClassVar[str] = "This is the last active administrator."
    advice: ClassVar[str] = "Make somebody else an administrator first."


def email_taken(holder: UUID | None = None) -> EmailTaken:
    """The problem of an address that a user has; of a race it is not known which."""
    message = "Another user has this email address."
    calls = []
    if holder is not None:
        calls = [suggestion("get_user", {"user_id": str(holder)}, reason="It has this address.")]
    details = [fault("body", "/email", "unique", message)]
    return EmailTaken(message, details=details, suggestions=calls)


def card_number_taken(number: str) -> CardNumberTaken:
    """The problem of a card number that a user has."""
    message = f"Another user has the card number {number}."
    key = f"{CARD_KEY}{number}"
    return CardNumberTaken(
        message,
        details=[fault("body", "/card_number", "unique", message)],
        suggestions=[suggestion("get_user", {"user_id": key}, reason="It has this card number.")],
    )


def last_admin() -> LastAdmin:
    """The problem of taking the last administrator away."""
    return LastAdmin("No other active administrator would be left.")
