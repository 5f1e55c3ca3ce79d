"""MARC 21 in its transmission format (ISO 2709), read so that no record harms its neighbours."""

from collections.abc import Iterator
from hashlib import sha256
from typing import BinaryIO

from circdesk.catalog.imports.reading.cleaning import CONTROL_NUMBER
from circdesk.catalog.imports.reading.marc.decode import FIELD_END, LEADER_LENGTH, parse
from circdesk.catalog.imports.reading.marc.items import ItemMapping
from circdesk.catalog.imports.reading.marc.mapping import WANTED, source_record
from circdesk.catalog.imports.reading.marc.stream import chunks
from circdesk.catalog.imports.reading.records import Refusal, SourceRecord, UnreadableRecordError


def read_marc(
    stream: BinaryIO, *, source: str | None = None, items: ItemMapping = ItemMapping.default
) -> Iterator[SourceRecord | Refusal]:
    """Yield the records of the stream, and a refusal for each piece that is none."""
    wanted = {tag.encode(): tag for tag in WANTED | items.tags}
    for position, chunk in enumerate(chunks(stream), 1):
        try:
            record, notes = parse(chunk, wanted)
            digest = sha256(chunk).hexdigest()
            yield source_record(position, record, digest, source=source, items=items, notes=notes)
        except UnreadableRecordError as error:
            yield error.refusal(position, control_number_in(chunk))


def control_number_in(chunk: bytes) -> str | None:
    """Return the control number of a damaged record if it stands where it ought to.

    Field 001 comes first in directory and data, whatever else is wrong with either.
    """
    if chunk[LEADER_LENGTH : LEADER_LENGTH + 3] != b"001":
        return None
    _, _, data = chunk.partition(FIELD_END)
    number = data.partition(FIELD_END)[0].strip()
    if number.isascii() and number.decode("ascii").isprintable():
        return number[:CONTROL_NUMBER].decode("ascii") or None
    return None
