"""HTTP face of web sessions."""

from typing import Unpack
from uuid import UUID

import flask

from circdesk.auth import sessions
from circdesk.auth.models import WebSession
from circdesk.auth.sessions import CLEAR_COOKIE, JSON, present_session, session_cookie
from circdesk.auth.sign_in import sign_in
from circdesk.db.pagination import Page, PageQuery
from circdesk.db.unit_of_work import current_session
from circdesk.settings import Settings
from circdesk.visits import current_caller, current_user_id


def create_session(*, body: JSON) -> tuple[JSON, int, dict[str, str]]:
    """Sign in."""
    session = current_session()
    user = sign_in(session, body["email"], body["password"])
    web_session, token = sessions.start_session(session, user)
    cookie = session_cookie(token, _settings().public_url or "")
    headers = {"Location": "/api/session", "Set-Cookie": cookie, "Cache-Control": "no-store"}
    return _present(web_session), 201, headers


def get_session() -> tuple[JSON, int, dict[str, str]]:
    """Read the session that is calling."""
    session_id = current_caller().credential_id
    web_session = sessions.read_session(current_session(), session_id)
    return _present(web_session), 200, {"Cache-Control": "no-store"}


def delete_session() -> tuple[None, int, dict[str, str]]:
    """Sign out."""
    sessions.end_session(current_session(), current_caller().credential_id)
    return None, 204, {"Set-Cookie": CLEAR_COOKIE}


def list_my_sessions(**query: Unpack[PageQuery]) -> Page:
    """List the caller's sessions."""
    return sessions.list_sessions(current_session(), current_user_id(), query)


def delete_my_session(*, session_id: UUID) -> tuple[None, int, dict[str, str]]:
    """End one of the caller's sessions."""
    sessions.revoke_session(current_session(), current_user_id(), session_id)
    ends_itself = session_id == current_caller().credential_id
    return None, 204, {"Set-Cookie": CLEAR_COOKIE} if ends_itself else {}


def _present(web_session: WebSession) -> JSON:
    return present_session(web_session, _settings().secret_key.get_secret_value())


def _settings() -> Settings:
    settings: Settings = flask.current_app.extensions["circdesk.settings"]
    return settings
