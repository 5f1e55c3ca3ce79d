"""What the first bytes of a file say about it."""

import codecs
import re

from circdesk.catalog.imports.reading.csv_columns import CSV_COLUMNS
from circdesk.catalog.imports.reading.marc.xml_encoding import encoding_of
from circdesk.catalog.imports.reading.records import NotThisFormatError

HEAD = 4096

_MARKS = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or an office document"),
    (b"\x1f\x8b", "packed with gzip"),
    (b"BZh", "packed with bzip2"),
    (b"\xfd7zXZ", "packed with xz"),
    (b"\x28\xb5\x2f\xfd", "packed with Zstandard"),
    (b"SQLite format 3", "a database"),
    (b"\x7fELF", "a program"),
)
_WORDS = {
    "marc21": "MARC 21",
    "marcxml": "MARCXML",
    "csv": "CSV",
    "openlibrary": "an Open Library dump",
}
_LEADER = re.compile(rb"[\r\n\t \x00\x1a]*\d{5}[ -~]{19}")
# The end of a field, two indicators, a subfield: MARC even if the first leader is damaged.
_FIELD = re.compile(rb"\x1e[ -~]{2}\x1f[ -~]")
_HTML = re.compile(r"(?:<\?xml[^>]*>|<!--.*?-->|\s)*<(?:!doctype\s+)?html\b", re.I | re.S)


def format_shown(head: bytes) -> str | None:
    """Return the name of the format that the bytes belong to, or None where they leave it open.

    Raises `NotThisFormatError` for an empty file, and for one of a well-known other kind.
    """
    if not head:
        raise NotThisFormatError("The file is empty.")
    for mark, kind in _MARKS:
        if head.startswith(mark):
            raise NotThisFormatError(f"The file is {kind}.")
    if _is_xml(head):
        return "marcxml"
    if _LEADER.match(head) or _FIELD.search(head):
        return "marc21"
    if b"\x00" in head:
        raise NotThisFormatError("The file is neither text nor MARC 21.")
    return _text_shown(head)


def raise_if_contradicted(head: bytes, fmt: str) -> None:
    """Raise `NotThisFormatError` if the file cannot be what it is said to be."""
    shown = format_shown(head)
    if shown and shown != fmt:
        raise NotThisFormatError(f"The file is said to be {_WORDS[fmt]}, but is {_WORDS[shown]}.")
    if shown is None and fmt != "csv":
        raise NotThisFormatError(f"The file is said to be {_WORDS[fmt]}, but is not.")


def _is_xml(head: bytes) -> bool:
    start = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if not start.startswith((b"<", b"\x00<", codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return False
    text = head.decode(encoding_of(head), "replace").lstrip("\ufeff \t\r\n")
    if not text.startswith("<"):
        raise NotThisFormatError("The file is text in UTF-16; send it in UTF-8.")
    if _HTML.match(text):
        raise NotThisFormatError("The file is a web page.")
    return True


def _text_shown(head: bytes) -> str | None:
    """Tell lines of Open Library from a CSV whose header names our columns."""
    if re.search(rb"^/type/\w+\t", head, re.M):
        return "openlibrary"
    line = head.removeprefix(codecs.BOM_UTF8).partition(b"\n")[0].decode("utf-8", "replace")
    names = {name.strip(' "\r').casefold() for name in line.split(",")}
    return "csv" if "title" in names and names & CSV_COLUMNS.keys() else None
