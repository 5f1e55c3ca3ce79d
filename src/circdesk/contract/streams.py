"""Request bodies that are read as they arrive, and only so far."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.types import Message

from circdesk.contract.requests import ContentTooLarge, RequestTimeout


class BodyStream(io.RawIOBase):
    """A request body that is read as it arrives, from the worker thread."""

    def __init__(self, receive: Callable[[], Message]) -> None:
        self._receive = receive
        self._buffer = memoryview(b"")
        self._more = True

    def readable(self) -> bool:
        """It can be read, once."""
        return True

    def readinto(self, target: Any) -> int:
        """Fill `target` with what has arrived; 0 at the end of the body.

        Raises:
            RequestTimeout: The peer sends nothing for too long, or is gone.
        """
        while not self._buffer and self._more:
            message = self._receive()
            if message["type"] == "http.disconnect":
                raise RequestTimeout("The connection closed before the body was complete.")
            # A view is cut without a copy, however small the pieces are that are asked for.
            self._buffer = memoryview(message.get("body", b""))
            self._more = message.get("more_body", False)
        count = min(len(target), len(self._buffer))
        target[:count] = self._buffer[:count]
        self._buffer = self._buffer[count:]
        return count


class Digest(Protocol):
    """What sees a body pass, such as a hash."""

    def update(self, some: Any, /) -> None:
        """See the next bytes."""


class LimitedReader(io.RawIOBase):
    """A stream that refuses to give more than `limit` bytes, whatever its length was said to be."""

    def __init__(self, stream: io.RawIOBase, limit: int) -> None:
        self._stream, self._left, self._limit = stream, limit, limit
        self._digest: Digest | None = None

    def watch(self, digest: Digest) -> None:
        """Let this see every byte that is read from now on."""
        self._digest = digest

    def readable(self) -> bool:
        """It can be read, once."""
        return True

    def readinto(self, target: Any) -> int:
        """As the stream's own. Raises ContentTooLarge beyond the limit."""
        count = self._stream.readinto(target) or 0
        self._left -= count
        if self._left < 0:
            raise too_large(self._limit)
        if self._digest is not None:
            self._digest.update(memoryview(target)[:count])
        return count


@dataclass(frozen=True, slots=True)
class Upload:
    """A body that is streamed: its media type and its bytes, to be read once as they arrive."""

    media_type: str
    stream: LimitedReader


def too_large(limit: int) -> ContentTooLarge:
    """The problem for a body over `limit` bytes."""
    message = f"The body is longer than {limit} bytes."
    detail = {"in": "body", "pointer": "", "rule": "size", "message": message, "allowed": limit}
    return ContentTooLarge(message, details=[detail])
