"""Up to where callers have written: kept for each, by one process and by way of Redis."""

from collections.abc import Iterator

import pytest
import redis
from pydantic import SecretStr
from structlog.testing import capture_logs

from circdesk.db import outage
from circdesk.db import positions as module
from circdesk.db.positions import MemoryPositions, Positions, RedisPositions, make_positions
from circdesk.db.replica import MOST_LAG_SECONDS, UNKNOWN
from tests.redis_server import RedisServer, redis_server


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def shared(server: RedisServer) -> RedisPositions:
    """Positions in a Redis that has lost nothing."""
    with redis.Redis.from_url(server.url) as client:
        client.flushdb()
        client.set("circdesk:wrote:whole", b"")
    return RedisPositions(server.url)


@pytest.fixture(params=["memory", "redis"])
def positions(request: pytest.FixtureRequest) -> Positions:
    if request.param == "memory":
        return MemoryPositions()
    shared: Positions = request.getfixturevalue("shared")
    return shared


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask again for a Redis that is gone whenever there is something to ask."""
    monkeypatch.setattr(outage, "_PAUSE_SECONDS", 0.0)


class TestBoth:
    def test_who_has_not_written_may_read_anything(self, positions: Positions) -> None:
        positions.note(["ada"], 7)
        assert positions.find(["grace", "address"]) == 0

    def test_the_furthest_that_any_of_the_names_has_written_counts(
        self, positions: Positions
    ) -> None:
        positions.note(["ada", "desk"], 7)
        positions.note(["address"], 9)
        assert positions.find(["desk"]) == 7
        assert positions.find(["ada", "address"]) == 9

    def test_requests_that_end_in_another_order_take_nothing_back(
        self, positions: Positions
    ) -> None:
        # Of another length as text, too.
        positions.note(["ada"], 2**40)
        positions.note(["ada"], 255)
        assert positions.find(["ada"]) == 2**40

    def test_what_nobody_can_tell_is_further_than_anything(self, positions: Positions) -> None:
        positions.note(["ada"], UNKNOWN)
        positions.note(["ada"], 2**63)
        assert positions.find(["ada"]) == UNKNOWN


class TestMemory:
    def test_a_position_is_forgotten_when_it_is_old(self, monkeypatch: pytest.MonkeyPatch) -> None:
        positions = MemoryPositions()
        monkeypatch.setattr(module, "SECONDS", -1)
        positions.note(["ada"], 7)
        monkeypatch.undo()
        positions.note(["grace"], 8)
        assert positions.find(["ada"]) == 0
        assert positions.find(["grace"]) == 8
        assert [*positions._known] == ["grace"]


class TestRedis:
    def test_processes_share_them(self, server: RedisServer, shared: RedisPositions) -> None:
        RedisPositions(server.url).note(["ada"], 7)
        assert shared.find(["ada"]) == 7

    def test_they_are_kept_for_longer_than_a_replica_may_be_behind(
        self, server: RedisServer, shared: RedisPositions
    ) -> None:
        shared.note(["ada"], 7)
        with redis.Redis.from_url(server.url) as client:
            assert MOST_LAG_SECONDS < client.ttl("circdesk:wrote:ada") <= module.SECONDS

    def test_after_it_has_lost_all_anybody_may_have_written(
        self, server: RedisServer, shared: RedisPositions
    ) -> None:
        shared.note(["ada"], 7)
        with redis.Redis.from_url(server.url) as client:
            client.flushdb()
            assert shared.find(["ada"]) == UNKNOWN
            assert shared.find(["grace"]) == UNKNOWN
            # Until all that was lost would be over.
            assert 0 < client.ttl("circdesk:wrote:anybody") <= module.SECONDS
            client.delete("circdesk:wrote:anybody")
        assert shared.find(["ada"]) == 0

    @pytest.mark.usefixtures("_at_once")
    def test_while_it_is_gone_anybody_may_have_written_and_for_a_while_after(
        self, server: RedisServer, shared: RedisPositions
    ) -> None:
        other = RedisPositions(server.url)
        with server.away():
            shared.note(["ada"], 7)
            assert shared.find(["grace"]) == UNKNOWN
        with redis.Redis.from_url(server.url) as client:
            # Of an outage that only this process has seen, the others hear from it.
            client.set("circdesk:wrote:whole", b"")
        assert other.find(["ada"]) == 0
        assert shared.find(["grace"]) == UNKNOWN
        assert other.find(["ada"]) == UNKNOWN

    def test_its_outage_is_told_once(self, server: RedisServer, shared: RedisPositions) -> None:
        with capture_logs() as logs, server.away():
            for _ in range(50):
                shared.note(["ada"], 7)
                assert shared.find(["ada"]) == UNKNOWN
        assert [(line["event"], line["part"]) for line in logs] == [("part_gone", "positions")]


def test_without_redis_they_are_those_of_the_service() -> None:
    assert isinstance(make_positions(None), MemoryPositions)
    assert isinstance(make_positions(SecretStr("redis://nowhere")), RedisPositions)
