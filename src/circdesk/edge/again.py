"""Again: a request that repeats one which was answered from memory is answered without the door.

What its address and its headers mean was found out the first time, and the answer was compressed;
while what was kept is good, none of that is done again. Limits count it as any other.
"""

from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from circdesk.contract.environ import CALL, OPERATION, ROUTE
from circdesk.contract.headers import RawHeader
from circdesk.contract.operations import Operation
from circdesk.edge.at_once import READY
from circdesk.edge.caching import Caching, age_header
from circdesk.edge.kept import Ready
from circdesk.edge.limits import RateLimits
from circdesk.edge.metrics import count_cache
from circdesk.edge.request_ids import REQUEST_ID
from circdesk.visits import Visit

# As many as there are answers in memory, and at most as much of it again: outdated or compressed
# ones. What was first told goes first.
_MOST = 256
# They differ between requests that are answered the same: they tell who asks, or name the request,
# which is read before. All others make another request, so that none is forgotten that matters.
_WITHOUT_EFFECT = frozenset(
    (
        b"referer",
        b"traceparent",
        b"tracestate",
        b"user-agent",
        b"x-forwarded-for",
        b"x-request-id",
    )
)
# What an answer says of this very request, besides what is added further out.
_OF_THE_REQUEST = frozenset((b"age", b"ratelimit", b"ratelimit-policy"))

_Key = tuple[bytes, bytes, tuple[RawHeader, ...]]


@dataclass(frozen=True, slots=True)
class _Told:
    """An answer as it left for the operation, but for what it said of the request."""

    operation: Operation
    ready: Ready
    status: int
    headers: list[RawHeader]
    body: bytes


class Again:
    """ASGI middleware that answers repeated requests; whatever it does not know it passes on.

    Args:
        app: What is behind it.
        caching: The answers that are kept, in memory.
        limits: The limits, which are in memory, too.
    """

    def __init__(self, app: ASGIApp, *, caching: Caching, limits: RateLimits) -> None:
        self._app, self._caching, self._limits = app, caching, limits
        self._told: dict[_Key, _Told] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on and remember its answer if that comes from memory."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        key = _key(scope)
        told = self._told.get(key)
        its_own = None if told is None else self._headers_of_its_own(told, scope)
        if told is None or its_own is None:
            await self._app(scope, receive, self._watching(key, scope, send))
            return
        operation = told.operation
        scope[ROUTE], scope[OPERATION] = operation.path, operation.operation_id
        headers = [*told.headers, *its_own]
        await send({"type": "http.response.start", "status": told.status, "headers": headers})
        await send({"type": "http.response.body", "body": told.body})

    def _headers_of_its_own(self, told: _Told, scope: Scope) -> list[RawHeader] | None:
        """What an answer says of the request; None where it is not good any more.

        None also where the limits leave no place: who has none is refused further in.
        """
        age = self._caching.age_of(told.ready)
        if age is None:
            return None
        client = scope.get("client")
        visit = Visit(None, scope[REQUEST_ID], client[0] if client else None)
        left = self._limits.count_kept(told.operation, visit, is_free=told.status == 304)
        if left is None:
            return None
        count_cache("hit")
        return [age_header(age), *left]

    def _watching(self, key: _Key, scope: Scope, send: Send) -> Send:
        """What sends an answer, and remembers one that was found in memory; it is whole."""
        started: Message = {}

        async def watch(message: Message) -> None:
            nonlocal started
            if READY in scope:
                if message["type"] == "http.response.start":
                    started = message
                else:
                    self._keep(key, scope, started, message["body"])
            await send(message)

        return watch

    def _keep(self, key: _Key, scope: Scope, started: Message, body: bytes) -> None:
        operation = scope[CALL].operation
        headers = [header for header in started["headers"] if header[0] not in _OF_THE_REQUEST]
        if len(self._told) >= _MOST:
            del self._told[next(iter(self._told))]
        self._told[key] = _Told(operation, scope[READY], started["status"], headers, body)


def _key(scope: Scope) -> _Key:
    headers = tuple([header for header in scope["headers"] if header[0] not in _WITHOUT_EFFECT])
    return scope["raw_path"], scope["query_string"], headers
