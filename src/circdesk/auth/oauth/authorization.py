"""The authorization endpoint without its pages (RFC 6749, 4.1.1): what is asked, and the answers.

A person is sent back to a client only when the client and its redirect URI are known to be good;
what is wrong before that is told on a page (RFC 9700, 4.11).
"""

from dataclasses import dataclass
from urllib.parse import urlencode
from uuid import UUID

from authlib.oauth2.rfc6749 import (
    AccessDeniedError,
    InvalidRequestError,
    OAuth2Error,
    UnauthorizedClientError,
)
from sqlalchemy import select
from sqlalchemy.orm import Session

from circdesk.accounts.models import User
from circdesk.auth.models import Consent
from circdesk.auth.oauth.clients import Client, find_client
from circdesk.auth.oauth.codes import read_code_challenge, store_code
from circdesk.auth.oauth.grants import begin_grant
from circdesk.auth.oauth.issuing import raise_if_other_resource, resource_of
from circdesk.auth.oauth.requests import by_name, read_pairs
from circdesk.auth.scopes import granted


class PageError(Exception):
    """The request leads nowhere safe; its message is a sentence for the person, on a page."""


class RedirectError(Exception):
    """The request is refused, and the client is told so by a redirect to `location`."""

    def __init__(self, location: str) -> None:
        super().__init__("the authorization request is refused")
        self.location = location


class _UnsupportedResponseType(OAuth2Error):  # type: ignore[misc]  # Authlib ships no types.
    error = "unsupported_response_type"
    description = "The only response_type is code."


class _InteractionRequired(OAuth2Error):  # type: ignore[misc]  # Authlib ships no types.
    error = "interaction_required"
    description = "The user has to see what is granted."


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the answer goes, which is known to be good before anything else is looked at.

    Attributes:
        given: Whether the request named the redirect URI, or the client has only one.
        state: What the client sent to recognise the answer; None where it sent nothing.
        issuer: Who answers (RFC 9207).
    """

    client: Client
    redirect_uri: str
    given: bool
    state: str | None
    issuer: str

    def location(self, **answer: str) -> str:
        """The redirect URI with the answer; it may have a query of its own."""
        if self.state is not None:
            answer["state"] = self.state
        separator = "&" if "?" in self.redirect_uri else "?"
        return f"{self.redirect_uri}{separator}{urlencode({**answer, 'iss': self.issuer})}"

    def refusal(self, error: OAuth2Error) -> str:
        """The location that tells the client of an error."""
        return self.location(error=error.error, error_description=error.description)


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A good request of a client for a user's consent.

    Attributes:
        scopes: What the client asks for; the user's role may have less.
        resource: What the tokens are for (RFC 8707).
    """

    destination: Destination
    scopes: frozenset[str]
    resource: str
    code_challenge: str

    @property
    def client(self) -> Client:
        """Who asks."""
        return self.destination.client

    @property
    def redirect_uri(self) -> str:
        """Where the answer goes."""
        return self.destination.redirect_uri


def read_authorization_request(
    session: Session, query: str, *, issuer: str
) -> AuthorizationRequest:
    """What a client asks for, with the query of an address; unknown parameters are ignored.

    Raises:
        PageError: The client or its redirect URI is not good: nobody is sent anywhere.
        RedirectError: Something else is wrong.
    """
    try:
        pairs = read_pairs(query)
    except InvalidRequestError as error:
        raise PageError(error.description) from None
    destination = _read_destination(session, pairs, issuer)
    try:
        return _read_rest(by_name(pairs), destination)
    except OAuth2Error as error:
        raise RedirectError(destination.refusal(error)) from None


def approve(session: Session, request: AuthorizationRequest, user_id: UUID) -> str:
    """Grant what is asked for, as far as the user's role has it, and remember the consent.

    Returns:
        The location that takes a code to the client.
    """
    user = _hold(session, user_id)
    scopes = granted(user.role, request.scopes)
    if user.status != "active" or (request.scopes and not scopes):
        return deny(request)
    _remember(session, user, request.client, scopes)
    grant = begin_grant(session, user, request.client, scopes, request.resource)
    code = store_code(
        session,
        grant,
        redirect_uri=request.redirect_uri,
        given=request.destination.given,
        code_challenge=request.code_challenge,
    )
    return request.destination.location(code=code)


def deny(request: AuthorizationRequest) -> str:
    """The location that tells the client that it gets nothing."""
    return request.destination.refusal(AccessDeniedError())


def is_consented(session: Session, user_id: UUID, request: AuthorizationRequest) -> bool:
    """Whether the user has agreed to all of this before, so that there is nothing to ask."""
    user = _hold(session, user_id)
    consent = _find_consent(session, user_id, request.client)
    return consent is not None and granted(user.role, request.scopes) <= {*consent.scopes}


def _read_destination(session: Session, pairs: list[tuple[str, str]], issuer: str) -> Destination:
    client_id, redirect_uri = _read_one(pairs, "client_id"), _read_one(pairs, "redirect_uri")
    client = find_client(session, client_id) if client_id else None
    if client is None:
        raise PageError("The application that sent you here is not registered.")
    registered = client.registered.redirect_uris
    given = redirect_uri is not None
    if redirect_uri is None and len(registered) == 1:
        redirect_uri = registered[0]
    if redirect_uri is None or not client.may_redirect_to(redirect_uri):
        raise PageError("The application that sent you here did not say where it is registered.")
    states = [value for name, value in pairs if name == "state"]
    return Destination(client, redirect_uri, given, states[0] if len(states) == 1 else None, issuer)


def _read_one(pairs: list[tuple[str, str]], name: str) -> str | None:
    values = [value for each, value in pairs if each == name]
    if len(values) > 1:
        raise PageError("The application that sent you here names itself more than once.")
    return values[0] if values else None


def _read_rest(parameters: dict[str, str], destination: Destination) -> AuthorizationRequest:
    response_type = parameters.get("response_type")
    if response_type is None:
        raise InvalidRequestError("The parameter response_type is missing.")
    if response_type != "code":
        raise _UnsupportedResponseType
    if parameters.get("response_mode", "query") != "query":
        raise InvalidRequestError("The only response_mode is query.")
    client = destination.client
    if not client.check_grant_type("authorization_code"):
        raise UnauthorizedClientError("The client may not use codes.")
    code_challenge = read_code_challenge(parameters)
    resource = resource_of(destination.issuer)
    raise_if_other_resource(parameters.get("resource"), resource)
    scopes = client.choose_scopes(parameters.get("scope"))
    if parameters.get("prompt") == "none":
        raise _InteractionRequired
    return AuthorizationRequest(destination, scopes, resource, code_challenge)


def _hold(session: Session, user_id: UUID) -> User:
    """The user as they are now, until the unit of work ends.

    Whoever ends access, of all clients or of one, holds this row too, so that no grant slips in
    between.
    """
    held = select(User).where(User.id == user_id).with_for_update()
    # `get_one` would take it for an error that the user has changed since they were read.
    return session.scalars(held, execution_options={"populate_existing": True}).one()


def _find_consent(session: Session, user_id: UUID, client: Client) -> Consent | None:
    found = select(Consent).where(Consent.user_id == user_id, Consent.client_id == client.id)
    return session.scalars(found).one_or_none()


def _remember(session: Session, user: User, client: Client, scopes: frozenset[str]) -> None:
    consent = _find_consent(session, user.id, client)
    if consent is None:
        consent = Consent(user_id=user.id, client_id=client.id, scopes=[])
        session.add(consent)
    consent.scopes = sorted(scopes.union(consent.scopes))
