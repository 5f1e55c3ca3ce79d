"""What is done with a part that may be gone, and passed by while it is: no error and no time."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import structlog

log = structlog.get_logger("circdesk")

Result = TypeVar("Result")

# While a part is gone one caller asks for it each second, and all others go on without it.
_PAUSE_SECONDS = 1.0


class Outage:
    """Knows whether a part is gone, and tells the log once when it goes and once when it is back.

    Args:
        part: The name of the part in the log.
        errors: What tells that it is gone.
    """

    def __init__(self, part: str, errors: tuple[type[Exception], ...]) -> None:
        self._part = part
        self._errors = errors
        self._lock = threading.Lock()
        self._since: float | None = None
        self._next_try = 0.0

    def attempt(self, deed: Callable[[], Result]) -> Result | None:
        """The result of the deed; None where the part is gone, or was a moment ago."""
        if not self._may_try():
            return None
        began = time.monotonic()
        try:
            result = deed()
        except self._errors as error:
            self.note(error)
            return None
        if self._since is not None:
            self._recover(began)
        return result

    def _may_try(self) -> bool:
        if self._since is None:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._next_try:
                return False
            self._next_try = now + _PAUSE_SECONDS
            return True

    def note(self, error: BaseException) -> None:
        """Know from an error, wherever it was met, that the part is gone."""
        with self._lock:
            now = time.monotonic()
            self._next_try = now + _PAUSE_SECONDS
            if self._since is not None:
                return
            self._since = now
        # Its message may hold the address with its password.
        log.warning("part_gone", part=self._part, error=type(error).__name__)

    def _recover(self, began: float) -> None:
        with self._lock:
            # What began before it went says nothing about whether it is back.
            if self._since is None or began < self._since:
                return
            seconds = round(time.monotonic() - self._since, 1)
            self._since = None
        log.info("part_back", part=self._part, seconds=seconds)
