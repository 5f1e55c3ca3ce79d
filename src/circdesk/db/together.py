"""Doing together what many threads ask for at the same time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Condition
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(slots=True, eq=False)
class _Turn(Generic[Item]):
    """What one thread asks for, and what became of it."""

    items: Sequence[Item]
    is_over: bool = False
    error: Exception | None = None


class Together(Generic[Item]):
    """Does a deed for the items of all threads that wait for it.

    Who comes while it is being done as often as it may waits for an end; then one of those who
    wait does it for all of them. Who comes alone does it at once, and in its own thread.

    Args:
        deed: It has a deadline of its own; what it raises is raised to all whose items it had.
        at_once: How often it may be under way at the same time.
    """

    def __init__(self, deed: Callable[[Sequence[Item]], None], *, at_once: int = 1) -> None:
        self._deed = deed
        self._changed = Condition()
        self._waiting: list[_Turn[Item]] = []
        self._free = at_once

    def __call__(self, items: Sequence[Item]) -> None:
        """Return when the deed is done for these items, or raise what it raised."""
        turn = _Turn(items)
        with self._changed:
            self._waiting.append(turn)
            # Where another thread has taken the turn already, its end is all there is to wait for.
            self._changed.wait_for(
                lambda: turn.is_over or (self._free > 0 and turn in self._waiting)
            )
            turns = [] if turn.is_over else self._begin()
        if turns:
            self._end(turns, self._try([item for each in turns for item in each.items]))
        if turn.error is not None:
            raise turn.error

    def _begin(self) -> list[_Turn[Item]]:
        self._free -= 1
        turns, self._waiting = self._waiting, []
        return turns

    def _try(self, items: Sequence[Item]) -> Exception | None:
        try:
            self._deed(items)
        except Exception as error:  # noqa: BLE001 - It is raised to everybody whom it concerns.
            return error
        return None

    def _end(self, turns: Sequence[_Turn[Item]], error: Exception | None) -> None:
        with self._changed:
            for turn in turns:
                turn.is_over, turn.error = True, error
            self._free += 1
            self._changed.notify_all()
