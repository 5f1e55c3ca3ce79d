"""Where log lines go: a stream or a file that rotates; neither ever breaks who writes to it."""

import fcntl
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

# Seconds after which it is looked up again what others have done with the file. To do so for each
# line costs more than the line: a system call hands the interpreter's lock to another thread.
_LOOK_SECONDS = 1.0


class SteadyStream:
    """A stream on which writing never fails: a line that cannot be written is dropped.

    The disk behind it may be full, or the reader of the pipe may have gone.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text, if that is possible."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError):  # The latter comes from a stream that is closed.
            return 0

    def write_line(self, line: bytes) -> None:
        """Write a whole line at once, in UTF-8, if that is possible."""
        try:
            self._stream.buffer.write(line)
            self._stream.buffer.flush()
        except (OSError, ValueError):
            return

    def flush(self) -> None:
        """Send on what was written, if that is possible."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            return

    def isatty(self) -> bool:
        """Whether people read it as it is written."""
        return self._stream.isatty()


class RotatingFile:
    """A log file that is set aside when it is full; several processes may write to one.

    Each line is one appending write, which the kernel keeps whole. Whoever finds the file full
    renames it, while the others are kept from doing so by a lock; they notice within a second, and
    what they had written until then stands in the file that was set aside. What cannot be written,
    as when the disk is full, is dropped, and told on standard error once.

    Args:
        path: The file; `path.1` is the one before it, and so on.
        most_bytes: The size at which it is set aside.
        kept: How many older files are kept.

    Raises:
        OSError: It cannot be opened to begin with.
    """

    def __init__(self, path: Path, *, most_bytes: int, kept: int) -> None:
        self._path, self._most_bytes, self._kept = path, most_bytes, kept
        self._lock = threading.Lock()
        self._failing = self._torn = False
        self._descriptor = self._open()
        # Bytes in the file, as far as this process knows, until it looks again.
        self._size, self._next_look = 0, 0.0

    def write(self, text: str) -> int:
        """Append a text of whole lines."""
        self.write_line(text.encode("utf-8", "backslashreplace"))
        return len(text)

    def write_line(self, line: bytes) -> None:
        """Append a line, or several, in UTF-8."""
        with self._lock:
            try:
                now = time.monotonic()
                if now >= self._next_look or self._failing or self._size >= self._most_bytes:
                    self._follow(now)
                # The rest of one that the disk had no room for must not run into this one.
                written = os.write(self._descriptor, b"\n" + line if self._torn else line)
                self._torn = written < len(line)
                self._size += written
            except OSError as error:
                self._tell(error)
            else:
                self._failing = False

    def flush(self) -> None:
        """Nothing waits to be written."""

    def isatty(self) -> bool:
        """Nobody reads it as it is written."""
        return False

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _follow(self, now: float) -> None:
        """Go on in the present file, and in a new one where that is full."""
        if now >= self._next_look or self._failing:
            self._next_look = now + _LOOK_SECONDS
            if not self._is_present():
                self._reopen()
            self._size = os.fstat(self._descriptor).st_size
        if self._size < self._most_bytes:
            return
        with self._alone():
            if self._is_present():
                self._set_aside()
        self._reopen()

    def _is_present(self) -> bool:
        """Whether the open file still is the one at the path."""
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._descriptor))

    def _reopen(self) -> None:
        before, self._descriptor = self._descriptor, self._open()
        os.close(before)
        self._size = os.fstat(self._descriptor).st_size

    def _set_aside(self) -> None:
        older = [self._path.with_name(f"{self._path.name}.{n}") for n in range(1, self._kept + 1)]
        for newer, place in reversed([*zip([self._path, *older], older, strict=False)]):
            if newer.exists():
                newer.replace(place)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from setting the file aside; renaming takes no time to speak of."""
        directory = os.open(self._path.parent, os.O_RDONLY)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            yield
        finally:
            os.close(directory)

    def _tell(self, error: OSError) -> None:
        if not self._failing:
            line = f"circdesk: cannot write {self._path}: {error.strerror}\n"
            SteadyStream(sys.stderr).write(line)
        self._failing = True
