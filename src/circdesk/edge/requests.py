"""Around every request: its id, its line in the access log, what all answers say, the last resort.

It stands around everything, so that nothing is answered without a request id and no error,
wherever it comes from, leaves in a form of its own.
"""

import random
import re
import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from circdesk.contract.headers import RawHeader
from circdesk.contract.requests import InternalError
from circdesk.edge.access import record
from circdesk.edge.metrics import begin_request
from circdesk.edge.refusals import refuse
from circdesk.edge.security_headers import UNLESS_SET, fixed_headers
from circdesk.edge.tracecontext import read_trace_context

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
REQUEST_ID = "circdesk.request_id"

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
        # Most requests have neither an id nor a trace, which to know takes no walk.
        sent = dict(scope["headers"])
        request_id = _sent_id(scope) if b"x-request-id" in sent else None
        # It tells requests apart, and guards nothing: no system call is needed for it.
        request_id = scope[REQUEST_ID] = request_id or f"{random.getrandbits(128):032x}"
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        if b"traceparent" in sent and (trace := read_trace_context(scope["headers"])):
            structlog.contextvars.bind_contextvars(trace_id=trace.trace_id)
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
            record(scope, status=answer.status, size=answer.size, seconds=seconds)


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
            headers = [*message["headers"], *self._headers, *missing]
            message = {**message, "headers": headers}
        else:
            self.size += len(message.get("body", b""))
        await self._send(message)


def _sent_id(scope: Scope) -> str | None:
    """The caller's X-Request-Id where it is well-formed, so that a trace can cross services."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value.decode("latin-1")):
            return str(value.decode("latin-1"))
    return None
