"""Numbers of library cards that the service chooses itself."""

import secrets

from sqlalchemy import select
from sqlalchemy.orm import Session

from circdesk.accounts.models import User
from circdesk.db.errors import DatabaseBusy

# All numbers of eight digits.
_FIRST, _SPAN = 10_000_000, 90_000_000
# With ten million users one number in nine is taken, and all of these together hardly ever.
_TRIED = 20


def new_card_number(session: Session) -> str:
    """A number of eight digits that nobody has.

    It is drawn at random, so that no number tells how many users there are, or guesses a
    neighbour's. The constraint on the table decides where two draw the same at the same time.

    Raises:
        DatabaseBusy: All that were tried are taken.
    """
    numbers = [str(_FIRST + secrets.randbelow(_SPAN)) for _ in range(_TRIED)]
    taken = set(session.scalars(select(User.card_number).where(User.card_number.in_(numbers))))
    free = next((number for number in numbers if number not in taken), None)
    if free is None:
        raise card_numbers_collide()
    return free


def card_numbers_collide() -> DatabaseBusy:
    """The problem of a chosen number that somebody else was given in the same moment."""
    return DatabaseBusy("Somebody else was given the same card.", headers={"Retry-After": "1"})
