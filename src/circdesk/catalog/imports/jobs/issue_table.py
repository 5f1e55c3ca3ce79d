"""Issues of an import as a CSV file, safe to open in a spreadsheet."""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

COLUMNS = ("position", "control_number", "severity", "reason", "message")
# A spreadsheet runs what begins with one of these as a formula (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_ROWS_IN_A_CHUNK = 200


def as_csv(issues: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """The table in UTF-8, some rows at a time; the header comes at once.

    Raises `KeyError` or `ValueError` for an issue that is none, which ends the stream.
    """
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for number, issue in enumerate(issues, 1):
        writer.writerow(_row(issue))
        if number % _ROWS_IN_A_CHUNK == 0:
            yield _taken(buffer)
    yield _taken(buffer)


def _row(issue: dict[str, Any]) -> list[int | str]:
    position, *texts = (issue[column] for column in COLUMNS)
    if not isinstance(position, int) or position < 0:
        raise ValueError(f"{position!r} is no place in a file")
    return [position, *(_cell(text or "") for text in texts)]


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _taken(buffer: io.StringIO) -> bytes:
    chunk = buffer.getvalue().encode()
    buffer.seek(0)
    buffer.truncate()
    return chunk
