"""Doing together what many threads ask for."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic, sleep

import pytest

from circdesk.db.together import Together


class Deed:
    """A deed that takes as long as the test wants, and remembers what it was done for."""

    def __init__(self) -> None:
        self.done: list[list[int]] = []
        self.began = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)

    def __call__(self, items: Sequence[int]) -> None:
        self.done.append(list(items))
        self.began.release()
        assert self.may_end.acquire(timeout=10)
        if 0 in items:
            raise ZeroDivisionError


def wait_until_waiting(together: Together[int], count: int) -> None:
    """Wait until so many threads wait for a deed to end."""
    deadline = monotonic() + 10
    while len(together._waiting) < count:
        assert monotonic() < deadline
        sleep(0.001)


def begin_and_follow(together: Together[int], deed: Deed, *items: int) -> list[Future[None]]:
    """Ask for the first item, and for the others while it is being done; end both deeds."""
    with ThreadPoolExecutor(len(items)) as pool:
        futures = [pool.submit(together, items[:1])]
        assert deed.began.acquire(timeout=10)
        futures += [pool.submit(together, [item]) for item in items[1:]]
        wait_until_waiting(together, len(items) - 1)
        deed.may_end.release(2)
    return futures


def test_who_comes_alone_is_served_alone() -> None:
    deed = Deed()
    deed.may_end.release(2)
    together = Together(deed)

    together([1])
    together([2, 3])

    assert deed.done == [[1], [2, 3]]


def test_who_comes_while_it_is_being_done_shares_the_next_one() -> None:
    deed = Deed()

    futures = begin_and_follow(Together(deed), deed, 1, 2, 3, 4)

    assert [future.exception() for future in futures] == [None] * 4
    first, second = deed.done
    assert (first, sorted(second)) == ([1], [2, 3, 4])


def test_what_fails_fails_for_all_who_shared_it_and_for_nobody_else() -> None:
    deed = Deed()

    first, *others = begin_and_follow(Together(deed), deed, 1, 0, 2)

    assert first.exception() is None
    assert {type(future.exception()) for future in others} == {ZeroDivisionError}


def test_it_goes_on_after_a_failure() -> None:
    deed = Deed()
    deed.may_end.release(2)
    together = Together(deed)
    with pytest.raises(ZeroDivisionError):
        together([0])

    together([1])

    assert deed.done == [[0], [1]]


def test_it_is_done_as_often_at_once_as_it_may_be() -> None:
    deed = Deed()
    together = Together(deed, at_once=2)

    with ThreadPoolExecutor(4) as pool:
        for item in (1, 2):
            pool.submit(together, [item])
            assert deed.began.acquire(timeout=10)
        for item in (3, 4):
            pool.submit(together, [item])
        wait_until_waiting(together, 2)
        deed.may_end.release(3)

    *first, last = deed.done
    assert (first, sorted(last)) == ([[1], [2]], [3, 4])
