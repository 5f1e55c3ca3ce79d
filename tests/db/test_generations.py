"""Generations: what is touched is told from what is not, in memory and by way of Redis."""

from collections.abc import Iterator

import pytest
import redis
from pydantic import SecretStr
from structlog.testing import capture_logs

from circdesk.db import generations as module
from circdesk.db import outage
from circdesk.db.generations import (
    Generations,
    MemoryGenerations,
    RedisGenerations,
    generations_for,
)
from tests.redis_server import RedisServer, redis_server


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def shared(server: RedisServer) -> RedisGenerations:
    return RedisGenerations(server.url)


@pytest.fixture(params=["memory", "redis"])
def generations(request: pytest.FixtureRequest) -> Generations:
    if request.param == "memory":
        return MemoryGenerations()
    shared: Generations = request.getfixturevalue("shared")
    return shared


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask again for a Redis that is gone whenever there is something to ask."""
    monkeypatch.setattr(outage, "_PAUSE_SECONDS", 0.0)


class TestBoth:
    def test_what_nobody_touches_stays_the_same(self, generations: Generations) -> None:
        before = generations.read(["books", "copies"])
        generations.touch(["posts"])
        assert before is not None
        assert generations.read(["books", "copies"]) == before

    def test_one_that_is_touched_makes_the_whole_new(self, generations: Generations) -> None:
        seen = {generations.read(["books", "copies"])}
        for resource in ("books", "copies", "books"):
            generations.touch([resource])
            seen.add(generations.read(["books", "copies"]))
        assert len(seen) == 4

    def test_where_too_many_are_touched_all_are(
        self, generations: Generations, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_MOST", 3)
        before = generations.read(["books"])
        generations.touch([f"posts:{number}" for number in range(4)])
        assert generations.read(["books"]) != before


class TestRedis:
    def test_processes_share_them(self, server: RedisServer, shared: RedisGenerations) -> None:
        before = shared.read(["books"])
        RedisGenerations(server.url).touch(["books"])
        assert shared.read(["books"]) != before

    def test_one_that_has_lost_all_never_repeats_a_generation(
        self, server: RedisServer, shared: RedisGenerations
    ) -> None:
        seen = []
        for _ in range(3):
            shared.touch(["books"])
            seen.append(shared.read(["books"]))
            with redis.Redis.from_url(server.url) as client:
                client.flushdb()
        assert len({*seen}) == 3

    def test_they_are_forgotten_only_long_after_anything_that_is_kept(
        self, server: RedisServer, shared: RedisGenerations
    ) -> None:
        shared.touch(["books"])
        with redis.Redis.from_url(server.url) as client:
            [key] = client.keys("circdesk:generation:books")
            assert module.SECONDS - 60 < client.ttl(key) <= module.SECONDS

    @pytest.mark.usefixtures("_at_once")
    def test_what_is_touched_while_it_is_gone_is_told_before_anything_is_read(
        self, server: RedisServer, shared: RedisGenerations
    ) -> None:
        other = RedisGenerations(server.url)
        with server.away():
            shared.touch(["books"])
            assert shared.read(["books"]) is None
        before = other.read(["books"])
        shared.read(["posts"])
        assert other.read(["books"]) != before

    @pytest.mark.usefixtures("_at_once")
    def test_too_much_to_be_told_one_by_one_is_told_as_a_whole(
        self, server: RedisServer, shared: RedisGenerations, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_MOST", 3)
        before = shared.read(["branches"])
        with server.away():
            shared.touch([f"posts:{number}" for number in range(4)])
        assert shared.read(["branches"]) != before

    def test_its_outage_is_told_once_and_so_is_its_end(
        self, server: RedisServer, shared: RedisGenerations, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with capture_logs() as logs, server.away():
            for _ in range(50):
                assert shared.read(["books"]) is None
        assert [(line["event"], line["part"]) for line in logs] == [("part_gone", "cache")]
        monkeypatch.setattr(shared.outage, "_next_try", 0.0)
        with capture_logs() as logs:
            assert shared.read(["books"]) is not None
            assert shared.read(["books"]) is not None
        assert [line["event"] for line in logs] == ["part_back"]

    def test_while_it_is_gone_only_one_a_second_asks_for_it(
        self, server: RedisServer, shared: RedisGenerations
    ) -> None:
        tries = []

        def try_it() -> str:
            tries.append(1)
            raise redis.ConnectionError

        with server.frozen():
            assert shared.read(["books"]) is None
            for _ in range(100):
                assert shared.outage.attempt(try_it) is None
        assert tries == []

    def test_engines_with_the_same_redis_have_the_same(self, server: RedisServer) -> None:
        one, other = (generations_for(SecretStr(server.url)) for _ in range(2))
        assert one is other
        assert generations_for(None) is module.MEMORY
