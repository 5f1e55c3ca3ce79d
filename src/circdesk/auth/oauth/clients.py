"""Registered clients: what each may ask for, and where it may send people."""

import re
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from authlib.oauth2.rfc6749 import ClientMixin, InvalidScopeError
from sqlalchemy import Row, bindparam, select
from sqlalchemy.orm import Session

from circdesk.auth.models import OAuthClient

# A native app listens at whatever port it gets (RFC 8252, 7.3); `localhost` may lead elsewhere.
_LOOPBACK = re.compile(r"http://(127\.0\.0\.1|\[::1\])(?::([1-9][0-9]{0,4}))?(/.*)?")

# Every request for a token asks this; rows cost half of what entities do.
_BY_ID = select(*OAuthClient.__table__.columns).where(OAuthClient.id == bindparam("client_id"))


class Client(ClientMixin):  # type: ignore[misc]  # Authlib ships no types.
    """A registered client, as Authlib asks about it."""

    def __init__(self, registered: Row[Any]) -> None:
        self.registered = registered
        self.id: UUID = registered.id

    @property
    def is_public(self) -> bool:
        """Whether it cannot keep a secret (RFC 6749, 2.1)."""
        return bool(self.registered.type == "public")

    def check_grant_type(self, grant_type: str) -> bool:
        """Whether it may use a grant; one without a secret never acts for itself."""
        if grant_type == "client_credentials" and self.is_public:
            return False
        return bool(grant_type in self.registered.grant_types)

    def suffices(self, grant_type: str, requested: str | None) -> bool:
        """Whether it may use a grant, and has the scopes that a request asks for."""
        scopes = requested.split(" ") if requested else ()
        return self.check_grant_type(grant_type) and {*scopes} <= {*self.registered.scopes}

    def choose_scopes(self, requested: str | None) -> frozenset[str]:
        """The scopes that a request asks for, all of the client's where it names none.

        Raises:
            InvalidScopeError: One is unknown, or not this client's.
        """
        own = frozenset(self.registered.scopes)
        scopes = frozenset(requested.split(" ")) if requested else own
        if not scopes <= own:
            raise InvalidScopeError("The client has not all of the scopes that were requested.")
        return scopes

    def may_redirect_to(self, redirect_uri: str) -> bool:
        """Whether a redirect URI is registered, letter for letter but for a loopback's port."""
        registered = self.registered.redirect_uris
        return redirect_uri in registered or _without_port(redirect_uri) in _loopbacks(registered)


def find_client(session: Session, client_id: str) -> Client | None:
    """The client with this id, written as we write it."""
    try:
        key = UUID(client_id)
    except ValueError:
        return None
    if str(key) != client_id:
        return None
    registered = session.execute(_BY_ID, {"client_id": key}).one_or_none()
    return Client(registered) if registered else None


def _loopbacks(uris: Iterable[str]) -> set[tuple[str, str]]:
    return {found for uri in uris if (found := _without_port(uri))}


def _without_port(uri: str) -> tuple[str, str] | None:
    """Host and path of a loopback URI; None for any other."""
    match = _LOOPBACK.fullmatch(uri)
    if match is None or int(match[2] or 0) > 65_535:
        return None
    return match[1], match[3] or ""
