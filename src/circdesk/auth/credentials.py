"""Credentials: until users arrive there is one, the key that the first start makes."""

import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from circdesk.contract.problems import Problem

_CHALLENGE = {"WWW-Authenticate": 'ApiKey realm="circdesk", header="X-API-Key"'}


class CredentialsRequired(Problem):
    """The operation needs a credential and none was sent."""

    code = "credentials_required"
    status = 401
    title = "This operation needs a credential."
    advice = "Send the header X-API-Key with a valid key."


class CredentialsInvalid(Problem):
    """A credential was sent and it is not good; also where anonymous callers are welcome."""

    code = "credentials_invalid"
    status = 401
    title = "The credential is not valid."
    advice = "Check the key in X-API-Key, or leave it out where none is needed."


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling."""

    role: str


def make_authenticate(admin_key: str) -> Callable[..., Awaitable[Caller | None]]:
    """What identifies a caller by the operation's security and the request's headers."""
    expected = admin_key.encode()

    async def authenticate(
        security: tuple[Mapping[str, Any], ...], headers: Mapping[bytes, bytes]
    ) -> Caller | None:
        """The caller, or None for an anonymous one.

        Raises:
            CredentialsRequired: Nothing was sent where something is needed.
            CredentialsInvalid: What was sent is not good.
        """
        if not security:
            return None
        key = headers.get(b"x-api-key")
        if key is None:
            if {} in security:
                return None
            raise CredentialsRequired("Send an API key.", headers=_CHALLENGE)
        if not hmac.compare_digest(key, expected):
            raise CredentialsInvalid("The API key is not valid.", headers=_CHALLENGE)
        return Caller(role="admin")

    return authenticate
