"""Issuing tokens: what every grant hands out in the end (RFC 6749, 5.1)."""

from collections.abc import Collection
from typing import Any

from authlib.oauth2.rfc6749 import InvalidScopeError, OAuth2Error

from circdesk import clock
from circdesk.audit.entries import record
from circdesk.auth.models import Grant, RefreshToken
from circdesk.auth.oauth.requests import EndpointRequest
from circdesk.auth.scopes import granted
from circdesk.auth.secrets import hash_secret, new_secret
from circdesk.auth.tokens import AccessTokens

REFRESH_TOKEN_PREFIX = "cdr_"  # noqa: S105 - it only tells what follows.


class InvalidTargetError(OAuth2Error):  # type: ignore[misc]  # Authlib ships no types.
    """The request asks for a token for a resource that is none of ours (RFC 8707, 2)."""

    error = "invalid_target"


def resource_of(issuer: str) -> str:
    """The one resource that tokens are for: the API of this service."""
    return f"{issuer}/api"


def raise_if_other_resource(requested: str | None, resource: str) -> None:
    """Raise InvalidTargetError where a request names another resource than the one there is."""
    if requested not in {None, resource}:
        raise InvalidTargetError(f"Tokens are given for {resource} alone.")


def narrow_to_user(grant: Grant, scopes: Collection[str]) -> frozenset[str]:
    """What of the scopes the client and the user's role still have.

    Raises:
        InvalidScopeError: Nothing is left.
    """
    narrowed = granted(grant.user.role, scopes) & frozenset(grant.client.scopes)
    if scopes and not narrowed:
        raise InvalidScopeError("The user has none of the scopes any more.")
    return narrowed


def make_token(
    access_tokens: AccessTokens,
    request: EndpointRequest,
    scopes: Collection[str],
    *,
    grant: Grant | None = None,
    refreshable: bool = False,
) -> dict[str, Any]:
    """The body of a token answer; nothing of it is stored yet.

    Args:
        access_tokens: Signs the access token.
        request: The request, with its client.
        scopes: What the access token may do.
        grant: What a user granted; None where the client acts for itself.
        refreshable: Whether a refresh token goes with it.
    """
    access_token, seconds = access_tokens.issue(
        request.session,
        subject=grant.user_id if grant else request.client.id,
        client_id=request.client.id,
        scopes=scopes,
        resource=grant.resource if grant else access_tokens.resource,
        grant_id=grant.id if grant else None,
    )
    token = {"access_token": access_token, "token_type": "Bearer", "expires_in": seconds}
    if scopes:
        token["scope"] = " ".join(sorted(scopes))
    if refreshable:
        token["refresh_token"] = new_secret(REFRESH_TOKEN_PREFIX)
    return token


def save_token(token: dict[str, Any], request: EndpointRequest) -> None:
    """Record that a token was issued, and keep the hash of a refresh token."""
    grant, client = request.grant, request.client
    record(
        request.session,
        "token.issue",
        "grant" if grant else "client",
        grant.id if grant else client.id,
        acting_client=client.id,
        at_the_end=True,
        grant_type=request.payload.grant_type,
        scopes=token.get("scope", "").split(),
    )
    if grant is not None and "refresh_token" in token:
        stored = RefreshToken(
            token_hash=hash_secret(token["refresh_token"]),
            grant_id=grant.id,
            created_at=clock.now(),
            expires_at=grant.expires_at,
        )
        request.session.add(stored)
