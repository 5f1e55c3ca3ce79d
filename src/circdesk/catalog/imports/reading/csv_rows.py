"""The rows of a CSV file (RFC 4180), none of which can swallow the rest of it."""

import csv
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO

from circdesk.catalog.imports.reading.lines import LONGEST_LINE, lines
from circdesk.catalog.imports.reading.records import UnreadableRecordError

LONGEST_ROW = LONGEST_LINE

_TOO_LONG = f"The row is longer than {LONGEST_ROW:,} bytes; is a quotation mark missing?"
_NOT_CLOSED = UnreadableRecordError(
    "csv_malformed", "The row is not valid CSV; look for a quotation mark that is not closed."
)


def rows(stream: BinaryIO) -> Iterator[list[str] | UnreadableRecordError]:
    """Yield each row that is not blank, or why there is none at its place.

    Bytes that are not UTF-8 come as lone surrogates, for the caller to refuse their row.
    """
    source = _Lines(stream)
    parser = csv.reader(source, strict=True)
    while True:
        source.begin_row()
        try:
            row = next(parser)
        except StopIteration:
            return
        except UnreadableRecordError as error:
            source.return_to_second_line()
            yield error
        except csv.Error:
            # A field that never closes has eaten the lines behind it: they get another chance.
            source.return_to_second_line()
            yield _NOT_CLOSED
        else:
            if any(row):
                yield row


class _Lines:
    """Lines as text, with the ones of the current row kept so that they can be read again."""

    def __init__(self, stream: BinaryIO) -> None:
        self._lines = lines(stream)
        self._again: deque[bytes] = deque()
        self._row: list[bytes] = []
        self._size = 0
        self._first = True

    def begin_row(self) -> None:
        """Forget the lines of the row before."""
        self._row = []
        self._size = 0

    def return_to_second_line(self) -> None:
        """Give the row's first line up and hand the others out again."""
        self._again.extendleft(reversed(self._row[1:]))

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        if line is None:
            raise UnreadableRecordError("row_too_long", _TOO_LONG)
        self._row.append(line)
        self._size += len(line)
        if self._size > LONGEST_ROW:
            raise UnreadableRecordError("row_too_long", _TOO_LONG)
        return self._text(line)

    def _text(self, line: bytes) -> str:
        encoding = "utf-8-sig" if self._first else "utf-8"
        self._first = False
        return line.decode(encoding, "surrogateescape")
