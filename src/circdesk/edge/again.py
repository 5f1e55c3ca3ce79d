"""Again: a request that repeats one which was answered from memory is answered before all else.

What its address and its headers mean was found out the first time, and the answer was compressed;
while what was kept is good, none of that is done again. Limits count it as any other, and so do
metrics and the access log.
"""

from dataclasses import dataclass
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from circdesk.contract.environ import CALL, OPERATION, ROUTE
from circdesk.contract.headers import RawHeader, header_lines
from circdesk.contract.operations import Operation
from circdesk.edge.access import record
from circdesk.edge.at_once import READY
from circdesk.edge.caching import Caching, age_header
from circdesk.edge.ceilings import find_problem
from circdesk.edge.kept import Ready
from circdesk.edge.limits import RateLimits
from circdesk.edge.metrics import begin_request, count_cache
from circdesk.edge.proxies import believe_proxies
from circdesk.edge.request_ids import Ids, read_ids
from circdesk.visits import Visit

# As many as there are answers in memory, and at most as much of it again: outdated or compressed
# ones. What was first told goes first.
_MOST = 256
# They differ between requests that are answered the same: they tell who asks, or name the request,
# which is read each time. All others make another request, so that none is forgotten that matters.
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
# What an answer says of this very request.
_OF_THE_REQUEST = frozenset((b"age", b"ratelimit", b"ratelimit-policy", b"x-request-id"))
_KEPT = frozenset((200, 304))
# What announces a body, for which an answer may have to wait.
_OF_A_BODY = frozenset((b"content-length", b"expect", b"transfer-encoding"))

# Under this key the scope carries what a request was looked for by and not found.
_KEY = "circdesk.again"

_Key = tuple[bytes, bytes, tuple[RawHeader, ...]]


@dataclass(frozen=True, slots=True)
class _Told:
    """An answer as it left for the operation, but for what it said of the request.

    Attributes:
        lines: The headers as they stand in a head.
    """

    operation: Operation
    ready: Ready
    status: int
    headers: list[RawHeader]
    lines: bytes
    body: bytes


class Repeat:
    """An answer that was told before, to a request that asks for it again.

    Whoever sends it calls `end` when that is done.
    """

    def __init__(
        self, told: _Told, its_own: list[RawHeader], scope: Scope, ids: Ids, started: float
    ) -> None:
        self.status, self.body = told.status, told.body
        self._told, self._its_own = told, its_own
        self._scope, self._ids, self._started = scope, ids, started

    @property
    def headers(self) -> list[RawHeader]:
        """All that the application says in its head."""
        return [*self._told.headers, *self._its_own]

    @property
    def lines(self) -> bytes:
        """The same, as the lines of a head."""
        return self._told.lines + header_lines(self._its_own)

    def end(self) -> None:
        """Log and count the request, which was answered with this."""
        operation, scope = self._told.operation, self._scope
        scope[ROUTE], scope[OPERATION] = operation.path, operation.operation_id
        seconds = perf_counter() - self._started
        record(scope, self._ids, status=self.status, size=len(self.body), seconds=seconds)


class Again:
    """Finds the answers to repeated requests, for a server or as the outermost ASGI middleware.

    Args:
        caching: The answers that are kept, in memory.
        limits: The limits, which are in memory, too.
        hops: The number of our own proxies that a request comes through.
    """

    def __init__(self, *, caching: Caching, limits: RateLimits, hops: int) -> None:
        self._caching, self._limits, self._hops = caching, limits, hops
        self._told: dict[_Key, _Told] = {}

    def around(self, app: ASGIApp) -> ASGIApp:
        """The application, whose answers from memory are told again without it."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or scope["method"] != "GET":
                await app(scope, receive, send)
                return
            # A server may have asked before.
            repeat = None if _KEY in scope else self.find(scope)
            if repeat is None:
                await app(scope, receive, self._watching(scope, send))
            else:
                await _send(repeat, send)

        return answer

    def find(self, scope: Scope) -> Repeat | None:
        """The answer to a request that was answered before, if it is still good; it is counted.

        None also where the limits leave no place, or a head is too large in what has no effect:
        whoever is to be refused is refused further in.
        """
        if scope["method"] != "GET":
            return None
        started = perf_counter()
        key = scope[_KEY] = _key(scope)
        told = self._told.get(key)
        if told is None or find_problem(scope) is not None:
            return None
        age = self._caching.age_of(told.ready)
        if age is None:
            return None
        if self._hops:
            believe_proxies(scope, self._hops)
        ids, client = read_ids(scope["headers"]), scope.get("client")
        request_id = ids["request_id"]
        visit = Visit(None, request_id, client[0] if client else None)
        left = self._limits.count_kept(told.operation, visit, is_free=told.status == 304)
        if left is None:
            return None
        count_cache("hit")
        begin_request()
        its_own = [age_header(age), *left, (b"x-request-id", request_id.encode())]
        return Repeat(told, its_own, scope, ids, started)

    def _watching(self, scope: Scope, send: Send) -> Send:
        """What sends an answer, and remembers one that was found in memory; it is whole."""
        started: Message = {}

        async def watch(message: Message) -> None:
            nonlocal started
            await send(message)
            if READY in scope:
                if message["type"] == "http.response.start":
                    started = message
                else:
                    self._keep(scope, started, message["body"])

        return watch

    def _keep(self, scope: Scope, started: Message, body: bytes) -> None:
        key: _Key = scope[_KEY]
        has_body = not _OF_A_BODY.isdisjoint([name for name, _ in key[2]])
        # What was found may have failed to be sent, which is answered, too.
        if has_body or started["status"] not in _KEPT:
            return
        headers = [header for header in started["headers"] if header[0] not in _OF_THE_REQUEST]
        if len(self._told) >= _MOST:
            del self._told[next(iter(self._told))]
        operation, status, lines = scope[CALL].operation, started["status"], header_lines(headers)
        self._told[key] = _Told(operation, scope[READY], status, headers, lines, body)


async def _send(repeat: Repeat, send: Send) -> None:
    start = {"type": "http.response.start", "status": repeat.status, "headers": repeat.headers}
    try:
        await send(start)
        await send({"type": "http.response.body", "body": repeat.body})
    finally:
        repeat.end()


def _key(scope: Scope) -> _Key:
    headers = tuple([header for header in scope["headers"] if header[0] not in _WITHOUT_EFFECT])
    return scope["raw_path"], scope["query_string"], headers
