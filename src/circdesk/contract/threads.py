"""Threads that run what they are given: a few of them at once, and more where that takes too long.

Python runs in one thread at a time, and a few are enough to keep it busy while others wait for the
database. Where many have something to do at once, after each pause of the machine, they pass the
interpreter on among them before any of them is through: everybody waits for everybody.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, Thread

Work = Callable[[], object]
# Has something called so many seconds later, as `AbstractEventLoop.call_later` does.
Later = Callable[[float, Callable[[], None]], object]

# How many run at once unless work has waited for so many seconds, because they do.
_FEW = 4
_SOON = 0.002


class Threads:
    """So many threads at most, each begun when there is work and none is idle.

    Who gives them work hears of its end from the work itself. What `concurrent.futures` adds, locks
    and conditions by which any thread can wait for any piece, takes as long as all the rest. Of
    those that are idle the last one goes on first: what it needs is still at hand.

    Args:
        most: How many threads.
        name: What their names begin with.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most, self._name = most, name
        self._work: deque[Work | None] = deque()
        self._threads: list[Thread] = []
        # What each idle thread waits for.
        self._idle: list[Lock] = []
        # An entry for each that waits for its peer; lists are changed by one thread at a time.
        self._aside: list[None] = []
        # Whether one was woken that does not run yet, and whether `_look` is about to be called.
        self._wakes = self._looks = False

    def run(self, work: Work, later: Later) -> None:
        """Run the work, which must not raise; always called by the same thread.

        Args:
            work: What is run.
            later: Has something called by that thread.
        """
        self._work.append(work)
        taken = 0
        if self._are_few():
            self._wake_or_begin()
            taken = 1
        # Of several pieces that came at once, one is surely taken; the others may have to wait.
        if len(self._work) > taken and not self._looks:
            self._looks = True
            later(_SOON, lambda: self._look(later))

    @contextmanager
    def aside(self) -> Iterator[None]:
        """For work that waits for its peer meanwhile, which may be slow: it holds up nobody."""
        self._aside.append(None)
        try:
            yield
        finally:
            self._aside.pop()

    def close(self) -> None:
        """Wait for the end of all work, and end the threads."""
        self._work.extend([None] * len(self._threads))
        self._wake()
        for thread in self._threads:
            thread.join()

    def _look(self, later: Later) -> None:
        """One thread more if there is work that waits, and again as long as there is."""
        self._looks = bool(self._work)
        if self._looks:
            self._wake_or_begin()
            later(_SOON, lambda: self._look(later))

    def _are_few(self) -> bool:
        return len(self._threads) - len(self._idle) - len(self._aside) < _FEW

    def _wake_or_begin(self) -> None:
        if self._idle:
            self._wake()
        elif len(self._threads) < self._most:
            name = f"{self._name}_{len(self._threads)}"
            # Whoever leaves without closing them is not held up by what still runs.
            self._threads.append(Thread(target=self._run, name=name, daemon=True))
            self._threads[-1].start()

    def _wake(self) -> None:
        """Wake one, unless one was: it wakes the next when it runs, if there is work for both."""
        if self._wakes:
            return
        try:
            woken = self._idle.pop()
        except IndexError:
            # Another thread was faster.
            return
        self._wakes = True
        woken.release()

    def _run(self) -> None:
        woken = Lock()
        woken.acquire()
        while True:
            try:
                work = self._work.popleft()
            except IndexError:
                self._idle.append(woken)
                # What was added between these lines has found one idle thread too few.
                if self._work:
                    self._wake()
                woken.acquire()
                self._wakes = False
                continue
            if work is None:
                # One after the other ends, whoever is idle.
                self._wake()
                return
            if self._work and self._are_few():
                self._wake()
            work()
            # Nothing of it stays alive until the next piece comes.
            del work
