"""Around every request: its id, its line in the access log, the last resort.

It stands around everything, so that nothing is answered without a request id and no error,
wherever it comes from, leaves in a form of its own.
"""

import random
import re
import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from circdesk.contract.requests import InternalError
from circdesk.edge.access import record
from circdesk.edge.metrics import begin_request
from circdesk.edge.refusals import refuse
from circdesk.edge.tracecontext import read_trace_context

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
REQUEST_ID = "circdesk.request_id"


class EveryRequest:
    """ASGI middleware that gives each request its id, and tells it with each answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; log its answer when it has been sent."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = scope[REQUEST_ID] = _request_id(scope)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        if trace := read_trace_context(scope["headers"]):
            structlog.contextvars.bind_contextvars(trace_id=trace.trace_id)
        answer = _Answer(send, request_id)
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
    """The sending side: adds the request's id and remembers the status and the size."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._header = (b"x-request-id", request_id.encode())
        self.status = self.size = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message["headers"], self._header]
            # Without a word about it, a cache may keep what it takes to be good (RFC 9111, 4.2.2).
            if b"cache-control" not in {name for name, _ in headers}:
                headers.append((b"cache-control", b"no-store"))
            message = {**message, "headers": headers}
        else:
            self.size += len(message.get("body", b""))
        await self._send(message)


def _request_id(scope: Scope) -> str:
    """The caller's X-Request-Id where it is well-formed, so that a trace can cross services."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value.decode("latin-1")):
            return str(value.decode("latin-1"))
    # It tells requests apart, and guards nothing: no system call is needed for it.
    return f"{random.getrandbits(128):032x}"
