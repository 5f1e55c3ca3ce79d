"""OAuth's endpoints for machines over HTTP; Authlib reads the requests."""

import flask

from circdesk.auth.oauth.server import Answer, AuthorizationServer
from circdesk.contract.forms import FormRequest
from circdesk.db.unit_of_work import current_session


def issue_token(*, body: FormRequest) -> Answer:
    """POST /oauth/token."""
    return _server().answer_token_request(current_session(), body)


def revoke_token(*, body: FormRequest) -> Answer:
    """POST /oauth/revoke."""
    return _server().answer_revocation(current_session(), body)


def introspect_token(*, body: FormRequest) -> Answer:
    """POST /oauth/introspect."""
    return _server().answer_introspection(current_session(), body)


def _server() -> AuthorizationServer:
    server: AuthorizationServer = flask.current_app.extensions["circdesk.authorization_server"]
    return server
