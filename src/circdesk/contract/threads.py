"""Threads that run what they are given, each piece in the first that is free."""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

Work = Callable[[], object]


class Threads:
    """So many threads at most, each begun when there is work and none is idle.

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
        # An entry for each thread that waits for work; lists are changed by one thread at a time.
        self._idle: list[None] = []

    def run(self, work: Work) -> None:
        """Run the work, which must not raise; always called by the same thread."""
        self._work.put(work)
        if self._idle:
            self._idle.pop()
        elif len(self._threads) < self._most:
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
        while True:
            if self._work.empty():
                self._idle.append(None)
            work = self._work.get()
            if work is None:
                return
            work()
            # Nothing of it stays alive until the next piece comes.
            del work
