"""Changing one's own password, by the old one."""

from uuid import UUID

from sqlalchemy.orm import Session

from circdesk import clock
from circdesk.accounts.models import User
from circdesk.audit.entries import record
from circdesk.auth.access import end_access
from circdesk.auth.passwords import hash_password, raise_if_refused
from circdesk.auth.sign_in import confirm, prove
from circdesk.contract.problems import Problem, fault
from circdesk.db.unit_of_work import unit_of_work_before


class PasswordWrong(Problem):
    """The old password is another; it counts like a failed sign-in."""

    code = "password_wrong"
    status = 422
    title = "The present password is another."
    advice = "Send the present password, or have it reset where it is forgotten."
    commits = True


def change_password(
    session: Session, user_id: UUID, present: str, new: str, *, keep_session: UUID | None
) -> None:
    """Replace a password, and sign the account out everywhere else.

    Args:
        session: A unit of work that has not touched the database yet.
        user_id: The account.
        present: What the person gave as the present password.
        new: What it is to be.
        keep_session: The web session that goes on.

    Raises:
        PasswordTooCommon, PasswordUnreadable: The new one is refused.
        PasswordWrong: The present one is another, or there is none.
        TooManyAttempts, Overloaded: As `sign_in` does.
    """
    with unit_of_work_before(session, writing=False) as before:
        raise_if_refused(new, before.get_one(User, user_id), pointer="/new_password")
    proof = prove(session, User.id == user_id, str(user_id), present)
    hashed = hash_password(new) if proof.password_hash else None
    user = confirm(session, proof)
    if user is None:
        record(session, "password.change", "user", user_id, outcome="failure")
        message = "The present password is another."
        details = [fault("body", "/current_password", "password", message)]
        raise PasswordWrong(message, details=details)
    user.password_hash, user.password_changed_at = hashed, clock.now()
    end_access(session, user_id, keep_session=keep_session)
    record(session, "password.change", "user", user_id)
