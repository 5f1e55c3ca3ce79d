"""MARCXML, read one record element at a time, so that a broken one costs nothing but itself.

An XML parser has to stop at the first fault of a document. Here the stream is cut at the record
tags, and each element is parsed alone: no document type declaration can reach it, so it has
no entities to expand, and it cannot outgrow its bounds.
"""

from collections.abc import Iterator
from hashlib import sha256
from typing import BinaryIO
from xml.parsers import expat

from circdesk.catalog.imports.reading.cleaning import CONTROL_NUMBER, tidy
from circdesk.catalog.imports.reading.marc.fields import SUBFIELD, marc_record
from circdesk.catalog.imports.reading.marc.items import ItemMapping
from circdesk.catalog.imports.reading.marc.mapping import WANTED, source_record
from circdesk.catalog.imports.reading.marc.xml_stream import elements
from circdesk.catalog.imports.reading.records import Refusal, SourceRecord, UnreadableRecordError


def read_marcxml(
    stream: BinaryIO, *, source: str | None = None, items: ItemMapping = ItemMapping.default
) -> Iterator[SourceRecord | Refusal]:
    """Yield the records of the stream, and a refusal for each element that is none."""
    wanted = WANTED | items.tags
    for position, element in enumerate(elements(stream), 1):
        if isinstance(element, UnreadableRecordError):
            yield element.refusal(position)
            continue
        parsed = _Element()
        try:
            parsed.parse(element)
            record = marc_record(
                parsed.leader, [field for field in parsed.fields if field[0] in wanted]
            )
            yield source_record(position, record, parsed.digest(), source=source, items=items)
        except UnreadableRecordError as error:
            yield error.refusal(position, parsed.control_number())


class _Element:
    """A record element: its leader, and tag and text of each field (see `fields`)."""

    def __init__(self) -> None:
        self.leader = ""
        self.fields: list[tuple[str, str]] = []
        self._tag = ""
        self._field: list[str] = []
        self._text: list[str] = []

    def parse(self, element: bytes) -> None:
        """Fill in what the element says; raise `UnreadableRecordError` if it is not XML."""
        parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        try:
            parser.Parse(element, True)  # noqa: FBT003 - The parser takes no keywords.
        except expat.ExpatError as error:
            reason = expat.ErrorString(error.code) or "unknown fault"
            raise UnreadableRecordError(
                "xml_malformed",
                f"The record is not well-formed XML: {reason}, in line {error.lineno} of it.",
            ) from None

    def digest(self) -> str:
        """Return the SHA-256 of leader and fields, whatever prefixes and blanks surround them."""
        lines = [self.leader, *(f"{tag} {text}" for tag, text in self.fields)]
        return sha256("\x1e".join(lines).encode()).hexdigest()

    def control_number(self) -> str | None:
        """Return field 001 if the parser came that far."""
        numbers = [text for tag, text in self.fields if tag == "001"]
        return tidy(numbers[0], CONTROL_NUMBER) or None if numbers else None

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._text.clear()
        local = name[name.find(":") + 1 :]
        if local == "datafield":
            self._tag = attributes.get("tag", "")
            self._field = [
                (attributes.get("ind1") or " ")[:1] + (attributes.get("ind2") or " ")[:1]
            ]
        elif local == "controlfield":
            self._tag = attributes.get("tag", "")
        elif local == "subfield":
            self._field.append(attributes.get("code", "")[:1])

    def _end(self, name: str) -> None:
        local = name[name.find(":") + 1 :]
        if local == "subfield":
            self._end_subfield("".join(self._text))
        elif local == "datafield":
            self.fields.append((self._tag, SUBFIELD.join(self._field)))
        elif local == "controlfield":
            self.fields.append((self._tag, "".join(self._text)))
        elif local == "leader":
            self.leader = "".join(self._text)
        self._text.clear()

    def _end_subfield(self, text: str) -> None:
        if self._field:
            self._field[-1] += text
