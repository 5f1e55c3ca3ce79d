"""Scopes: what each role may do. The contract lists the scopes and says what each is for."""

from collections.abc import Iterable, Mapping
from typing import Literal

from circdesk.contract.problems import Problem, fault

Role = Literal["member", "librarian", "admin"]


class ScopeNotGranted(Problem):
    """Somebody gives a scope away that their own credential does not have, or that is none."""

    code = "scope_not_granted"
    status = 422
    title = "A scope cannot be given."
    advice = "Give only scopes that the credential has; `details` lists them in `allowed`."


_MEMBER = frozenset(
    (
        "borrowing:read",
        "borrowing:write",
        "profile:read",
        "profile:write",
        "credentials:read",
        "credentials:write",
    )
)
_LIBRARIAN = _MEMBER | {
    "catalog:write",
    "circulation:override",
    "circulation:read",
    "circulation:write",
    "fees:write",
    "imports:read",
    "imports:write",
    "news:write",
    "policies:write",
    "users:read",
    "users:write",
}
_ADMIN = _LIBRARIAN | {
    "audit:read",
    "clients:read",
    "clients:write",
    "roles:write",
    "signing_keys:read",
    "signing_keys:write",
}

ROLE_SCOPES: Mapping[str, frozenset[str]] = {
    "member": _MEMBER,
    "librarian": _LIBRARIAN,
    "admin": _ADMIN,
}


def granted(role: str, scopes: Iterable[str]) -> frozenset[str]:
    """What of these scopes the role has, today; a credential never outgrows its owner."""
    return ROLE_SCOPES[role].intersection(scopes)


def raise_if_beyond(scopes: Iterable[str], own: frozenset[str]) -> None:
    """Raise ScopeNotGranted where the body's `scopes` are not among one's own."""
    beyond = sorted(set(scopes) - own)
    if beyond:
        # The caller chose the names, and a message has an end.
        named = ", ".join(beyond)[:1000]
        message = f"The credential cannot give what it does not have: {named}."
        details = [fault("body", "/scopes", "scope", message, sorted(own))]
        raise ScopeNotGranted(message, details=details)
