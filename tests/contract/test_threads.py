import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from random import Random

import pytest

from circdesk.contract.threads import Threads

# No test waits so long unless it fails.
SECONDS = 10
# As many as run at once while nothing waits for long.
FEW = 4


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads(8, "test")
    yield threads
    threads.close()


def never(_seconds: float, _callback: Callable[[], None]) -> None:
    raise AssertionError("this work need not wait")


def _is_longer(entries: Sequence[object], than: int) -> bool:
    return len(entries) > than


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class Held:
    """Pieces of work that go on when they may."""

    def __init__(self) -> None:
        self.names = list[str]()
        self._go: dict[str, threading.Event] = {}

    def work(self) -> None:
        name = threading.current_thread().name
        go = self._go[name] = threading.Event()
        self.names.append(name)
        assert go.wait(SECONDS)

    def until(self, count: int) -> None:
        until(lambda: len(self.names) == count)

    def let_go(self, name: str) -> None:
        self._go[name].set()

    def let_all_go(self) -> None:
        for name in self.names:
            self.let_go(name)


def test_who_was_idle_last_gets_the_next_piece(threads: Threads) -> None:
    held = Held()
    for number in range(3):
        threads.run(held.work, never)
        held.until(number + 1)
    assert held.names == ["test_0", "test_1", "test_2"]
    for name in ("test_2", "test_0", "test_1"):
        idle = len(threads._idle)
        held.let_go(name)
        until(partial(_is_longer, threads._idle, idle))
    for number in (4, 5):
        threads.run(held.work, never)
        held.until(number)
    assert held.names[3:] == ["test_1", "test_0"]
    held.let_all_go()


def test_more_than_a_few_run_where_work_waits(threads: Threads) -> None:
    held, called = Held(), list[tuple[float, Callable[[], None]]]()

    def later(seconds: float, callback: Callable[[], None]) -> None:
        called.append((seconds, callback))

    for number in range(FEW):
        threads.run(held.work, never)
        held.until(number + 1)
    for _ in range(2):
        threads.run(held.work, later)
    # One look for all that wait, and another one as long as there is something that does.
    for more in (1, 2):
        (seconds, look) = called.pop()
        assert seconds == 0.002
        assert not called
        look()
        held.until(FEW + more)
    called.pop()[1]()
    assert not called
    assert len(threads._threads) == FEW + 2
    held.let_all_go()


def test_there_are_no_more_than_there_may_be() -> None:
    threads, held = Threads(2, "test"), Held()
    for _ in range(3):
        threads.run(held.work, lambda _seconds, _callback: None)
    held.until(2)
    assert {*held.names} == {"test_0", "test_1"}
    held.let_go("test_1")
    held.until(3)
    assert held.names[2] == "test_1"
    held.let_all_go()
    threads.close()


def test_closing_waits_for_the_end_of_all_work(threads: Threads) -> None:
    before, ran = threading.active_count(), list[int]()
    for number in range(100):
        threads.run(partial(ran.append, number), lambda _seconds, _callback: None)
    threads.close()
    assert sorted(ran) == [*range(100)]
    assert threading.active_count() == before


def test_those_who_hang_hold_nobody_up(threads: Threads) -> None:
    held = Held()

    async def call() -> float:
        loop, ran = asyncio.get_running_loop(), asyncio.Event()
        for _ in range(FEW):
            threads.run(held.work, loop.call_later)
        held.until(FEW)
        began = time.monotonic()
        threads.run(lambda: loop.call_soon_threadsafe(ran.set), loop.call_later)
        await asyncio.wait_for(ran.wait(), SECONDS)
        return time.monotonic() - began

    assert asyncio.run(call()) >= 0.001
    held.let_all_go()


def test_those_who_wait_for_their_peer_are_not_counted(threads: Threads) -> None:
    held = Held()

    def wait() -> None:
        with threads.aside():
            held.work()

    for number in range(FEW):
        threads.run(wait, never)
        held.until(number + 1)
    threads.run(held.work, never)
    held.until(FEW + 1)
    held.let_all_go()


@pytest.mark.parametrize("seed", range(2))
def test_no_piece_is_forgotten(threads: Threads, seed: int) -> None:
    random, pieces = Random(seed), 5_000
    ran = list[int]()

    async def call() -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()

        def work(number: int, seconds: float) -> None:
            if seconds:
                time.sleep(seconds)
            ran.append(number)
            if len(ran) % 100 == 0 or len(ran) == pieces:
                loop.call_soon_threadsafe(over.set)

        for number in range(pieces):
            threads.run(partial(work, number, random.choice((0, 0, 0, 1e-5))), loop.call_later)
            if random.random() < 0.3:
                await asyncio.sleep(random.choice((0, 1e-4)))
        while len(ran) < pieces:
            over.clear()
            await asyncio.wait_for(over.wait(), SECONDS)

    asyncio.run(call())
    assert sorted(ran) == [*range(pieces)]
