"""What is made at the start, and the garbage collector."""

import gc

import pytest

from circdesk.commands.lasting import lasting


def test_what_is_made_there_is_looked_through_neither_then_nor_later() -> None:
    with lasting():
        assert not gc.isenabled()
        made = ["stays"]

    assert gc.isenabled()
    assert not any(found is made for found in gc.get_objects())


def test_the_collector_goes_on_after_a_fault() -> None:
    with pytest.raises(ZeroDivisionError), lasting():
        raise ZeroDivisionError

    assert gc.isenabled()
