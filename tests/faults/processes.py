"""Real processes of the service and of its worker: begun, asked, measured and killed by tests."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from circdesk.settings import Settings
from tests.faults import launcher

ROOT = Path(__file__).parents[2]
# A slow machine under load starts a process in some seconds; a start that hangs must fail.
PATIENCE = 60


@dataclass(frozen=True)
class Usage:
    """What a process takes: its open files, its threads, and its memory in bytes."""

    files: int
    threads: int
    memory: int


class Process:
    """One process of the service, or of its worker.

    Attributes:
        place: Its directory, with its log.
        url: Its address; a worker has none.
    """

    def __init__(self, place: Path, port: int | None) -> None:
        self.place = place
        self.url = "" if port is None else f"http://127.0.0.1:{port}"
        self.pid = int((place / launcher.PID).read_text())

    def kill(self) -> None:
        """End it in whatever it does, as `kill -9` does."""
        self.send(signal.SIGKILL)
        until(lambda: not self.is_alive())

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        with suppress(OSError):
            state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
            return state not in "ZX"
        return False

    def usage(self) -> Usage:
        """What it takes now."""
        home = Path(f"/proc/{self.pid}")
        pages = int((home / "statm").read_text().split()[1])
        return Usage(
            files=len([*(home / "fd").iterdir()]),
            threads=len([*(home / "task").iterdir()]),
            memory=pages * os.sysconf("SC_PAGE_SIZE"),
        )

    def move_clock(self, seconds: float) -> None:
        """Let its clock be wrong by so many seconds from now on."""
        new = self.place / f"{launcher.CLOCK}.new"
        new.write_text(str(seconds))
        new.replace(self.place / launcher.CLOCK)

    def log(self) -> str:
        """What it has logged."""
        return (self.place / launcher.LOG).read_text()

    @contextmanager
    def client(self, headers: dict[str, str] | None = None) -> Iterator[httpx.Client]:
        """Somebody who calls it."""
        # A call that takes longer than that hangs.
        with httpx.Client(base_url=self.url, headers=headers, timeout=60) as client:
            yield client


class Launcher:
    """The process that all others are forked from."""

    def __init__(self, directory: Path) -> None:
        self._log = directory / "launcher.log"
        with self._log.open("wb") as log:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", launcher.__name__],
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
            )

    @contextmanager
    def service(self, place: Path, settings: Settings, **variables: str) -> Iterator[Process]:
        """A process that serves, once it answers."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with self._run(place, settings, port, variables) as process:
            until(lambda: _answers(process), process.log)
            yield process

    @contextmanager
    def worker(self, place: Path, settings: Settings, **variables: str) -> Iterator[Process]:
        """A process that runs imports and does chores, once it does."""
        with self._run(place, settings, None, variables) as process:
            instance = Path(variables.get("CIRCDESK_INSTANCE", place / "instance"))
            alive = instance / "worker.alive"
            until(alive.exists, process.log)
            yield process

    @contextmanager
    def _run(
        self, place: Path, settings: Settings, port: int | None, variables: dict[str, str]
    ) -> Iterator[Process]:
        place.mkdir(parents=True, exist_ok=True)
        (place / launcher.PID).unlink(missing_ok=True)
        request = {"place": str(place), "variables": _variables(place, settings) | variables}
        assert self._popen.stdin is not None
        self._popen.stdin.write(json.dumps(request | {"port": port}) + "\n")
        self._popen.stdin.flush()
        until((place / launcher.PID).exists, self._log.read_text)
        process = Process(place, port)
        with ExitStack() as stack:
            stack.callback(lambda: process.kill() if process.is_alive() else None)
            yield process

    def end(self) -> None:
        """End it, and whatever it began."""
        assert self._popen.stdin is not None
        self._popen.stdin.close()
        self._popen.wait(PATIENCE)


def until(condition: Callable[[], object], told: Callable[[], str] = str) -> None:
    """Wait until it is so; it is an error, with what is told then, when that takes too long."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, told()[-4000:]
        time.sleep(0.02)


def _answers(process: Process) -> bool:
    assert process.is_alive(), process.log()[-4000:]
    with suppress(httpx.TransportError):
        return httpx.get(f"{process.url}/healthz").status_code == 200
    return False


def _variables(place: Path, settings: Settings) -> dict[str, str]:
    """The environment of a deployment in earnest, each process with a directory of its own."""
    return {
        "CIRCDESK_ENV": "production",
        "CIRCDESK_INSTANCE": str(place / "instance"),
        "CIRCDESK_UPLOADS": str(settings.uploads),
        "CIRCDESK_PUBLIC_URL": settings.public_url,
        "CIRCDESK_SECRET_KEY": settings.secret_key.get_secret_value(),
        "CIRCDESK_ENCRYPTION_KEY": settings.encryption_key.get_secret_value(),
        "CIRCDESK_LOG_LEVEL": "warning",
        "CIRCDESK_DATABASE_TIMEOUT_SECONDS": str(settings.database_timeout_seconds),
        "CIRCDESK_THREADS": str(settings.threads),
        "DATABASE_URL": settings.database_url.get_secret_value(),
    }
