"""Connections of our server: uvicorn's, which have to keep to limits, and tell answers again.

uvicorn waits for the head of a request without an end, in time or in length, and takes any number
of connections. What it refuses itself it answers in plain text.
"""

from asyncio import TimerHandle
from typing import Any
from uuid import uuid4

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from circdesk.contract.answers import problem_answer
from circdesk.contract.headers import header_lines
from circdesk.contract.problems import Problem
from circdesk.edge.again import Again, Repeat
from circdesk.edge.ceilings import TOO_MANY_CONNECTIONS, HeadersTooLarge
from circdesk.late import later

# It neither watches files nor starts processes.
with later("uvicorn.supervisors"):
    from uvicorn.protocols.http.httptools_impl import (
        STATUS_LINE,
        HttpToolsProtocol,
        RequestResponseCycle,
    )

log = structlog.get_logger("circdesk")

# Seconds that the head of a request may take, and its bytes. The application refuses one that is
# half as long, in due form.
_HEAD_SECONDS = 10
_LONGEST_HEAD = 64 * 1024
# So many more connections than are served are told so; beyond that they are hung up.
_TOLD = 100
# So many answers are told again before others have their turn.
_MOST_AT_ONCE = 100
# Seconds in which a peer must have taken something of an answer that waits for it.
_WRITE_SECONDS = 30


class MalformedRequest(Problem):
    """What arrived is not HTTP as RFC 9112 has it."""

    code = "malformed_request"
    status = 400
    title = "The request is not valid HTTP."
    advice = "Send it by a library that knows HTTP/1.1; nothing else on the connection is read."


class Protocol(HttpToolsProtocol):
    """One connection, with deadlines, and a limit on each head.

    Attributes:
        most_connections: As many are served at once.
        again: What finds answers that were told before; None where there is none.
    """

    most_connections = 1000
    again: Again | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._deadline: TimerHandle | None = None
        self._write_deadline: TimerHandle | None = None
        self._in_body = False
        self._head_bytes = self._told_at_once = 0
        # The request that is being answered; uvicorn's `cycle` is the latest, which may wait.
        self._answering: RequestResponseCycle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a head, unless there are far too many connections."""
        super().connection_made(transport)
        if len(self.connections) > self.most_connections + _TOLD:
            transport.abort()
            return
        if len(self.connections) > self.most_connections:
            self.app: Any = _too_many(self.app)
            self.again = None
        self._deadline = self.loop.call_later(_HEAD_SECONDS, self._give_up)

    def data_received(self, data: bytes) -> None:
        """Take what has arrived: a head, or what is left of a body that nobody wanted to read."""
        if not self._in_body:
            self._head_bytes += len(data)
        self._told_at_once = 0
        super().data_received(data)
        # Most heads come whole, and need no clock.
        is_incomplete = self._in_body or self._head_bytes > 0
        if self._deadline is None and is_incomplete and self._is_idle():
            self._deadline = self.loop.call_later(_HEAD_SECONDS, self._give_up)
        if self._head_bytes > _LONGEST_HEAD and not self.transport.is_closing():
            self._refuse(HeadersTooLarge(f"The head has more than {_LONGEST_HEAD} bytes."))

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._stop(self._deadline)
        self._deadline, self._in_body, self._head_bytes = None, True, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is there, and the next one may begin."""
        self._in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is on its way, and the peer has to take it."""
        super().on_response_complete()
        self._await_reader()

    def pause_writing(self) -> None:
        """The peer takes an answer more slowly than it is made."""
        super().pause_writing()
        self._await_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more, and let the request that is being answered know."""
        self._stop(self._deadline, self._write_deadline)
        super().connection_lost(exc)
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP."""
        self._refuse(MalformedRequest(msg))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self.transport.is_closing():
            # The answer before it was told at once, as the last one: what was sent behind is not
            # heard (RFC 9112, 9.6).
            return
        self._answering = cycle
        repeat = self._find(cycle)
        if repeat is None:
            super()._start_asgi_task(cycle, app)
        else:
            self._tell(repeat, cycle)

    def _find(self, cycle: RequestResponseCycle) -> Repeat | None:
        """The answer that can be told at once.

        Where requests wait in line each has a task, so that the end of one never begins the next
        within itself.
        """
        is_in_turn = not self.pipeline and self._told_at_once < _MOST_AT_ONCE
        if self.again is None or not is_in_turn or self.flow.write_paused:
            return None
        return self.again.find(cycle.scope)  # type: ignore[arg-type]  # A scope is typed otherwise there.

    def _tell(self, repeat: Repeat, cycle: RequestResponseCycle) -> None:
        """Send an answer in one piece, and leave all as `RequestResponseCycle.send` would."""
        self._told_at_once += 1
        head = STATUS_LINE[repeat.status] + header_lines(cycle.default_headers) + repeat.lines
        end = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
        cycle.response_started = cycle.response_complete = True
        self.transport.write(head + end + repeat.body)
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()
        repeat.end()

    def _unsupported_upgrade_warning(self) -> None:
        """Ignore it, as a server may (RFC 9110, 7.8); there is nothing to warn of."""

    def _is_idle(self) -> bool:
        return self._answering is None or self._answering.response_complete

    def _stop(self, *timers: TimerHandle | None) -> None:
        for timer in timers:
            if timer is not None:
                timer.cancel()

    def _give_up(self) -> None:
        self._deadline = None
        self.transport.close()

    def _await_reader(self) -> None:
        waiting = self.transport.get_write_buffer_size()
        if waiting and self._write_deadline is None:
            self._write_deadline = self.loop.call_later(_WRITE_SECONDS, self._check_reader, waiting)

    def _check_reader(self, before: int) -> None:
        """Hang up on a peer that has taken nothing; to close would be to wait for it.

        While an answer is being made, more of it comes, and its maker has a deadline of its own.
        """
        self._write_deadline = None
        is_over = self.transport.is_closing() or self._is_idle()
        if is_over and self.transport.get_write_buffer_size() >= before:
            self.transport.abort()
        else:
            self._await_reader()

    def _refuse(self, problem: Problem) -> None:
        """Answer without the application; never in the midst of an answer, nor before its turn."""
        answering = self._answering
        if answering is None or answering.response_complete:
            self._write(problem)
        elif answering is self.cycle and answering.more_body:
            # The rest of its body will never come.
            if not answering.response_started:
                self._write(problem)
            self.transport.close()
        else:
            # The request before it is whole, and its answer is the last one.
            answering.keep_alive = False
            self.pipeline.clear()
            self.flow.pause_reading()

    def _write(self, problem: Problem) -> None:
        request_id = uuid4().hex
        log.info("head_refused", code=problem.code, request_id=request_id)
        answer = problem_answer(None, problem, instance="/", request_id=request_id)
        body = answer.body if isinstance(answer.body, bytes) else b""
        fields = {
            "content-type": answer.media_type,
            "content-length": len(body),
            "connection": "close",
            "x-request-id": request_id,
            "x-content-type-options": "nosniff",
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.transport.write(STATUS_LINE[answer.status] + head.encode() + b"\r\n" + body)
        self.transport.close()


def _too_many(app: ASGIApp) -> ASGIApp:
    async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, TOO_MANY_CONNECTIONS: True}, receive, send)

    return refusing
