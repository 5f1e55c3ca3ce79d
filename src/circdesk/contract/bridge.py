"""From ASGI to Flask in one hop: the request runs whole in one worker thread.

A buffered answer comes back in one piece. Bodies that stream, in or out, cross to the event
loop piece by piece, each crossing with a deadline, so that a stalled peer frees its thread.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from functools import partial
from itertools import chain
from threading import Lock
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from circdesk.contract.answers import Answer, raw_header_fields
from circdesk.contract.environ import Environ, make_environ
from circdesk.contract.requests import Overloaded, RequestTimeout
from circdesk.contract.streams import BodyStream
from circdesk.contract.threads import Threads

Respond = Callable[[Environ], Answer]

# Under this key the scope carries a body that was read whole; without it the body streams.
BODY = "circdesk.body"


class StreamBroken(Exception):
    """A body broke after its answer had begun; only a broken connection can tell the peer."""


class Bridge:
    """An ASGI application that has its requests answered in a bounded pool of threads.

    Args:
        respond: Answers a request, by its WSGI environment (PEP 3333).
        threads: Requests that run at once.
        most: Requests that run or wait at once; more are turned away.
        timeout: Seconds that a piece of a streamed body may take.
        patience: Seconds that a request may wait for a thread; without an end, all that wait for
            requests that run into their own deadlines would add up to minutes.
    """

    def __init__(
        self,
        respond: Respond,
        *,
        threads: int,
        most: int,
        timeout: float,
        patience: float,
    ) -> None:
        self._respond = respond
        self._timeout = timeout
        self._patience = patience
        self._threads = Threads(threads, "circdesk")
        self._crossings: set[_Crossing] = set()
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request.

        Raises:
            Overloaded: Too many requests wait already, or this one has for too long; nothing was
                sent.
            StreamBroken: The body broke after its answer had begun.
            TimeoutError: The peer does not take a streamed answer.
        """
        if len(self._crossings) >= self._most:
            raise _overloaded()
        loop = asyncio.get_running_loop()
        crossing = _Crossing(scope, receive, send, self._timeout, loop, self._threads.aside)
        self._crossings.add(crossing)
        self._threads.run(partial(crossing.run, self._respond), loop.call_later)
        too_late = loop.call_later(self._patience, crossing.turn_away)
        try:
            await crossing.ended
        except asyncio.CancelledError:
            crossing.turn_away()
            crossing.abandon()
            raise
        finally:
            too_late.cancel()
            self._crossings.discard(crossing)
        await crossing.finish()

    def close(self) -> None:
        """Let running requests end, but for those that wait for their peer; free the threads."""
        for crossing in self._crossings:
            crossing.abandon()
        self._threads.close()


def _overloaded() -> Overloaded:
    return Overloaded("Too many requests are waiting.", headers={"Retry-After": "1"})


class _Crossing:
    """One request's way to the thread and back.

    Attributes:
        ended: Done, on the event loop, when the thread is through with it; or why it never was.
    """

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        timeout: float,
        loop: asyncio.AbstractEventLoop,
        aside: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._receive, self._send, self._timeout, self._loop = receive, send, timeout, loop
        self._aside = aside
        body = scope.get(BODY)
        self._reads = body is None
        if body is None:
            body = BodyStream(lambda: self._wait(receive(), RequestTimeout))
        self._environ = make_environ(scope, body)
        self._context = contextvars.copy_context()
        self.ended: asyncio.Future[None] = loop.create_future()
        # Held by whoever was first: the thread that runs it, or who has given it up.
        self._turn = Lock()
        self._error: BaseException | None = None
        self._start: Message = {}
        self._body = b""
        self._streams = False
        self._waits_for: Future[Any] | None = None
        self._abandoned = False

    def run(self, respond: Respond) -> None:
        """In the worker thread: answer the request, unless it is too late for that."""
        if not self._turn.acquire(blocking=False):
            return
        try:
            self._context.run(self._answer, respond)
        except BaseException as error:  # noqa: BLE001  Whoever waits for it raises it.
            self._error = error
        try:
            self._loop.call_soon_threadsafe(self._end)
        except RuntimeError:
            # A loop that is closed has nobody who waits.
            return

    def turn_away(self) -> None:
        """On the event loop: refuse the request, unless it runs: then it has its own deadlines."""
        if self._turn.acquire(blocking=False) and not self.ended.done():
            self.ended.set_exception(_overloaded())

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def _answer(self, respond: Respond) -> None:
        answer = respond(self._environ)
        body = answer.body
        try:
            self._start = {
                "type": "http.response.start",
                "status": answer.status,
                "headers": raw_header_fields(answer),
            }
            # HEAD has the headers of GET and no body, 204 and 304 never have one (RFC 9110, 6.4.1).
            if self._environ["REQUEST_METHOD"] == "HEAD" or answer.status in (204, 304):
                return
            if isinstance(body, bytes):
                self._body = body
            else:
                self._stream(body)
        finally:
            if hasattr(body, "close"):
                body.close()

    async def finish(self) -> None:
        """On the event loop: send a buffered answer, or the end of a streamed one.

        What broke in the thread is raised.
        """
        if self._error is not None:
            raise self._error
        if not self._streams:
            await self._send(self._start)
        await self._send({"type": "http.response.body", "body": self._body})

    def abandon(self) -> None:
        """Free the thread from waiting for the peer, now and later."""
        self._abandoned = True
        if self._waits_for is not None:
            self._waits_for.cancel()

    def _stream(self, body: Iterable[bytes]) -> None:
        pieces = iter(body)
        # What fails before the first piece can still be answered as an error.
        pieces = chain([next(pieces, b"")], pieces)
        self._streams = True
        gone = self._submit(self._disconnect())
        try:
            self._wait(self._send(self._start))
            for piece in pieces:
                # The server takes what is sent after that and drops it.
                if gone.done():
                    return
                if piece:
                    message = {"type": "http.response.body", "body": piece, "more_body": True}
                    self._wait(self._send(message))
        except TimeoutError:
            raise
        except Exception as error:
            raise StreamBroken(str(self._environ["PATH_INFO"])) from error
        finally:
            gone.cancel()

    async def _disconnect(self) -> None:
        """Return when the client has gone; never where the application reads the body itself."""
        if self._reads:
            await self._loop.create_future()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def _submit(self, coroutine: Coroutine[Any, Any, Any]) -> "Future[Any]":
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def _wait(self, awaitable: Any, late: type[Exception] = TimeoutError) -> Any:
        """The result of a coroutine that the event loop runs, within the deadline."""
        future = self._waits_for = self._submit(awaitable)
        if self._abandoned:
            future.cancel()
        try:
            with self._aside():
                return future.result(self._timeout)
        except TimeoutError:
            future.cancel()
            raise late("The peer did not go on in time.") from None
