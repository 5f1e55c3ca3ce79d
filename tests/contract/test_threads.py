import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from circdesk.contract.threads import Threads

# No test waits so long unless it fails.
SECONDS = 10


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads(2, "test")
    yield threads
    threads.close()


def test_who_is_idle_gets_the_next_piece(threads: Threads) -> None:
    names = list[str]()
    for number in range(3):
        threads.run(lambda: names.append(threading.current_thread().name))
        deadline = time.monotonic() + SECONDS
        while not (len(names) > number and threads._idle) and time.monotonic() < deadline:
            time.sleep(0.001)
    assert names == ["test_0"] * 3


def test_there_are_no_more_than_there_may_be(threads: Threads) -> None:
    together, go, ran = threading.Barrier(3), threading.Event(), list[str]()

    def work() -> None:
        ran.append(threading.current_thread().name)
        together.wait(SECONDS)
        assert go.wait(SECONDS)

    for _ in range(2):
        threads.run(work)
    together.wait(SECONDS)
    threads.run(lambda: ran.append("third"))
    assert {*ran} == {"test_0", "test_1"}
    go.set()
    threads.close()
    assert ran[2:] == ["third"]


def test_closing_waits_for_the_end_of_all_work(threads: Threads) -> None:
    before, ran = threading.active_count(), list[int]()
    for number in range(100):
        threads.run(partial(ran.append, number))
    threads.close()
    assert sorted(ran) == [*range(100)]
    assert threading.active_count() == before
