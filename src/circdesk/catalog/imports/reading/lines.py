"""Lines of a stream, none of them longer than memory allows."""

from collections.abc import Iterator
from typing import BinaryIO

LONGEST_LINE = 1 << 20


def lines(stream: BinaryIO) -> Iterator[bytes | None]:
    """Yield each line with its line end; None for one that is longer than `LONGEST_LINE`."""
    while line := stream.readline(LONGEST_LINE + 1):
        if len(line) <= LONGEST_LINE:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(LONGEST_LINE)
        yield None
