"""The pool: who gives back last is the next to leave, and nobody waits for ever."""

import threading
import time
from typing import Any

import pytest
from sqlalchemy.util.queue import Empty

from circdesk.db.pool import Idle

# How the pool asks: whether it waits, and for how many seconds.
AT_ONCE = (False, 10.0)


def waiting(seconds: float) -> tuple[bool, float]:
    return True, seconds


def idle(*entries: Any) -> Idle:
    """What holds these, given back in this order."""
    entry_queue = Idle(5)
    for entry in entries:
        entry_queue.put(entry)
    return entry_queue


def test_the_last_that_came_back_leaves_first() -> None:
    entries: Any = idle("first", "second")

    assert entries.qsize() == 2
    assert [entries.get(*AT_ONCE), entries.get(*AT_ONCE)] == ["second", "first"]
    assert entries.qsize() == 0


def test_who_does_not_wait_hears_at_once_that_there_is_none() -> None:
    began = time.monotonic()
    with pytest.raises(Empty):
        idle().get(*AT_ONCE)

    assert time.monotonic() - began < 1


def test_who_waits_hears_in_time_that_none_came_back() -> None:
    began = time.monotonic()
    with pytest.raises(Empty):
        idle().get(*waiting(0.1))

    assert 0.1 <= time.monotonic() - began < 5


def test_who_waits_gets_what_comes_back() -> None:
    entries: Any = idle()
    later = threading.Timer(0.05, entries.put, ["it"])
    later.start()

    assert entries.get(*waiting(10)) == "it"
    later.join()


def test_of_many_who_want_it_one_has_it_at_a_time() -> None:
    entries = idle(*range(3))
    held, most, overlaps = set[Any](), 0, []

    def use() -> None:
        nonlocal most
        for _ in range(300):
            entry = entries.get(*waiting(20))
            if entry in held:
                overlaps.append(entry)
            held.add(entry)
            most = max(most, len(held))
            held.discard(entry)
            entries.put(entry)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert overlaps == []
    assert 1 <= most <= 3
    assert entries.qsize() == 3
