"""A small library; two services with small limits, behind a proxy, that share a Redis; and logs.

The proxy names the address, so that each test can come from one of its own. Limits know no
database, so that one engine is enough.
"""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import structlog
from pydantic import SecretStr
from sqlalchemy import Engine

from circdesk.db.unit_of_work import Sessions
from circdesk.edge import caching, logs
from circdesk.edge.lifetimes import LIFETIMES, Lifetime
from circdesk.edge.logs import configure_logs
from circdesk.settings import Settings
from tests.auth.serving import serving
from tests.circulation.conftest import Library
from tests.redis_server import RedisServer, redis_server

Caller = Callable[..., httpx.Client]

# So that none of a test's requests leaves the window while it runs.
SMALL = (
    "staff=5/hour, member=5/hour, api_key=5/hour, client=5/hour, anonymous=5/hour, "
    "credentials=3/hour, tokens=4/hour"
)
_numbers = count(1)


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    """A Redis that runs."""
    with redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def addresses(
    settings: Settings, migrated_engine: Engine, redis: RedisServer
) -> Iterator[list[str]]:
    """Where two services listen that share a Redis and a database."""
    del migrated_engine
    changes = {"redis_url": SecretStr(redis.url), "rate_limits": SMALL, "proxy_hops": 1}
    with ExitStack() as stack:
        yield [stack.enter_context(serving(settings, **changes)) for _ in range(2)]


@pytest.fixture
def own_address() -> str:
    """An address from which nobody else comes."""
    return f"192.0.2.{next(_numbers)}"


@pytest.fixture
def caller(addresses: list[str], own_address: str, engine: Engine) -> Iterator[Caller]:
    """Makes callers of the first service or the second, from an address of the test's own."""
    del engine
    with ExitStack() as stack:

        def call(service: int = 0, address: str = own_address, **headers: str) -> httpx.Client:
            sent = {"X-Forwarded-For": address} | {
                name.replace("_", "-"): value for name, value in headers.items()
            }
            client = httpx.Client(base_url=addresses[service], headers=sent, timeout=60)
            return stack.enter_context(client)

        yield call


@pytest.fixture
def library(sessions: Sessions) -> Library:
    """A small library, empty."""
    return Library(sessions)


@pytest.fixture
def kept_path(library: Library, monkeypatch: pytest.MonkeyPatch) -> str:
    """The path of a book, which is kept for as long as a slow machine takes."""
    long = {**LIFETIMES, "get_book": Lifetime(600, ("books", "copies"), one="book_id")}
    monkeypatch.setattr(caching, "LIFETIMES", long)
    monkeypatch.setattr("circdesk.edge.kept.MEMORY_SECONDS", 600)
    book: UUID = library.book()
    return f"/api/books/{book}"


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Settings], None]]:
    """Configures logs as the service does; afterwards they are as they were."""
    monkeypatch.setattr(logs, "_write_request", None)
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    configuration = structlog.get_config()

    def configure(settings: Settings) -> None:
        configure_logs(settings)
        # Loggers of modules would keep what this test has configured.
        structlog.configure(cache_logger_on_first_use=False)

    yield configure
    structlog.configure(**configuration)
    root.handlers[:] = before
    root.setLevel(level)


@pytest.fixture
def log_file(
    settings: Settings, tmp_path: Path, configured: Callable[[Settings], None]
) -> Callable[[], list[dict[str, Any]]]:
    """What stands in the log file, as JSON; logs go there from now on."""
    path = tmp_path / "logs" / "circdesk.log"
    configured(settings.model_copy(update={"log_format": "json", "log_file": path}))
    return lambda: [json.loads(line) for line in path.read_text().splitlines()]
