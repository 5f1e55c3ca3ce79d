"""Lines of an Open Library dump: type, key, revision, last change, and the thing itself in JSON.

Editions name their authors by key. The names come from the author lines of the same run, which
may stand behind the editions or in a file of their own (https://openlibrary.org/developers/dumps).
"""

from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from typing import Any, BinaryIO

import orjson

from circdesk.catalog.imports.reading.lines import LONGEST_LINE, lines
from circdesk.catalog.imports.reading.openlibrary_authors import AuthorNames, name_in
from circdesk.catalog.imports.reading.openlibrary_mapping import book_of, keys_in
from circdesk.catalog.imports.reading.records import Refusal, SourceRecord, UnreadableRecordError
from circdesk.catalog.imports.reading.sources import DAMAGE

AGENCY = "openlibrary"
_EDITION = b"/type/edition"
_AUTHOR = b"/type/author"
_COLUMNS = 5


def read_openlibrary(
    stream: BinaryIO, *, authors: AuthorNames | None = None
) -> Iterator[SourceRecord | Refusal]:
    """Yield the editions of the stream; lines about other things are no records.

    With `authors`, the caller has collected the names of all files of the run. Without, they are
    collected from this stream in a pass of its own, where it can be read twice.
    """
    if authors is not None:
        yield from _read(stream, authors)
        return
    with AuthorNames() as names:
        if stream.seekable():
            start = stream.tell()
            collect_authors(stream, names)
            stream.seek(start)
        yield from _read(stream, names)


def collect_authors(stream: BinaryIO, names: AuthorNames) -> None:
    """Read the stream to its end and remember the names of all authors in it.

    A packed file that breaks off ends there; whoever reads its editions reports it.
    """
    with suppress(*DAMAGE):
        for line in lines(stream):
            if line and line.startswith(_AUTHOR):
                _remember(line, names)


def _read(stream: BinaryIO, names: AuthorNames) -> Iterator[SourceRecord | Refusal]:
    position = 0
    for line in lines(stream):
        if line and line.startswith(_AUTHOR):
            _remember(line, names)
        elif line is None or not _is_other(line):
            position += 1
            yield _edition(position, line, names)


def _is_other(line: bytes) -> bool:
    """Tell blank lines and things that are no editions from editions and from nonsense."""
    kind = line.partition(b"\t")[0]
    return not line.strip() or (kind.startswith(b"/type/") and kind != _EDITION)


def _edition(position: int, line: bytes | None, names: AuthorNames) -> SourceRecord | Refusal:
    key = None
    try:
        columns = _columns(line)
        key = _key(columns[1])
        edition = _json(columns[4])
        wrote = names.names_of(keys_in(edition, "authors"))
        book, notes = book_of(edition, wrote)
    except UnreadableRecordError as error:
        return error.refusal(position, key)
    # The names belong to what was read: when a later run brings them, the record has changed.
    read = b"\n".join([columns[4].strip(), *(name.encode() for name in wrote.values())])
    digest = sha256(read).hexdigest()
    return SourceRecord(position, AGENCY, key, digest, book, tuple(notes))


def _columns(line: bytes | None) -> list[bytes]:
    if line is None:
        raise UnreadableRecordError(
            "line_too_long", f"The line is longer than {LONGEST_LINE:,} bytes."
        )
    columns = line.rstrip(b"\r\n").split(b"\t")
    if len(columns) != _COLUMNS or columns[0] != _EDITION:
        raise UnreadableRecordError(
            "columns_wrong", "The line is not type, key, revision, time and JSON, parted by tabs."
        )
    return columns


def _key(column: bytes) -> str:
    key = column.decode("ascii", "replace").strip()
    if not (key.startswith("/books/") and key.isascii() and key.isprintable() and len(key) <= 100):
        raise UnreadableRecordError("key_invalid", "The edition's key is not /books/ and a number.")
    return key


def _json(column: bytes) -> dict[str, Any]:
    try:
        thing = orjson.loads(column)
    except orjson.JSONDecodeError:
        raise UnreadableRecordError("json_malformed", "The last column is not JSON.") from None
    if not isinstance(thing, dict):
        raise UnreadableRecordError("json_malformed", "The last column is not a JSON object.")
    return thing


def _remember(line: bytes, names: AuthorNames) -> None:
    """Take the author's name; a broken line costs a name, which the editions report."""
    columns = line.rstrip(b"\r\n").split(b"\t")
    try:
        name = name_in(_json(columns[-1])) if len(columns) == _COLUMNS else None
    except UnreadableRecordError:
        return
    if name:
        names.add(columns[1].decode("ascii", "replace"), name)
