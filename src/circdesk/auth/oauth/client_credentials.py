"""The client credentials grant (RFC 6749, 4.4): a client acts for itself."""

from typing import Any

from authlib.oauth2.rfc6749 import grants

from circdesk.auth.oauth.client_authentication import METHODS
from circdesk.auth.oauth.issuing import make_token, raise_if_other_resource


class ClientCredentialsGrant(grants.ClientCredentialsGrant):  # type: ignore[misc]  # No types.
    """Gives a confidential client a token with its own scopes, and no refresh token."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    def validate_requested_scope(self) -> None:
        """Refuse what is not the client's, before anything is made."""
        access_tokens = self.server.access_tokens
        raise_if_other_resource(self.request.form.get("resource"), access_tokens.resource)
        self.request.scope = self.client.choose_scopes(self.request.payload.scope)

    def generate_token(self, **_asked: Any) -> dict[str, Any]:
        """The body of the answer."""
        return make_token(self.server.access_tokens, self.request, self.request.scope)
