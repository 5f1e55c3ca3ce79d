"""Visits: who is calling, from where, and what they may do."""

from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Literal
from uuid import UUID

from circdesk.contract.problems import Problem

_current: ContextVar["Visit"] = ContextVar("circdesk_visit")


class UserRequired(Problem):
    """The operation is about the caller's own account, and a client has none."""

    code = "user_required"
    status = 403
    title = "Only a person can do this."
    advice = "Use a credential that belongs to a user, or an operation that names the user."


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling, whichever credential proves it.

    Attributes:
        scopes: What this very credential may do; never more than its owner.
        credential: The kind of the credential.
        credential_id: The id of the session, of the API key, or of the access token.
        user_id: The user; None for a client that acts for itself.
        role: The user's role; None for a client that acts for itself.
        client_id: The OAuth client, also where it acts for a user.
    """

    scopes: frozenset[str]
    credential: Literal["bearer", "api_key", "session"]
    credential_id: UUID
    user_id: UUID | None = None
    role: str | None = None
    client_id: UUID | None = None

    def may(self, scope: str) -> bool:
        """Whether the credential carries this scope."""
        return scope in self.scopes


@dataclass(frozen=True, slots=True)
class Visit:
    """One request, as far as access and audit need to know it.

    Attributes:
        caller: None for an anonymous caller.
        address: The network address that the request came from.
        stale_session: Whether a session cookie was sent that is good no more.
    """

    caller: Caller | None
    request_id: str
    address: str | None = None
    user_agent: str | None = None
    stale_session: bool = False


@lru_cache(maxsize=4096)
def network_of(address: str | None) -> str:
    """What counts as one place: an IPv4 address, or the network of an IPv6 address.

    Who has one IPv6 address has at least the 2^64 of its network. Empty for what is no address.
    """
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return ""
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    # A socket for both versions writes IPv4 addresses so, all of them in one network.
    mapped = parsed.ipv4_mapped
    return str(mapped or IPv6Network((int(parsed), 64), strict=False))


class _Visiting(AbstractContextManager[None]):
    __slots__ = ("_token", "_visit")

    def __init__(self, visit: Visit) -> None:
        self._visit = visit

    def __enter__(self) -> None:
        self._token = _current.set(self._visit)

    def __exit__(self, *_error: object) -> None:
        _current.reset(self._token)


def visiting(visit: Visit) -> AbstractContextManager[None]:
    """Make the visit the current one for the block."""
    return _Visiting(visit)


def current_visit() -> Visit:
    """The visit that is being served. Raises LookupError outside of one."""
    return _current.get()


def find_visit() -> Visit | None:
    """The visit that is being served; None outside of one, as in a command."""
    return _current.get(None)


def find_actor() -> tuple[str, UUID | None]:
    """Who acts, as `user`, `client`, `anonymous` or `system`, and the id of the first two.

    A command of an operator, and what the worker does, is the system's own doing.
    """
    visit = find_visit()
    if visit is None:
        return "system", None
    caller = visit.caller
    if caller is None:
        return "anonymous", None
    return ("user", caller.user_id) if caller.user_id else ("client", caller.client_id)


def current_caller() -> Caller:
    """The caller of an operation that needs credentials. Raises LookupError where there is none."""
    caller = current_visit().caller
    if caller is None:
        raise LookupError("the caller is anonymous")
    return caller


def current_user_id() -> UUID:
    """The user who is calling. Raises UserRequired for a client that acts for itself."""
    user_id = current_caller().user_id
    if user_id is None:
        raise UserRequired("This credential belongs to a client, not to a person.")
    return user_id
