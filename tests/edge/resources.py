"""One of each resource that callers change, and the contract that says how."""

from collections.abc import Callable
from typing import Any

import httpx

from tests.circulation.conftest import Library
from tests.contracts import contract
from tests.people import MEMBER_ID

JSON = dict[str, Any]

CONTRACT = contract()
OTHER = '"999-00000000.0000000000000000"'
TIME = "2027-01-31T12:00:00Z"
POLICY = {"name": "All", "period_unit": "days", "period_length": 28}
CLIENT = {
    "name": "Till",
    "type": "confidential",
    "grant_types": ["client_credentials"],
    "scopes": ["users:read"],
}


Make = Callable[[httpx.Client, Library], str]


def created(path: str, body: JSON) -> Make:
    """Creates something over HTTP, and answers its path."""

    def create(admin: httpx.Client, _library: Library) -> str:
        response = admin.post(path, json=body).raise_for_status()
        return str(response.headers["Location"])

    return create


def a_copy(_admin: httpx.Client, library: Library) -> str:
    return f"/api/copies/{library.copy(library.book(), library.branch())}"


def a_loan(_admin: httpx.Client, library: Library) -> str:
    copy = library.copy(library.book(), library.branch(), status="on_loan")
    return f"/api/loans/{library.loan(MEMBER_ID, copy)}"


def a_hold(_admin: httpx.Client, library: Library) -> str:
    return f"/api/holds/{library.hold(MEMBER_ID, library.book(), library.branch())}"


# What makes one of each, a change of it, and what replaces all of it.
MADE: dict[str, tuple[Make, JSON | None, JSON | None]] = {
    "account": (lambda *_: "/api/me", {"contact": {"phone": "+49 30 1"}}, None),
    "api_key": (
        created("/api/api-keys", {"name": "A", "scopes": ["profile:read"]}),
        {"name": "B"},
        None,
    ),
    "author": (created("/api/authors", {"name": "Lem"}), {"name": "Stanisław"}, {"name": "S. Lem"}),
    "block": (created(f"/api/users/{MEMBER_ID}/blocks", {"reason": "Keeps all"}), None, None),
    "book": (created("/api/books", {"title": "Solaris"}), {"year": 1961}, {"title": "Eden"}),
    "branch": (
        created("/api/branches", {"code": "north", "name": "North", "time_zone": "UTC"}),
        {"name": "Northern"},
        {"code": "south", "name": "South", "time_zone": "UTC"},
    ),
    "client": (created("/api/admin/clients", CLIENT), {"name": "Desk"}, None),
    "copy": (a_copy, {"shelf_mark": "LEM"}, None),
    "hold": (a_hold, {"suspended_until": "2030-01-31"}, None),
    "loan": (a_loan, {"due_at": TIME}, None),
    "loan_policy": (
        created("/api/loan-policies", POLICY),
        {"name": "Any"},
        POLICY | {"period_length": 7},
    ),
    "post": (
        created("/api/posts", {"title": "Open", "body": "Again", "author": "Us"}),
        {"title": "Closed"},
        {"title": "Shut", "body": "Again", "author": "Us"},
    ),
    "subject": (created("/api/subjects", {"name": "Sea"}), {"name": "Ocean"}, {"name": "Water"}),
    "user": (created("/api/users", {"name": "Ada"}), {"name": "Grace"}, None),
}
# What stands still, which no other caller can change while a test looks.
NO_DELETION = frozenset(("account", "hold", "loan"))


def condition(tag: str) -> dict[str, str]:
    return {"If-Match": tag}
