"""Moving windows, in memory and in a real Redis: exact, free of what is over, and bounded."""

import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
import redis as driver
from structlog.testing import capture_logs

from circdesk.edge import windows
from circdesk.edge.redis_windows import RedisWindows
from circdesk.edge.shared_windows import SCHEME, WindowStorage
from circdesk.edge.windows import FREE, MemoryWindows
from tests.redis_server import RedisServer

Windows = MemoryWindows | RedisWindows


@pytest.fixture(params=["memory", "redis"])
def kept(request: pytest.FixtureRequest) -> Windows:
    """Windows that are kept in either place."""
    if request.param == "memory":
        return MemoryWindows()
    return RedisWindows(request.getfixturevalue("redis").url)


@pytest.fixture
def key() -> str:
    """A subject of the test's own."""
    return uuid4().hex


class TestWindows:
    def test_there_are_so_many_places_and_no_more(self, kept: Windows, key: str) -> None:
        taken = [kept.take(key, 3, 60) for _ in range(5)]

        assert [(window.taken, window.used) for window in taken] == [
            (True, 1), (True, 2), (True, 3), (False, 3), (False, 3),
        ]  # fmt: skip
        assert all(50 < window.reset <= 60 for window in taken)

    def test_a_place_is_free_again_when_its_request_leaves_the_window(
        self, kept: Windows, key: str
    ) -> None:
        kept.take(key, 2, 1)
        time.sleep(0.5)
        kept.take(key, 2, 1)
        refused = kept.take(key, 2, 1)
        assert not refused.taken
        time.sleep(refused.reset + 0.01)

        # The second request is still in the window, so that one place is free and not two.
        assert kept.take(key, 2, 1).taken
        assert not kept.take(key, 2, 1).taken

    def test_subjects_do_not_count_for_each_other(self, kept: Windows, key: str) -> None:
        kept.take(key, 1, 60)

        assert kept.take(f"{key}-other", 1, 60).taken

    def test_looking_costs_nothing(self, kept: Windows, key: str) -> None:
        assert kept.look(key, 1, 60) == (False, 0, 0)
        kept.take(key, 1, 60)
        assert kept.look(key, 1, 60).used == 1

    def test_places_are_given_back_up_to_a_multiple_of_the_limit(
        self, kept: Windows, key: str
    ) -> None:
        for number in range(2 * FREE):
            assert kept.take(key, 2, 60).used == 1, number
            assert kept.give_back(key, 2, 60).used == 0, number

        kept.take(key, 2, 60)
        assert kept.give_back(key, 2, 60).used == 1

    def test_many_at_once_get_no_more_places_than_there_are(self, kept: Windows, key: str) -> None:
        with ThreadPoolExecutor(8) as pool:
            taken = [*pool.map(lambda _: kept.take(key, 50, 60).taken, range(200))]

        assert taken.count(True) == 50


class TestMemory:
    def test_what_is_over_is_forgotten(self) -> None:
        kept = MemoryWindows()
        for number in range(100):
            kept.take(f"once-{number}", 5, 0)

        assert len(kept._entries) == 1

    def test_of_too_many_subjects_the_oldest_are_forgotten(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(windows, "_MOST_SUBJECTS", 3)
        kept = MemoryWindows()
        for key in ("first", "second", "third", "first", "fourth", "fifth"):
            kept.take(key, 5, 60)

        assert [*kept._entries] == ["first", "fourth", "fifth"]


class TestRedis:
    def test_nothing_stays_for_longer_than_its_window(self, redis: RedisServer, key: str) -> None:
        RedisWindows(redis.url).take(key, 5, 60)

        with driver.Redis.from_url(redis.url) as client:
            assert 0 < client.pttl(key) <= 60_000

    def test_a_clock_that_is_set_back_leaves_nobody_waiting(
        self, redis: RedisServer, key: str
    ) -> None:
        with driver.Redis.from_url(redis.url) as client:
            client.rpush(key, int((time.time() + 3600) * 1_000_000))

        assert RedisWindows(redis.url).take(key, 1, 60).taken


def storage_at(redis: RedisServer) -> WindowStorage:
    return WindowStorage(f"{SCHEME}:", url=redis.url)


class TestStorage:
    def test_processes_with_one_redis_share_every_place(self, redis: RedisServer, key: str) -> None:
        storages = [storage_at(redis) for _ in range(2)]
        with ThreadPoolExecutor(8) as pool:
            taken = [*pool.map(lambda n: storages[n % 2].acquire_entry(key, 50, 60), range(200))]

        assert taken.count(True) == 50

    def test_without_redis_each_process_counts_for_itself_and_says_so_once(
        self, redis: RedisServer, key: str
    ) -> None:
        storage = storage_at(redis)
        assert storage.acquire_entry(key, 3, 60)
        with capture_logs() as logs, redis.away():
            with ThreadPoolExecutor(8) as pool:
                taken = [*pool.map(lambda _: storage.acquire_entry(key, 3, 60), range(40))]
            # What was counted in Redis is not known here.
            assert taken.count(True) == 3

        assert [(entry["event"], entry["log_level"]) for entry in logs] == [
            ("limits_in_memory", "warning")
        ]

    def test_they_share_again_when_it_is_back(
        self, redis: RedisServer, key: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("circdesk.edge.shared_windows._PAUSE", 0.2)
        storage, other = storage_at(redis), storage_at(redis)
        with redis.away():
            assert storage.acquire_entry(key, 2, 60)
        time.sleep(0.3)
        with capture_logs() as logs:
            assert storage.acquire_entry(key, 2, 60)
            assert storage.acquire_entry(key, 2, 60)

        assert [entry["event"] for entry in logs] == ["limits_shared"]
        assert not other.acquire_entry(key, 2, 60)

    def test_a_redis_that_says_nothing_is_waited_for_once_and_not_for_long(
        self, redis: RedisServer, key: str
    ) -> None:
        storage = storage_at(redis)
        storage.acquire_entry(key, 100, 60)
        with redis.frozen():
            started = time.monotonic()
            assert all(storage.acquire_entry(key, 100, 60) for _ in range(50))
            assert time.monotonic() - started < 1.5

    def test_who_has_no_place_left_is_refused_without_asking(
        self, redis: RedisServer, key: str
    ) -> None:
        storage = storage_at(redis)
        assert [storage.acquire_entry(key, 1, 60) for _ in range(2)] == [True, False]
        with driver.Redis.from_url(redis.url) as client:
            client.delete(key)

        assert storage.is_full(key)
        assert storage.take(key, 1, 60)[:2] == (False, 1)
