"""SIGTERM: what runs is finished, what is new is refused, and the end comes in time."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from circdesk.edge import server

# A slow machine under load starts in some seconds; what hangs must fail.
PATIENCE = 120
CSV = b"title,isbn\nA book,9780441478125\n"
# The list of posts never ends, and the last moment comes soon.
HANGING = """
import time
from circdesk.edge import server
from circdesk.news import posts
server._GRACE, server._LAST_MOMENT = 1, 3
posts.list_posts = lambda *_: time.sleep(3600)
"""


class Service(NamedTuple):
    process: "subprocess.Popen[bytes]"
    demo: dict[str, Any]
    log: Path

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.demo["base_url"].removeprefix("http://").split(":")
        return host, int(port)


@contextlib.contextmanager
def serve(place: Path, prelude: str = "") -> Iterator[Service]:
    """A demo as a process of its own."""
    program = f"{prelude}\nfrom circdesk.cli import main\nmain()"
    with (place / "log").open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-c", program, "serve", "--demo", "--port", "0"],
            cwd=place,
            env={**os.environ, "CIRCDESK_ENV": "development", "NO_COLOR": "1"},
            stdout=subprocess.DEVNULL,
            stderr=stream,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while b"Credentials" not in (place / "log").read_bytes():
            assert process.poll() is None, (place / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        demo = json.loads((place / "instance" / "demo.json").read_text())
        yield Service(process, demo, place / "log")
    finally:
        process.kill()
        process.wait()


def refuses(address: tuple[str, int]) -> bool:
    """Whether nobody listens there, soon."""
    for _ in range(100):
        try:
            socket.create_connection(address, timeout=1).close()
        except ConnectionRefusedError:
            return True
        time.sleep(0.05)
    return False


def test_what_runs_is_finished_and_what_is_new_is_refused(tmp_path: Path) -> None:
    with serve(tmp_path) as service, socket.create_connection(service.address) as client:
        client.settimeout(PATIENCE)
        head = (
            "POST /api/imports HTTP/1.1\r\nHost: a\r\nContent-Type: text/csv\r\n"
            f"X-API-Key: {service.demo['api_keys']['admin']}\r\nContent-Length: {len(CSV)}\r\n\r\n"
        )
        client.sendall(head.encode() + CSV[:10])
        with httpx.Client(base_url=service.demo["base_url"]) as idle:
            # It is being read: what comes after it on another connection is answered.
            assert idle.get("/readiness").status_code == 200
            service.process.send_signal(signal.SIGTERM)
            assert refuses(service.address)
            client.sendall(CSV[10:])
            answer = b"".join(iter(lambda: client.recv(65536), b""))

        assert answer.startswith(b"HTTP/1.1 202 "), answer
        assert b"connection: close" in answer
        assert service.process.wait(PATIENCE) == 0
        assert b"Traceback" not in service.log.read_bytes()


def test_what_hangs_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with serve(tmp_path, HANGING) as service, socket.create_connection(service.address) as client:
        client.sendall(b"GET /api/posts HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.5)
        begin = time.monotonic()
        service.process.send_signal(signal.SIGTERM)

        assert service.process.wait(PATIENCE) == 1
        assert 2 < time.monotonic() - begin < 3 + 10
        assert b"stopped_by_force" in service.log.read_bytes()


@pytest.mark.parametrize("seconds", [server._GRACE, server._LAST_MOMENT])
def test_in_earnest_the_end_comes_within_25_seconds(seconds: int) -> None:
    assert 15 < seconds < 25
