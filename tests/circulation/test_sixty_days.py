"""Sixty days at a desk in some seconds, as an agent rehearses them: a sandbox, and HTTP alone.

A loan becomes due soon, due, overdue, fined, renewed, overdue again, and is returned and paid; what
comes back goes to who waits first, who does not come, and so to who waits next.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from circdesk.settings import Settings
from tests.auth.serving import serving
from tests.people import ADMIN_ID, MEMBER_ID, api_key

JSON = dict[str, Any]
Diary = dict[int, JSON]

DAYS = 60
HOURS = [{"opens": "09:00", "closes": "18:00"}]
WEEK = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
# Two weeks, once renewed; half a euro for a day too late; three days on the shelf.
POLICY = {
    "name": "Everything",
    "period_unit": "days",
    "period_length": 14,
    "renewals": 1,
    "fee_per_day": "0.50",
    "hold_shelf_days": 3,
}

# What is different on a day, from the day before; each day is looked at at noon.
EXPECTED: Diary = {
    0: {"loan": "open", "renewable": False, "balance": "0.00", "copy": "on_loan"},
    # Until then renewing would not have made it due later.
    1: {"renewable": True},
    12: {"notices": ["due_soon"]},
    15: {"loan": "overdue", "balance": "0.50", "notices": ["fee", "overdue"]},
    16: {"balance": "1.00"},
    # Renewed.
    17: {"loan": "open", "renewable": False, "balance": "1.50"},
    # A part is paid.
    18: {"balance": "0.50"},
    # Two others begin to wait.
    20: {"first": "waiting", "second": "waiting"},
    29: {"notices": ["due_soon"]},
    32: {"loan": "overdue", "balance": "1.00", "notices": ["overdue"]},
    33: {"balance": "1.50"},
    # Returned.
    34: {
        "loan": "returned",
        "renewable": None,
        "balance": "2.00",
        "copy": "on_hold_shelf",
        "first": "ready",
    },
    # The rest is paid, and who is first is told.
    35: {"balance": "0.00", "told": ["hold_ready"]},
    36: {"loan": "forgotten"},
    37: {"told": ["hold_expiring"]},
    38: {"first": "expired", "second": "ready"},
    # Lent to who was second.
    40: {"copy": "on_loan", "second": "fulfilled"},
    # Returned.
    50: {"copy": "available"},
}


@pytest.fixture(scope="module")
def sandbox_url(settings: Settings, migrated_engine: Engine) -> Iterator[str]:
    """The address of a service that is a sandbox."""
    with serving(settings, env="sandbox") as url:
        yield url


class Desk:
    """A branch with one copy, which the member borrows and the admin waits for."""

    def __init__(self, clients: dict[str, httpx.Client]) -> None:
        self._clients = clients
        self._read: set[str] = set()
        self._holds: dict[str, str] = {}
        hours = dict.fromkeys(WEEK, HOURS)
        place = {"code": "main", "name": "Main", "time_zone": "Europe/Berlin"}
        self._branch = self.post("admin", "/api/branches", place | {"opening_hours": hours})["id"]
        self.post("admin", "/api/loan-policies", POLICY)
        self._book = self.post("librarian", "/api/books", {"title": "The Dispossessed"})["id"]
        copy = {"book_id": self._book, "branch_id": self._branch}
        self._copy = self.post("librarian", "/api/copies", copy)["id"]
        self._second = self.post("librarian", "/api/users", {"name": "Second"})["id"]
        self._loan = ""

    def post(self, who: str, path: str, body: JSON | None = None) -> JSON:
        answer = self._clients[who].post(path, json=body)
        assert answer.is_success, answer.text
        found: JSON = answer.json()
        return found

    def get(self, who: str, path: str) -> JSON:
        answer = self._clients[who].get(path)
        assert answer.is_success, answer.text
        found: JSON = answer.json()
        return found

    def check_out(self) -> None:
        body = {"user": str(MEMBER_ID), "copy": self._copy}
        self._loan = self.post("librarian", "/api/loans", body)["loan"]["id"]

    def renew(self) -> None:
        self.post("member", f"/api/loans/{self._loan}/renewals", {})

    def pay(self, amount: str) -> None:
        [fee] = self.get("member", "/api/me/fees")["items"]
        self.post("librarian", f"/api/fees/{fee['id']}/payments", {"amount": amount})

    def place_holds(self) -> None:
        for name, user in (("first", str(ADMIN_ID)), ("second", self._second)):
            body = {"user": user, "book": self._book, "pickup_branch": self._branch}
            self._holds[name] = self.post("librarian", "/api/holds", body)["hold"]["id"]

    def return_(self) -> None:
        self.post("librarian", "/api/returns", {"copy": self._copy})

    def lend_to_second(self) -> None:
        self.post("librarian", "/api/loans", {"user": self._second, "copy": self._copy})

    def look(self) -> JSON:
        """Everything that there is to see, and what people were told since it was looked at."""
        loans = self.get("member", "/api/me/loans")["items"]
        # Nobody has asked for a history to be kept.
        gone: JSON = {"overdue": False, "status": "forgotten", "renewable": None}
        loan = loans[0] if loans else gone
        holds = {
            name: self.get("librarian", f"/api/holds/{hold}")["status"]
            for name, hold in self._holds.items()
        }
        return {
            "loan": "overdue" if loan["overdue"] else loan["status"],
            "renewable": loan["renewable"] and loan["renewable"]["allowed"],
            "balance": self.get("member", "/api/me/balance")["balance"]["amount"],
            "copy": self.get("librarian", f"/api/copies/{self._copy}")["status"],
            **holds,
            "notices": self._new_notices("member"),
            "told": self._new_notices("admin"),
        }

    def _new_notices(self, who: str) -> list[str]:
        notices = self.get(who, "/api/me/notices")["items"]
        new = [notice for notice in notices if notice["id"] not in self._read]
        self._read |= {notice["id"] for notice in new}
        return sorted(notice["kind"] for notice in new)


@pytest.fixture
def desk(sandbox_url: str, engine: Engine) -> Iterator[Desk]:
    """The desk on an empty database."""
    roles = ("member", "librarian", "admin")
    clients = {
        role: httpx.Client(base_url=sandbox_url, headers={"X-API-Key": api_key(role)}, timeout=60)
        for role in roles
    }
    yield Desk(clients)
    for client in clients.values():
        client.close()


def test_sixty_days_at_a_desk(desk: Desk) -> None:
    doings: dict[int, Callable[[], None]] = {
        0: desk.check_out,
        17: desk.renew,
        18: lambda: desk.pay("1.00"),
        20: desk.place_holds,
        34: desk.return_,
        35: lambda: desk.pay("2.00"),
        40: desk.lend_to_second,
        50: desk.return_,
    }
    real = datetime.fromisoformat(desk.get("librarian", "/api/sandbox/clock")["now"])
    first_noon = datetime.combine(real.date() + timedelta(days=1), time(12), UTC)
    diary: Diary = {}
    before: JSON = {"notices": [], "told": []}
    for day in range(DAYS + 1):
        noon = first_noon + timedelta(days=day)
        moved = desk.post("librarian", "/api/sandbox/clock", {"to": f"{noon:%Y-%m-%dT%H:%M:%SZ}"})
        assert moved["complete"]
        doings.get(day, lambda: None)()
        seen = desk.look()
        changed = {name: now for name, now in seen.items() if now != before.get(name)}
        # What was told yesterday is not told again today.
        diary[day] = {name: now for name, now in changed.items() if now != []}
        before = seen | {"notices": [], "told": []}

    assert {day: changed for day, changed in diary.items() if changed} == EXPECTED
