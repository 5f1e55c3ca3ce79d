"""Blocking questions, asked from the event loop with a deadline."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Generic, TypeVar

Answer = TypeVar("Answer")


class Question(Generic[Answer]):
    """A question that may take long, asked in a thread of its own.

    It is asked once at a time, however many want to know, so that what hangs is not hung upon by
    ever more threads; and nobody waits for longer than the deadline.

    Args:
        ask: What blocks, and answers.
        seconds: How long to wait for the answer.
    """

    def __init__(self, ask: Callable[[], Answer], *, seconds: float) -> None:
        self._ask, self._seconds = ask, seconds
        self._running: asyncio.Future[Answer] | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="question")

    async def __call__(self) -> Answer:
        """The answer. Raises TimeoutError where it is late, and whatever asking raises."""
        async with asyncio.timeout(self._seconds):
            if self._running is not None and not self._running.done():
                # Somebody else has asked. The answer will do; an error may be about what is over.
                with suppress(Exception):
                    return await asyncio.shield(self._running)
            if self._running is None or self._running.done():
                self._running = self._begin()
            return await asyncio.shield(self._running)

    def _begin(self) -> "asyncio.Future[Answer]":
        running = asyncio.get_running_loop().run_in_executor(self._pool, self._ask)
        # The error of one that nobody waited for to the end is nobody's concern.
        running.add_done_callback(_retrieve)
        return running

    def close(self) -> None:
        """Free the thread; one that hangs is not waited for."""
        if self._running is not None:
            self._running.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)


def _retrieve(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled():
        future.exception()
