"""Credentials of each kind, got from a process as everybody gets them."""

import time
from uuid import UUID

import httpx

from circdesk.accounts.models import User
from circdesk.auth.models import OAuthClient
from circdesk.auth.passwords import hash_password
from circdesk.auth.secrets import hash_secret
from circdesk.db.unit_of_work import Sessions, unit_of_work
from tests.people import MEMBER_ID

Headers = dict[str, str]

PASSWORD = "seven quiet herons at noon"
CLIENT_ID = UUID("019b8d2b-8c00-7200-8000-0000000000fa")
_SECRET = "cds_the-secret-of-a-client-that-only-tests-know"
_REMEMBERED_SECONDS = 2
_CLIENT = {"client_id": str(CLIENT_ID), "client_secret": _SECRET}


def let_sign_in(sessions: Sessions, user_id: UUID = MEMBER_ID) -> None:
    """Give somebody the password."""
    with unit_of_work(sessions, writing=True) as session:
        session.get_one(User, user_id).password_hash = hash_password(PASSWORD)


def sign_in(url: str, email: str = "member@example.org") -> Headers:
    """The headers of a browser that has just signed in."""
    response = httpx.post(f"{url}/api/session", json={"email": email, "password": PASSWORD})
    assert response.status_code == 201, response.text
    cookie = response.headers["Set-Cookie"].partition(";")[0]
    return {"Cookie": cookie, "X-CSRF-Token": response.json()["csrf_token"]}


def register_client(sessions: Sessions) -> None:
    """Store a client that acts for itself."""
    client = OAuthClient(
        id=CLIENT_ID,
        name="For tests",
        type="confidential",
        secret_hash=hash_secret(_SECRET),
        grant_types=["client_credentials"],
        redirect_uris=[],
        scopes=["clients:read"],
    )
    with unit_of_work(sessions, writing=True) as session:
        session.add(client)
    # A process knows for a moment the key that signed before the database was emptied.
    time.sleep(_REMEMBERED_SECONDS)


def access_token(url: str) -> str:
    """A new access token of that client."""
    form = {"grant_type": "client_credentials", "scope": "clients:read"}
    response = httpx.post(f"{url}/oauth/token", data=form | _CLIENT)
    assert response.status_code == 200, response.text
    return str(response.json()["access_token"])


def bearer(token: str) -> Headers:
    """The headers of who calls with this token."""
    return {"Authorization": f"Bearer {token}"}


def revoke_token(url: str, token: str) -> None:
    """Take an access token back (RFC 7009)."""
    response = httpx.post(f"{url}/oauth/revoke", data={"token": token} | _CLIENT)
    assert response.status_code == 200, response.text
