"""Ten thousand hostile requests against a running service, which stays as it was.

In CI it is a tenth of them, the same ones each time; `TEST_LONG=1` sends all. Whatever a client
does, it gets no 5xx but our own for overload, and leaves no memory, connection, thread or open
file behind.
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.faults.hostile import Hostile, make_hostile

LONG = bool(os.environ.get("TEST_LONG"))
COUNT = 10_000 if LONG else 1_000
SEED = 20261121
# The service fills its pools and caches by these first.
WARM_UP = 500
CLIENTS = 16
# What may come and go: a thread that stores a last use, or asks whether the database is there.
THREADS_MORE = 4
# Seconds that a client waits for a connection, and then for something to come on it.
CONNECT, PATIENCE = 30, 0.1
START = 120
# What is left over is gone when the service has given up on those that stay silent.
SETTLED = 45

STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


class Usage(NamedTuple):
    """What a process holds."""

    kilobytes: int
    threads: int
    files: int


class Service(NamedTuple):
    """A service that runs as a process of its own."""

    process: "subprocess.Popen[bytes]"
    address: tuple[str, int]
    log: Path

    def usage(self) -> Usage:
        place = Path("/proc") / str(self.process.pid)
        status = (place / "status").read_text()
        kilobytes = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert kilobytes is not None
        return Usage(int(kilobytes[1]), len([*(place / "task").iterdir()]), self._files(place))

    def _files(self, place: Path) -> int:
        # The pool opens the database as often as it is asked, up to its size; that is no leak.
        count = 0
        for file in (place / "fd").iterdir():
            # It may be closed just now.
            with suppress(FileNotFoundError):
                count += "circdesk.db" not in file.readlink().name
        return count

    def start_all_threads(self) -> None:
        """Let its pool have every thread that it may have: passwords keep them busy for a while."""
        demo = json.loads((self.log.parent / "instance" / "demo.json").read_text())
        credentials = {name: demo["users"][0][name] for name in ("email", "password")}

        def sign_in(_number: int) -> int:
            return httpx.post(
                f"{demo['base_url']}/api/session", json=credentials, timeout=60
            ).status_code

        with ThreadPoolExecutor(CLIENTS) as pool:
            # Those for whom there is no processor left are told to come again.
            assert 201 in {*pool.map(sign_in, range(2 * CLIENTS))} <= {201, 503}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A demo on SQLite; its log is a file, so that no reader holds it up."""
    program = "from circdesk.cli import main; main()"
    arguments = ("serve", "--demo", "--host", "127.0.0.1", "--port", "0")
    log = tmp_path / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            cwd=tmp_path,
            env={
                **os.environ,
                "CIRCDESK_ENV": "development",
                # All have one address, whose usual limit would answer for what they attack.
                "CIRCDESK_RATE_LIMITS": "1000000/minute",
                "NO_COLOR": "1",
            },
            stdout=subprocess.DEVNULL,
            stderr=stream,
        )
    try:
        deadline = time.monotonic() + START
        while b"Credentials" not in log.read_bytes():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        base_url = json.loads((tmp_path / "instance" / "demo.json").read_text())["base_url"]
        host, port = base_url.removeprefix("http://").split(":")
        yield Service(process, (host, int(port)), log)
    finally:
        process.kill()
        process.wait()


def attack(address: tuple[str, int], hostile: Hostile) -> bytes:
    """Be one hostile client; what it is answered, where it reads."""
    with socket.create_connection(address, timeout=CONNECT) as client:
        try:
            for number, piece in enumerate(hostile.pieces):
                if number:
                    time.sleep(hostile.pause)
                client.sendall(piece)
            return _read(client) if hostile.reads else b""
        except (TimeoutError, ConnectionError, BrokenPipeError):
            # Silence is an answer to what is not finished, and so is a closed connection.
            return b""


def _read(client: socket.socket) -> bytes:
    """All that comes until nothing comes for a while."""
    answer = b""
    client.settimeout(PATIENCE)
    try:
        while piece := client.recv(65536):
            answer += piece
    except (TimeoutError, ConnectionError):
        pass
    return answer


def errors(answer: bytes) -> list[bytes]:
    """The server errors in an answer, or in several, but for our own refusal of overload."""
    return [
        status
        for status in STATUS.findall(answer)
        if status.startswith(b"5") and not (status == b"503" and b'"code":"overloaded"' in answer)
    ]


def attack_with(service: Service, numbers: range) -> None:
    def run(number: int) -> str | None:
        hostile = make_hostile(SEED, number)
        answer = attack(service.address, hostile)
        found = errors(answer)
        return (
            f"{SEED}-{number}: {hostile!r:.2000} was answered {answer!r:.2000}" if found else None
        )

    with ThreadPoolExecutor(CLIENTS) as pool:
        faults = [fault for fault in pool.map(run, numbers) if fault]
    assert faults == []


def settle(service: Service, before: Usage) -> Usage:
    """What the service holds when all connections are gone, or still after a long wait."""
    deadline = time.monotonic() + SETTLED
    while True:
        usage = service.usage()
        if usage.files <= before.files or time.monotonic() > deadline:
            return usage
        time.sleep(0.5)


def test_hostile_requests_leave_nothing_behind(service: Service) -> None:
    url = "http://{}:{}".format(*service.address)
    attack_with(service, range(WARM_UP))
    service.start_all_threads()
    time.sleep(2)
    before = service.usage()

    attack_with(service, range(WARM_UP, WARM_UP + COUNT))

    after = settle(service, before)
    assert after.files <= before.files, (before, after)
    assert after.threads <= before.threads + THREADS_MORE, (before, after)
    # A pool that opens more connections is no leak, and one that does not get them back is.
    assert "circdesk_database_connections_in_use 0.0" in httpx.get(f"{url}/metrics").text
    assert after.kilobytes < 1.3 * before.kilobytes, (before, after)
    assert httpx.get(f"{url}/readiness").json()["status"] == "ready"
    assert httpx.get(f"{url}/api/books", params={"q": "darkness"}).json()["total"] > 0
    assert b"Traceback" not in service.log.read_bytes()
