"""Requests that are repeated with their key, through the running service and on both databases."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import Engine, func, select, text, update
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from circdesk import app, clock
from circdesk.accounts.models import User
from circdesk.auth.models import ApiKey, PasswordReset
from circdesk.auth.scopes import ROLE_SCOPES
from circdesk.auth.secrets import hash_secret
from circdesk.catalog.imports.models import ImportJob
from circdesk.catalog.models import Book, Branch
from circdesk.contract.contract import Contract
from circdesk.contract.requests import InvalidRequest
from circdesk.db.base import Base
from circdesk.db.engine import READING
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.edge.idempotency import _hash_key
from circdesk.edge.models import ANSWERS_ARE_KEPT, IdempotencyKey
from circdesk.housekeeping import tidy
from circdesk.news import posts
from circdesk.news.models import Post
from circdesk.resources import directory
from circdesk.settings import Settings
from circdesk.visits import Caller, Visit
from tests.conftest import CountQueries
from tests.people import ADMIN_ID, MEMBER_ID, api_key_id

JSON = dict[str, Any]
Expected = Callable[..., JSON]
Count = Callable[[type[Base]], int]

WITHOUT_KEY = {"create_session", "issue_token", "revoke_token", "introspect_token"}
POST = {"title": "News", "body": "Text", "author": "Somebody"}
KEY = {"Idempotency-Key": '"0d5b3d52-3f0f-4a0b-8b6e-6f2a1b1c9a57"'}
REPLAYED = "Idempotent-Replayed"
CSV = b"control_number,title\n1,One\n2,Two\n"
CSV_TYPE = {"Content-Type": "text/csv"}
TOKEN = "Zm9yLXRlc3RzLWEtdG9rZW4tb2YtMjU2LXJhbmRvbS0"
PERIOD = {"period_unit": "days", "period_length": 28}
PASSWORD = "a loud morning in the market"


@pytest.fixture
def count(sessions: Sessions) -> Count:
    """`count(Post)`: how many rows of a table there are."""

    def rows(model: type[Base]) -> int:
        with unit_of_work(sessions, writing=False) as session:
            return session.scalar(select(func.count()).select_from(model)) or 0

    return rows


def post_news(caller: httpx.Client, headers: Any = KEY, **changes: str) -> httpx.Response:
    return caller.post("/api/posts", json=POST | changes, headers=headers)


def assert_replayed(first: httpx.Response, again: httpx.Response) -> None:
    """The second answer is the first one again, but for what each request has of its own."""
    assert first.is_success, first.text
    assert REPLAYED not in first.headers
    assert again.headers[REPLAYED] == "true"
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert shared_headers(again) == shared_headers(first)
    assert again.headers["X-Request-Id"] != first.headers["X-Request-Id"]


def shared_headers(answer: httpx.Response) -> dict[str, str]:
    own = {"x-request-id", "date", "ratelimit", REPLAYED.lower()}
    return {name: value for name, value in answer.headers.items() if name not in own}


class TestReplay:
    def test_what_is_repeated_is_done_once_and_answered_alike(
        self, admin: httpx.Client, count: Count
    ) -> None:
        answers = [post_news(admin) for _ in range(3)]

        for again in answers[1:]:
            assert_replayed(answers[0], again)
        assert answers[0].headers["Location"] == f"/api/posts/{answers[0].json()['id']}"
        assert count(Post) == 1

    def test_without_a_key_it_is_done_each_time(self, admin: httpx.Client, count: Count) -> None:
        assert [post_news(admin, None).status_code for _ in range(2)] == [201, 201]
        assert (count(Post), count(IdempotencyKey)) == (2, 0)

    def test_a_change_is_answered_as_it_was_then(self, admin: httpx.Client) -> None:
        path = post_news(admin, None).headers["Location"]
        first = admin.patch(path, json={"title": "Old"}, headers=KEY)
        admin.patch(path, json={"title": "New"}).raise_for_status()

        assert_replayed(first, admin.patch(path, json={"title": "Old"}, headers=KEY))
        assert admin.get(path).json()["title"] == "New"

    @pytest.mark.parametrize(
        ("headers", "query"),
        [
            ({"Idempotency-Key": '"a \\"key\\""'}, {}),
            ({}, {"idempotency_key": '"a \\"key\\""'}),
            ({"Idempotency-Key": '"a \\"key\\""'}, {"idempotency_key": '"a \\"key\\""'}),
        ],
        ids=["header", "query", "both"],
    )
    def test_it_stands_in_the_header_or_in_the_query(
        self, admin: httpx.Client, headers: JSON, query: JSON
    ) -> None:
        first = post_news(admin, {"Idempotency-Key": '"a \\"key\\""'})

        again = admin.post("/api/posts", json=POST, headers=headers, params=query)

        assert_replayed(first, again)

    def test_a_bare_key_is_the_same_as_one_in_quotation_marks(self, admin: httpx.Client) -> None:
        first = post_news(admin, {"Idempotency-Key": "a-key"})

        assert_replayed(first, post_news(admin, {"Idempotency-Key": '"a-key"'}))
        both = admin.post(
            "/api/posts?idempotency_key=a-key", json=POST, headers={"Idempotency-Key": '"a-key"'}
        )
        assert_replayed(first, both)

    def test_the_order_of_members_makes_no_other_request(self, admin: httpx.Client) -> None:
        body = json.dumps(dict(reversed(POST.items())), indent=4)
        headers = KEY | {"Content-Type": "application/json"}

        assert_replayed(post_news(admin), admin.post("/api/posts", content=body, headers=headers))

    def test_an_answer_for_several_is_kept_whole(self, admin: httpx.Client) -> None:
        body = {"copies": ["barcode:1", "barcode:2"]}
        first = admin.post("/api/bulk-returns", json=body, headers=KEY)
        assert first.status_code == 207

        assert_replayed(first, admin.post("/api/bulk-returns", json=body, headers=KEY))

    def test_what_a_handler_does_before_its_transaction_may_be_repeated(
        self, client: httpx.Client, sessions: Sessions
    ) -> None:
        """A token is good once, and its password is hashed while nothing is locked."""
        with unit_of_work(sessions, writing=True) as session:
            now = clock.now()
            session.add(
                PasswordReset(
                    token_hash=hash_secret(TOKEN),
                    user_id=MEMBER_ID,
                    created_at=now,
                    expires_at=now + timedelta(hours=1),
                )
            )
        body = {"token": TOKEN, "new_password": PASSWORD}
        path = "/api/password-resets/redemptions"
        first = client.post(path, json=body, headers=KEY)
        assert first.status_code == 204

        assert_replayed(first, client.post(path, json=body, headers=KEY))
        assert client.post(path, json=body).json()["code"] == "reset_token_invalid"


class TestFaults:
    @pytest.mark.parametrize(
        "key",
        ["", '""', '"open', 'with"in', "two words", "a,b", "a, a", "ü", "x" * 256],
        ids=lambda key: key[:10],
    )
    def test_what_is_no_key_is_refused(self, admin: httpx.Client, key: str, count: Count) -> None:
        headers = {b"Idempotency-Key": key.encode()}
        response = admin.post("/api/posts", json=POST, headers=headers)

        assert response.status_code == 400
        assert response.json()["details"][0]["pointer"] == "/Idempotency-Key"
        assert count(Post) == 0

    @pytest.mark.parametrize("key", ["x" * 255, f'"{"x " * 127}x"', f'"{"x" * 254}\\\\"'])
    def test_a_key_has_up_to_255_characters(self, admin: httpx.Client, key: str) -> None:
        assert post_news(admin, {"Idempotency-Key": key}).status_code == 201

    def test_two_keys_are_none(self, admin: httpx.Client, problem: Expected, count: Count) -> None:
        response = admin.post("/api/posts?idempotency_key=a", json=POST, headers=KEY)

        message = "the query parameter of that name says something else"
        pointer = "/Idempotency-Key"
        detail = {"in": "header", "pointer": pointer, "rule": "contradiction", "message": message}
        assert response.json() == problem(
            response, "invalid_request", "The request has 1 fault.", details=[detail]
        )
        assert count(Post) == 0


class TestOtherRequests:
    MESSAGE = "The key came with another request before, of create_post."

    def test_another_body_is_refused(
        self, admin: httpx.Client, problem: Expected, count: Count
    ) -> None:
        post_news(admin)
        response = post_news(admin, title="Other news")

        assert response.json() == problem(response, "idempotency_key_reused", self.MESSAGE)
        assert response.status_code == 422
        assert count(Post) == 1

    def test_another_path_is_refused(self, admin: httpx.Client, problem: Expected) -> None:
        path = post_news(admin).headers["Location"]
        response = admin.patch(path, json={"title": "News"}, headers=KEY)

        assert response.json() == problem(response, "idempotency_key_reused", self.MESSAGE)

    def test_another_query_is_refused(self, admin: httpx.Client) -> None:
        sent = [
            admin.post(f"/api/imports{query}", content=CSV, headers=KEY | CSV_TYPE)
            for query in ("?source=A", "?source=B", "?dry_run=false&source=A")
        ]

        assert [answer.status_code for answer in sent] == [202, 422, 202]
        # What the query left out has its default.
        assert REPLAYED in sent[2].headers


class TestFiles:
    @pytest.fixture(autouse=True)
    def _no_files_left(self, settings: Settings) -> Iterator[None]:
        yield
        for path in settings.uploads.glob("*"):
            path.unlink()

    def test_a_file_is_the_same_by_its_content(self, admin: httpx.Client, count: Count) -> None:
        first = admin.post("/api/imports", content=CSV, headers=KEY | CSV_TYPE)
        pieces = (CSV[place : place + 7] for place in range(0, len(CSV), 7))

        again = admin.post("/api/imports", content=pieces, headers=KEY | CSV_TYPE)

        assert_replayed(first, again)
        assert count(ImportJob) == 1

    def test_another_of_the_same_length_is_another(self, admin: httpx.Client, count: Count) -> None:
        admin.post("/api/imports", content=CSV, headers=KEY | CSV_TYPE).raise_for_status()

        other = CSV.replace(b"Two", b"Six")
        response = admin.post("/api/imports", content=other, headers=KEY | CSV_TYPE)

        assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")
        assert count(ImportJob) == 1


class TestRefusals:
    def test_a_refusal_leaves_the_key_free(self, admin: httpx.Client, count: Count) -> None:
        branch = {"code": "central", "name": "Central", "time_zone": "Europe/Berlin"}
        admin.post("/api/branches", json=branch).raise_for_status()
        refused = admin.post("/api/branches", json=branch | {"name": "C"}, headers=KEY)
        assert refused.status_code == 409
        assert count(IdempotencyKey) == 0
        admin.delete("/api/branches/code:central").raise_for_status()

        first = admin.post("/api/branches", json=branch, headers=KEY)

        assert_replayed(first, admin.post("/api/branches", json=branch, headers=KEY))
        assert count(Branch) == 1

    def test_so_does_one_that_stores_something_of_its_own(
        self, admin: httpx.Client, count: Count, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Counted(InvalidRequest):
            commits = True

        def refuse(session: Session, _content: object) -> None:
            session.add(Book(title="T", sort_title="t", sort_year=0, material_type="book"))
            raise Counted("No.")

        with monkeypatch.context() as patch:
            patch.setattr(posts, "create_post", refuse)
            assert post_news(admin).status_code == 400

        assert (count(Book), count(IdempotencyKey)) == (1, 0)
        assert post_news(admin).status_code == 201

    def test_so_does_an_answer_that_breaks_the_contract(
        self, admin: httpx.Client, count: Count, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = posts.create_post
        with monkeypatch.context() as patch, capture_logs():
            patch.setattr(posts, "create_post", lambda *given: real(*given) | {"title": None})
            assert post_news(admin).status_code == 500

        assert (count(Post), count(IdempotencyKey)) == (0, 0)
        assert post_news(admin).status_code == 201


class TestCallers:
    def test_each_has_keys_of_its_own(
        self, admin: httpx.Client, librarian: httpx.Client, count: Count
    ) -> None:
        answers = [post_news(admin), post_news(librarian)]

        assert [answer.status_code for answer in answers] == [201, 201]
        assert REPLAYED not in answers[1].headers
        assert count(Post) == 2

    def test_who_may_do_less_by_now_gets_no_answer(
        self, admin: httpx.Client, sessions: Sessions
    ) -> None:
        post_news(admin).raise_for_status()
        with unit_of_work(sessions, writing=True) as session:
            key = session.get_one(ApiKey, api_key_id("admin"))
            key.scopes = sorted(ROLE_SCOPES["admin"] - {"roles:write"})
            secret = f"{uuid4()}-that-only-this-test-knows"
            key.secret_hash = hash_secret(secret)

        response = post_news(admin, KEY | {"X-API-Key": secret})

        message = "The credential lacks the scope roles:write."
        assert response.status_code == 403
        assert (response.json()["code"], response.json()["message"]) == ("scope_missing", message)

    def test_who_lost_the_permission_is_refused_at_the_door(
        self, admin: httpx.Client, sessions: Sessions
    ) -> None:
        post_news(admin).raise_for_status()
        with unit_of_work(sessions, writing=True) as session:
            session.execute(update(User).where(User.id == ADMIN_ID).values(role="member"))
            secret = f"{uuid4()}-that-only-this-test-knows"
            session.get_one(ApiKey, api_key_id("admin")).secret_hash = hash_secret(secret)

        response = post_news(admin, KEY | {"X-API-Key": secret})

        assert (response.status_code, response.json()["code"]) == (403, "scope_missing")
        assert REPLAYED not in response.headers

    def test_a_caller_is_a_person_or_an_application_or_an_address(self) -> None:
        scopes, key = frozenset(("news:write",)), uuid4()
        other = Caller(scopes, "session", uuid4(), user_id=ADMIN_ID)
        person = Caller(scopes, "api_key", uuid4(), user_id=ADMIN_ID)
        visits = [
            Visit(person, "r"),
            Visit(Caller(scopes, "bearer", uuid4(), user_id=ADMIN_ID, client_id=key), "r"),
            Visit(Caller(scopes, "bearer", uuid4(), client_id=key), "r"),
            Visit(Caller(scopes, "api_key", uuid4(), user_id=MEMBER_ID), "r"),
            Visit(None, "r", address="192.0.2.1"),
            Visit(None, "r", address="192.0.2.2"),
        ]

        assert len({_hash_key(visit, "key") for visit in visits}) == len(visits)
        # By which of their credentials they call makes no difference.
        assert _hash_key(Visit(other, "s"), "key") == _hash_key(visits[0], "key")


class TestStorage:
    def test_a_secret_is_stored_encrypted(self, admin: httpx.Client, engine: Engine) -> None:
        body = {"name": "For a script", "scopes": ["news:write"]}
        first = admin.post("/api/api-keys", json=body, headers=KEY)
        secret = first.json()["secret"]

        with engine.execution_options(**{READING: True}).connect() as connection:
            (row,) = connection.execute(text("SELECT * FROM idempotency_keys")).all()

        told = b" ".join(
            value if isinstance(value, bytes) else str(value).encode() for value in row
        )
        assert secret.encode() not in told
        assert first.json()["name"].encode() not in told
        assert KEY["Idempotency-Key"].strip('"').encode() not in told
        assert_replayed(first, admin.post("/api/api-keys", json=body, headers=KEY))

    def test_an_answer_is_good_in_its_own_row_alone(
        self, admin: httpx.Client, sessions: Sessions
    ) -> None:
        for number in ("1", "2"):
            post_news(admin, {"Idempotency-Key": number}).raise_for_status()
        with unit_of_work(sessions, writing=True) as session:
            one, other = session.scalars(select(IdempotencyKey))
            one.body = other.body

        with capture_logs():
            statuses = {post_news(admin, {"Idempotency-Key": n}).status_code for n in ("1", "2")}

        assert statuses == {201, 500}

    def test_under_another_encryption_key_nothing_is_done_twice(
        self, admin: httpx.Client, sessions: Sessions, count: Count
    ) -> None:
        post_news(admin).raise_for_status()
        with unit_of_work(sessions, writing=True) as session:
            session.execute(update(IdempotencyKey).values(fingerprint="0" * 64))

        assert post_news(admin).json()["code"] == "idempotency_key_reused"
        assert count(Post) == 1

    def test_no_key_costs_no_statement_and_a_key_three_or_four(
        self, admin: httpx.Client, count_queries: CountQueries, engine: Engine
    ) -> None:
        with count_queries() as without:
            post_news(admin, None).raise_for_status()
        with count_queries() as once:
            post_news(admin).raise_for_status()
        with count_queries() as again:
            post_news(admin).raise_for_status()

        assert not any("idempotency" in each or "advisory" in each for each in without)
        assert len(once) - len(without) == (4 if engine.dialect.name == "postgresql" else 3)
        assert len(again) == 1

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/api/decisions", {"action": "return", "copy": "barcode:1"}),
            ("/api/loan-policies/impact", {"name": "No loans", "lends": False, **PERIOD}),
        ],
        ids=["decisions", "impact"],
    )
    def test_what_only_reads_takes_a_key_and_stores_nothing(
        self, admin: httpx.Client, count: Count, path: str, body: JSON
    ) -> None:
        answers = [admin.post(path, json=body, headers=KEY) for _ in range(2)]

        assert {answer.status_code for answer in answers} == {200}, answers[0].text
        assert REPLAYED not in answers[1].headers
        assert count(IdempotencyKey) == 0


class TestAge:
    def grow(self, sessions: Sessions, age: timedelta) -> None:
        with unit_of_work(sessions, writing=True) as session:
            session.execute(update(IdempotencyKey).values(created_at=clock.now() - age))

    def test_the_worker_forgets_it_after_24_hours(
        self, admin: httpx.Client, sessions: Sessions, count: Count
    ) -> None:
        post_news(admin).raise_for_status()
        kept_until = clock.now() + ANSWERS_ARE_KEPT

        assert "idempotency_keys" not in tidy(sessions, kept_until - timedelta(minutes=1))
        assert tidy(sessions, kept_until + timedelta(seconds=1)) == {"idempotency_keys": 1}
        assert count(IdempotencyKey) == 0

    def test_it_counts_until_then_and_no_longer(
        self, admin: httpx.Client, sessions: Sessions, count: Count
    ) -> None:
        first = post_news(admin)
        self.grow(sessions, ANSWERS_ARE_KEPT - timedelta(minutes=1))
        assert_replayed(first, post_news(admin))

        # The worker need not have been there.
        self.grow(sessions, ANSWERS_ARE_KEPT)
        other = post_news(admin, title="Other news")

        assert (other.status_code, REPLAYED in other.headers) == (201, False)
        assert_replayed(other, post_news(admin, title="Other news"))
        assert (count(Post), count(IdempotencyKey)) == (2, 1)


class TestInProgress:
    @contextmanager
    def having(self, engine: Engine) -> Iterator[None]:
        """Have the administrator's key, as a process does that has not ended yet."""
        caller = Caller(frozenset(), "api_key", uuid4(), user_id=ADMIN_ID)
        name = _hash_key(Visit(caller, "r"), KEY["Idempotency-Key"].strip('"'))
        number = int.from_bytes(bytes.fromhex(name)[:8], signed=True)
        with engine.begin() as connection:
            connection.execute(text(f"SELECT pg_advisory_xact_lock({number})"))
            yield

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/api/posts", POST),
            # The first use of the database is within an item, whose refusals are the item's own.
            ("/api/bulk-returns", {"copies": ["barcode:1"]}),
        ],
    )
    def test_while_it_runs_the_same_request_is_to_wait(
        self,
        admin: httpx.Client,
        engine: Engine,
        problem: Expected,
        count: Count,
        path: str,
        body: JSON,
    ) -> None:
        if engine.dialect.name == "sqlite":
            pytest.skip("SQLite has one writer; see below")
        with self.having(engine):
            response = admin.post(path, json=body, headers=KEY)
            other = admin.post(path, json=body, headers={"Idempotency-Key": "other"})

        message = "The first request with this key has not ended yet."
        assert response.json() == problem(response, "request_in_progress", message)
        assert (response.status_code, response.headers["Retry-After"]) == (409, "1")
        assert other.is_success
        assert admin.post(path, json=body, headers=KEY).is_success
        assert count(IdempotencyKey) == 2

    def test_of_two_at_once_one_is_carried_out(
        self,
        admin: httpx.Client,
        engine: Engine,
        count: Count,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        real, begun, go_on = posts.create_post, threading.Event(), threading.Event()

        def create_slowly(session: Session, content: JSON) -> JSON:
            created = real(session, content)
            begun.set()
            assert go_on.wait(30)
            return created

        monkeypatch.setattr(posts, "create_post", create_slowly)
        with ThreadPoolExecutor(2) as callers:
            first = callers.submit(post_news, admin)
            assert begun.wait(30)
            second = callers.submit(post_news, admin)
            if engine.dialect.name == "postgresql":
                assert second.result().json()["code"] == "request_in_progress"
                go_on.set()
                second = callers.submit(post_news, admin)
            go_on.set()

            assert first.result().status_code == 201
            # On PostgreSQL it may come before the first has quite ended.
            if second.result().status_code != 409:
                assert_replayed(first.result(), second.result())
        assert_replayed(first.result(), post_news(admin))
        assert count(Post) == 1


class TestContract:
    @pytest.fixture
    def contract(self) -> Contract:
        """The contract, which is compiled once for all services."""
        return app.load_contract(directory("openapi"))  # type: ignore[attr-defined]

    def test_every_post_and_patch_takes_a_key(self, contract: Contract) -> None:
        for name, operation in contract.operations.items():
            takes = operation.method in ("POST", "PATCH") and name not in WITHOUT_KEY
            assert ("Idempotency-Key" in operation.headers.names) == takes, name
            assert ("idempotency_key" in operation.query.names) == takes, name

    def test_what_it_may_come_to_is_declared_where_it_may(self, contract: Contract) -> None:
        for name, operation in contract.operations.items():
            keeps = "idempotency_key" in operation.edge and not operation.safe
            assert not keeps or {409, 422} <= operation.responses.keys(), name
            for status, response in operation.responses.items():
                assert (REPLAYED in response.headers.names) == (keeps and status < 300), name

    def test_it_publishes_how_long_keys_are_kept(self, contract: Contract) -> None:
        hours = ANSWERS_ARE_KEPT // timedelta(hours=1)
        parameter = contract.document["components"]["parameters"]["IdempotencyKey"]
        for manual in (parameter["description"], contract.document["info"]["description"]):
            assert f"kept for {hours} hours" in " ".join(manual.split())


def test_a_fee_is_charged_once_and_paid_once(member: httpx.Client, admin: httpx.Client) -> None:
    """What the whole is for: money."""
    body = {"user": str(MEMBER_ID), "amount": "2.50", "reason": "Coffee on the cover"}
    charged = [admin.post("/api/fees", json=body, headers=KEY) for _ in range(2)]
    fee = charged[0].json()["fee"]["id"]
    paid = [
        admin.post(
            f"/api/fees/{fee}/payments", json={"amount": "2.50"}, headers={"Idempotency-Key": "p"}
        )
        for _ in range(2)
    ]

    assert_replayed(*charged)
    assert_replayed(*paid)
    (only,) = member.get("/api/me/fees").json()["items"]
    assert (only["status"], only["outstanding"]["amount"]) == ("settled", "0.00")
