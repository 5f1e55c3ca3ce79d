"""Resets of passwords: by a token that staff or the mail hook hand over, once and for an hour."""

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, exists, select
from sqlalchemy.orm import Session

from circdesk import clock
from circdesk.accounts.access import raise_unless_member
from circdesk.accounts.models import User
from circdesk.accounts.users import find_user
from circdesk.audit.entries import record
from circdesk.auth.access import end_access
from circdesk.auth.lockout import forget_failures
from circdesk.auth.mail_hook import Letter, MailHook
from circdesk.auth.models import PasswordReset
from circdesk.auth.passwords import hash_password, raise_if_refused
from circdesk.auth.secrets import hash_secret, new_secret
from circdesk.auth.sign_in import by_email
from circdesk.contract.problems import Problem, fault
from circdesk.db.unit_of_work import Sessions, sessions_of, unit_of_work, unit_of_work_before
from circdesk.visits import Caller, current_visit

JSON = dict[str, Any]

LIFETIME = timedelta(hours=1)
# Anybody may ask for a letter to anybody; nobody gets more of them than one in this time.
_BETWEEN_LETTERS = timedelta(minutes=1)


class ResetTokenInvalid(Problem):
    """No password can be reset with this token."""

    code = "reset_token_invalid"
    status = 422
    title = "The token is unknown, used, or expired."
    advice = "Ask for another one; a token is good once, and for an hour."


def create_reset(session: Session, caller: Caller, key: str) -> JSON:
    """A token that sets the user's password. Raises NotFound, and ScopeMissing for staff."""
    user = find_user(session, key, changing=True)
    raise_unless_member(caller, user.role)
    token, reset = issue_reset(session, user)
    return {"token": token, "expires_at": reset.expires_at}


def send_reset(session: Session, mail_hook: MailHook, email: str) -> None:
    """Send a token to the user with this email; the caller cannot tell whether there is one."""
    sessions = sessions_of(session)
    mail_hook.send(lambda: _write_letter(sessions, email))


def redeem_reset(session: Session, token: str, new: str) -> None:
    """Set a password by a token, and sign the account out everywhere.

    Args:
        session: A unit of work that has not touched the database yet.
        token: The token.
        new: What the password is to be.

    Raises:
        ResetTokenInvalid: The token is unknown, used, or expired.
        PasswordTooCommon, PasswordUnreadable: The new password is refused; the token stays good.
        Overloaded: Too many people set and send passwords at the moment.
    """
    with unit_of_work_before(session, writing=False) as before:
        owner = _find_owner(before, token)
    raise_if_refused(new, owner, pointer="/new_password")
    hashed = hash_password(new)
    user = session.get_one(User, owner.id, with_for_update=True)
    used = delete(PasswordReset).where(_is_good(token)).returning(PasswordReset.user_id)
    if session.scalars(used).one_or_none() is None:
        raise _invalid()
    user.password_hash, user.password_changed_at = hashed, clock.now()
    end_access(session, user.id)
    forget_failures(session, user, current_visit().address)
    record(session, "password_reset.redeem", "user", user.id, user_id=user.id)


def _write_letter(sessions: Sessions, email: str) -> Letter | None:
    with unit_of_work(sessions, writing=True) as session:
        user = session.scalar(
            select(User).where(by_email(email), User.status == "active").with_for_update()
        )
        if user is None or _had_letter(session, user):
            return None
        token, reset = issue_reset(session, user)
        return {
            "event": "password_reset",
            "email": user.email,
            "name": user.name,
            "token": token,
            "expires_at": reset.expires_at.isoformat().replace("+00:00", "Z"),
        }


def _had_letter(session: Session, user: User) -> bool:
    recent = PasswordReset.created_at > clock.now() - _BETWEEN_LETTERS
    return bool(session.scalar(select(exists().where(PasswordReset.user_id == user.id, recent))))


def issue_reset(session: Session, user: User) -> tuple[str, PasswordReset]:
    """A token that sets the user's password, and the reset that is stored of it."""
    now, token = clock.now(), new_secret()
    reset = PasswordReset(
        token_hash=hash_secret(token), user_id=user.id, created_at=now, expires_at=now + LIFETIME
    )
    session.add(reset)
    record(session, "password_reset.create", "user", user.id)
    return token, reset


def _find_owner(session: Session, token: str) -> User:
    owner = select(User).join(PasswordReset, PasswordReset.user_id == User.id)
    user = session.scalar(owner.where(_is_good(token)))
    if user is None:
        raise _invalid()
    return user


def _is_good(token: str) -> ColumnElement[bool]:
    return and_(
        PasswordReset.token_hash == hash_secret(token), PasswordReset.expires_at > clock.now()
    )


def _invalid() -> ResetTokenInvalid:
    message = "No password can be reset with this token."
    return ResetTokenInvalid(message, details=[fault("body", "/token", "token", message)])
