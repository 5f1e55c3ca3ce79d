"""One MARC record taken apart: leader, directory, and the fields that are wanted.

pymarc makes an object of every subfield, which an import of a million records has no time for.
Its knowledge of MARC-8 is used where a record is written in that.
"""

from collections.abc import Callable, Mapping
from itertools import accumulate
from struct import Struct

from circdesk.catalog.imports.reading.marc.fields import MarcRecord, marc_record
from circdesk.catalog.imports.reading.marc.stream import LONGEST_RECORD, RECORD_END
from circdesk.catalog.imports.reading.records import UnreadableRecordError

LEADER_LENGTH = 24
FIELD_END = b"\x1e"

_SUBFIELD = b"\x1f"
_ESCAPE = b"\x1b"
_ENTRY = Struct("3s9s")  # Of the directory: tag; length (4 digits) and start (5) of the field.


def parse(chunk: bytes, wanted: Mapping[bytes, str]) -> tuple[MarcRecord, tuple[str, ...]]:
    """Return the wanted fields of a record and notes on how it was read.

    Raises `UnreadableRecordError` for whatever ISO 2709 would not call a record.
    """
    _check_length(chunk)
    base = _base_address(chunk)
    entries = _entries(chunk[LEADER_LENGTH : base - 1])
    if chunk[base - 1 : base] != FIELD_END:
        raise UnreadableRecordError(
            "directory_unterminated", "The directory does not end where the leader says."
        )
    body = chunk[base:-1]
    parts = body.split(FIELD_END)
    if not _in_order(entries, parts):
        parts = [_part(body, place) for _, place in entries]
    decode, notes = _decoder(chunk[9:10], body)
    leader = chunk[:LEADER_LENGTH].decode("ascii")
    pairs = zip(entries, parts, strict=False)
    kept = [(wanted[tag], decode(part)) for (tag, _), part in pairs if tag in wanted]
    return marc_record(leader, kept), notes


def _check_length(chunk: bytes) -> None:
    leader = chunk[:LEADER_LENGTH]
    length = leader[:5]
    if len(chunk) > LONGEST_RECORD:
        raise UnreadableRecordError(
            "record_too_long", f"No MARC record is longer than {LONGEST_RECORD:,} bytes."
        )
    if (length.isdigit() and int(length) > len(chunk)) or not chunk.strip(b"\r\n \t"):
        raise UnreadableRecordError("record_truncated", "The record ends before its length.")
    if not length.isdigit() and not chunk.endswith(FIELD_END + RECORD_END):
        raise UnreadableRecordError("not_a_record", "These bytes are no MARC record.")
    if not length.isdigit():
        raise UnreadableRecordError(
            "length_not_a_number", "The leader does not begin with the record's length."
        )
    if int(length) < len(chunk):
        raise UnreadableRecordError("record_overlong", "The record is longer than it says.")
    if len(leader) < LEADER_LENGTH or not leader.isascii():
        raise UnreadableRecordError("leader_invalid", "The leader is not 24 ASCII characters.")


def _base_address(chunk: bytes) -> int:
    digits = chunk[12:17]
    if not digits.isdigit():
        raise UnreadableRecordError(
            "base_address_not_a_number", "The leader does not say where the data begin."
        )
    base = int(digits)
    if base <= LEADER_LENGTH:
        raise UnreadableRecordError(
            "base_address_missing", "The leader says that the data begin within it."
        )
    if base >= len(chunk):
        raise UnreadableRecordError(
            "base_address_beyond_record", "The leader says that the data begin behind the record."
        )
    return base


def _entries(directory: bytes) -> list[tuple[bytes, bytes]]:
    if not directory:
        raise UnreadableRecordError("no_fields", "The record has no fields.")
    if not directory.isascii():
        raise UnreadableRecordError(
            "directory_not_ascii", "The directory holds characters other than ASCII."
        )
    if len(directory) % _ENTRY.size:
        raise UnreadableRecordError(
            "directory_length_wrong", "The directory is no multiple of 12 characters long."
        )
    return list(_ENTRY.iter_unpack(directory))


def _in_order(entries: list[tuple[bytes, bytes]], parts: list[bytes]) -> bool:
    """Tell whether the fields stand one after the other as the directory lists them."""
    places = [place for _, place in entries]
    if len(parts) <= len(places) or not b"".join(places).isdigit():
        return False
    lengths = [len(part) + 1 for part in parts[: len(places)]]
    starts = accumulate(lengths, initial=0)
    return [*map(int, places)] == [
        length * 100_000 + start for length, start in zip(lengths, starts, strict=False)
    ]


def _part(body: bytes, place: bytes) -> bytes:
    """Return the field at the place that the directory names; ISO 2709 allows any order."""
    if place.isdigit():
        length, start = divmod(int(place), 100_000)
        part = body[start : start + length]
        if len(part) == length and part.find(FIELD_END) == length - 1:
            return part[:-1]
    raise UnreadableRecordError(
        "directory_wrong", "The directory points to places where no field is."
    )


def _decoder(scheme: bytes, body: bytes) -> tuple[Callable[[bytes], str], tuple[str, ...]]:
    """Return how to read the record's text; leader position 9 says UTF-8 ("a") or MARC-8.

    Many a record was converted to UTF-8 without its leader being told. Text in MARC-8 is next
    to never valid UTF-8, so that validity decides. The other way round nothing is certain,
    and a wrong guess would be stored unseen: such a record is refused.
    """
    if _is_utf8(body) and (scheme == b"a" or _ESCAPE not in body):
        lied = scheme != b"a" and not body.isascii()
        return bytes.decode, ("The leader says MARC-8, but the text is UTF-8.",) if lied else ()
    if scheme == b"a":
        raise UnreadableRecordError("text_undecodable", "The leader says UTF-8; the text is not.")
    return _decode_marc8, ()


def _is_utf8(body: bytes) -> bool:
    try:
        return body.isascii() or body.decode() is not None
    except UnicodeDecodeError:
        return False


def _decode_marc8(field: bytes) -> str:
    """Return a field's text; each subfield starts anew in the default character sets."""
    head, *parts = field.split(_SUBFIELD)
    texts = [_marc8_text(part[:1]) + _marc8_text(part[1:]) for part in parts]
    return "\x1f".join([_marc8_text(head), *texts])


def _marc8_text(data: bytes) -> str:
    if data.isascii() and _ESCAPE not in data:
        return data.decode("ascii")
    # Its tables take 5 MB of every process, and few of them ever read MARC-8.
    from pymarc.marc8 import marc8_to_unicode  # noqa: PLC0415

    try:
        return str(marc8_to_unicode(data, hide_utf8_warnings=True))
    except UnicodeDecodeError:
        raise UnreadableRecordError("text_undecodable", "The text is not valid MARC-8.") from None
