"""Threads that run what they are given, each piece in the first that is free."""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

Work = Callable[[], object]


class Threads:
    """So many threads at most, each begun when there is work for one more.

    Who gives them work hears of its end from the work itself. What `concurrent.futures` adds, locks
    and conditions by which any thread can wait for any piece, takes as long as all the rest.

    Args:
        most: How many threads.
        name: What their names begin with.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most, self._name = most, name
        self._work: SimpleQueue[Work | None] = SimpleQueue()
        self._threads: list[Thread] = []

    def run(self, work: Work, at_once: int) -> None:
        """Run the work, which must not raise; always called by the same thread.

        Args:
            work: What is run.
            at_once: How many pieces of work run or wait now, with this one.
        """
        self._work.put(work)
        if len(self._threads) < min(at_once, self._most):
            name = f"{self._name}_{len(self._threads)}"
            # Whoever leaves without closing them is not held up by what still runs.
            self._threads.append(Thread(target=self._run, name=name, daemon=True))
            self._threads[-1].start()

    def close(self) -> None:
        """Wait for the end of all work, and end the threads."""
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()
            # Nothing of it stays alive until the next piece comes.
            del work
