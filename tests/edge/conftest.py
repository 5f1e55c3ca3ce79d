"""A small library; and two services with small limits, behind a proxy, that share a Redis.

The proxy names the address, so that each test can come from one of its own. Limits know no
database, so that one engine is enough.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from circdesk.db.unit_of_work import Sessions
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
