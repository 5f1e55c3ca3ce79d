"""The encoding of an XML file, and the file's bytes in UTF-8."""

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO

from circdesk.catalog.imports.reading.records import NotThisFormatError

_BLOCK = 1 << 16
_DECLARATION = re.compile(rb"\s*<\?xml[^>]*?\sencoding\s*=\s*[\"']([A-Za-z][\w.-]*)[\"']")
_MARKS = (
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (b"<\x00", "utf-16-le"),
    (b"\x00<", "utf-16-be"),
)
# Every codec that Python knows would be too many: some of them are no encodings of text.
_READ = {"utf-8", "ascii", "iso8859-1", "iso8859-15", "cp1252"}


def encoding_of(head: bytes) -> str:
    """Return Python's name of the encoding that the first bytes declare (XML 1.0, appendix F).

    Raises `NotThisFormatError` for one that is not read here.
    """
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    declared = _DECLARATION.match(head.removeprefix(codecs.BOM_UTF8))
    return _known(declared[1].decode("ascii")) if declared else "utf-8"


def utf8_blocks(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the stream block by block in UTF-8, without a byte order mark."""
    head = stream.read(_BLOCK).removeprefix(codecs.BOM_UTF8)
    encoding = encoding_of(head)
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    while head:
        # UTF-8 passes as it is: a record that is not valid shall be refused, and it alone.
        yield head if encoding == "utf-8" else decoder.decode(head).encode()
        head = stream.read(_BLOCK)


def _known(name: str) -> str:
    try:
        known = codecs.lookup(name).name
    except LookupError:
        known = ""
    if known not in _READ:
        raise NotThisFormatError(f'The XML is in the encoding "{name}"; send it in UTF-8.')
    return "utf-8" if known == "ascii" else known
