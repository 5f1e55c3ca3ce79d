"""Revocation (RFC 7009) and introspection (RFC 7662) of what a client was given itself."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from authlib.oauth2.rfc6749 import InvalidGrantError, InvalidRequestError
from authlib.oauth2.rfc7009 import RevocationEndpoint as AuthlibRevocation
from authlib.oauth2.rfc7662 import IntrospectionEndpoint as AuthlibIntrospection

from circdesk.audit.entries import record
from circdesk.auth.oauth.client_authentication import BASIC, METHODS, POST
from circdesk.auth.oauth.clients import Client
from circdesk.auth.oauth.grants import end_grant
from circdesk.auth.oauth.refreshing import IssuedRefreshToken, find_refresh_token
from circdesk.auth.oauth.requests import EndpointRequest
from circdesk.auth.problems import (
    CredentialsExpired,
    CredentialsInvalid,
    CredentialsMalformed,
    CredentialsRevoked,
)
from circdesk.auth.revocations import revoke
from circdesk.auth.tokens import AccessTokens

_DESCRIBED = ("client_id", "sub", "exp", "iat", "aud", "iss", "jti")


class IssuedAccessToken:
    """An access token that is good, by its claims."""

    def __init__(self, claims: dict[str, Any]) -> None:
        self.claims = claims

    def check_client(self, client: Client) -> bool:
        """Whether it was given to this client."""
        return bool(self.claims["client_id"] == str(client.id))


Issued = IssuedAccessToken | IssuedRefreshToken


class RevocationEndpoint(AuthlibRevocation):  # type: ignore[misc]  # Authlib ships no types.
    """Takes back an access token, or all that a refresh token stands for."""

    CLIENT_AUTH_METHODS = METHODS

    def authenticate_token(self, request: EndpointRequest, client: Client) -> Issued | None:
        """The token; None for an unknown one, which is good as it is (RFC 7009, 2.2).

        Raises:
            InvalidGrantError: It is another client's.
        """
        token = _find_token(self.server.access_tokens, request)
        if token is not None and not token.check_client(client):
            raise InvalidGrantError("The token was given to another client.")
        return token

    def revoke_token(self, token: Issued, request: EndpointRequest) -> None:
        """End the grant of a refresh token, and of access tokens this one."""
        session, client = request.session, request.client
        if isinstance(token, IssuedRefreshToken):
            end_grant(session, token.grant.id, client_id=client.id, reason="token_revoked")
            return
        token_id = UUID(token.claims["jti"])
        revoke(session, token_id, datetime.fromtimestamp(token.claims["exp"] + 60, UTC))
        record(session, "token.revoke", "token", token_id, acting_client=client.id)


class IntrospectionEndpoint(AuthlibIntrospection):  # type: ignore[misc]  # Authlib has no types.
    """Tells a confidential client about its own tokens; those of others are inactive to it."""

    CLIENT_AUTH_METHODS = (BASIC, POST)

    def authenticate_token(self, request: EndpointRequest, client: Client) -> Issued | None:
        """The token, if it is alive and the client's own."""
        token = _find_token(self.server.access_tokens, request)
        if token is None or not token.check_client(client):
            return None
        if isinstance(token, IssuedRefreshToken) and not token.is_alive:
            return None
        return token

    def create_introspection_payload(self, token: Issued | None) -> dict[str, Any]:
        """The body of the answer (RFC 7662, 2.2)."""
        if token is None:
            return {"active": False}
        if isinstance(token, IssuedAccessToken):
            described = {name: token.claims[name] for name in _DESCRIBED}
            described |= {"token_type": "Bearer", "scope": token.claims["scope"]}
        else:
            described = self._describe(token)
        return {"active": True, **{name: value for name, value in described.items() if value}}

    def _describe(self, token: IssuedRefreshToken) -> dict[str, Any]:
        return {
            "client_id": str(token.grant.client_id),
            "sub": str(token.grant.user_id),
            "exp": int(token.stored.expires_at.timestamp()),
            "iat": int(token.stored.created_at.timestamp()),
            "aud": token.grant.resource,
            "iss": self.server.issuer,
            "scope": token.get_scope(),
        }


def _find_token(access_tokens: AccessTokens, request: EndpointRequest) -> Issued | None:
    """The token of the request, of whichever kind: a hint of it tells nothing that it does not."""
    text = request.form.get("token")
    if text is None:
        raise InvalidRequestError("The parameter token is missing.")
    if refresh_token := find_refresh_token(request.session, text):
        return refresh_token
    try:
        return IssuedAccessToken(access_tokens.read(request.session, text))
    except (CredentialsExpired, CredentialsInvalid, CredentialsMalformed, CredentialsRevoked):
        return None
