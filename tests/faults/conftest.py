"""Processes of the service, each with what it stands on: a database, a Redis, a disk."""

from collections.abc import Iterator

import pytest

from circdesk.db.unit_of_work import Sessions
from tests.circulation.conftest import Library
from tests.faults.processes import Launcher
from tests.redis_server import RedisServer, redis_server


@pytest.fixture(scope="session")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """The process that all others are forked from, loaded once."""
    launcher = Launcher(tmp_path_factory.mktemp("launcher"))
    yield launcher
    launcher.end()


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """A Redis of the module's own."""
    with redis_server() as server:
        yield server


@pytest.fixture
def library(sessions: Sessions) -> Library:
    """A library without anything in it."""
    return Library(sessions)
