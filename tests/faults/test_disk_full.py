"""The disk is full: what must be stored is refused, nothing is half stored, and then on it goes."""

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from circdesk.db.engine import make_engine
from circdesk.db.migrations import upgrade
from circdesk.settings import Settings
from tests.faults.load import assert_told_to_come_again
from tests.faults.processes import Launcher, Process, until
from tests.people import api_key, seed_people

ADMIN = {"X-API-Key": api_key("admin")}
POST = {"title": "News", "body": "Text " * 200, "author": "Somebody"}
# Enough for an empty database and what is done with it.
DISK_BYTES = 16 * 1024**2
CSV = {"Content-Type": "text/csv"}


@dataclass(frozen=True)
class Disk:
    """A small file system of the test's own."""

    path: Path

    def fill(self) -> None:
        """Leave no room on it, to the last block."""
        with (self.path / "ballast").open("ab", buffering=0) as ballast:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while ballast.write(bytes(size)) == size:
                        pass
                except OSError:
                    continue

    def free(self) -> None:
        """Make room again."""
        (self.path / "ballast").unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A small disk, where this user may mount one."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(path)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this user may not mount a small disk")
    yield Disk(path)
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def settings_there(disk: Disk) -> Settings:
    """The settings of a service that keeps all that it has on that disk."""
    settings = Settings(
        instance=disk.path,
        database_url=SecretStr(f"sqlite:///{disk.path / 'library.db'}"),
        secret_key=SecretStr("a secret key that only tests know"),
        encryption_key=SecretStr("an encryption key that only tests know"),
        public_url="http://127.0.0.1:8000",
        threads=4,
        database_timeout_seconds=2,
    )
    engine = make_engine(settings)
    upgrade(engine)
    seed_people(engine)
    engine.dispose()
    return settings


@pytest.fixture
def service(settings_there: Settings, launcher: Launcher, tmp_path: Path) -> Iterator[Process]:
    """A process that keeps all that it has on that disk, but for its log."""
    with launcher.service(tmp_path / "service", settings_there) as process:
        yield process


@pytest.fixture
def admin(service: Process) -> Iterator[httpx.Client]:
    """A caller who may do everything."""
    with service.client(ADMIN) as client:
        yield client


def test_what_is_written_is_refused_whole_until_there_is_room(
    disk: Disk, settings_there: Settings, admin: httpx.Client
) -> None:
    stored = [admin.post("/api/posts", json=POST).json()["id"]]
    disk.fill()
    refused = 0
    # What SQLite's log has room for yet is still taken.
    while refused < 20:
        response = admin.post("/api/posts", json=POST)
        if response.status_code == 201:
            stored.append(response.json()["id"])
            disk.fill()
        else:
            assert_told_to_come_again(response)
            assert response.json()["code"] == "database_unavailable"
            refused += 1
    # Nobody who only reads is hindered.
    assert admin.get("/api/posts").json()["total"] == len(stored)
    assert admin.get("/healthz").status_code == 200

    disk.free()
    stored.append(admin.post("/api/posts", json=POST).json()["id"])
    found = admin.get("/api/posts", params={"per_page": 100}).json()["items"]
    assert {post["id"] for post in found} == set(stored)
    path = settings_there.database_url.get_secret_value().removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_file_is_taken_whole_or_not_at_all(
    disk: Disk,
    settings_there: Settings,
    launcher: Launcher,
    admin: httpx.Client,
    tmp_path: Path,
) -> None:
    lines = "".join(f"{number},{'Title ' * 20}{number}\n" for number in range(2000))
    content = f"control_number,title\n{lines}"
    # SQLite needs a little room itself for the first who reads.
    assert admin.get("/api/imports").json()["total"] == 0
    disk.fill()
    for _ in range(3):
        response = admin.post("/api/imports", content=content, headers=CSV)
        assert_told_to_come_again(response)
        assert response.json()["code"] == "upload_not_stored"
        assert [*settings_there.uploads.glob("*")] == []
    assert admin.get("/api/imports").json()["total"] == 0

    disk.free()
    response = admin.post("/api/imports", content=content, headers=CSV)
    assert response.status_code == 202
    # The file is there; what is made of it has no room.
    disk.fill()
    path = response.headers["Location"]
    with launcher.worker(tmp_path / "worker", settings_there) as worker:
        until(lambda: "import_waits_for_database" in worker.log(), worker.log)
        assert admin.get(path).json()["created"] < 2000
        disk.free()
        # The run that broke off says nothing any more, for a minute by its worker's clock.
        worker.move_clock(70)
        until(lambda: admin.get(path).json()["state"] == "done", worker.log)
    assert admin.get(path).json()["created"] == 2000
    assert admin.get("/api/books").json()["total"] == 2000


def test_a_log_that_cannot_be_written_hinders_nobody(
    disk: Disk, launcher: Launcher, settings: Settings, engine: Engine
) -> None:
    """This needs a log that drops what it cannot write (`edge/log_files.py`)."""
    with (
        launcher.service(disk.path / "place", settings, CIRCDESK_LOG_LEVEL="debug") as process,
        process.client(ADMIN) as client,
    ):
        disk.fill()
        for _ in range(20):
            assert client.get("/api/posts").status_code == 200
            assert client.post("/api/posts", json=POST).status_code == 201
            assert client.get("/api/nothing").status_code == 404
        assert client.get("/api/posts").json()["total"] == 20
        disk.free()
        told = len(process.log())
        assert client.get("/api/posts").status_code == 200
        until(lambda: len(process.log()) > told)
