"""What the door refuses counts, too, before it is answered.

Two of the door's seams are taken: who is calling is remembered for the count, and a refusal for
which there is no place left becomes a 429.
"""

from starlette.types import Receive, Scope, Send

from circdesk.auth.credentials import has_credential
from circdesk.contract.door import Authenticate, Refuse
from circdesk.contract.forms import WebPage
from circdesk.contract.headers import RawHeaders
from circdesk.contract.operations import Operation
from circdesk.contract.problems import Problem
from circdesk.edge.limits import RateLimits, exceeded, headers_of
from circdesk.edge.policies import Bucket, Buckets
from circdesk.visits import Visit

# Under this key the scope carries the visit of a caller who has been identified.
_VISIT = "circdesk.visit"


class GuardedDoor:
    """The door's two seams around those that it had.

    Args:
        limits: What counts.
        buckets: Who counts for what.
        authenticate: Finds who is calling.
        refuse: Answers with a problem.
    """

    def __init__(
        self, limits: RateLimits, buckets: Buckets, authenticate: Authenticate, refuse: Refuse
    ) -> None:
        self._limits = limits
        self._buckets = buckets
        self._authenticate = authenticate
        self._refuse = refuse
        # The addresses without a place left from which somebody is just being identified.
        self._tried: set[str] = set()

    async def authenticate(
        self, target: Operation | WebPage, scope: Scope, headers: RawHeaders
    ) -> Visit:
        """Who is calling.

        Raises:
            RateLimitExceeded: Too much was refused at this address, and one of its credentials is
                being looked up already; else a flood would keep everybody from being identified.
        """
        bucket = self._find_full(scope) if has_credential(headers) else None
        visit: Visit
        if bucket is None:
            visit = await self._authenticate(target, scope, headers)
        else:
            visit = await self._authenticate_alone(bucket, target, scope, headers)
        scope[_VISIT] = visit
        return visit

    def _find_full(self, scope: Scope) -> Bucket | None:
        """The bucket of the address, if it is known that nothing is left of it."""
        bucket = self._buckets.of_address(_address(scope), "anonymous")
        return bucket if self._limits.is_full(bucket) else None

    async def _authenticate_alone(
        self, bucket: Bucket, target: Operation | WebPage, scope: Scope, headers: RawHeaders
    ) -> Visit:
        if bucket.subject in self._tried:
            raise exceeded(bucket, await self._limits.count_aside(bucket))
        self._tried.add(bucket.subject)
        try:
            visit: Visit = await self._authenticate(target, scope, headers)
        finally:
            self._tried.discard(bucket.subject)
        return visit

    async def refuse(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        problem: Problem,
        operation: Operation | None,
    ) -> None:
        """Answer with the problem, or with a 429 where there is no place left for it."""
        # What is our own fault counts for nobody.
        if problem.status < 500:
            problem = await self._count(scope, problem, operation)
        await self._refuse(scope, receive, send, problem, operation)

    async def _count(self, scope: Scope, problem: Problem, operation: Operation | None) -> Problem:
        visit = scope.get(_VISIT) or Visit(None, scope["circdesk.request_id"], _address(scope))
        bucket = self._buckets.find(operation, visit)
        if bucket is None:
            return problem
        state = await self._limits.count_aside(bucket)
        if not state.has_taken:
            problem = exceeded(bucket, state)
        problem.headers |= headers_of(bucket, state)
        return problem


def _address(scope: Scope) -> str | None:
    client = scope.get("client")
    return client[0] if client else None
