"""A service of four processes, which start once for each module and engine."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine

from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.settings import Settings
from tests.circulation.conftest import Library
from tests.circulation.invariants import assert_invariants
from tests.circulation.races.desk import Desk
from tests.circulation.races.service import Nursery, Service


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """The process that services are forked from, loaded once."""
    nursery = Nursery(tmp_path_factory.mktemp("nursery"))
    yield nursery
    nursery.end()


@pytest.fixture(scope="module")
def service(
    nursery: Nursery,
    settings: Settings,
    migrated_engine: Engine,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    """Four processes on the migrated database."""
    with nursery.service(tmp_path_factory.mktemp("service"), settings) as service:
        yield service


@pytest.fixture
def check_invariants(sessions: Sessions) -> Callable[..., None]:
    """`check_invariants()`: everything is as it always has to be."""

    def check(*, written_down: bool = False) -> None:
        with unit_of_work(sessions, writing=False) as session:
            assert_invariants(session, written_down=written_down)

    return check


@pytest.fixture
def desk(service: Service, library: Library, change: Callable[..., None]) -> Desk:
    """A branch in an empty library; the rules are up to the test."""
    librarian = library.user("librarian")
    return Desk(library, service, library.branch(), library.key(librarian, "librarian"), change)
