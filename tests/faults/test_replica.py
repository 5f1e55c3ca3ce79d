"""A replica of the database: who reads there, who must not, and what happens when it fails."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import httpx
import psycopg
import pytest
import redis as redis_library
from pydantic import SecretStr
from sqlalchemy import Engine, event, make_url
from structlog.testing import capture_logs

from circdesk.db import replica as module
from circdesk.db.engine import make_engine
from circdesk.db.migrations import upgrade
from circdesk.db.replica import Replica
from circdesk.db.unit_of_work import make_sessions
from circdesk.edge import kept, reads
from circdesk.edge.metrics import meters
from circdesk.settings import Settings
from tests.auth.serving import serving
from tests.contracts import contract
from tests.faults.processes import until
from tests.people import MEMBER_ID, api_key, seed_people
from tests.postgresql_server import (
    broken_off,
    catch_up,
    frozen,
    new_database,
    paused,
    postgresql_server,
    replica_of,
)
from tests.redis_server import RedisServer

# The longest wait for the database, in seconds; a replica is waited for half as long.
DEADLINE = 4
# What a slow machine may add to it; far less than a wait without a deadline.
SLACK = 10

BLOCKS = f"/api/users/{MEMBER_ID}/blocks"
POST = {"title": "News", "body": "Text", "author": "Somebody"}

# Whether each statement about a table was executed by a replica, by the server's own word.
Places = list[bool]


@pytest.fixture(scope="module")
def primary() -> Iterator[Any]:
    """A PostgreSQL that others may follow."""
    with postgresql_server("circdesk-primary-") as server:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            # It need not survive a power cut.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield server


@pytest.fixture(scope="module")
def replica(primary: Any) -> Iterator[Any]:
    """A PostgreSQL that follows it."""
    with replica_of(primary, "circdesk-replica-") as server:
        yield server
        process = server.get_postmaster_info().process
    # It is an error if it is still there then.
    process.wait(60)


@pytest.fixture(scope="module")
def replicated(primary: Any, replica: Any, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings for a service on a migrated database, with its replica."""
    url = new_database(primary)
    settings = Settings(
        instance=tmp_path_factory.mktemp("instance"),
        database_url=SecretStr(url),
        database_replica_url=SecretStr(_on(replica, url)),
        secret_key=SecretStr("a secret key that only tests know"),
        encryption_key=SecretStr("an encryption key that only tests know"),
        public_url="http://127.0.0.1:8000",
        threads=4,
        rate_limits="1000000/minute",
        database_timeout_seconds=DEADLINE,
        self_registration=True,
    )
    engine = make_engine(settings)
    upgrade(engine)
    seed_people(engine)
    engine.dispose()
    catch_up(primary, replica)
    return settings


def _on(server: Any, url: str) -> str:
    """The address of the same database on another server."""
    return str(server.get_uri(database=make_url(url).database, driver="psycopg"))


@pytest.fixture(scope="module")
def url(replicated: Settings) -> Iterator[str]:
    """The address of the service."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept, "MEMORY_SECONDS", 600)
        with serving(replicated) as url:
            yield url
    # What watches the replica has ended with it.
    assert not [thread for thread in threading.enumerate() if thread.name == "replica-watch"]


Callers = Callable[..., httpx.Client]


@pytest.fixture
def caller(url: str) -> Iterator[Callers]:
    """Makes callers: the one with the key of a role, or an anonymous one."""
    clients = []

    def call(role: str | None = None, url: str = url) -> httpx.Client:
        headers = {"X-API-Key": api_key(role)} if role else {}
        client = httpx.Client(base_url=url, headers=headers, timeout=60)
        clients.append(client)
        return client

    yield call
    for client in clients:
        client.close()


@pytest.fixture
def admin(caller: Callers) -> httpx.Client:
    return caller("admin")


@pytest.fixture
def librarian(caller: Callers) -> httpx.Client:
    """Somebody who never writes."""
    return caller("librarian")


@pytest.fixture
def in_step(primary: Any, replica: Any, librarian: httpx.Client) -> Callable[[], None]:
    """Waits until the replica has replayed all, and the service asks it."""

    def wait() -> None:
        catch_up(primary, replica)
        until(lambda: reads_on_replica(librarian))

    return wait


def reads_on_replica(client: httpx.Client, path: str = BLOCKS) -> bool:
    before = count("replica")
    assert client.get(path).status_code == 200
    return count("replica") > before


def count(place: str) -> float:
    """Reads that the metrics tell of."""
    return meters().registry.get_sample_value("circdesk_reads_total", {"place": place}) or 0.0


@contextmanager
def asked(table: str = "blocks") -> Iterator[Places]:
    """Collects where statements about the table are executed."""
    places: Places = []

    def listen(_connection: object, cursor: Any, statement: str, *_: object) -> None:
        if f" {table} " in f"{statement} ".replace("\n", " "):
            places.append(is_replica(cursor.connection))

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        yield places
    finally:
        event.remove(Engine, "before_cursor_execute", listen)


def is_replica(connection: "psycopg.Connection[Any]") -> bool:
    """What the server says about itself."""
    row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
    return row is not None and bool(row[0])


def block(client: httpx.Client) -> str:
    """Writes something that can be read again, and answers its path."""
    response = client.post(BLOCKS, json={"reason": "Keeps all"})
    assert response.status_code == 201, response.text
    return str(response.headers["Location"])


def told(logs: list[Any]) -> list[tuple[str, str | None]]:
    """What the log has about the replica."""
    about = [line for line in logs if line.get("part") == "replica"]
    return [(line["event"], line.get("error")) for line in about]


class TestWhoReadsThere:
    def test_reads_are_served_by_the_replica_and_writes_by_the_primary(
        self, admin: httpx.Client, librarian: httpx.Client, in_step: Callable[[], None]
    ) -> None:
        with asked() as places:
            path = block(admin)
        assert {*places} == {False}
        in_step()
        before = count("primary")
        for client in (admin, librarian):
            with asked() as places:
                assert client.get(path).status_code == 200
            assert {*places} == {True}
        assert count("primary") == before

    def test_a_caller_reads_what_they_wrote_and_others_may_read_what_was_before(
        self,
        replica: Any,
        admin: httpx.Client,
        librarian: httpx.Client,
        in_step: Callable[[], None],
    ) -> None:
        in_step()
        with paused(replica):
            path = block(admin)
            for _ in range(3):
                with asked() as places:
                    assert admin.get(path).status_code == 200
                assert {*places} == {False}
            with asked() as places:
                assert librarian.get(path).status_code == 404
            assert {*places} == {True}
        in_step()
        for client in (admin, librarian):
            with asked() as places:
                assert client.get(path).status_code == 200
            assert {*places} == {True}

    def test_who_was_refused_reads_what_was_there_then(
        self, replica: Any, admin: httpx.Client, caller: Callers, in_step: Callable[[], None]
    ) -> None:
        branch = {"code": "refused", "name": "Refused", "time_zone": "UTC"}
        in_step()
        with paused(replica), caller("librarian") as other:
            assert admin.post("/api/branches", json=branch).status_code == 201
            assert other.get("/api/branches/code:refused").status_code == 404
            assert other.post(BLOCKS, json={"reason": ""}).status_code == 400
            assert other.get("/api/branches/code:refused").status_code == 404
            expired = {"reason": "Late", "expires_at": "2001-01-01T00:00:00Z"}
            assert other.post(BLOCKS, json=expired).status_code == 422
            assert other.get("/api/branches/code:refused").status_code == 200

    def test_who_wrote_before_they_signed_in_is_known_by_the_address(
        self,
        replica: Any,
        caller: Callers,
        librarian: httpx.Client,
        in_step: Callable[[], None],
    ) -> None:
        in_step()
        with paused(replica):
            person = {"name": "Grace", "email": "grace@example.org"}
            assert caller().post("/api/registrations", json=person).status_code == 202
            with asked() as places:
                assert librarian.get(BLOCKS).status_code == 200
            assert {*places} == {False}

    def test_an_answer_that_is_kept_has_all_that_was_there(
        self, replica: Any, admin: httpx.Client, caller: Callers, in_step: Callable[[], None]
    ) -> None:
        anybody = caller()
        in_step()
        with paused(replica):
            assert admin.post("/api/posts", json=POST | {"title": "First"}).status_code == 201
            with asked("posts") as places:
                assert anybody.get("/api/posts").json()["items"][0]["title"] == "First"
            assert {*places} == {False}
        assert admin.post("/api/posts", json=POST | {"title": "Second"}).status_code == 201
        in_step()
        with asked("posts") as places:
            for _ in range(2):
                assert anybody.get("/api/posts").json()["items"][0]["title"] == "Second"
        # The second time nobody had to be asked.
        assert {*places} == {True}

    def test_what_tells_who_somebody_is_or_cannot_be_told_twice_is_read_on_the_primary(
        self,
    ) -> None:
        elsewhere = {
            operation.operation_id
            for operation in contract().operations.values()
            if reads._may_read_elsewhere(operation)
        }
        assert elsewhere >= {"get_book", "list_books", "list_my_loans", "list_posts", "get_hold"}
        at_home = {"get_session", "list_api_keys", "get_my_account", "export_user", "list_clients"}
        at_home |= {"list_events", "download_import_issues", "create_post"}
        assert not elsewhere & at_home


class TestSeveralProcesses:
    @pytest.fixture
    def both(self, replicated: Settings, redis: RedisServer) -> Iterator[tuple[str, str]]:
        """The addresses of two services that share a Redis."""
        with redis_library.Redis.from_url(redis.url) as client:
            client.set("circdesk:wrote:whole", b"")
        shared = {"redis_url": SecretStr(redis.url)}
        with serving(replicated, **shared) as here, serving(replicated, **shared) as there:
            yield here, there

    def test_a_write_by_one_is_read_by_way_of_the_other(
        self,
        primary: Any,
        replica: Any,
        both: tuple[str, str],
        caller: Callers,
        redis: RedisServer,
    ) -> None:
        here, there = (caller("admin", url) for url in both)
        reader = caller("librarian", both[1])
        catch_up(primary, replica)
        until(lambda: reads_on_replica(reader))
        with paused(replica):
            path = block(here)
            assert there.get(path).status_code == 200
            assert reader.get(path).status_code == 404
            # Without Redis nobody knows who has written.
            with redis.away(), capture_logs():
                assert reader.get(path).status_code == 200


class TestFailures:
    def test_a_replica_that_is_killed_and_comes_back(
        self, replica: Any, librarian: httpx.Client, in_step: Callable[[], None]
    ) -> None:
        in_step()
        with capture_logs() as logs:
            with broken_off(replica):
                for response in at_once(librarian, 12):
                    assert response.status_code == 200, response.text
                    assert response.elapsed.total_seconds() < DEADLINE
                assert not reads_on_replica(librarian)
            in_step()
        assert [event for event, _ in told(logs)] == ["part_gone", "part_back"]

    def test_a_replica_that_hangs(
        self, replica: Any, librarian: httpx.Client, in_step: Callable[[], None]
    ) -> None:
        in_step()
        with capture_logs() as logs:
            with frozen(replica):
                for response in at_once(librarian, 6):
                    assert response.status_code == 200, response.text
                    assert response.elapsed.total_seconds() < DEADLINE + SLACK
                assert not reads_on_replica(librarian)
            in_step()
        assert [event for event, _ in told(logs)] == ["part_gone", "part_back"]

    def test_a_replica_that_is_too_far_behind(
        self,
        replica: Any,
        admin: httpx.Client,
        librarian: httpx.Client,
        in_step: Callable[[], None],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        in_step()
        monkeypatch.setattr(module, "MOST_LAG_SECONDS", 1.0)
        monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.1)
        with capture_logs() as logs:
            with paused(replica):
                path = block(admin)
                until(lambda: librarian.get(path).status_code == 200)
                until(lambda: told(logs))
            in_step()
        assert told(logs) == [("part_gone", "ReplicaBehind"), ("part_back", None)]

    def test_a_statement_that_is_canceled_for_what_is_to_be_replayed(
        self,
        replica: Any,
        replicated: Settings,
        librarian: httpx.Client,
        in_step: Callable[[], None],
    ) -> None:
        in_step()
        uri = replicated.database_url.get_secret_value().replace("+psycopg", "")
        with (
            slow_on_replica("blocks"),
            capture_logs() as logs,
            closing(psycopg.connect(uri)) as other,
            ThreadPoolExecutor(1) as pool,
        ):
            reading = pool.submit(librarian.get, BLOCKS)
            until(lambda: is_sleeping(replica))
            other.execute("LOCK TABLE blocks")
            other.commit()
            response = reading.result()
        assert response.status_code == 200, response.text
        canceled = [line for line in logs if line["event"] == "replica_canceled"]
        assert [line["error"] for line in canceled] == ["SerializationFailure"]
        # It is there nevertheless.
        assert told(logs) == []
        in_step()

    def test_a_server_that_follows_nobody_is_never_asked(
        self, replicated: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.1)
        engine, other = make_engine(replicated), make_engine(replicated)
        with capture_logs() as logs:
            watched = Replica(engine, other, make_sessions(engine))
            until(lambda: told(logs))
            assert not watched.is_good()
            watched.close()
            engine.dispose()
        assert told(logs) == [("part_gone", "NoReplica")]


def at_once(client: httpx.Client, times: int) -> list[httpx.Response]:
    with ThreadPoolExecutor(times) as pool:
        return [*pool.map(client.get, [BLOCKS] * times)]


@contextmanager
def slow_on_replica(table: str) -> Iterator[None]:
    """Let statements about the table take long where they are executed by a replica."""

    def change(
        _connection: object, cursor: Any, statement: str, parameters: Any, *_: object
    ) -> tuple[str, Any]:
        if f"FROM {table}" in statement and is_replica(cursor.connection):
            slow = f"FROM (SELECT pg_sleep(60)) AS slow, {table}"
            statement = statement.replace(f"FROM {table}", slow)
        return statement, parameters

    event.listen(Engine, "before_cursor_execute", change, retval=True)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", change)


def is_sleeping(server: Any) -> bool:
    with psycopg.connect(server.get_uri()) as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        row = connection.execute(query).fetchone()
    return row is not None and bool(row[0])
