"""Rate limits: who sends too much hears 429, and everybody hears what is left.

Every request counts once: in Flask for the caller, or where it is refused before, as far as it is
known by then who calls. So a flood of bad credentials, paths or bodies ends as well.
"""

import asyncio
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, NamedTuple, cast

from circdesk.auth.pages.common import error_page
from circdesk.contract.answers import Answer
from circdesk.contract.application import View
from circdesk.contract.door import Call
from circdesk.contract.environ import CALL, Environ
from circdesk.contract.forms import WebPage
from circdesk.contract.headers import RawHeader
from circdesk.contract.operations import Operation
from circdesk.contract.problems import Problem, fault
from circdesk.edge.limiting import Limiter
from circdesk.edge.metrics import count_limited
from circdesk.edge.policies import FREE, OWN, Bucket, Buckets, Policy
from circdesk.edge.shared_windows import WindowStorage
from circdesk.edge.views import answer_problem
from circdesk.edge.windows import Window
from circdesk.visits import Visit

# Threads that ask Redis for what is answered without Flask.
_THREADS = 2


class RateLimitExceeded(Problem):
    """There were too many requests; this one was not looked at, and did not count."""

    code = "rate_limit_exceeded"
    status = 429
    title = "There were too many requests."
    advice = "Wait for the seconds in Retry-After; get_rate_limit tells, for free, what is left."


class State(NamedTuple):
    """What is left of a bucket.

    Attributes:
        reset: Seconds until the first of the requests that count does so no more.
    """

    has_taken: bool
    remaining: int
    reset: int


class RateLimits:
    """The limits of a service.

    Args:
        limiter: Flask-Limiter with the storage.
        buckets: Who counts for what.
    """

    def __init__(self, limiter: Limiter, buckets: Buckets) -> None:
        self._limiter = limiter
        self._buckets = buckets
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="limits")

    def close(self) -> None:
        """Free the threads and connections."""
        self._pool.shutdown()
        self._storage.close()

    @cached_property
    def _storage(self) -> WindowStorage:
        # The limiter has one once it is bound.
        return cast("WindowStorage", self._limiter.storage)

    def around(self, view: View) -> View:
        """A view that counts what reaches Flask, and tells in each answer what is left."""

        def counted(environ: Environ) -> Answer:
            call: Call = environ[CALL]
            bucket = self._buckets.find(call.target, call.visit)
            if bucket is None:
                return view(environ)
            is_free = isinstance(call.target, Operation) and call.target.operation_id == FREE
            state = self.look(bucket) if is_free else self.count(bucket)
            has_place = is_free or state.has_taken
            return self._tell(
                bucket, state, view(environ) if has_place else _refuse(call, bucket, state)
            )

        return counted

    def count_kept(
        self, target: Operation | WebPage, visit: Visit, *, is_free: bool
    ) -> list[RawHeader] | None:
        """Count an answer that was found; None, and nothing is counted, where no place is left.

        It never waits where windows are in memory.

        Returns:
            What tells how much is left.
        """
        bucket = self._buckets.find(target, visit)
        if bucket is None:
            return []
        policy, key = bucket.policy, bucket.key
        window = self._storage.take(key, policy.limit, policy.seconds)
        if not window.taken:
            return None
        if is_free:
            window = self._storage.give_back(key, policy.limit, policy.seconds)
        told = headers_of(bucket, _state(policy, window)).items()
        return [(name.lower().encode(), value.encode()) for name, value in told]

    def count(self, bucket: Bucket) -> State:
        """Count a request, if there is still a place for it; it may wait for Redis."""
        policy = bucket.policy
        return _state(policy, self._storage.take(bucket.key, policy.limit, policy.seconds))

    async def count_aside(self, bucket: Bucket) -> State:
        """Count a request from the event loop, which never waits for Redis."""
        if not self._storage.waits(bucket.key):
            return self.count(bucket)
        return await asyncio.get_running_loop().run_in_executor(self._pool, self.count, bucket)

    def is_full(self, bucket: Bucket) -> bool:
        """Whether it is known, without asking, that nothing is left."""
        return self._storage.is_full(bucket.key)

    def look(self, bucket: Bucket) -> State:
        """What is left; it costs nothing."""
        policy = bucket.policy
        return _state(policy, self._storage.look(bucket.key, policy.limit, policy.seconds))

    def describe(self, visit: Visit) -> Iterator[dict[str, Any]]:
        """Each policy that applies to the caller, and what is left of it."""
        yield self._entry(self._buckets.of_caller(visit), ())
        for name, operations in OWN.items():
            yield self._entry(self._buckets.of_address(visit.address, name), operations)

    def _entry(self, bucket: Bucket, operations: Sequence[str]) -> dict[str, Any]:
        state = self.look(bucket)
        return {
            "policy": bucket.policy.name,
            "counted_by": bucket.counted_by,
            "limit": bucket.policy.limit,
            "window_seconds": bucket.policy.seconds,
            "remaining": state.remaining,
            "reset_seconds": state.reset,
            "operations": list(operations),
        }

    def _tell(self, bucket: Bucket, state: State, answer: Answer) -> Answer:
        if answer.status == 304:
            state = self._give_back(bucket)
        return answer.with_headers(headers_of(bucket, state))

    def _give_back(self, bucket: Bucket) -> State:
        """What has not changed costs less: most of the time nothing."""
        policy = bucket.policy
        return _state(policy, self._storage.give_back(bucket.key, policy.limit, policy.seconds))


def _state(policy: Policy, window: Window) -> State:
    # Floats differ by less than what is rounded here.
    reset = math.ceil(round(window.reset, 3))
    # A clock of Redis that is set just then must not tell anybody to wait for hours.
    return State(window.taken, policy.limit - window.used, min(max(reset, 0), policy.seconds))


def _refuse(call: Call, bucket: Bucket, state: State) -> Answer:
    problem = exceeded(bucket, state)
    if not isinstance(call.target, WebPage):
        return answer_problem(problem)
    page = error_page(problem.status, problem.message, problem.headers)
    return Answer(page.status, None, page.body, page.headers)


def headers_of(bucket: Bucket, state: State) -> dict[str, str]:
    """What is left, and of what (draft-ietf-httpapi-ratelimit-headers-10, 3 and 4)."""
    policy = bucket.policy
    return {
        "RateLimit-Policy": f'"{policy.name}";q={policy.limit};w={policy.seconds}',
        "RateLimit": f'"{policy.name}";r={state.remaining};t={state.reset}',
    }


def exceeded(bucket: Bucket, state: State) -> RateLimitExceeded:
    """The problem of a request for which there was no place, which is counted."""
    policy, wait = bucket.policy, max(state.reset, 1)
    count_limited(policy.name)
    message = (
        f"The policy {policy.name} allows {policy.limit} requests in {policy.seconds} s; "
        f"wait {wait} s."
    )
    return RateLimitExceeded(
        message,
        details=[fault("header", "/RateLimit-Policy", policy.name, message, policy.limit)],
        headers={"Retry-After": str(wait)},
    )
