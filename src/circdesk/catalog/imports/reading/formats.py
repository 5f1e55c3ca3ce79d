"""The formats that an import reads, how a file shows its own, and one door to all readers."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from circdesk.catalog.imports.reading.csv_table import read_csv
from circdesk.catalog.imports.reading.marc.iso2709 import read_marc
from circdesk.catalog.imports.reading.marc.items import ItemMapping
from circdesk.catalog.imports.reading.marc.marcxml import read_marcxml
from circdesk.catalog.imports.reading.openlibrary import read_openlibrary
from circdesk.catalog.imports.reading.openlibrary_authors import AuthorNames
from circdesk.catalog.imports.reading.records import NotThisFormatError, Refusal, SourceRecord
from circdesk.catalog.imports.reading.sniffing import HEAD, format_shown, raise_if_contradicted
from circdesk.catalog.imports.reading.sources import DAMAGE


class Format(StrEnum):
    """A format by the name that commands and jobs use."""

    MARC21 = "marc21"
    MARCXML = "marcxml"
    CSV = "csv"
    OPENLIBRARY = "openlibrary"


MEDIA_TYPES = {
    "application/marc": Format.MARC21,
    "application/marcxml+xml": Format.MARCXML,
    "text/csv": Format.CSV,
    "text/tab-separated-values": Format.OPENLIBRARY,
}
_SUFFIXES = {
    ".mrc": Format.MARC21,
    ".marc": Format.MARC21,
    ".xml": Format.MARCXML,
    ".csv": Format.CSV,
}
# The reason of the refusal that stands for whatever a packed file held behind its break.
FILE_DAMAGED = "file_damaged"


def detect_format(stream: BinaryIO, name: str = "") -> Format:
    """Return the format by the first bytes, or by the file's name where they leave it open.

    Raises `NotThisFormatError` for a file that is none of them.
    """
    shown = format_shown(first_bytes(stream))
    if shown in set(Format):
        return Format(shown)
    suffix = Path(name.casefold().removesuffix(".gz")).suffix
    if suffix not in _SUFFIXES:
        raise NotThisFormatError("The file is neither MARC 21, MARCXML, CSV nor Open Library's.")
    return _SUFFIXES[suffix]


def read_records(
    stream: BinaryIO,
    fmt: Format,
    *,
    source: str | None = None,
    items: ItemMapping = ItemMapping.default,
    authors: AuthorNames | None = None,
) -> Iterator[SourceRecord | Refusal]:
    """Return the records and refusals of a stream, in its order, read as they are asked for.

    `source` is the agency of records that name none; `items` says where MARC holds copies;
    `authors` are names from other files of the same run (see `read_openlibrary`).

    Raises `NotThisFormatError` at once for a stream whose first bytes contradict the format, and
    at the first record for a CSV file whose header is wrong.
    """
    raise_if_contradicted(first_bytes(stream), fmt)
    match fmt:
        case Format.MARC21:
            records = read_marc(stream, source=source, items=items)
        case Format.MARCXML:
            records = read_marcxml(stream, source=source, items=items)
        case Format.CSV:
            records = read_csv(stream, source=source)
        case Format.OPENLIBRARY:
            records = read_openlibrary(stream, authors=authors)
    return _until_unreadable(records)


def first_bytes(stream: BinaryIO) -> bytes:
    """Return the beginning of the stream, which is then still to be read; it must be seekable."""
    start = stream.tell()
    try:
        head = stream.read(HEAD)
    except DAMAGE:
        raise NotThisFormatError("The file is packed, and damaged or cut off.") from None
    stream.seek(start)
    return head


def _until_unreadable(
    records: Iterator[SourceRecord | Refusal],
) -> Iterator[SourceRecord | Refusal]:
    """Make a refusal of what goes wrong below the records: packed files break, too."""
    position = 0
    try:
        for record in records:
            position = record.position
            yield record
    except DAMAGE:
        message = "The packed file is damaged or cut off; what follows cannot be read."
        yield Refusal(position + 1, None, FILE_DAMAGED, message)
