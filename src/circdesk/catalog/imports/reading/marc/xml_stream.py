"""The record elements of an XML stream, cut out without a parser."""

import re
from collections.abc import Iterator
from typing import BinaryIO

from circdesk.catalog.imports.reading.marc.xml_encoding import utf8_blocks
from circdesk.catalog.imports.reading.records import UnreadableRecordError

LONGEST_ELEMENT = 1 << 20

_NAME = rb"(?:[\w.-]+:)?"
# What can begin between records. Whoever writes "<record" in a comment means no record.
_OPENING = re.compile(rb"<!--|<!DOCTYPE|<!ENTITY|<" + _NAME + rb"(?:record|collection)(?=[\s/>])")
_RECORD = re.compile(rb"<(" + _NAME + rb")record(?=[\s/>])")
_EMPTY = re.compile(rb"<[^<>]*/>")
_CONTENT = re.compile(rb"<" + _NAME + rb"(?:leader|controlfield|datafield)(?=[\s/>])")
_ROOT_END = re.compile(rb"</" + _NAME + rb"collection\s*>")
_LONGEST_TAG = 256  # Bytes kept back at the end of a block, for a tag may go on in the next one.

_DTD = UnreadableRecordError(
    "xml_dtd_refused", "The file declares a document type or entities, which are not read."
)
_TOO_LONG = UnreadableRecordError(
    "record_too_long", f"No record may be longer than {LONGEST_ELEMENT:,} bytes of XML."
)
_TRUNCATED = UnreadableRecordError("record_truncated", "The record's element is not closed.")
_NO_RECORDS = UnreadableRecordError("no_records", "The file is XML, but holds no MARC record.")
_CUT_OFF = UnreadableRecordError(
    "file_truncated", "The file ends before its collection does: records may be missing."
)


def elements(stream: BinaryIO) -> Iterator[bytes | UnreadableRecordError]:
    """Yield each record element in UTF-8, or why there is none at its place."""
    return _Cutter(utf8_blocks(stream)).elements()


class _Cutter:
    """A window on the stream that moves from tag to tag."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._buffer = b""
        self._collection: str = "none"

    def elements(self) -> Iterator[bytes | UnreadableRecordError]:
        """Yield what `elements` promises."""
        records = 0
        while opening := self._next_opening():
            if opening.startswith((b"<!D", b"<!E")):
                yield _DTD
                return
            if opening == b"<!--":
                self._skip_comment()
            elif opening.endswith(b"record"):
                element = self._element()
                records += element is not None
                yield from [element] if element is not None else []
        if self._collection == "open":
            yield _CUT_OFF
        elif self._collection == "none" and not records:
            yield _NO_RECORDS

    def _next_opening(self) -> bytes:
        """Move to the next opening and return it; a record's stays in the window."""
        while True:
            match = _OPENING.search(self._buffer)
            self._watch_collection(self._buffer[: match.start()] if match else self._buffer)
            if match:
                return self._move_to(match)
            self._buffer = self._buffer[-_LONGEST_TAG:]
            if not self._read():
                return b""

    def _move_to(self, match: re.Match[bytes]) -> bytes:
        opening = match[0]
        if opening.endswith(b"collection"):
            self._collection = "open"
        end = match.start() if opening.endswith(b"record") else match.end()
        self._buffer = self._buffer[end:]
        return opening

    def _watch_collection(self, passed: bytes) -> None:
        if self._collection == "open" and _ROOT_END.search(passed):
            self._collection = "closed"

    def _skip_comment(self) -> None:
        while (end := self._buffer.find(b"-->")) < 0:
            self._buffer = self._buffer[-2:]
            if not self._read():
                return
        self._buffer = self._buffer[end + 3 :]

    def _element(self) -> bytes | UnreadableRecordError | None:
        """Take the record that the window begins with; None for an envelope around records.

        OAI-PMH and SRU wrap a MARC record in a record element of their own.
        """
        match = self._element_end()
        if match is None:
            too_long = len(self._buffer) > LONGEST_ELEMENT
            self._buffer = self._buffer[-_LONGEST_TAG:] if too_long else b""
            return _TOO_LONG if too_long else _TRUNCATED
        closed = match[0].startswith(b"</") or match[0].endswith(b"/>")
        end = match.end() if closed else match.start()
        element, self._buffer = self._buffer[:end], self._buffer[end:]
        if closed:
            return element if end <= LONGEST_ELEMENT else _TOO_LONG
        return _TRUNCATED if _CONTENT.search(element) else None

    def _element_end(self) -> re.Match[bytes] | None:
        """Find the end tag, or the next record's start if that comes first."""
        opening = _RECORD.match(self._buffer)
        prefix = re.escape(opening[1]) if opening else b""
        end = re.compile(rb"</" + prefix + rb"record\s*>|" + _RECORD.pattern)
        start = 1
        while True:
            match = _EMPTY.match(self._buffer) or end.search(self._buffer, start)
            if match or len(self._buffer) > LONGEST_ELEMENT:
                return match
            start = max(1, len(self._buffer) - _LONGEST_TAG)
            if not self._read():
                return None

    def _read(self) -> bool:
        block = next(self._blocks, b"")
        self._buffer += block
        return bool(block)
