"""Client authentication at OAuth's endpoints (RFC 6749, 2.3): Basic, in the body, or none."""

import base64
import binascii
import hmac
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus
from uuid import UUID

from authlib.oauth2.rfc6749 import InvalidClientError, InvalidRequestError

from circdesk.audit.entries import record
from circdesk.auth.memory import Memory
from circdesk.auth.oauth.clients import Client, find_client
from circdesk.auth.oauth.requests import EndpointRequest
from circdesk.auth.secrets import hash_secret

BASIC, POST, NONE = "client_secret_basic", "client_secret_post", "none"
METHODS = (BASIC, POST, NONE)

# Anybody may fail in a client's name, so that failures are recorded once in so many seconds.
_SECONDS_BETWEEN_ENTRIES = 1.0
# Who has just got a token gets the next one without a look at the database.
_SECONDS_REMEMBERED = 1.0


class ClientAuthenticationFailed(InvalidClientError):  # type: ignore[misc]  # Authlib has no types.
    """The client is unknown or did not prove who it is; which of them is not told.

    Who sent Basic gets a 401, which must offer it (RFC 9110, 15.5.2); others get a 400.
    """

    def __init__(self, *, sent_basic: bool) -> None:
        super().__init__("The client authentication failed.")
        self.status_code = 401 if sent_basic else 400

    def get_headers(self) -> list[tuple[str, str]]:
        """The usual headers, and the challenge of a 401."""
        headers: list[tuple[str, str]] = super(InvalidClientError, self).get_headers()
        if self.status_code == 401:
            headers.append(("WWW-Authenticate", 'Basic realm="circdesk", charset="UTF-8"'))
        return headers


@dataclass(frozen=True, slots=True)
class _Sent:
    """The credentials of a request; a secret may have more than one reading."""

    method: str
    client_id: str
    secrets: frozenset[str]
    in_header: bool = False


class ClientAuthentication:
    """Tells which client is asking; one for the process, since it remembers clients."""

    def __init__(self) -> None:
        self._recorded: dict[UUID, float] = {}
        self._known: Memory[Client] = Memory(_SECONDS_REMEMBERED)

    def __call__(self, request: EndpointRequest, methods: Any, _endpoint: str = "token") -> Client:
        """The client, which has proved who it is by one of the methods.

        Raises:
            InvalidRequestError: It sent credentials in two ways, or in none that is known.
            ClientAuthenticationFailed: They are not good, or it sent none.
        """
        sent = _read(request)
        client = self._recall(request, sent, methods)
        if client is None:
            client = self._find(request, sent, methods)
        request.auth_method = sent.method
        return client

    def _recall(self, request: EndpointRequest, sent: _Sent, methods: Any) -> Client | None:
        """The client as it was a moment ago, if it got all that it asks for.

        Before one is refused the database is asked, since it may just have got what it lacked.
        """
        client, asked = self._known.get(sent.client_id), request.payload
        if client is None or not client.suffices(asked.grant_type, asked.scope):
            return None
        return client if _is_proved(client, sent, methods) else None

    def _find(self, request: EndpointRequest, sent: _Sent, methods: Any) -> Client:
        asked_at = time.monotonic()
        client = find_client(request.session, sent.client_id)
        if client is None:
            raise ClientAuthenticationFailed(sent_basic=sent.in_header)
        if not _is_proved(client, sent, methods):
            self._record_failure(request, client, sent.method)
            raise ClientAuthenticationFailed(sent_basic=sent.in_header)
        self._known.put(sent.client_id, client, asked_at=asked_at)
        return client

    def _record_failure(self, request: EndpointRequest, client: Client, method: str) -> None:
        now = time.monotonic()
        if (
            now - self._recorded.get(client.id, -_SECONDS_BETWEEN_ENTRIES)
            < _SECONDS_BETWEEN_ENTRIES
        ):
            return
        self._recorded[client.id] = now
        record(
            request.session,
            "client.authenticate",
            "client",
            client.id,
            outcome="failure",
            method=method,
        )


def _is_proved(client: Client, sent: _Sent, methods: Any) -> bool:
    if sent.method not in methods:
        return False
    expected = client.registered.secret_hash
    if client.is_public or expected is None:
        return client.is_public and sent.method == NONE
    return any(hmac.compare_digest(expected, hash_secret(secret)) for secret in sent.secrets)


def _read(request: EndpointRequest) -> _Sent:
    client_id, secret = request.form.get("client_id"), request.form.get("client_secret")
    authorization = request.headers.get("authorization")
    if authorization is None:
        method = POST if secret else NONE
        return _Sent(method, client_id or "", frozenset([secret] if secret else ()))
    sent = _read_basic(authorization)
    if secret is not None:
        raise InvalidRequestError("The client authenticates in two ways at once.")
    if client_id not in {None, sent.client_id}:
        raise InvalidRequestError("The request names two clients.")
    return sent


def _read_basic(authorization: str) -> _Sent:
    """Id and secret, each of them form-encoded first (RFC 6749, 2.3.1), which not all clients do.

    An empty secret is none: so public clients are sent by libraries that know Basic alone.
    """
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise InvalidRequestError("Clients authenticate by Basic or in the body.")
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
        client_id, _, secret = text.partition(":")
        readings = frozenset((secret, unquote_plus(secret, errors="strict")))
        client_id = unquote_plus(client_id, errors="strict")
    except (binascii.Error, ValueError):
        raise ClientAuthenticationFailed(sent_basic=True) from None
    return _Sent(BASIC if secret else NONE, client_id, readings, in_header=True)
