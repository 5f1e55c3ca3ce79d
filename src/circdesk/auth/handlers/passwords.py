"""HTTP face of passwords."""

import flask

from circdesk.auth import resets
from circdesk.auth.password_changes import change_password
from circdesk.auth.sessions import JSON
from circdesk.db.unit_of_work import current_session
from circdesk.visits import current_caller, current_user_id


def change_my_password(*, body: JSON) -> None:
    """Change one's own password."""
    caller = current_caller()
    change_password(
        current_session(),
        current_user_id(),
        body["current_password"],
        body["new_password"],
        keep_session=caller.credential_id if caller.credential == "session" else None,
    )


def create_password_reset(*, user_id: str) -> tuple[JSON, int, dict[str, str]]:
    """Make a token that resets a user's password."""
    reset = resets.create_reset(current_session(), current_caller(), user_id)
    headers = {"Location": "/api/password-resets/redemptions", "Cache-Control": "no-store"}
    return reset, 201, headers


def send_password_reset(*, body: JSON) -> tuple[None, int]:
    """Send a token that resets one's password."""
    mail_hook = flask.current_app.extensions["circdesk.mail_hook"]
    resets.send_reset(current_session(), mail_hook, body["email"])
    return None, 202


def redeem_password_reset(*, body: JSON) -> None:
    """Reset a password by a token."""
    resets.redeem_reset(current_session(), body["token"], body["new_password"])
