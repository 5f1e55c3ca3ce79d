import threading
from collections.abc import Iterator

import pytest

from circdesk.contract.threads import Threads

# No test waits so long unless it fails.
SECONDS = 10


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads(2, "test")
    yield threads
    threads.close()


def test_there_are_as_many_threads_as_there_was_work_at_once(threads: Threads) -> None:
    names, ended = set[str](), threading.Semaphore(0)

    def work() -> None:
        names.add(threading.current_thread().name)
        ended.release()

    for _ in range(3):
        threads.run(work, at_once=1)
        assert ended.acquire(timeout=SECONDS)
    assert names == {"test_0"}


def test_there_are_no_more_than_there_may_be(threads: Threads) -> None:
    together, go, ran = threading.Barrier(3), threading.Event(), list[str]()

    def work() -> None:
        ran.append(threading.current_thread().name)
        together.wait(SECONDS)
        assert go.wait(SECONDS)

    for at_once in (1, 2):
        threads.run(work, at_once=at_once)
    together.wait(SECONDS)
    threads.run(lambda: ran.append("third"), at_once=3)
    assert {*ran} == {"test_0", "test_1"}
    go.set()
    threads.close()
    assert ran[2:] == ["third"]


def test_closing_waits_for_the_end_of_all_work(threads: Threads) -> None:
    before, ran = threading.active_count(), list[int]()
    for number in range(100):
        threads.run(lambda number=number: ran.append(number), at_once=2)  # type: ignore[misc]
    threads.close()
    assert sorted(ran) == [*range(100)]
    assert threading.active_count() == before
