"""How people become members by themselves, on both databases."""

import json
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from uuid import UUID

import httpx
import pytest
import uvicorn
from sqlalchemy import Engine

from circdesk.app import create_app
from circdesk.settings import Settings

Expected = Callable[..., dict[str, Any]]
Letters = queue.Queue[dict[str, Any]]

INPUT: dict[str, Any] = {"name": "Grace Hopper", "email": "Grace@example.org"}


@pytest.fixture(scope="module")
def post_office() -> Iterator[tuple[str, Letters]]:
    """The address of a mail hook, and the letters that reach it."""
    letters: Letters = queue.Queue()

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            letters.put(json.loads(self.rfile.read(length)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", letters
        server.shutdown()
        thread.join()


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """A service of its own on the same database, and its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(create_app(settings), port=0, log_config=None, access_log=False)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def open_url(
    settings: Settings, migrated_engine: Engine, post_office: tuple[str, Letters]
) -> Iterator[str]:
    """The address of a library that lets people register themselves."""
    changes = {"self_registration": True, "mail_hook_url": post_office[0]}
    with serving(settings.model_copy(update=changes)) as url:
        yield url


@pytest.fixture
def library(open_url: str, engine: Engine) -> Iterator[httpx.Client]:
    """An anonymous caller of that library."""
    with httpx.Client(base_url=open_url, timeout=10) as client:
        yield client


@pytest.fixture
def letters(post_office: tuple[str, Letters]) -> Letters:
    """The letters that reach people."""
    return post_office[1]


class TestRegisterUser:
    def test_a_free_address_makes_a_member_who_gets_a_letter(
        self, library: httpx.Client, librarian: httpx.Client, letters: Letters, audit: Any
    ) -> None:
        response = library.post(
            "/api/registrations",
            json=INPUT | {"contact": {"phone": "040 1"}, "privacy": {"receives_news": True}},
        )

        assert response.status_code == 202
        assert response.content == b""
        (user,) = librarian.get("/api/users?q=grace").json()["items"]
        assert user == {
            "id": user["id"],
            "name": "Grace Hopper",
            "email": "grace@example.org",
            "card_number": user["card_number"],
            "role": "member",
            "category": "standard",
            "branch_id": None,
            "status": "active",
            "expires_on": None,
            "contact": {"phone": "040 1", "postal_address": None},
            "privacy": {
                "keeps_history": False,
                "receives_news": True,
                "unwanted_notices": [],
            },
            "has_password": False,
            "created_at": user["created_at"],
            "updated_at": user["updated_at"],
        }
        letter = letters.get(timeout=10)
        assert (letter["event"], letter["email"], letter["name"]) == (
            "password_reset",
            "grace@example.org",
            "Grace Hopper",
        )
        (entry,) = audit("user.register")
        assert (entry.actor_type, entry.outcome) == ("anonymous", "success")
        assert entry.target_id == UUID(user["id"])

    def test_nobody_learns_whether_an_address_has_an_account(
        self, library: httpx.Client, librarian: httpx.Client, letters: Letters, audit: Any
    ) -> None:
        before = librarian.get("/api/users").json()["items"]

        known = library.post("/api/registrations", json=INPUT | {"email": "Member@example.org"})

        assert librarian.get("/api/users").json()["items"] == before
        # The owner hears of it, by the same letter, and nobody else.
        assert letters.get(timeout=10)["email"] == "member@example.org"
        free = library.post("/api/registrations", json=INPUT)
        assert letters.get(timeout=10)["email"] == "grace@example.org"
        assert known.status_code == free.status_code == 202
        assert known.content == free.content == b""
        assert shape(known) == shape(free)
        failure, success = audit("user.register")
        assert (failure.outcome, failure.target_id) == ("failure", None)
        assert failure.details == {"reason": "email_taken"}
        assert success.outcome == "success"

    def test_either_answer_costs_the_same_statements_but_for_the_new_row(
        self, library: httpx.Client, letters: Letters, count_queries: Any
    ) -> None:
        costs = []
        for email in ("member@example.org", "grace@example.org"):
            with count_queries() as statements:
                library.post("/api/registrations", json=INPUT | {"email": email})
                letters.get(timeout=10)
            costs.append([statement.split()[0] for statement in statements])

        known, free = costs
        assert "INSERT" in known
        assert len(free) - len(known) <= 3

    def test_a_blocked_user_stays_blocked(
        self, library: httpx.Client, librarian: httpx.Client
    ) -> None:
        librarian.patch("/api/users/card:20001", json={"status": "blocked"})

        response = library.post("/api/registrations", json=INPUT | {"email": "member@example.org"})

        assert response.status_code == 202
        assert librarian.get("/api/users/card:20001").json()["status"] == "blocked"
        assert librarian.get("/api/users?q=grace").json()["items"] == []

    @pytest.mark.parametrize(
        ("changes", "pointer", "rule"),
        [
            pytest.param({"role": "admin"}, "/role", "additionalProperties", id="a role"),
            pytest.param({"card_number": "1"}, "/card_number", "additionalProperties", id="a card"),
            pytest.param({"email": "\u0430da@example.org"}, "/email", "pattern", id="Cyrillic"),
            pytest.param({"email": "\uff41da@example.org"}, "/email", "pattern", id="full-width"),
            pytest.param({"email": None}, "/email", "type", id="no address"),
            pytest.param({"name": ""}, "/name", "minLength", id="no name"),
        ],
    )
    def test_a_body_that_breaks_the_contract_is_refused(
        self,
        library: httpx.Client,
        librarian: httpx.Client,
        changes: dict[str, Any],
        pointer: str,
        rule: str,
    ) -> None:
        response = library.post("/api/registrations", json=INPUT | changes)

        assert response.status_code == 400
        found = [(entry["pointer"], entry["rule"]) for entry in response.json()["details"]]
        assert (pointer, rule) in found
        assert librarian.get("/api/users").json()["total"] == 3

    def test_where_staff_makes_the_accounts_it_is_closed(
        self, client: httpx.Client, problem: Expected
    ) -> None:
        response = client.post("/api/registrations", json=INPUT)

        assert response.status_code == 409
        assert response.json() == problem(
            response, "registration_closed", "The library's staff makes the accounts."
        )


def shape(response: httpx.Response) -> dict[str, str]:
    """The headers of an answer, but for what differs between any two."""
    own = {"date", "x-request-id", "ratelimit"}
    return {name: value for name, value in response.headers.items() if name not in own}
