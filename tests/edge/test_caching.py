"""Answers that are kept: found again, given up exactly when something changes, never private."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from time import monotonic, sleep, time
from typing import Any, cast
from uuid import UUID

import flask
import httpx
import pytest
import redis as redis_library
from pydantic import SecretStr
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from circdesk import app
from circdesk.catalog import books
from circdesk.catalog.imports.reading.records import SourceBook, SourceRecord
from circdesk.catalog.imports.writing.writer import Options, Writer
from circdesk.catalog.models import CATALOG as CATALOG_TABLES
from circdesk.contract.answers import Answer
from circdesk.contract.contract import Contract
from circdesk.contract.documents import ContractError
from circdesk.contract.door import Call
from circdesk.contract.environ import CALL, Environ
from circdesk.contract.operations import Operation
from circdesk.db import outage
from circdesk.db.engine import make_engine
from circdesk.db.generations import MEMORY, SECONDS, MemoryGenerations
from circdesk.db.unit_of_work import Sessions
from circdesk.edge import caching, kept
from circdesk.edge.caching import Caching
from circdesk.edge.extensions import cache
from circdesk.edge.kept import KeptAnswers
from circdesk.edge.lifetimes import LIFETIMES, Lifetime
from circdesk.edge.metrics import meters
from circdesk.news.models import Post
from circdesk.resources import directory
from circdesk.settings import Settings
from circdesk.visits import Visit
from tests.auth.serving import serving
from tests.circulation.conftest import Library
from tests.conftest import CountQueries
from tests.people import LIBRARIAN_ID, MEMBER_ID, api_key
from tests.redis_server import RedisServer, redis_server

ADMIN = {"X-API-Key": api_key("admin")}
VARY = "Authorization, X-API-Key, Cookie"
ISBN = "9780441478125"
STALE = {"Cookie": "circdesk_session=nobody-has-this-session-any-more-at-all-00"}
BOOK = {"title": "A", "material_type": "book"}
PATCH = {"If-Match": "*", "Content-Type": "application/merge-patch+json"}

Clients = tuple[httpx.Client, httpx.Client]
Ask = Callable[..., Answer]


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def _long_lives() -> Iterator[None]:
    """Keep answers for as long as a slow machine takes; how long that is in earnest is data."""
    with pytest.MonkeyPatch.context() as patch:
        long = {n: replace(one, seconds=600) for n, one in LIFETIMES.items()}
        patch.setattr(caching, "LIFETIMES", long)
        patch.setattr(kept, "MEMORY_SECONDS", 600)
        yield


@pytest.fixture(scope="module")
def in_memory(settings: Settings, migrated_engine: Engine) -> Iterator[str]:
    """The address of a service that keeps answers in memory."""
    with serving(settings) as url:
        yield url


@pytest.fixture(scope="module")
def in_redis(settings: Settings, migrated_engine: Engine, redis: RedisServer) -> Iterator[str]:
    """The address of a service that keeps answers in Redis."""
    with serving(settings, redis_url=SecretStr(redis.url)) as url:
        yield url


@pytest.fixture(params=["memory", "redis"])
def kept_in(request: pytest.FixtureRequest) -> str:
    """Where the service keeps answers."""
    return cast("str", request.param)


@pytest.fixture
def url(request: pytest.FixtureRequest, kept_in: str, engine: Engine) -> str:
    """The address of a service that keeps nothing yet, on an empty database."""
    if kept_in == "redis":
        empty(request.getfixturevalue("redis"))
    MEMORY.touch_all()
    return cast("str", request.getfixturevalue(f"in_{kept_in}"))


@pytest.fixture
def anybody(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=60) as client:
        yield client


@pytest.fixture
def admin(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=60, headers=ADMIN) as client:
        yield client


def empty(server: RedisServer) -> None:
    with redis_library.Redis.from_url(server.url) as client:
        client.flushdb()


def create(admin: httpx.Client, path: str, body: dict[str, Any]) -> str:
    response = admin.post(path, json=body)
    assert response.status_code == 201, response.text
    return response.headers["Location"]


class TestHits:
    def test_the_second_answer_is_the_first_and_costs_no_statement(
        self, anybody: httpx.Client, admin: httpx.Client, count_queries: CountQueries
    ) -> None:
        path = create(admin, "/api/books", BOOK)
        first = anybody.get(path)
        with count_queries() as statements:
            second = anybody.get(path)
        assert statements == []
        assert (second.content, second.status_code) == (first.content, 200)
        assert second.headers["Age"] in ("0", "1", "2")
        assert "Age" not in first.headers
        told = {"x-request-id", "date", "age", "ratelimit"}
        assert {*second.headers.items()} - {*first.headers.items()} <= {
            (name, second.headers[name]) for name in told
        }

    def test_another_query_is_another_answer(
        self, anybody: httpx.Client, admin: httpx.Client
    ) -> None:
        create(admin, "/api/books", BOOK)
        for query in ("", "?title=A", "?page=1", "?title=%41", "?title=B"):
            response = anybody.get(f"/api/books{query}")
            assert "Age" not in response.headers
            assert response.json()["links"]["self"] == f"/api/books{query}"

    def test_head_is_answered_by_what_get_has_left(
        self, anybody: httpx.Client, admin: httpx.Client
    ) -> None:
        path = create(admin, "/api/books", BOOK)
        length = anybody.get(path).headers["Content-Length"]
        response = anybody.head(path)
        assert (response.content, response.headers["Content-Length"]) == (b"", length)
        assert "Age" in response.headers

    def test_what_is_not_there_is_not_kept(
        self, anybody: httpx.Client, admin: httpx.Client
    ) -> None:
        assert anybody.get("/api/branches/code:north").status_code == 404
        assert anybody.get("/api/branches/code:north").headers["Cache-Control"] == "no-store"
        branch = {"code": "north", "name": "North", "time_zone": "UTC", "opening_hours": {}}
        create(admin, "/api/branches", branch)
        assert anybody.get("/api/branches/code:north").status_code == 200

    def test_a_long_answer_is_not_kept(
        self, anybody: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(kept, "_LONGEST_BODY", 10)
        assert "Age" not in anybody.get("/api/books").headers
        assert "Age" not in anybody.get("/api/books").headers

    def test_it_grows_old(self, anybody: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
        anybody.get("/api/subjects")
        now = time()
        monkeypatch.setattr(kept, "time", lambda: now + 100)
        assert anybody.get("/api/subjects").headers["Age"] in ("99", "100")
        monkeypatch.setattr(kept, "time", lambda: now + 600)
        assert "Age" not in anybody.get("/api/subjects").headers

    def test_a_clock_that_was_set_back_makes_it_anew(
        self, anybody: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        anybody.get("/api/subjects")
        now = time()
        monkeypatch.setattr(kept, "time", lambda: now - 100)
        assert "Age" not in anybody.get("/api/subjects").headers


class TestCallers:
    def test_a_caller_who_is_known_is_answered_for_himself_and_from_it_where_it_is_shared(
        self, anybody: httpx.Client, admin: httpx.Client, kept_in: str
    ) -> None:
        public, private = anybody.get("/api/posts"), admin.get("/api/posts")
        assert public.headers["Cache-Control"] == "public, max-age=600"
        assert private.headers["Cache-Control"] == "private, no-cache"
        assert public.headers["Vary"] == private.headers["Vary"] == VARY
        # What this process has kept may lack what the caller has just changed through another.
        assert ("Age" in private.headers) == (kept_in == "redis")
        assert private.content == public.content

    def test_a_credential_must_be_good_also_where_the_answer_is_kept(
        self, anybody: httpx.Client
    ) -> None:
        anybody.get("/api/posts")
        response = anybody.get("/api/posts", headers={"X-API-Key": "cdk_no-such-key"})
        assert response.status_code == 401
        assert response.headers["Cache-Control"] == "no-store"

    def test_an_answer_that_clears_a_cookie_is_neither_kept_nor_shared(
        self, anybody: httpx.Client
    ) -> None:
        for _ in range(2):
            response = anybody.get("/api/posts", headers=STALE)
            assert "Max-Age=0" in response.headers["Set-Cookie"]
            assert response.headers["Cache-Control"] == "private, no-cache"
            assert "Age" not in response.headers
        assert "Set-Cookie" not in anybody.get("/api/posts").headers

    def test_what_needs_a_credential_is_never_kept(
        self, admin: httpx.Client, count_queries: CountQueries
    ) -> None:
        for _ in range(2):
            with count_queries() as statements:
                response = admin.get("/api/users")
            assert statements != []
            assert response.headers["Cache-Control"] == "private, no-cache"
            assert response.headers["Vary"] == f"{VARY}, Accept-Encoding"
            assert "Age" not in response.headers

    @pytest.mark.parametrize(
        ("path", "control"),
        [
            ("/healthz", "no-store"),
            ("/readiness", "no-store"),
            ("/api", "public, max-age=600"),
            ("/problems", "public, max-age=600"),
            ("/openapi.json", "no-cache"),
            ("/.well-known/jwks.json", "public, max-age=60"),
            ("/nowhere", "no-store"),
        ],
    )
    def test_what_knows_no_callers_says_so(
        self, anybody: httpx.Client, path: str, control: str
    ) -> None:
        response = anybody.get(path)
        assert response.headers["Cache-Control"] == control
        assert "Authorization" not in response.headers.get("Vary", "")

    def test_nobody_keeps_the_answer_to_a_change(self, admin: httpx.Client) -> None:
        response = admin.post("/api/books", json=BOOK)
        assert response.headers["Cache-Control"] == "no-store"
        gone = admin.delete(response.headers["Location"])
        assert (gone.status_code, gone.headers["Cache-Control"]) == (204, "no-store")


@dataclass(frozen=True)
class World:
    """Two books, each with a copy in a branch of its own, and two posts."""

    anybody: httpx.Client
    admin: httpx.Client
    settings: Settings
    paths: dict[str, str]

    def get_all(self) -> dict[str, httpx.Response]:
        found = {name: self.anybody.get(path) for name, path in self.paths.items()}
        assert {response.status_code for response in found.values()} == {200}
        return found

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        response = self.admin.post(path, json=body)
        assert response.status_code < 300, response.text
        return response

    def patch(self, resource: str, **changes: Any) -> None:
        response = self.admin.patch(self.paths[resource], json=changes, headers=PATCH)
        assert response.status_code == 200, response.text

    def id(self, name: str) -> str:
        return self.paths[name].rpartition("/")[2]


@pytest.fixture
def world(
    anybody: httpx.Client,
    admin: httpx.Client,
    sessions: Sessions,
    settings: Settings,
    redis: RedisServer,
    kept_in: str,
) -> World:
    library = Library(sessions)
    library.policy()
    near, far = library.branch(code="near"), library.branch(code="far")
    whole = {**BOOK, "isbns": [ISBN], "authors": [{"name": "X"}], "subjects": [{"name": "S"}]}
    book, other = create(admin, "/api/books", whole), create(admin, "/api/books", BOOK)
    copy = create(admin, f"{book}/copies", {"branch_id": str(near), "barcode": "30001"})
    other_copy = create(admin, f"{other}/copies", {"branch_id": str(far)})
    post = {"title": "News", "body": "Text", "author": "Somebody"}
    shown = admin.get(book).json()
    author = f"/api/authors/{shown['authors'][0]['id']}"
    paths = {
        "book": book,
        "book by isbn": f"/api/books/isbn:{ISBN}",
        "other book": other,
        "books": "/api/books",
        "books near": "/api/books?branch=code:near",
        "facets": "/api/books/facets",
        "available facets": "/api/books/facets?available=true",
        "its copies": f"{book}/copies",
        "other copies": f"{other}/copies",
        "copy": copy,
        "copy by barcode": "/api/copies/barcode:30001",
        "other copy": other_copy,
        "copies": "/api/copies",
        "copies near": "/api/copies?branch=code:near",
        "authors": "/api/authors",
        "author": author,
        "author's books": f"{author}/books",
        "subjects": "/api/subjects",
        "subject": f"/api/subjects/{shown['subjects'][0]['id']}",
        "branches": "/api/branches",
        "branch": f"/api/branches/{near}",
        "posts": "/api/posts",
        "post": create(admin, "/api/posts", post),
        "other post": create(admin, "/api/posts", post),
    }
    if kept_in == "redis":
        settings = settings.model_copy(update={"redis_url": SecretStr(redis.url)})
    return World(anybody, admin, settings, paths)


def lend(world: World) -> httpx.Response:
    return world.post("/api/loans", {"user": str(MEMBER_ID), "copy": "barcode:30001"})


def take_back(world: World) -> httpx.Response:
    return world.post("/api/returns", {"copy": "barcode:30001", "branch": "code:near"})


def lend_and_reverse(world: World) -> None:
    event_id = lend(world).json()["compensation"]["parameters"]["event_id"]
    world.get_all()
    world.post(f"/api/events/{event_id}/reversals", {})


def lend_and_take_back(world: World) -> None:
    lend(world)
    world.get_all()
    take_back(world)


def lend_and_place_a_hold(world: World) -> None:
    lend(world)
    world.get_all()
    title = {"user": str(LIBRARIAN_ID), "book": f"isbn:{ISBN}", "pickup_branch": "code:near"}
    world.post("/api/holds", title)


def delete_other_book(world: World) -> None:
    assert world.admin.delete(world.paths["other copy"]).status_code == 204
    gone = {"other copy", "other book", "other copies"}
    path = world.paths["other book"]
    for name in gone:
        del world.paths[name]
    world.get_all()
    assert world.admin.delete(path, headers={"If-Match": "*"}).status_code == 204


def import_a_record(world: World) -> None:
    engine = make_engine(world.settings)
    record = SourceRecord(1, "AAA", "1", "1" * 64, SourceBook(title="Imported"))
    list(Writer(engine, Options()).write([record]))
    engine.dispose()


ONE_BOOK = {"book", "book by isbn", "books", "books near", "author's books", "its copies"}
AVAILABILITY = ONE_BOOK | {
    "available facets", "copy", "copy by barcode", "copies", "copies near",
}  # fmt: skip
OTHER_COPY = {
    "other book", "other copies", "other copy", "copies", "copies near", "books", "books near",
    "available facets", "copy by barcode", "book by isbn", "author's books",
}  # fmt: skip
FACETS = {"facets", "available facets"}
ALL_BOOKS = ONE_BOOK | FACETS | {"other book", "other copies"}
NAMES = {"authors", "author"}, {"subjects", "subject"}
CATALOG = ALL_BOOKS | AVAILABILITY | OTHER_COPY | NAMES[0] | NAMES[1] | {"branches", "branch"}

Deed = Callable[[World], object]
DEEDS: dict[str, tuple[Deed, set[str]]] = {
    "check-out": (lend, AVAILABILITY),
    "return": (lend_and_take_back, AVAILABILITY),
    "reversal": (lend_and_reverse, AVAILABILITY),
    "hold": (lend_and_place_a_hold, set()),
    "import": (import_a_record, CATALOG),
    "edited book": (lambda w: w.patch("book", title="Z"), ONE_BOOK | FACETS),
    "new book": (
        lambda w: w.post("/api/books", BOOK),
        {"books", "books near", "book by isbn", "author's books", *FACETS},
    ),
    "edited copy": (lambda w: w.patch("other copy", shelf_mark="Z"), OTHER_COPY),
    "renamed author": (lambda w: w.patch("author", name="Y"), ALL_BOOKS | NAMES[0]),
    "new author": (lambda w: w.post("/api/authors", {"name": "Y"}), NAMES[0]),
    "renamed subject": (lambda w: w.patch("subject", name="T"), ALL_BOOKS | NAMES[1]),
    "new subject": (lambda w: w.post("/api/subjects", {"name": "T"}), NAMES[1]),
    "edited branch": (
        lambda w: w.patch("branch", name="Z"),
        {"branches", "branch", "books near", "copies near"},
    ),
    "new post": (
        lambda w: w.post("/api/posts", {"title": "N", "body": "T", "author": "S"}),
        {"posts"},
    ),
    "edited post": (lambda w: w.patch("post", title="Z", tags=["a"]), {"posts", "post"}),
    "deleted post": (
        lambda w: w.admin.delete(w.paths.pop("other post")).raise_for_status(),
        {"posts"},
    ),
    "deleted book": (
        delete_other_book,
        {"books", "books near", "book by isbn", "author's books", *FACETS, *NAMES[0], *NAMES[1]},
    ),
}


# How it is told is the same for all of them.
IN_REDIS = ("check-out", "import", "renamed author", "deleted book", "edited post")


class TestChanges:
    @pytest.mark.parametrize(
        ("kept_in", "name"),
        [*(("memory", name) for name in DEEDS), *(("redis", name) for name in IN_REDIS)],
        indirect=["kept_in"],
    )
    def test_a_deed_empties_what_it_touches_and_nothing_else(
        self, world: World, redis: RedisServer, name: str
    ) -> None:
        deed, touched = DEEDS[name]
        world.get_all()
        deed(world)
        found = world.get_all()
        made_anew = {name for name, answer in found.items() if "Age" not in answer.headers}
        assert made_anew == touched
        # What was found again is what would have been made.
        MEMORY.touch_all()
        empty(redis)
        for name, answer in world.get_all().items():
            assert "Age" not in answer.headers
            assert answer.content == found[name].content


class TestStampedes:
    """What is done once for many who ask at the same time."""

    @pytest.fixture
    def path(self, admin: httpx.Client) -> str:
        return create(admin, "/api/books", BOOK)

    @pytest.fixture
    def made(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Who read a book, each of whom takes a while."""
        made: list[str] = []
        read = books.read_book

        def slowly(session: Session, key: str) -> Any:
            made.append(threading.current_thread().name)
            sleep(0.3)
            return read(session, key)

        monkeypatch.setattr(books, "read_book", slowly)
        return made

    def ask(self, client: httpx.Client, path: str) -> list[httpx.Response]:
        with ThreadPoolExecutor(12) as pool:
            return list(pool.map(client.get, [path] * 12))

    def test_one_key_is_worked_at_once(
        self, anybody: httpx.Client, path: str, made: list[str]
    ) -> None:
        responses = self.ask(anybody, path)
        assert len(made) == 1
        assert {response.status_code for response in responses} == {200}
        assert len({response.content for response in responses}) == 1

    def test_who_has_waited_too_long_does_it_too(
        self,
        anybody: httpx.Client,
        path: str,
        made: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(caching, "_PATIENCE_SECONDS", 0.01)
        responses = self.ask(anybody, path)
        assert len(made) == len({*made}) > 1
        assert {response.status_code for response in responses} == {200}

    def test_what_is_refused_is_refused_to_all_who_wait(
        self, anybody: httpx.Client, made: list[str]
    ) -> None:
        responses = self.ask(anybody, f"/api/books/{UUID(int=1)}")
        assert {response.status_code for response in responses} == {404}
        assert len({response.json()["request_id"] for response in responses}) == 12
        # Four at once, and nothing of it is kept.
        assert len(made) < 12


def wait_until_kept(client: httpx.Client) -> None:
    """Wait until the service asks Redis again, from which a test before has parted it."""
    deadline = monotonic() + 30
    while "Age" not in client.get("/api/posts").headers:
        assert monotonic() < deadline
        sleep(0.05)


class TestOutages:
    @pytest.fixture
    def clients(
        self,
        engine: Engine,  # noqa: ARG002 - it empties the database.
        in_redis: str,
        redis: RedisServer,
    ) -> Iterator[Clients]:
        empty(redis)
        with (
            httpx.Client(base_url=in_redis, timeout=60) as anybody,
            httpx.Client(base_url=in_redis, timeout=60, headers=ADMIN) as admin,
        ):
            wait_until_kept(anybody)
            yield anybody, admin

    @pytest.mark.parametrize("how", ["away", "frozen"])
    def test_without_redis_all_goes_on_and_one_line_tells_it(
        self, clients: Clients, redis: RedisServer, how: str
    ) -> None:
        anybody, admin = clients
        path = create(admin, "/api/books", BOOK)
        anybody.get(path)
        with capture_logs() as logs, getattr(redis, how)():
            started = monotonic()
            for number in range(10):
                changed = admin.patch(path, json={"title": f"Title {number}"}, headers=PATCH)
                response = anybody.get(path)
                assert (changed.status_code, response.status_code) == (200, 200)
                assert response.json()["title"] == f"Title {number}"
                assert "Age" not in response.headers
            # One waits for the deadline of 0.25 seconds, and one each second after that.
            assert monotonic() - started < 10
        assert [line["event"] for line in logs if "part" in line] == ["part_gone"]

    def test_what_changed_meanwhile_is_not_found_again(
        self, clients: Clients, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        anybody, admin = clients
        path = create(admin, "/api/books", BOOK)
        anybody.get(path)
        assert "Age" in anybody.get(path).headers
        monkeypatch.setattr(outage, "_PAUSE_SECONDS", 0.0)
        with redis.frozen():
            assert admin.patch(path, json={"title": "New"}, headers=PATCH).status_code == 200
        # Redis has kept the old answer.
        response = anybody.get(path)
        assert response.json()["title"] == "New"
        assert "Age" not in response.headers
        assert "Age" in anybody.get(path).headers


def test_services_with_one_redis_see_what_each_other_changes(
    settings: Settings, engine: Engine, redis: RedisServer, in_redis: str
) -> None:
    empty(redis)
    with (
        serving(settings, redis_url=SecretStr(redis.url)) as beside,
        httpx.Client(base_url=in_redis, timeout=60) as here,
        httpx.Client(base_url=beside, timeout=60, headers=ADMIN) as there,
    ):
        wait_until_kept(here)
        path = create(there, "/api/books", BOOK)
        assert "Age" not in here.get(path).headers
        assert "Age" in there.get(path).headers
        there.patch(path, json={"title": "New"}, headers=PATCH)
        response = here.get(path)
        assert "Age" not in response.headers
        assert response.json()["title"] == "New"
        assert "Age" in there.get(path).headers


class TestConditions:
    """A caller who has the answer that is kept; the views here have made it with its tag."""

    CALL = Call(
        cast("Operation", None), {"post_id": UUID(int=1)}, Visit(caller=None, request_id="r")
    )

    @pytest.fixture
    def caching(self, settings: Settings) -> Caching:
        generations = MemoryGenerations()
        answers = KeptAnswers(cache, generations, shared=False)
        answers.bind(flask.Flask("test"), settings)
        return Caching(answers, generations, contract())

    @pytest.fixture
    def ask(self, caching: Caching) -> Ask:
        operation = contract().operations["get_post"]

        def view(environ: Environ) -> Answer:
            if environ[CALL].edge["if_none_match"] is not None:
                return Answer(304, None, b"", {"ETag": '"1"'})
            return Answer(200, "application/json", b"{}", {"ETag": '"1"'})

        cached = caching.around(lambda _operation, _handler: view)(operation, lambda: None)

        def ask(**edge: str) -> Answer:
            call = replace(self.CALL, edge={"if_none_match": None, **edge})
            return cached({CALL: call, "REQUEST_URI": "/api/posts/1"})

        return ask

    def test_it_is_told_so_by_what_is_kept(self, ask: Ask) -> None:
        assert ask().status == 200
        answer = ask(if_none_match='"0", "1"')
        assert (answer.status, answer.body, answer.media_type) == (304, b"", None)
        assert answer.headers.keys() == {"ETag", "Age", "Cache-Control", "Vary"}

    def test_the_first_to_ask_leaves_the_whole_answer(self, ask: Ask) -> None:
        answer = ask(if_none_match='"1"')
        assert (answer.status, "Age" in answer.headers) == (304, False)
        answer = ask(if_none_match='"0"')
        assert (answer.status, answer.body) == (200, b"{}")
        assert "Age" in answer.headers

    def test_who_names_a_time_asks_the_view(self, ask: Ask) -> None:
        ask()
        assert "Age" not in ask(if_modified_since="Mon, 05 Jan 2026 12:00:00 GMT").headers

    def test_what_happened_is_counted(self, ask: Ask) -> None:
        registry = meters().registry
        names = ("miss", "hit", "passed_by")

        def counts() -> list[float]:
            found = [
                registry.get_sample_value("circdesk_cache_requests_total", {"result": name})
                for name in names
            ]
            return [each or 0 for each in found]

        before = counts()
        for _ in range(3):
            ask()
        ask(if_modified_since="Mon, 05 Jan 2026 12:00:00 GMT")
        assert [now - then for now, then in zip(counts(), before, strict=True)] == [1, 2, 1]


@pytest.mark.parametrize("text", [b"", b"what is this", b"[1]", b"[1, 2, 3]"])
def test_what_nobody_can_read_is_not_found(settings: Settings, text: bytes) -> None:
    app = flask.Flask("test")
    answers = KeptAnswers(cache, MEMORY, shared=False)
    answers.bind(app, settings)
    with app.app_context():
        cache.set("key", text)
    assert answers.find("key", "", 10) is None


class TestStart:
    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("list_dragons", "list_dragons has a lifetime and is no operation"),
            ("list_users", "list_users has a lifetime and is not for everybody to read"),
            ("create_book", "create_book has a lifetime and is not for everybody to read"),
        ],
    )
    def test_what_must_not_be_kept_stops_it(
        self, monkeypatch: pytest.MonkeyPatch, name: str, message: str
    ) -> None:
        monkeypatch.setattr(caching, "LIFETIMES", {name: Lifetime(1)})
        answers = KeptAnswers(cache, MEMORY, shared=False)
        with pytest.raises(ContractError, match=f"^{message}$"):
            Caching(answers, MEMORY, contract())

    def test_the_contract_says_what_is_kept(self) -> None:
        declared = {
            name
            for name, operation in contract().operations.items()
            if 200 in operation.responses and "Age" in operation.responses[200].headers.names
        }
        assert declared == {name for name, lifetime in LIFETIMES.items() if lifetime.resources}

    def test_everybody_may_keep_it_no_longer_than_it_is_kept_here(self) -> None:
        assert max(lifetime.seconds for lifetime in LIFETIMES.values()) * 10 < SECONDS

    def test_all_resources_are_of_tables(self) -> None:
        tables = {name for model in (*CATALOG_TABLES, Post) for name in resources(model)}
        for lifetime in LIFETIMES.values():
            assert {*chain(lifetime.resources, *lifetime.filters.values())} <= tables


def contract() -> Contract:
    """The contract that all services of this process share."""
    found: Contract = app.load_contract(directory("openapi"))  # type: ignore[attr-defined]  # It is loaded once for all tests there.
    return found


def resources(model: Any) -> set[str]:
    return {name for name in model.__touches__.everything() if ":" not in name}
