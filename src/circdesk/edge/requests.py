"""Around every request: its id, its line in the access log, what all answers say, the last resort.

It stands around everything, so that nothing is answered without a request id and no error,
wherever it comes from, leaves in a form of its own.
"""

import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from circdesk.contract.headers import RawHeader
from circdesk.contract.requests import InternalError
from circdesk.edge.access import record
from circdesk.edge.metrics import begin_request
from circdesk.edge.refusals import refuse
from circdesk.edge.request_ids import REQUEST_ID, bind_ids, read_ids
from circdesk.edge.security_headers import UNLESS_SET, fixed_headers

# Without a word about it, a cache may keep what it takes to be good (RFC 9111, 4.2.2).
_UNLESS_SET = (*UNLESS_SET, (b"cache-control", b"no-store"))


class EveryRequest:
    """ASGI middleware that gives each request its id, and tells it with each answer.

    Args:
        app: What is behind it.
        secure: Whether callers reach the service by HTTPS alone.
    """

    def __init__(self, app: ASGIApp, *, secure: bool) -> None:
        self._app = app
        self._fixed = fixed_headers(secure=secure)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; log its answer when it has been sent."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        ids = read_ids(scope["headers"])
        bind_ids(ids)
        request_id = scope[REQUEST_ID] = ids["request_id"]
        answer = _Answer(send, ((b"x-request-id", request_id.encode()), *self._fixed))
        begin_request()
        try:
            await self._app(scope, receive, answer.send)
        except Exception:
            structlog.get_logger("circdesk").exception("request_failed")
            # Once an answer has begun, only a broken connection can tell that it is wrong.
            if answer.status:
                raise
            await refuse(scope, receive, answer.send, InternalError("Something broke."), None)
        finally:
            seconds = time.perf_counter() - started
            record(scope, ids, status=answer.status, size=answer.size, seconds=seconds)


class _Answer:
    """The sending side: adds what every answer has and remembers the status and the size."""

    def __init__(self, send: Send, headers: tuple[RawHeader, ...]) -> None:
        self._send = send
        self._headers = headers
        self.status = self.size = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            there = dict(message["headers"])
            missing = [header for header in _UNLESS_SET if header[0] not in there]
            message["headers"] = [*message["headers"], *self._headers, *missing]
        else:
            self.size += len(message.get("body", b""))
        await self._send(message)
