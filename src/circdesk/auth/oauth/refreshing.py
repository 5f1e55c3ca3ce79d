"""The refresh token grant (RFC 6749, 6): each refresh token is used once (RFC 9700, 4.14.2)."""

from typing import Any

from authlib.oauth2.rfc6749 import InvalidGrantError, TokenMixin, grants
from sqlalchemy import select, update
from sqlalchemy.orm import Session, contains_eager

from circdesk import clock
from circdesk.accounts.models import User
from circdesk.auth.models import Grant, RefreshToken
from circdesk.auth.oauth.client_authentication import METHODS
from circdesk.auth.oauth.clients import Client
from circdesk.auth.oauth.grants import end_grant
from circdesk.auth.oauth.issuing import make_token, narrow_to_user, raise_if_other_resource
from circdesk.auth.secrets import hash_secret


class IssuedRefreshToken(TokenMixin):  # type: ignore[misc]  # Authlib ships no types.
    """A stored refresh token, as Authlib asks about it."""

    def __init__(self, stored: RefreshToken) -> None:
        self.stored = stored
        self.grant = stored.grant

    @property
    def is_alive(self) -> bool:
        """Whether it may still be used: once, in time, and while the user's account is open."""
        is_over = self.stored.used_at or self.grant.revoked_at
        is_open = self.grant.user.status == "active"
        return is_open and not is_over and self.stored.expires_at > clock.now()

    def check_client(self, client: Client) -> bool:
        """Whether it was given to this client."""
        return self.grant.client_id == client.id

    def get_scope(self) -> str:
        """What was granted; no refresh asks for more."""
        return " ".join(self.grant.scopes)


class RefreshTokenGrant(grants.RefreshTokenGrant):  # type: ignore[misc]  # Authlib has no types.
    """Replaces a refresh token; whoever brings one again ends the whole family."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> IssuedRefreshToken | None:
        """The token, if it is alive and its client's; it is not used up by this yet."""
        token = find_refresh_token(self.request.session, refresh_token)
        if token is None:
            return None
        if not token.check_client(self.client):
            self._end(token, "refresh_token_of_other_client")
        elif token.stored.used_at is not None:
            self._end(token, "refresh_token_reused")
        if not token.is_alive:
            return None
        raise_if_other_resource(self.request.form.get("resource"), token.grant.resource)
        return token

    def authenticate_user(self, token: IssuedRefreshToken) -> User:
        """The user who granted it."""
        return token.grant.user

    def issue_token(self, _user: User, token: IssuedRefreshToken) -> dict[str, Any]:
        """The body of the answer. Raises InvalidGrantError where another request came first."""
        requested = self.request.payload.scope
        scopes = narrow_to_user(token.grant, requested.split() if requested else token.grant.scopes)
        if not _use_up(self.request.session, token.stored):
            self._end(token, "refresh_token_reused")
            raise InvalidGrantError("The refresh token was used before.")
        self.request.grant = token.grant
        access_tokens = self.server.access_tokens
        return make_token(access_tokens, self.request, scopes, grant=token.grant, refreshable=True)

    def revoke_old_credential(self, token: IssuedRefreshToken) -> None:
        """It was used up before its successor was made, so that no two requests make one."""

    def _end(self, token: IssuedRefreshToken, reason: str) -> None:
        session = self.request.session
        end_grant(session, token.grant.id, client_id=self.client.id, reason=reason)


def find_refresh_token(session: Session, refresh_token: str) -> IssuedRefreshToken | None:
    """The refresh token with what was granted, to whom, by whom."""
    found = (
        select(RefreshToken)
        .join(RefreshToken.grant)
        .join(Grant.user)
        .join(Grant.client)
        .where(RefreshToken.token_hash == hash_secret(refresh_token))
        .options(
            contains_eager(RefreshToken.grant).options(
                contains_eager(Grant.user), contains_eager(Grant.client)
            )
        )
    )
    stored = session.scalars(found).one_or_none()
    return IssuedRefreshToken(stored) if stored else None


def _use_up(session: Session, stored: RefreshToken) -> bool:
    """Use the token up; False where another request has done so, however shortly before."""
    used = (
        update(RefreshToken)
        .where(RefreshToken.token_hash == stored.token_hash, RefreshToken.used_at.is_(None))
        .values(used_at=clock.now())
        .returning(RefreshToken.token_hash)
    )
    return session.execute(used).scalar_one_or_none() is not None
