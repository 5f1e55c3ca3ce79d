"""Registrations: how people become members by themselves, where the library lets them."""

from typing import Any, ClassVar

from sqlalchemy import event
from sqlalchemy.orm import Session

from circdesk.accounts.contents import apply
from circdesk.accounts.models import User
from circdesk.accounts.user_problems import EmailTaken
from circdesk.audit.entries import record
from circdesk.auth.mail_hook import MailHook
from circdesk.auth.resets import send_reset
from circdesk.contract.problems import Problem
from circdesk.settings import Settings

JSON = dict[str, Any]

# What people do not choose themselves.
_MEMBER = {"role": "member", "card_number": None}


class RegistrationClosed(Problem):
    """The library's own staff makes the accounts."""

    code: ClassVar[str] = "registration_closed"
    status: ClassVar[int] = 409
    title: ClassVar[str] = "People cannot register themselves here."
    advice: ClassVar[str] = "Ask the library's staff for an account."


def raise_if_closed(settings: Settings) -> None:
    """Raise RegistrationClosed where accounts are made by staff alone."""
    if not settings.self_registration:
        raise RegistrationClosed("The library's staff makes the accounts.")


def register(session: Session, mail_hook: MailHook, content: JSON) -> None:
    """Make a member where the address is free, and send the token that sets the password.

    Nobody can tell from outside whether the address had an account: in either case something is
    stored and nothing is hashed, and a letter goes to the address alone.
    """
    user = User(status="active")
    try:
        with session.begin_nested():
            apply(session, user, content | _MEMBER)
    except EmailTaken:
        record(session, "user.register", outcome="failure", reason=EmailTaken.code)
    else:
        record(session, "user.register", "user", user.id)
    email = content["email"]
    # The letter is written elsewhere, where the account shows only once it is committed.
    event.listen(
        session, "after_commit", lambda _: send_reset(session, mail_hook, email), once=True
    )
