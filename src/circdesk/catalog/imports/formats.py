"""The formats that an import reads, how a file shows its own, and one door to all readers."""

import gzip
import zlib
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, cast

from circdesk.catalog.imports.marc import read_marc
from circdesk.catalog.imports.marc_items import ItemMapping
from circdesk.catalog.imports.marcxml import read_marcxml
from circdesk.catalog.imports.openlibrary import read_openlibrary
from circdesk.catalog.imports.openlibrary_authors import AuthorNames
from circdesk.catalog.imports.records import NotThisFormatError, Refusal, SourceRecord
from circdesk.catalog.imports.sniffing import HEAD, format_shown, raise_if_contradicted
from circdesk.catalog.imports.table import read_csv


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
_GZIP = b"\x1f\x8b"
_DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error)


def format_of_media_type(text: str) -> Format | None:
    """Return the format that a Content-Type names, whatever parameters it has."""
    return MEDIA_TYPES.get(text.partition(";")[0].strip().casefold())


def open_source(path: Path) -> BinaryIO:
    """Open a file for reading, unpacked if it is packed with gzip."""
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
    return cast("BinaryIO", gzip.open(path, "rb")) if packed else path.open("rb")


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
    except _DAMAGE:
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
    except _DAMAGE:
        message = "The packed file is damaged or cut off; what follows cannot be read."
        yield Refusal(position + 1, None, "file_damaged", message)
