"""Signing in: proving by an email and a password who one is."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, false, select
from sqlalchemy.orm import Session

from circdesk.accounts.models import User
from circdesk.audit.entries import record
from circdesk.auth.lockout import Attempt, count_attempt, take_back
from circdesk.auth.passwords import hashing
from circdesk.auth.problems import challenge
from circdesk.contract.problems import Problem
from circdesk.db.unit_of_work import unit_of_work_before
from circdesk.visits import find_visit


class SignInFailed(Problem):
    """Email and password prove no account that may sign in; which of them is wrong is not told."""

    code = "sign_in_failed"
    status = 401
    title = "The sign-in failed."
    advice = "Check the email and the password, or reset the password."
    # Failures count, and stand in the audit log.
    commits = True


@dataclass(frozen=True, slots=True)
class Proof:
    """What a password proved.

    Attributes:
        user: Whose password was asked for; None for nobody's.
        password_hash: The password by today's parameters; None where it is wrong.
    """

    user: User | None
    password_hash: str | None
    attempt: Attempt


def sign_in(session: Session, email: str, password: str) -> User:
    """The user with this email and password; it takes as long, and tells as little, for nobody.

    Args:
        session: A unit of work that has not touched the database yet: the password is checked
            before it does, while nothing is locked.
        email: What the person gave as the email.
        password: What the person gave as the password.

    Raises:
        SignInFailed: There is no such user, the password is another, or the user may not sign in.
        TooManyAttempts: There were too many failures; the password was not looked at.
        Overloaded: Too many people sign in at the moment.
    """
    proof = prove(session, by_email(email), email, password)
    user = confirm(session, proof)
    if user is None:
        target = proof.user.id if proof.user else None
        kind = "user" if target else None
        record(session, "session.create", kind, target, outcome="failure")
        raise SignInFailed(
            "The email or the password is wrong.", headers=challenge(["Session"], basic=False)
        )
    return user


def prove(session: Session, whose: ColumnElement[bool], account: str, password: str) -> Proof:
    """Count an attempt and check the password; only `confirm` says what follows from it.

    Args:
        session: As for `sign_in`.
        whose: Which user is meant.
        account: What attempts count for where that is nobody, or nobody with an email.
        password: What is to be the user's password.

    Raises:
        TooManyAttempts, Overloaded: As `sign_in` does.
    """
    visit = find_visit()
    # The attempt counts once its turn to hash has come, so that waiting is no attempt.
    with hashing() as hasher:
        with unit_of_work_before(session, writing=True) as before:
            user = before.scalars(select(User).where(whose)).one_or_none()
            account = user.email or account if user else account
            attempt = count_attempt(before, account, user, visit.address if visit else None)
        stored = user.password_hash if user else None
        good = hasher.verify(stored, password)
        renewed = hasher.renew(stored, password) if stored and good else None
    return Proof(user, renewed, attempt)


def confirm(session: Session, proof: Proof) -> User | None:
    """The user, held until the unit of work ends; None where the proof fails or holds no more."""
    if proof.user is None or proof.password_hash is None:
        return None
    user = session.get(User, proof.user.id, with_for_update=True)
    if user is None or user.status != "active" or user.password_hash != proof.user.password_hash:
        return None
    user.password_hash = proof.password_hash
    take_back(session, proof.attempt)
    return user


def by_email(email: str) -> ColumnElement[bool]:
    """The condition for the user with this email, in whichever case it is written.

    Emails are stored in ASCII, and beyond it there are letters whose lower case is an ASCII one.
    """
    if email.isascii() and email.isprintable():
        return User.email == email.lower()
    return false()
