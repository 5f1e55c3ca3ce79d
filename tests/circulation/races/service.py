"""A service of several processes on one database, and callers who all call in the same moment."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier
from typing import Any

import httpx

from circdesk.settings import Settings
from tests.circulation.races import nursery

JSON = dict[str, Any]
Headers = dict[str, str]

ROOT = Path(__file__).parents[3]
PROCESSES = 4
# A slow machine under load starts in some seconds; a start that hangs must fail.
PATIENCE = 180
# As many as ever call at once.
MOST_CALLERS = 50


@dataclass(frozen=True)
class Call:
    """A request, and whose it is."""

    method: str
    path: str
    headers: Headers
    json: JSON | None = None


class Service:
    """The processes, each under an address of its own."""

    def __init__(self, place: Path, ports: Sequence[int], stack: ExitStack) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self._place = place
        self._killed: dict[int, int] = {}
        self._clients = [
            stack.enter_context(
                httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, limits=limits)
            )
            for port in ports
        ]
        self._callers = stack.enter_context(ThreadPoolExecutor(MOST_CALLERS))

    def send(self, call: Call, slot: int = 0) -> httpx.Response:
        """The answer of one of the processes. Raises httpx.TransportError if it is killed then."""
        client = self.client(slot)
        return client.request(call.method, call.path, headers=call.headers, json=call.json)

    def client(self, slot: int) -> httpx.Client:
        """A caller of one of the processes."""
        return self._clients[slot % len(self._clients)]

    def at_once(
        self, calls: Sequence[Call], beside: Callable[[], object] | None = None
    ) -> list[httpx.Response]:
        """The answers to calls that begin in the same moment, spread over all processes.

        Each of them is a 2xx or a 4xx that says why; of anything else this tells.

        Args:
            calls: At most `MOST_CALLERS`.
            beside: What this process does in that moment.
        """
        barrier = Barrier(len(calls) + 1)

        def send(slot: int) -> httpx.Response:
            barrier.wait(timeout=PATIENCE)
            return self.send(calls[slot], slot)

        sent = [self._callers.submit(send, slot) for slot in range(len(calls))]
        barrier.wait(timeout=PATIENCE)
        if beside is not None:
            beside()
        answers = [each.result() for each in sent]
        for answer in answers:
            assert is_clean(answer), f"{answer.status_code} {answer.text}\n{self.log()[-4000:]}"
        return answers

    def kill(self, slot: int) -> None:
        """End a process in whatever it does, as `kill -9` does; another one takes its place."""
        deadline = time.monotonic() + PATIENCE
        # The one before may have been killed just now.
        while (pid := _read(self._place, nursery.PID.format(slot))) == self._killed.get(slot):
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.002)
        self._killed[slot] = pid
        os.kill(pid, signal.SIGKILL)

    def log(self) -> str:
        """What all processes have logged."""
        return (self._place / nursery.LOG).read_text()


def is_clean(answer: httpx.Response) -> bool:
    """Whether it is done, or refused in a way that a caller understands."""
    if answer.is_success:
        return True
    told: str = answer.headers.get("Content-Type", "")
    return answer.is_client_error and told == "application/problem+json"


def blockers(answer: httpx.Response) -> list[str]:
    """The codes of what stands in the way, by a refusal of the desk."""
    body = answer.json()
    assert (answer.status_code, body["code"]) == (409, "action_refused"), answer.text
    return [blocker["code"] for blocker in body["decision"]["blockers"]]


class Nursery:
    """The process that services are forked from."""

    def __init__(self, directory: Path) -> None:
        self._log = directory / "log"
        with self._log.open("wb") as log:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", nursery.__name__],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
                # It ends with all that it began.
                start_new_session=True,
            )

    @contextmanager
    def service(self, place: Path, settings: Settings, **variables: str) -> Iterator[Service]:
        """A service with these settings and variables, which keeps its files in a directory."""
        request = {
            "place": str(place),
            "variables": _variables(place, settings) | variables,
            "processes": PROCESSES,
        }
        assert self._popen.stdin is not None
        self._popen.stdin.write(json.dumps(request) + "\n")
        self._popen.stdin.flush()
        with ExitStack() as stack:
            stack.callback(_stop, place)
            yield Service(place, self._wait_for(place), stack)

    def _wait_for(self, place: Path) -> list[int]:
        """The ports of a service, once it listens on them."""
        deadline = time.monotonic() + PATIENCE
        while not (place / nursery.PORTS).exists():
            logs = [log.read_text() for log in (self._log, place / nursery.LOG) if log.exists()]
            assert self._popen.poll() is None, logs
            assert time.monotonic() < deadline, logs
            time.sleep(0.05)
        ports: list[int] = _read(place, nursery.PORTS)
        return ports

    def end(self) -> None:
        """End it, and whatever it began."""
        assert self._popen.stdin is not None
        self._popen.stdin.close()
        self._popen.wait(PATIENCE)


def _variables(place: Path, settings: Settings) -> dict[str, str]:
    """The environment of a deployment in earnest."""
    return {
        "CIRCDESK_ENV": "production",
        "CIRCDESK_INSTANCE": str(place),
        "CIRCDESK_PUBLIC_URL": "https://library.example",
        "CIRCDESK_SECRET_KEY": settings.secret_key.get_secret_value(),
        "CIRCDESK_ENCRYPTION_KEY": settings.encryption_key.get_secret_value(),
        "CIRCDESK_LOG_LEVEL": "error",
        "CIRCDESK_RATE_LIMITS": "1000000/minute",
        # What is proven is that nobody is refused because of others, and not how fast a machine is.
        # A deadlock is refused at once, whatever the deadline.
        "CIRCDESK_DATABASE_TIMEOUT_SECONDS": "30",
        # Together they take fewer connections than PostgreSQL has, twice over.
        "CIRCDESK_THREADS": "6",
        "DATABASE_URL": settings.database_url.get_secret_value(),
    }


def _read(place: Path, name: str) -> Any:
    return json.loads((place / name).read_text())


def _stop(place: Path) -> None:
    """Stop a service as far as it has begun; what it listens on is closed when it is gone."""
    supervisor = nursery.PID.format(nursery.SUPERVISOR)
    if not (place / supervisor).exists():
        return
    os.killpg(_read(place, supervisor), signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    for port in _read(place, nursery.PORTS) if (place / nursery.PORTS).exists() else ():
        while _listens(port):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def _listens(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0
