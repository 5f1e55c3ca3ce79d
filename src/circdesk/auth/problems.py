"""What a caller hears whose credentials are not good, or do not suffice (RFC 6750, 3)."""

from collections.abc import Iterable, Sequence

from circdesk.contract.problems import Problem, fault

_REALM = 'realm="circdesk"'
_CHALLENGES = {
    "OAuth2": f"Bearer {_REALM}",
    "Basic": f'Basic {_REALM}, charset="UTF-8"',
    "ApiKey": f'ApiKey {_REALM}, header="X-API-Key"',
    "Session": f'Cookie {_REALM}, cookie-name="circdesk_session"',
}


class CredentialsRequired(Problem):
    """The operation needs a credential and none was sent that it takes."""

    code = "credentials_required"
    status = 401
    title = "This operation needs a credential."
    advice = "Send an access token, an API key, or sign in; WWW-Authenticate names what is taken."


class CredentialsInvalid(Problem):
    """A credential was sent and it is not good; also where anonymous callers are welcome."""

    code = "credentials_invalid"
    status = 401
    title = "The credential is not valid."
    advice = "Check the credential, or leave it out where none is needed."


class CredentialsMalformed(Problem):
    """A credential was sent that has not the form of one."""

    code = "credentials_malformed"
    status = 401
    title = "The credential has no known form."
    advice = "Send `Authorization: Bearer <token>`, `Authorization: Basic …`, or `X-API-Key`."


class CredentialsExpired(Problem):
    """The credential was good once."""

    code = "credentials_expired"
    status = 401
    title = "The credential has expired."
    advice = "Refresh the access token, or make a new API key."


class CredentialsRevoked(Problem):
    """The credential, or what it hangs on, was taken back."""

    code = "credentials_revoked"
    status = 401
    title = "The credential was revoked."
    advice = "Authorize the client again, sign in again, or make a new API key."


class ScopeMissing(Problem):
    """The credential is good, and it may not do this."""

    code = "scope_missing"
    status = 403
    title = "The credential lacks a scope."
    advice = "Use a credential with the scope that `details` names; the contract says who has it."


class CsrfTokenInvalid(Problem):
    """A call by cookie that changes something came without the session's CSRF token."""

    code = "csrf_token_invalid"
    status = 403
    title = "The CSRF token is missing or wrong."
    advice = "Send the session's `csrf_token` in the header X-CSRF-Token; GET /api/session has it."


def challenge(schemes: Iterable[str], *, basic: bool) -> dict[str, str]:
    """A WWW-Authenticate header with a challenge for each scheme that the operation takes.

    Basic is offered only to callers that sent Basic: browsers would ask people for a password.
    """
    named = [s for s in dict.fromkeys(schemes) if s in _CHALLENGES and (basic or s != "Basic")]
    return {"WWW-Authenticate": ", ".join(_CHALLENGES[name] for name in named)}


def bearer_error(error: str, description: str, scope: str = "") -> dict[str, str]:
    """A WWW-Authenticate header with an error for a bearer token (RFC 6750, 3)."""
    value = f'Bearer {_REALM}, error="{error}", error_description="{description}"'
    return {"WWW-Authenticate": f'{value}, scope="{scope}"' if scope else value}


def scope_missing(missing: Sequence[str]) -> ScopeMissing:
    """The problem of a good credential that lacks these scopes."""
    scope = " ".join(missing)
    message = f"The credential lacks the scope {scope}."
    return ScopeMissing(
        message,
        details=[fault("header", "/Authorization", "scope", message, [*missing])],
        headers=bearer_error("insufficient_scope", message, scope),
    )
