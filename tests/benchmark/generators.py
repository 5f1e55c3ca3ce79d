"""Load generators: `wrk` as a closed loop; ours as an open one, or closed where wrk is missing.

Ours speaks HTTP with httptools on asyncio. As an open loop it sends at a fixed rate, whether or
not earlier requests have been answered: one that finds all connections busy waits for the next,
and its wait is measured from when it was due.
"""

import asyncio
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

import httptools
from loads import Asking  # type: ignore[import-not-found]  # It lies beside this file.

# As many as Circdesk has threads by default.
CONNECTIONS = 16
# The open loop has more, or it would be one that is closed.
_OPEN_CONNECTIONS = 64
# Seconds after its end by which a run has failed.
_PATIENCE = 30


@dataclass(frozen=True)
class Load:
    """What came of a run.

    Attributes:
        rate: Requests in a second.
        p50: The median of their latencies, in milliseconds.
        p99: The 99th percentile of them.
        wrong: How many were not answered, or not as they should be.
    """

    rate: float
    p50: float
    p99: float
    wrong: int


def generator() -> str:
    """What asks in a closed loop here."""
    return "wrk" if shutil.which("wrk") else "tests/benchmark/generators.py, closed loop"


def closed_loop(address: str, asking: Asking, seconds: float) -> Load:
    """As many requests as get through, each connection sending the next once it was answered."""
    if shutil.which("wrk") is None:
        return asyncio.run(_closed(address, asking, seconds))
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(asking.script())
        file.flush()
        # wrk takes whole seconds alone.
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:.0f}s", "-s", file.name, address]
        ran = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=seconds + _PATIENCE
        )
    line = next(line for line in ran.stdout.splitlines() if line.startswith("RESULT"))
    requests, duration, refused, failed, p50, p99 = map(int, line.split()[1:])
    return Load(requests / duration * 1e6, p50 / 1000, p99 / 1000, refused + failed)


def open_loop(address: str, asking: Asking, rate: float, seconds: float) -> Load:
    """So many requests in a second, sent when they are due."""
    return asyncio.run(_open(address, asking, rate, seconds))


class _Connection(asyncio.Protocol):
    """A connection that sends one request after the other."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("the service hung up"))

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        assert self._answer is not None
        self._answer.set_result((self._parser.get_status_code(), bytes(self._body)))
        self._parser = httptools.HttpResponseParser(self)
        self._body.clear()

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Hang up."""
        assert self._transport is not None
        self._transport.close()


async def _closed(address: str, asking: Asking, seconds: float) -> Load:
    ends = time.perf_counter() + seconds
    took: list[float] = []
    wrong = 0

    async def ask(connection: _Connection) -> None:
        nonlocal wrong
        while (began := time.perf_counter()) < ends:
            wrong += not asking.answered(*await connection.ask(asking.next()))
            took.append(time.perf_counter() - began)

    connections = [await _connect(address) for _ in range(CONNECTIONS)]
    async with asyncio.timeout(seconds + _PATIENCE):
        await asyncio.gather(*map(ask, connections))
    _close(connections)
    return _load(took, seconds, wrong)


async def _open(address: str, asking: Asking, rate: float, seconds: float) -> Load:
    due: asyncio.Queue[float] = asyncio.Queue()
    took: list[float] = []
    wrong = 0

    async def ask(connection: _Connection) -> None:
        nonlocal wrong
        while True:
            began = await due.get()
            wrong += not asking.answered(*await connection.ask(asking.next()))
            took.append(time.perf_counter() - began)
            due.task_done()

    connections = [await _connect(address) for _ in range(_OPEN_CONNECTIONS)]
    async with asyncio.timeout(seconds + _PATIENCE), asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(connection)) for connection in connections]
        await _schedule(rate, seconds, due.put_nowait)
        await due.join()
        for task in tasks:
            task.cancel()
    _close(connections)
    return _load(took, seconds, wrong)


async def _schedule(rate: float, seconds: float, send: Callable[[float], None]) -> None:
    """Say what is due.

    Timers are late by a millisecond at most, which is the generator's own fault and not counted:
    a request is due when its turn has come and the timer has rung.
    """
    began, sent = time.perf_counter(), 0
    while (now := time.perf_counter()) < began + seconds:
        while sent < (now - began) * rate:
            send(now)
            sent += 1
        await asyncio.sleep(max(0.0, began + sent / rate - time.perf_counter()))


async def _connect(address: str) -> _Connection:
    host, _, port = address.removeprefix("http://").rpartition(":")
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(_Connection, host, int(port))
    return connection


def _close(connections: list[_Connection]) -> None:
    for connection in connections:
        connection.close()


def _load(took: list[float], seconds: float, wrong: int) -> Load:
    cuts = statistics.quantiles(took, n=100, method="inclusive")
    return Load(len(took) / seconds, cuts[49] * 1000, cuts[98] * 1000, wrong)
