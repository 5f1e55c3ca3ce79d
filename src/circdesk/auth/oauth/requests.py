"""What was posted to OAuth's endpoints, by OAuth's own rules (RFC 6749, 3.1 and 3.2)."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from authlib.oauth2.rfc6749 import InvalidRequestError, OAuth2Request
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from sqlalchemy.orm import Session

from circdesk.auth.models import Grant
from circdesk.auth.oauth.clients import Client
from circdesk.contract.forms import FormRequest

FORM = "application/x-www-form-urlencoded"
_MOST_PARAMETERS = 100


class EndpointRequest(OAuth2Request):  # type: ignore[misc]  # Authlib ships no types.
    """A posted form, with the unit of work in which it is answered.

    Args:
        session: The unit of work.
        form: What was posted.
        uri: Where callers reach the endpoint: behind a proxy TLS ends before us, so the request
            itself cannot tell whether it came in safely.

    Raises:
        InvalidRequestError: It is no form, or a parameter is repeated.
        InsecureTransportError: Callers reach the endpoint without TLS, and not by loopback.
    """

    client: Client
    payload: Any
    # What a user granted to the client, once it is known; None where it acts for itself.
    grant: Grant | None = None

    def __init__(self, session: Session, form: FormRequest, uri: str) -> None:
        super().__init__(form.method, uri, headers=form.headers)
        self.session = session
        self._parameters = _read_form(form)
        self.payload = BasicOAuth2Payload(self._parameters)

    @property
    def form(self) -> Mapping[str, str]:
        """The parameters of the body; those of the address do not count."""
        return self._parameters


def read_pairs(encoded: str) -> list[tuple[str, str]]:
    """The parameters of a query or a form as they were sent; one without a value is left out.

    Raises:
        InvalidRequestError: They cannot be read.
    """
    try:
        return parse_qsl(encoded, errors="strict", max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        raise InvalidRequestError("The parameters cannot be read.") from None


def by_name(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """The parameters by name. Raises InvalidRequestError where one is sent more than once."""
    parameters = dict(pairs)
    if len(parameters) < len(pairs):
        raise InvalidRequestError("A parameter is sent more than once.")
    return parameters


def _read_form(form: FormRequest) -> dict[str, str]:
    media_type = form.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != FORM:
        raise InvalidRequestError(f"The body must be sent as {FORM}.")
    try:
        encoded = form.body.decode()
    except UnicodeDecodeError:
        raise InvalidRequestError("The parameters cannot be read.") from None
    return by_name(read_pairs(encoded))
