"""The migrations at run time: bring a database up to date, and tell whether it is."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from circdesk.db.engine import WITHOUT_DEADLINE, WRITING
from circdesk.db.errors import as_problem
from circdesk.resources import directory

if TYPE_CHECKING:
    from alembic.config import Config

# An arbitrary number that nobody else locks in this database.
_ADVISORY_LOCK = 4_103_270_615
_WAIT_FOR_OTHERS_SECONDS = 300
_WAIT_FOR_TABLES_SECONDS = 10

# How each migration names itself and the one before it.
_NAMES = re.compile(r'^(revision|down_revision) = "(\w+)"$', re.MULTILINE)

_VERSIONS = text("SELECT version_num FROM alembic_version")


def upgrade(engine: Engine) -> None:
    """Bring the database to the newest migration, all in one transaction, or change nothing.

    Raises:
        DatabaseUnavailable: The database is out of reach, or its tables stay locked.
    """
    try:
        with engine.connect() as connection:
            if at_head(connection):
                return
        with migrating(engine) as connection:
            _run_migrations(connection)
    except DBAPIError as error:
        raise (as_problem(error) or error) from error


@cache
def head() -> str:
    """The newest migration of this release: the one that no other comes after."""
    names: dict[str, set[str]] = {"revision": set(), "down_revision": set()}
    for file in directory("alembic").glob("versions/*.py"):
        for word, name in _NAMES.findall(file.read_text(encoding="utf-8")):
            names[word].add(name)
    newest = names["revision"] - names["down_revision"]
    if len(newest) != 1:
        raise RuntimeError(f"there is no newest migration among {sorted(newest)}")
    return newest.pop()


def at_head(connection: Connection) -> bool:
    """Whether the database is exactly at the newest migration; one small query.

    Raises:
        DatabaseUnavailable: The database is out of reach.
    """
    try:
        versions = connection.execute(_VERSIONS).scalars().all()
    except DBAPIError as error:
        problem = as_problem(error)
        if problem is not None:
            raise problem from error
        return False  # The table is missing: nothing was ever migrated here.
    return versions == [head()]


@contextmanager
def migrating(engine: Engine) -> Iterator[Connection]:
    """Open a transaction in which one process at a time may migrate; the others wait for it.

    Its statements may take as long as they need, for a table of any size; its locks may not, as
    everybody else queues behind a migration that waits for a table.
    """
    options = {WRITING: True, WITHOUT_DEADLINE: True}
    with engine.connect().execution_options(**options) as connection:
        # What is set on this connection is for migrations alone: the pool never gets it back.
        connection.detach()
        if engine.dialect.name == "postgresql":
            _set_local(connection, "statement_timeout", 0)
            _set_local(connection, "idle_in_transaction_session_timeout", 0)
            _set_local(connection, "lock_timeout", _WAIT_FOR_OTHERS_SECONDS)
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
            _set_local(connection, "lock_timeout", _WAIT_FOR_TABLES_SECONDS)
            yield connection
        else:
            driver = connection.connection.cursor()
            driver.execute(f"PRAGMA busy_timeout = {_WAIT_FOR_OTHERS_SECONDS * 1000}")
            # A table that is rebuilt is dropped, which would delete what refers to it.
            driver.execute("PRAGMA foreign_keys = OFF")
            connection.begin()
            yield connection
            _raise_for_broken_references(connection)
        connection.commit()


def _set_local(connection: Connection, name: str, seconds: int) -> None:
    connection.execute(text(f"SET LOCAL {name} = '{seconds}s'"))


def _raise_for_broken_references(connection: Connection) -> None:
    broken = connection.execute(text("PRAGMA foreign_key_check")).all()
    if broken:
        raise RuntimeError(f"the migration broke references: {broken[:10]}")


def _run_migrations(connection: Connection) -> None:
    # Alembic takes a fifth of a second to load, for which no service should wait that is up to
    # date.
    from alembic import command  # noqa: PLC0415

    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> "Config":
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(directory("alembic")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
