"""Web sessions: browsers that are signed in, by a cookie that scripts cannot read."""

import hmac
from datetime import timedelta
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, select
from sqlalchemy.orm import Session, joinedload

from circdesk import clock
from circdesk.accounts.models import User
from circdesk.audit.entries import record
from circdesk.auth.memory import forget_after_commit
from circdesk.auth.models import WebSession
from circdesk.auth.problems import CredentialsInvalid, challenge
from circdesk.auth.scopes import ROLE_SCOPES
from circdesk.auth.secrets import hash_secret, new_secret
from circdesk.contract.requests import NotFound
from circdesk.db.pagination import Page, PageQuery, paginate
from circdesk.visits import Caller, current_visit

JSON = dict[str, Any]

COOKIE = "circdesk_session"
CLEAR_COOKIE = f"{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"

# A session ends so long after the sign-in, and earlier when it is not used for so long.
LIFETIME = timedelta(hours=12)
IDLE_LIFETIME = timedelta(hours=2)

_SORTS = {"created_at": (WebSession.created_at,)}


def find_session(session: Session, token: str) -> Caller:
    """Who calls with this token of a web session. Raises CredentialsInvalid where it is stale."""
    found = select(WebSession).where(WebSession.token_hash == hash_secret(token), _is_live())
    web_session = session.scalars(found.options(joinedload(WebSession.user))).one_or_none()
    if web_session is None or web_session.user.status != "active":
        raise CredentialsInvalid("The session has ended.")
    return Caller(
        scopes=ROLE_SCOPES[web_session.user.role],
        credential="session",
        credential_id=web_session.id,
        user_id=web_session.user_id,
        role=web_session.user.role,
    )


def start_session(session: Session, user: User) -> tuple[WebSession, str]:
    """A new web session and its token, for a user who has just signed in.

    The session that the browser had ends: a cookie that was there before the sign-in, whoever
    put it there, is never the one after it.
    """
    visit, now, token = current_visit(), clock.now(), new_secret()
    if visit.caller and visit.caller.credential == "session":
        _end(session, WebSession.id == visit.caller.credential_id)
    web_session = WebSession(
        user=user,
        token_hash=hash_secret(token),
        last_used_at=now,
        expires_at=now + LIFETIME,
        address=visit.address,
        user_agent=visit.user_agent,
    )
    session.add(web_session)
    record(session, "session.create", "user", user.id, user_id=user.id)
    session.flush()
    return web_session, token


def read_session(session: Session, session_id: UUID) -> WebSession:
    """A web session that goes on, with its user. Raises CredentialsInvalid where it has ended."""
    found = select(WebSession).where(WebSession.id == session_id, _is_live())
    web_session = session.scalars(found.options(joinedload(WebSession.user))).one_or_none()
    if web_session is None:
        offer = challenge(["Session"], basic=False) | {"Set-Cookie": CLEAR_COOKIE}
        raise CredentialsInvalid("The session has ended.", headers=offer)
    return web_session


def end_session(session: Session, session_id: UUID) -> None:
    """Sign the browser out that is calling."""
    _end(session, WebSession.id == session_id)
    record(session, "session.delete", "session", session_id)


def list_sessions(session: Session, user_id: UUID, query: PageQuery) -> Page:
    """One page of the user's web sessions."""
    own = select(WebSession).where(WebSession.user_id == user_id, _is_live())
    return paginate(
        session,
        own,
        sorts=_SORTS,
        query=query,
        present=lambda row: present_entry(row[0]),
        scope="list_my_sessions",
    )


def revoke_session(session: Session, user_id: UUID, session_id: UUID) -> None:
    """End one of the user's web sessions. Raises NotFound for anybody else's."""
    mine = and_(WebSession.id == session_id, WebSession.user_id == user_id, _is_live())
    if not _end(session, mine):
        raise NotFound(f"You have no session with the id {session_id}.")
    record(session, "session.revoke", "session", session_id)


def present_session(web_session: WebSession, secret_key: str) -> JSON:
    """A web session as its own browser sees it; `user` must be loaded."""
    user = web_session.user
    return {
        "id": web_session.id,
        "user": {"id": user.id, "name": user.name, "role": user.role},
        "csrf_token": csrf_token(secret_key, web_session.token_hash),
        "scopes": sorted(ROLE_SCOPES[user.role]),
        "created_at": web_session.created_at,
        "expires_at": web_session.expires_at,
    }


def csrf_token(secret_key: str, token_hash: str) -> str:
    """The CSRF token of a web session: nobody can make it who has not both."""
    return hmac.new(secret_key.encode(), b"csrf:" + token_hash.encode(), "sha256").hexdigest()


def session_cookie(token: str, public_url: str) -> str:
    """The Set-Cookie header that signs a browser in (RFC 6265)."""
    lifetime = int(LIFETIME.total_seconds())
    secure = "" if is_plain_loopback(public_url) else "; Secure"
    return f"{COOKIE}={token}; Path=/; Max-Age={lifetime}; HttpOnly; SameSite=Lax{secure}"


def is_plain_loopback(url: str) -> bool:
    """Whether the service is reached without TLS on the same machine, as in development."""
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname is None:
        return False
    try:
        return ip_address(parts.hostname).is_loopback
    except ValueError:
        return parts.hostname == "localhost"


def _is_live() -> ColumnElement[bool]:
    now = clock.now()
    return and_(WebSession.expires_at > now, WebSession.last_used_at > now - IDLE_LIFETIME)


def _end(session: Session, which: ColumnElement[bool]) -> bool:
    """Delete web sessions; whether there was one."""
    forget_after_commit(session)
    ended = delete(WebSession).where(which).returning(WebSession.id)
    return bool(session.scalars(ended).all())


def present_entry(web_session: WebSession) -> JSON:
    """A web session as its owner sees it among the others."""
    caller = current_visit().caller
    return {
        "id": web_session.id,
        "current": caller is not None and caller.credential_id == web_session.id,
        "address": web_session.address,
        "user_agent": web_session.user_agent,
        "created_at": web_session.created_at,
        "last_used_at": web_session.last_used_at,
        "expires_at": web_session.expires_at,
    }
