"""At the door: the event loop never waits for Redis, and a flood keeps nobody from being known."""

import asyncio
import contextlib
from collections.abc import Iterator
from itertools import count
from typing import Any

import flask
import pytest

from circdesk.contract.operations import Operation
from circdesk.edge.extensions import bind_limiter, make_limiter
from circdesk.edge.guarded_door import GuardedDoor
from circdesk.edge.limits import RateLimitExceeded, RateLimits
from circdesk.edge.policies import Buckets, read_policies
from circdesk.edge.refusals import refuse
from circdesk.settings import Settings
from circdesk.visits import Visit
from tests.redis_server import RedisServer

HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"
BAD = {b"x-api-key": b"cdk_nonsense"}

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def buckets(settings: Settings) -> Buckets:
    small = settings.model_copy(update={"rate_limits": "1/minute"})
    return Buckets(read_policies(small), "a secret of this module")


@contextlib.contextmanager
def limits_of(buckets: Buckets, redis_url: str | None) -> Iterator[RateLimits]:
    limiter = make_limiter(redis_url)
    bind_limiter(limiter, flask.Flask("test"))
    limits = RateLimits(limiter, buckets)
    try:
        yield limits
    finally:
        limits.close()


def test_the_event_loop_goes_on_while_redis_says_nothing(
    buckets: Buckets, redis: RedisServer
) -> None:
    ticks = count()

    async def tick() -> None:
        while True:
            next(ticks)
            await asyncio.sleep(0.01)

    async def wait_for_redis(limits: RateLimits) -> bool:
        ticking = asyncio.create_task(tick())
        state = await limits.count_aside(buckets.of_address(HERE, "anonymous"))
        ticking.cancel()
        return state.has_taken

    with limits_of(buckets, redis.url) as limits, redis.frozen():
        assert asyncio.run(wait_for_redis(limits))

    # It takes a quarter of a second to give up; a loop that waits would have got to one.
    assert next(ticks) > 4


class LookUp:
    """Finds nobody, and not before it is let go on."""

    def __init__(self) -> None:
        self.goes_on = asyncio.Event()

    async def __call__(self, _target: Any, scope: Any, _headers: Any) -> Visit:
        await self.goes_on.wait()
        return Visit(None, "r", scope["client"][0])


async def identify(door: GuardedDoor, address: str, headers: dict[bytes, bytes]) -> str:
    scope = {"type": "http", "client": (address, 1)}
    try:
        await door.authenticate(TARGET, scope, headers)
    except RateLimitExceeded as problem:
        return problem.code
    return "identified"


TARGET: Operation = None  # type: ignore[assignment]  # Whatever is asked for, it is the same.


def test_where_a_flood_comes_from_one_credential_is_looked_up_at_a_time(buckets: Buckets) -> None:
    async def flood(limits: RateLimits) -> list[str]:
        look_up = LookUp()
        door = GuardedDoor(limits, buckets, look_up, refuse)
        calls = [(HERE, BAD), (HERE, BAD), (HERE, {}), (ELSEWHERE, BAD), (ELSEWHERE, BAD)]
        tasks = [asyncio.create_task(identify(door, *call)) for call in calls]
        await asyncio.sleep(0)
        look_up.goes_on.set()
        first = [await task for task in tasks]
        return [*first, await identify(door, HERE, BAD)]

    with limits_of(buckets, None) as limits:
        anonymous = buckets.of_address(HERE, "anonymous")
        assert [limits.count(anonymous).has_taken for _ in range(2)] == [True, False]
        found = asyncio.run(flood(limits))

    refused = [n for n, outcome in enumerate(found) if outcome == "rate_limit_exceeded"]
    assert refused == [1]
    assert found.count("identified") == 5
