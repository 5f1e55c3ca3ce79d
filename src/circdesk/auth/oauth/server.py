"""The authorization server: Authlib's, without any framework."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from authlib.oauth2.rfc6749 import AuthorizationServer as AuthlibServer
from authlib.oauth2.rfc6749 import InvalidRequestError, OAuth2Error
from sqlalchemy.orm import Session

from circdesk.auth.oauth.client_authentication import ClientAuthentication
from circdesk.auth.oauth.client_credentials import ClientCredentialsGrant
from circdesk.auth.oauth.codes import AuthorizationCodeGrant, CodeChallengeS256
from circdesk.auth.oauth.endpoints import IntrospectionEndpoint, RevocationEndpoint
from circdesk.auth.oauth.issuing import save_token
from circdesk.auth.oauth.refreshing import RefreshTokenGrant
from circdesk.auth.oauth.requests import EndpointRequest
from circdesk.auth.tokens import AccessTokens
from circdesk.contract.forms import FormRequest

# A body, a status and headers, as a handler returns them.
Answer = tuple[dict[str, Any], int, dict[str, str]]


class AuthorizationServer(AuthlibServer):  # type: ignore[misc]  # Authlib ships no types.
    """Answers the endpoints that machines use; built once for a process.

    Args:
        issuer: The address at which callers reach the service.
        access_tokens: Signs and reads access tokens.
    """

    def __init__(self, issuer: str, access_tokens: AccessTokens) -> None:
        super().__init__()
        self.issuer = issuer
        self.access_tokens = access_tokens
        self._client_auth = ClientAuthentication()
        self.register_grant(ClientCredentialsGrant)
        self.register_grant(AuthorizationCodeGrant, [CodeChallengeS256()])
        self.register_grant(RefreshTokenGrant)
        self.register_endpoint(RevocationEndpoint)
        self.register_endpoint(IntrospectionEndpoint)

    def answer_token_request(self, session: Session, form: FormRequest) -> Answer:
        """Give tokens for a grant (RFC 6749, 3.2)."""
        return self._answer(session, form, "/oauth/token", self.create_token_response)

    def answer_revocation(self, session: Session, form: FormRequest) -> Answer:
        """Take a token back (RFC 7009)."""
        respond = partial(self.create_endpoint_response, RevocationEndpoint.ENDPOINT_NAME)
        return self._answer(session, form, "/oauth/revoke", respond)

    def answer_introspection(self, session: Session, form: FormRequest) -> Answer:
        """Tell a client what its token is good for (RFC 7662)."""
        respond = partial(self.create_endpoint_response, IntrospectionEndpoint.ENDPOINT_NAME)
        return self._answer(session, form, "/oauth/introspect", respond)

    def _answer(
        self,
        session: Session,
        form: FormRequest,
        path: str,
        respond: Callable[[EndpointRequest], Answer],
    ) -> Answer:
        try:
            return respond(EndpointRequest(session, form, self.issuer + path))
        except OAuth2Error as error:
            answer: Answer = self.handle_error_response(None, error)
            return answer

    # What follows is what Authlib asks of a framework.

    def create_oauth2_request(self, request: EndpointRequest) -> EndpointRequest:
        """The request as it was read before Authlib was asked."""
        return request

    def get_token_grant(self, request: EndpointRequest) -> Any:
        """The grant that a token request is for. Raises InvalidRequestError where it names none."""
        if request.payload.grant_type is None:
            raise InvalidRequestError("The parameter grant_type is missing.")
        return super().get_token_grant(request)

    def save_token(self, token: dict[str, Any], request: EndpointRequest) -> None:
        """Keep what must be known later of a token that is about to be handed out."""
        save_token(token, request)

    def handle_response(
        self, status: int, body: dict[str, Any], headers: Iterable[tuple[str, str]]
    ) -> Answer:
        """The answer as a handler returns it, which says itself that it is JSON."""
        return body, status, {k: v for k, v in headers if k != "Content-Type"}

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Nobody listens."""
