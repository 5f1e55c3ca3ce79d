"""Files as they lie there: watched while they are read, and unpacked if they are packed."""

import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from gzip import BadGzipFile, GzipFile
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any, BinaryIO, cast

# What reading a packed file raises where it is damaged or cut off.
DAMAGE = (EOFError, BadGzipFile, zlib.error)

_BLOCK = 1 << 18
_GZIP = b"\x1f\x8b"


@contextmanager
def open_source(path: Path, on_read: Callable[[int], None] = lambda _: None) -> Iterator[BinaryIO]:
    """Open a file, unpacked if it is packed with gzip.

    Each time that a block is read, `on_read` is told how far into the file it is. A reader may
    be silent for long, over lines that are no records; the file never is.
    """
    with ExitStack() as stack:
        raw = stack.enter_context(_WatchedFile(path, on_read))
        stream = stack.enter_context(BufferedReader(raw, _BLOCK))
        packed = stream.peek(len(_GZIP))[: len(_GZIP)] == _GZIP
        unpacked = stack.enter_context(_PackedFile(fileobj=stream)) if packed else stream
        yield cast("BinaryIO", unpacked)


class _WatchedFile(FileIO):
    def __init__(self, path: Path, on_read: Callable[[int], None]) -> None:
        super().__init__(path, "rb")
        self._on_read = on_read

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer) or 0
        self._on_read(self.tell())
        return count


class _PackedFile(GzipFile):
    """A packed file, read to the last byte before it breaks off.

    `GzipFile.read` throws away what it has unpacked when it meets the break. This one hands that
    out first, and raises the error when it is asked for more. `readline` is left as it is: it
    loses only the line that the break is in, of which nobody knows how it would go on.
    """

    _damage: Exception | None = None

    def read(self, size: int | None = -1) -> bytes:
        """Return so many bytes, or what there is before the end or the break."""
        wanted = -1 if size is None else size
        blocks: list[bytes] = []
        try:
            while wanted and (block := self._read_some(wanted)):
                blocks.append(block)
                wanted -= len(block) if wanted > 0 else 0
        except DAMAGE as damage:
            # Whoever reads on behind a break might find something that looks like a good end.
            self._damage = damage
            if not blocks:
                raise
        return b"".join(blocks)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, perhaps one before the break."""
        self._damage = None
        return super().seek(offset, whence)

    def _read_some(self, most: int) -> bytes:
        if self._damage:
            raise self._damage
        return self.read1(most)
