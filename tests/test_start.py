"""The service as a process of its own: started, asked, stopped, as a person or a platform does."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.forks import run_forked

ROOT = Path(__file__).parent.parent
# A slow machine under load starts in some seconds; a start that hangs must fail.
PATIENCE = 120

# All that a deployment for real must be told.
PRODUCTION = {
    "CIRCDESK_ENV": "production",
    "CIRCDESK_PUBLIC_URL": "https://library.example",
    "DATABASE_URL": "sqlite:///library.db",
    "CIRCDESK_SECRET_KEY": "x" * 40,
    "CIRCDESK_ENCRYPTION_KEY": "y" * 40,
}

Start = Callable[..., "Process"]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def _environment(**variables: str) -> dict[str, str]:
    """The test's own, with these settings; a process in another directory is measured from here."""
    return {**os.environ, "CIRCDESK_ENV": "development", "NO_COLOR": "1", **variables}


def _circdesk(*arguments: str) -> list[str]:
    program = "import sys; from circdesk.cli import main; sys.argv[0] = 'circdesk'; main()"
    return [sys.executable, "-c", program, *arguments]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a command to its end in an empty directory."""

    def run(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        return run_forked(*arguments, variables=_environment(**variables), cwd=tmp_path)

    return run


@dataclass
class Process:
    """A service that runs; its log is a file, so that no reader can hold it up."""

    popen: "subprocess.Popen[bytes]"
    log: Path

    def read_until(self, last: str) -> list[str]:
        """The lines of the log up to the one that begins so."""
        deadline = time.monotonic() + PATIENCE
        while True:
            ended = self._has_ended(within=0.05)
            lines = self.log.read_text().splitlines()
            if any(line.startswith(last) for line in lines):
                return lines
            assert not ended, lines
            assert time.monotonic() < deadline, lines

    def _has_ended(self, within: float) -> bool:
        try:
            self.popen.wait(within)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, number: signal.Signals) -> int:
        """Send a signal and wait for the exit code."""
        self.popen.send_signal(number)
        return self.popen.wait(PATIENCE)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a command in an empty directory; what still runs after the test is killed."""
    started: list[Process] = []

    def start(*arguments: str, **variables: str) -> Process:
        log = tmp_path.with_name(f"{tmp_path.name}-{len(started)}.log")
        with log.open("wb") as stream:
            process = subprocess.Popen(
                _circdesk(*arguments),
                cwd=tmp_path,
                env=_environment(**variables),
                stdout=subprocess.DEVNULL,
                stderr=stream,
            )
        started.append(Process(process, log))
        return started[-1]

    yield start
    for process in started:
        process.popen.kill()
        process.popen.wait()


def counts(base_url: str) -> dict[str, Any]:
    """How much there is of everything that the demo has."""
    names = ("books", "copies", "branches", "authors", "subjects", "posts")
    return {name: httpx.get(f"{base_url}/api/{name}").json()["total"] for name in names}


def sign_in(client: httpx.Client, demo: dict[str, Any]) -> list[str]:
    """The roles of all users of the demo, as each of them hears when signed in."""
    roles = []
    for user in demo["users"]:
        credentials = {name: user[name] for name in ("email", "password")}
        signed_in = client.post("/api/session", json=credentials)
        assert signed_in.status_code == 201, signed_in.text
        roles.append(client.get("/api/me").json()["user"]["role"])
    return roles


class TestServe:
    def test_a_first_start_a_second_one_and_their_ends(self, start: Start, tmp_path: Path) -> None:
        """The whole way in one test, as each start takes seconds."""
        process = start("serve", "--demo", "--host", "127.0.0.1", "--port", "0")
        lines = process.read_until("Credentials")
        demo_file = tmp_path / "instance" / "demo.json"
        demo = json.loads(demo_file.read_text())
        base_url = demo["base_url"]

        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", base_url)
        assert lines[-3:] == [
            f"Swagger UI   {base_url}/docs",
            f"Contract     {base_url}/openapi.json",
            f"Credentials  {demo_file}",
        ]
        assert demo.keys() == {"base_url", "users", "api_keys", "clients"}
        assert stat.S_IMODE(demo_file.stat().st_mode) == 0o600
        assert stat.S_IMODE(demo_file.parent.stat().st_mode) == 0o700

        with httpx.Client(base_url=base_url) as client:
            assert client.get("/docs").status_code == 200
            assert client.get("/openapi.json").json()["info"]["title"] == "Circdesk"
            assert client.get("/readiness").status_code == 200
            (book,) = client.get("/api/books", params={"q": "left hand darkness"}).json()["items"]
            assert book["isbns"] == ["9780441478125"]
            key = {"X-API-Key": demo["api_keys"]["admin"]}
            post = {"title": "News", "body": "Text", "author": "Somebody"}
            assert client.post("/api/posts", json=post).status_code == 401
            created = client.post("/api/posts", json=post, headers=key)
            assert created.status_code == 201
            assert client.get(created.headers["Location"]).json() == created.json()
            assert client.delete(created.headers["Location"], headers=key).status_code == 204
            assert sign_in(client, demo) == ["member", "librarian", "admin"]
        before = counts(base_url)
        assert before["books"] >= 200
        assert before["branches"] == 2

        assert process.stop(signal.SIGTERM) == 0

        process = start("serve", "--demo", "--port", "0")
        process.read_until("Credentials")
        again = json.loads(demo_file.read_text())
        assert again == demo | {"base_url": again["base_url"]}
        assert counts(again["base_url"]) == before
        with httpx.Client(base_url=again["base_url"]) as client:
            assert sign_in(client, again) == ["member", "librarian", "admin"]

        assert process.stop(signal.SIGINT) == 0

    def test_a_port_that_is_taken_is_told_in_one_line(self, run: Run) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = str(other.getsockname()[1])
            result = run("serve", "--port", port)

        assert result.returncode == 2
        assert result.stdout == ""
        assert result.stderr == (
            f"circdesk: cannot listen on 127.0.0.1:{port}: Address already in use\n"
        )

    @pytest.mark.parametrize(
        ("given", "missing"),
        [
            (
                (),
                (
                    "DATABASE_URL (or DATABASE_URL_FILE), CIRCDESK_PUBLIC_URL, "
                    "CIRCDESK_SECRET_KEY (or CIRCDESK_SECRET_KEY_FILE), "
                    "CIRCDESK_ENCRYPTION_KEY (or CIRCDESK_ENCRYPTION_KEY_FILE)"
                ),
            ),
            (
                ("DATABASE_URL", "CIRCDESK_SECRET_KEY"),
                "CIRCDESK_PUBLIC_URL, CIRCDESK_ENCRYPTION_KEY (or CIRCDESK_ENCRYPTION_KEY_FILE)",
            ),
            (
                ("DATABASE_URL", "CIRCDESK_SECRET_KEY", "CIRCDESK_ENCRYPTION_KEY"),
                "CIRCDESK_PUBLIC_URL",
            ),
        ],
    )
    def test_production_names_what_is_missing(
        self, run: Run, tmp_path: Path, given: tuple[str, ...], missing: str
    ) -> None:
        variables = {name: PRODUCTION[name] for name in given}
        result = run("serve", "--port", "0", CIRCDESK_ENV="production", **variables)

        assert result.returncode == 2
        assert result.stderr == f"circdesk: {missing} must be set in this environment\n"
        assert [*tmp_path.iterdir()] == []

    def test_production_has_no_demo(self, run: Run) -> None:
        result = run("serve", "--demo", "--port", "0", **PRODUCTION)

        assert result.returncode == 2
        assert result.stderr == "circdesk: --demo does not go with CIRCDESK_ENV=production\n"

    def test_a_misspelt_setting_is_told(self, run: Run) -> None:
        result = run("serve", CIRCDESK_THREAD="4")

        assert result.returncode == 2
        assert result.stderr == "circdesk: CIRCDESK_THREAD is not a setting of Circdesk\n"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory into which the wheel of this tree was unpacked, as pip does."""
    place = tmp_path_factory.mktemp("wheel")
    command = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run(
        [sys.executable, "-m", "pip", *command, "--wheel-dir", str(place), str(ROOT)],
        check=True,
        timeout=PATIENCE,
    )
    (wheel,) = place.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place / "site")
    return place / "site"


class TestWheel:
    def test_it_works_from_any_directory(self, installed: Path, tmp_path: Path) -> None:
        environment = _environment(PYTHONPATH=str(installed), DATABASE_URL="sqlite:///library.db")

        def run(*command: str) -> "subprocess.CompletedProcess[str]":
            return subprocess.run(
                command,
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )

        found = run(sys.executable, "-c", "import circdesk; print(circdesk.__file__)")
        assert found.stdout.strip() == str(installed / "circdesk" / "__init__.py")

        checked = run(*_circdesk("spec", "check"))
        assert (checked.returncode, checked.stderr) == (0, "")
        assert re.fullmatch(
            r"The contract is valid; its \d+ operations have handlers\.\n", checked.stdout
        )

        migrated = run(*_circdesk("db", "upgrade"))
        assert migrated.returncode == 0, migrated.stderr
        assert (tmp_path / "library.db").stat().st_size > 0
