"""The authorization code grant (RFC 6749, 4.1) with PKCE (RFC 7636), for every client."""

import re
from datetime import timedelta
from typing import Any

from authlib.oauth2.rfc6749 import AuthorizationCodeMixin, InvalidRequestError, grants
from authlib.oauth2.rfc7636 import CodeChallenge
from sqlalchemy import select, update
from sqlalchemy.orm import Session, contains_eager

from circdesk import clock
from circdesk.accounts.models import User
from circdesk.auth.models import AuthorizationCode, Grant
from circdesk.auth.oauth.client_authentication import METHODS
from circdesk.auth.oauth.clients import Client
from circdesk.auth.oauth.grants import end_grant
from circdesk.auth.oauth.issuing import make_token, narrow_to_user, raise_if_other_resource
from circdesk.auth.secrets import hash_secret, new_secret

CODE_LIFETIME = timedelta(seconds=60)
CODE_PREFIX = "cdc_"
# A SHA-256 digest in Base64url is 43 characters long, whatever was hashed.
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


def store_code(
    session: Session, grant: Grant, *, redirect_uri: str, given: bool, code_challenge: str
) -> str:
    """A code that is exchanged for tokens once; `given` says whether the request named the URI."""
    code, now = new_secret(CODE_PREFIX), clock.now()
    session.add(
        AuthorizationCode(
            code_hash=hash_secret(code),
            grant_id=grant.id,
            redirect_uri=redirect_uri,
            redirect_uri_given=given,
            code_challenge=code_challenge,
            created_at=now,
            expires_at=now + CODE_LIFETIME,
        )
    )
    return code


def read_code_challenge(parameters: dict[str, str]) -> str:
    """The challenge of an authorization request. Raises InvalidRequestError: S256 is a must."""
    challenge = parameters.get("code_challenge")
    # Who names no method means `plain` (RFC 7636, 4.3), which protects nothing once it is seen.
    if challenge is None or parameters.get("code_challenge_method") != "S256":
        raise InvalidRequestError("PKCE with the code_challenge_method S256 is required.")
    if not _CHALLENGE.fullmatch(challenge):
        raise InvalidRequestError("The code_challenge is none of S256.")
    return challenge


class CodeChallengeS256(CodeChallenge):  # type: ignore[misc]  # Authlib ships no types.
    """PKCE as Authlib checks it, but with S256 alone; it takes `plain` by default."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ("S256",)
    CODE_CHALLENGE_METHODS = {"S256": CodeChallenge.CODE_CHALLENGE_METHODS["S256"]}  # noqa: RUF012 - Authlib's name, never changed.

    def get_authorization_code_challenge_method(self, _code: "IssuedCode") -> str:
        """S256: no code is stored with another."""
        return "S256"


class IssuedCode(AuthorizationCodeMixin):  # type: ignore[misc]  # Authlib ships no types.
    """A stored code, as Authlib asks about it."""

    def __init__(self, stored: AuthorizationCode, *, needs_redirect_uri: bool) -> None:
        self.grant = stored.grant
        self.code_challenge = stored.code_challenge
        self._redirect_uri = stored.redirect_uri if needs_redirect_uri else None

    def get_redirect_uri(self) -> str | None:
        """The URI that the exchange must name; None where it need not."""
        return self._redirect_uri

    def get_scope(self) -> str:
        """What was granted."""
        return " ".join(self.grant.scopes)


class AuthorizationCodeGrant(grants.AuthorizationCodeGrant):  # type: ignore[misc]  # No types.
    """Exchanges a code for tokens, once; whoever tries it again ends what it gave."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    def query_authorization_code(self, code: str, client: Client) -> IssuedCode | None:
        """The code, which is used up by this, also where the rest of the request is wrong."""
        stored = _find(self.request.session, code)
        if stored is None or not self._is_good(stored, client):
            return None
        grant = self.request.grant = stored.grant
        raise_if_other_resource(self.request.form.get("resource"), grant.resource)
        named = stored.redirect_uri_given or self.request.payload.redirect_uri is not None
        return IssuedCode(stored, needs_redirect_uri=named)

    def _is_good(self, stored: AuthorizationCode, client: Client) -> bool:
        session, grant = self.request.session, stored.grant
        if grant.client_id != client.id:
            end_grant(session, grant.id, client_id=client.id, reason="code_of_other_client")
            return False
        if not _use_up(session, stored):
            end_grant(session, grant.id, client_id=client.id, reason="code_replayed")
            return False
        return stored.expires_at > clock.now() and grant.revoked_at is None

    def authenticate_user(self, code: IssuedCode) -> User | None:
        """The user who granted it, unless the account is closed by now."""
        user: User = code.grant.user
        return user if user.status == "active" else None

    def generate_token(self, *, include_refresh_token: bool, **_asked: Any) -> dict[str, Any]:
        """The body of the answer."""
        grant = self.request.grant
        return make_token(
            self.server.access_tokens,
            self.request,
            narrow_to_user(grant, grant.scopes),
            grant=grant,
            refreshable=include_refresh_token,
        )

    def delete_authorization_code(self, code: IssuedCode) -> None:
        """It stays, so that a replay is noticed."""


def _find(session: Session, code: str) -> AuthorizationCode | None:
    found = (
        select(AuthorizationCode)
        .join(AuthorizationCode.grant)
        .join(Grant.user)
        .join(Grant.client)
        .where(AuthorizationCode.code_hash == hash_secret(code))
        .options(
            contains_eager(AuthorizationCode.grant).options(
                contains_eager(Grant.user), contains_eager(Grant.client)
            )
        )
    )
    return session.scalars(found).one_or_none()


def _use_up(session: Session, stored: AuthorizationCode) -> bool:
    """Use the code up; False where that was done before, however shortly."""
    used = (
        update(AuthorizationCode)
        .where(AuthorizationCode.code_hash == stored.code_hash, AuthorizationCode.used_at.is_(None))
        .values(used_at=clock.now())
        .returning(AuthorizationCode.code_hash)
    )
    return session.execute(used).scalar_one_or_none() is not None
