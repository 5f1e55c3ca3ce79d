"""Credentials at the door: which were sent, whether they are good, and whether they suffice.

Each credential sent in a header must be good, also where anonymous callers are welcome.
`Authorization` counts before `X-API-Key`, and that before the cookie. A stale cookie is no fault:
it counts as none, and is cleared.
"""

import asyncio
import base64
import contextvars
import hmac
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.cookies import CookieError, SimpleCookie
from typing import Any

from sqlalchemy.orm import Session
from starlette.types import Scope

from circdesk.auth.api_keys import find_by_id_and_secret, find_by_secret
from circdesk.auth.last_use import LastUse
from circdesk.auth.memory import Memory
from circdesk.auth.models import ApiKey, WebSession
from circdesk.auth.problems import (
    CredentialsInvalid,
    CredentialsMalformed,
    CredentialsRequired,
    CsrfTokenInvalid,
    challenge,
    scope_missing,
)
from circdesk.auth.secrets import hash_secret
from circdesk.auth.sessions import CLEAR_COOKIE, COOKIE, csrf_token, find_session
from circdesk.auth.tokens import AccessTokens
from circdesk.contract.environ import CALLER
from circdesk.contract.forms import WebPage
from circdesk.contract.headers import RawHeaders
from circdesk.contract.operations import Operation
from circdesk.contract.requests import Overloaded
from circdesk.db.engine import LOOK_UP_THREADS
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.visits import Caller, Visit

# As many callers as this wait to be identified, and for so many seconds.
_MOST_LOOK_UPS = 200
_LONGEST_WAIT = 10

Requirement = Mapping[str, Any]

# The security schemes of the contract that each kind of credential stands for.
_SCHEMES = {
    "bearer": frozenset(("OAuth2",)),
    "api_key": frozenset(("ApiKey", "Basic")),
    "session": frozenset(("Session",)),
}


class Authenticator:
    """Identifies callers; awaited on the event loop, which it never blocks.

    Args:
        sessions: Where keys and web sessions are looked up.
        access_tokens: Verifies bearer tokens.
        secret_key: What CSRF tokens are made with.
    """

    def __init__(self, sessions: Sessions, access_tokens: AccessTokens, secret_key: str) -> None:
        self._sessions = sessions
        self._access_tokens = access_tokens
        self._secret_key = secret_key
        self._memory: Memory[Caller] = Memory()
        self._looking_up = 0
        self._last_use = LastUse(sessions)
        # Look-ups have threads of their own, so that they need not wait behind slow requests.
        self._pool = ThreadPoolExecutor(LOOK_UP_THREADS, thread_name_prefix="credentials")

    def close(self) -> None:
        """Free the threads."""
        self._pool.shutdown()
        self._last_use.close()

    async def __call__(
        self, target: Operation | WebPage, scope: Scope, headers: RawHeaders
    ) -> Visit:
        """The visit, its caller None where the operation asks for nobody or nobody said who.

        Raises:
            CredentialsRequired: Nothing was sent where something is needed.
            CredentialsMalformed, CredentialsInvalid, CredentialsExpired, CredentialsRevoked:
                What was sent is not good.
            ScopeMissing: It is good and does not suffice.
            CsrfTokenInvalid: A call by cookie came without the token of its session.
        """
        caller, stale = None, False
        # Whoever reads a lenient operation's request knows its credentials, too.
        lenient = isinstance(target, Operation) and target.lenient
        if target.security and not lenient:
            if has_credential(headers):
                caller, stale = await self._identify(target, headers)
            scope[CALLER] = caller
            if caller is not None or {} not in target.security:
                _raise_if_not_permitted(target, caller, headers, stale=stale)
        client = scope.get("client")
        agent = headers.get(b"user-agent", b"").decode("latin-1")[:500]
        return Visit(
            caller=caller,
            request_id=scope["circdesk.request_id"],
            address=client[0] if client else None,
            user_agent=agent or None,
            stale_session=stale,
        )

    async def _identify(
        self, target: Operation | WebPage, headers: RawHeaders
    ) -> tuple[Caller | None, bool]:
        """The caller, and whether there is a cookie that is stale."""
        caller = await self._from_headers(headers)
        if caller is not None and _takes(target, caller):
            return caller, False
        return await self._from_cookie(target, headers)

    async def _from_headers(self, headers: RawHeaders) -> Caller | None:
        """The caller by the first credential that was sent in a header; all of them are checked."""
        callers = []
        if (authorization := headers.get(b"authorization")) is not None:
            callers.append(await self._from_authorization(authorization.decode("latin-1")))
        if (key := headers.get(b"x-api-key")) is not None:
            secret = key.decode("latin-1")
            callers.append(await self._look_up_key(lambda s: find_by_secret(s, secret), key))
        return callers[0] if callers else None

    async def _from_authorization(self, value: str) -> Caller:
        scheme, _, parameters = value.partition(" ")
        if scheme.lower() == "bearer":
            return await self._access_tokens.verify(parameters.strip())
        if scheme.lower() != "basic":
            raise CredentialsMalformed(
                "The Authorization header is neither Bearer nor Basic.",
                headers=challenge(["OAuth2"], basic=False),
            )
        key_id, secret = _read_basic(parameters)
        return await self._look_up_key(
            lambda session: find_by_id_and_secret(session, key_id, secret), value
        )

    async def _look_up_key(self, find: Callable[[Session], Caller], key: Any) -> Caller:
        caller = await self._look_up(find, key)
        self._last_use.note(ApiKey, caller.credential_id)
        return caller

    async def _from_cookie(
        self, target: Operation | WebPage, headers: RawHeaders
    ) -> tuple[Caller | None, bool]:
        """The caller by the session's cookie, and whether there is a cookie that is stale."""
        token = read_cookie(headers)
        if token is None or not any("Session" in entry for entry in target.security):
            return None, False
        try:
            caller = await self._look_up(lambda session: find_session(session, token), (token,))
        except CredentialsInvalid:
            return None, True
        self._last_use.note(WebSession, caller.credential_id)
        if any("CsrfToken" in entry for entry in target.security):
            expected = csrf_token(self._secret_key, hash_secret(token))
            if not hmac.compare_digest(headers.get(b"x-csrf-token", b""), expected.encode()):
                raise CsrfTokenInvalid("The header X-CSRF-Token has not the session's token.")
        return caller, False

    async def _look_up(self, find: Callable[[Session], Caller], key: Any) -> Caller:
        """Ask the database in a thread, or remember what it said a moment ago."""
        caller = self._memory.get(key)
        if caller is None:
            asked_at = time.monotonic()
            caller = await self._find_in_time(find)
            self._memory.put(key, caller, asked_at=asked_at)
        return caller

    async def _find_in_time(self, find: Callable[[Session], Caller]) -> Caller:
        """Ask in a thread, unless too many wait for one already, or it takes too long."""
        busy = Overloaded("Too many callers are waiting.", headers={"Retry-After": "1"})
        if self._looking_up >= _MOST_LOOK_UPS:
            raise busy
        self._looking_up += 1
        try:
            async with asyncio.timeout(_LONGEST_WAIT):
                loop = asyncio.get_running_loop()
                run = contextvars.copy_context().run
                return await loop.run_in_executor(self._pool, run, self._find, find)
        except TimeoutError:
            raise busy from None
        finally:
            self._looking_up -= 1

    def _find(self, find: Callable[[Session], Caller]) -> Caller:
        with unit_of_work(self._sessions, writing=False) as session:
            return find(session)


def has_credential(headers: RawHeaders) -> bool:
    """Whether there is anything in which a credential could be."""
    return b"authorization" in headers or b"x-api-key" in headers or b"cookie" in headers


def read_cookie(headers: RawHeaders) -> str | None:
    """The token in the session's cookie."""
    try:
        cookie = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1")).get(COOKIE)
    except CookieError:
        return None
    return cookie.value if cookie else None


def required_scopes(security: tuple[Requirement, ...]) -> list[frozenset[str]]:
    """The sets of scopes of which a caller needs one whole; the contract's oauth2 entries."""
    return [frozenset(entry["OAuth2"]) for entry in security if "OAuth2" in entry]


def missing_scopes(
    alternatives: list[frozenset[str]], scopes: frozenset[str] = frozenset()
) -> list[str]:
    """What is missing of the alternative that lacks the fewest; nothing where there is none."""
    return min((sorted(needed - scopes) for needed in alternatives), key=len, default=[])


def _takes(target: Operation | WebPage, caller: Caller) -> bool:
    """Whether the operation knows the kind of credential that the caller has sent."""
    known = _SCHEMES[caller.credential]
    return any(not known.isdisjoint(entry) for entry in target.security)


def _raise_if_not_permitted(
    target: Operation | WebPage, caller: Caller | None, headers: RawHeaders, *, stale: bool
) -> None:
    """The one place where scopes are applied, whichever credential was used.

    Anonymous callers come here where they are not welcome.
    """
    security = target.security
    if caller is None:
        offer = challenge(
            (scheme for entry in security for scheme in entry),
            basic=headers.get(b"authorization", b"").lower().startswith(b"basic"),
        )
        clear = {"Set-Cookie": CLEAR_COOKIE} if stale else {}
        raise CredentialsRequired("Send a credential.", headers=offer | clear)
    alternatives = required_scopes(security)
    if not alternatives or any(needed <= caller.scopes for needed in alternatives):
        return
    raise scope_missing(missing_scopes(alternatives, caller.scopes))


def _read_basic(parameters: str) -> tuple[str, str]:
    """User and password of HTTP Basic (RFC 7617): here the id of an API key and its secret."""
    try:
        text = base64.b64decode(parameters.strip(), validate=True).decode()
        key_id, separator, secret = text.partition(":")
    except ValueError:  # It is no base64, or no UTF-8.
        separator = ""
    if not separator:
        raise CredentialsMalformed(
            "The Basic credentials cannot be read.", headers=challenge(["Basic"], basic=True)
        )
    return key_id, secret
