r"""A MARC record in the form that the binary and the XML reader share.

A field is the text of the transmission format (ISO 2709) without its terminator: two indicators,
then each subfield as U+001F, its code, its value. It costs nothing to make from the binary form,
and only the fields that are wanted are ever taken apart.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from circdesk.catalog.imports.reading.cleaning import normalise

FIELD_END = "\x1e"
SUBFIELD = "\x1f"

# These keep their period at the end of an area; initials do too, being single letters.
_ABBREVIATIONS = frozenset(
    (
        *("aufl.", "bd.", "bros.", "co.", "corp.", "dept.", "dr.", "ed.", "etc.", "inc.", "jr."),
        *("ltd.", "no.", "nr.", "pt.", "sr.", "st.", "univ.", "vol."),
    )
)
_SENTENCE_END = re.compile(r"[\w\u0300-\u036f\ufe20-\ufe2f)\]\"'\u201d]{2}\s*\.$")


@dataclass(frozen=True, slots=True)
class MarcRecord:
    """Leader and wanted fields, by tag in the order of the record."""

    leader: str
    fields: dict[str, list[str]]

    def control(self, tag: str) -> str:
        """Return the first control field with this tag, or nothing."""
        found = self.fields.get(tag)
        return found[0] if found else ""

    def all(self, *tags: str) -> list[tuple[str, str]]:
        """Return tag and field for the fields with these tags, in the order of the tags."""
        fields = self.fields
        return [(tag, field) for tag in tags if tag in fields for field in fields[tag]]

    def values(self, tag: str, code: str) -> list[str]:
        """Return the values of one subfield of all fields with this tag."""
        mark = SUBFIELD + code
        return [
            value.partition(SUBFIELD)[0]
            for field in self.fields.get(tag, ())
            for value in field.split(mark)[1:]
        ]


def marc_record(leader: str, fields: Iterable[tuple[str, str]]) -> MarcRecord:
    """Return the record of these tags and texts, all of them normalised in one go."""
    pairs = list(fields)
    text = normalise(FIELD_END.join([text for _, text in pairs]))
    by_tag: dict[str, list[str]] = {}
    for (tag, _), field in zip(pairs, text.split(FIELD_END), strict=False):
        by_tag.setdefault(tag, []).append(field)
    return MarcRecord(leader, by_tag)


def subfields(field: str) -> list[tuple[str, str]]:
    """Return codes and values of a data field."""
    return [(part[0], part[1:]) for part in field.split(SUBFIELD)[1:] if part]


def first(field: str, code: str) -> str:
    """Return the first value of one subfield, or nothing."""
    return field.partition(SUBFIELD + code)[2].partition(SUBFIELD)[0]


def trimmed(text: str) -> str:
    """Return text with single blanks and without the punctuation that ISBD puts between areas.

    A final period goes too, unless it closes an ellipsis, an initial or an abbreviation.
    """
    text = " ".join(text.split()).rstrip(" /:;=,\u060c\uff0c\uff1a\uff0f")
    if text.endswith((".", "\uff0e")) and _ends_sentence(text):
        return text[:-1].rstrip()
    return text


def _ends_sentence(text: str) -> bool:
    if text.endswith("\uff0e"):
        return True
    last_word = text.rpartition(" ")[2]
    return last_word.casefold() not in _ABBREVIATIONS and _SENTENCE_END.search(text) is not None
