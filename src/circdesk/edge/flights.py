"""Work that many ask for at the same time and that is done once, by the first of them."""

import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from circdesk.contract.problems import Problem

Result = TypeVar("Result")


class Flight(Generic[Result]):
    """One piece of work, under way.

    Attributes:
        result: What came of it; None where nothing did that is of use to others.
        problem: What those who lead and who wait are told, where it came to that.
    """

    def __init__(self) -> None:
        self._landed = threading.Event()
        self.result: Result | None = None
        self.problem: Problem | None = None

    def wait(self, seconds: float) -> Result | None:
        """What came of it, be it a problem, or None where it takes longer than that."""
        self._landed.wait(seconds)
        if self.problem is not None:
            raise self.problem
        return self.result

    def land(self) -> None:
        """Let those who wait go on."""
        self._landed.set()


class Flights(Generic[Result]):
    """The pieces of work that are under way in this process, by their keys."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[Hashable, Flight[Result]] = {}

    @contextmanager
    def lead(self, key: Hashable) -> Iterator[tuple[Flight[Result], bool]]:
        """The flight with this key, and whether the caller leads it.

        Who leads does the work in the block and sets `result`; whatever becomes of it, the flight
        lands at the end of the block.
        """
        with self._lock:
            leads = key not in self._flights
            flight = self._flights.setdefault(key, Flight())
        try:
            yield flight, leads
        except Problem as problem:
            # A database that is out of reach is not asked by all who wait, one after the other.
            if leads:
                flight.problem = problem
            raise
        finally:
            if leads:
                with self._lock:
                    del self._flights[key]
                flight.land()
