"""From a MARC record to the facts of a book: the same for the binary form and for XML.

Tags and subfields are those of "MARC 21 Format for Bibliographic Data".
"""

from circdesk.catalog.imports.reading import cleaning
from circdesk.catalog.imports.reading.cleaning import distinct, tidy
from circdesk.catalog.imports.reading.marc.fields import MarcRecord, first, trimmed
from circdesk.catalog.imports.reading.marc.items import ItemMapping, copies_of
from circdesk.catalog.imports.reading.marc.names import (
    author_of,
    link_of,
    subject_of,
    title_parts,
    whole_title,
)
from circdesk.catalog.imports.reading.marc.types import material_type_of
from circdesk.catalog.imports.reading.records import SourceBook, SourceRecord, UnreadableRecordError
from circdesk.catalog.imports.reading.values import FIRST_YEAR, isbns_of, language_of, year_in

_AUTHORS = ("100", "110", "111", "700", "710", "711")
_SUBJECTS = ("650", "651", "600", "610", "611", "630", "655")
_OTHERS = (
    "001",
    "003",
    "007",
    "008",
    "020",
    "041",
    "245",
    "250",
    "260",
    "264",
    "338",
    "520",
    "880",
)
WANTED = frozenset((*_AUTHORS, *_SUBJECTS, *_OTHERS))

# "Publisher unknown" is no publisher, in cataloguing rules old and new.
_NO_PUBLISHER = ("[s.n.", "s.n.", "[publisher not identified")


def source_record(
    position: int,
    record: MarcRecord,
    content_hash: str,
    *,
    source: str | None,
    items: ItemMapping,
    notes: tuple[str, ...] = (),
) -> SourceRecord:
    """Return the record with its book; `source` names the agency where field 003 does not.

    Raises `UnreadableRecordError` for a record without a title.
    """
    book, more = book_of(record, items)
    return SourceRecord(
        position=position,
        agency=tidy(record.control("003"), cleaning.AGENCY) or source,
        control_number=tidy(record.control("001"), cleaning.CONTROL_NUMBER) or None,
        content_hash=content_hash,
        book=book,
        notes=notes + tuple(more),
    )


def book_of(record: MarcRecord, items: ItemMapping) -> tuple[SourceBook, list[str]]:
    """Return the book and notes on what was left out of it."""
    linked = _linked(record)
    title, subtitle = _title_of(record, linked)
    isbns, notes = isbns_of(record.values("020", "a"))
    copies, more = copies_of(record, items)
    imprints = _imprints(record)
    book = SourceBook(
        title=title,
        subtitle=subtitle,
        authors=_authors_of(record.all(*_AUTHORS)),
        isbns=isbns,
        publisher=_publisher_of(imprints),
        year=_year_of(record, imprints),
        language=_language_of(record),
        subjects=_subjects_of(record),
        summary=tidy(" ".join(record.values("520", "a")), cleaning.SUMMARY) or None,
        material_type=material_type_of(record),
        edition=_edition_of(record),
        copies=copies,
        variants=_variants_of(linked),
    )
    return book, notes + more


def _title_of(record: MarcRecord, linked: list[tuple[str, str]]) -> tuple[str, str | None]:
    """Read 245; a record that has its title in the original script alone has it in 880."""
    fields = record.fields.get("245") or [field for tag, field in linked if tag == "245"]
    title, subtitle = title_parts(fields[0]) if fields else ("", None)
    if not title:
        raise UnreadableRecordError("title_missing", "The record has no title (field 245).")
    return title, subtitle


def _authors_of(fields: list[tuple[str, str]]) -> tuple[str, ...]:
    return distinct((author_of(tag, field) for tag, field in fields), cleaning.MOST_AUTHORS)


def _subjects_of(record: MarcRecord) -> tuple[str, ...]:
    subjects = (subject_of(field) for _, field in record.all(*_SUBJECTS))
    return distinct(subjects, cleaning.MOST_SUBJECTS)


def _edition_of(record: MarcRecord) -> str | None:
    editions = record.values("250", "a")
    return tidy(trimmed(editions[0]), cleaning.EDITION) or None if editions else None


def _imprints(record: MarcRecord) -> list[str]:
    """Return the fields that name a publisher: 264 also describes printers and distributors."""
    fields = record.fields
    published = [field for field in fields.get("264", ()) if field[1:2] == "1"]
    return fields.get("260", []) + published


def _publisher_of(imprints: list[str]) -> str | None:
    for field in imprints:
        name = tidy(trimmed(first(field, "b")), cleaning.PUBLISHER)
        if name and not name.casefold().startswith(_NO_PUBLISHER):
            return name
    return None


def _year_of(record: MarcRecord, imprints: list[str]) -> int | None:
    coded = record.control("008")[7:11]
    if len(coded) == 4 and coded.isascii() and coded.isdigit() and int(coded) >= FIRST_YEAR:
        return year_in(coded)
    return next((year for field in imprints if (year := year_in(first(field, "c")))), None)


def _language_of(record: MarcRecord) -> str | None:
    """Read 008/35-37, else 041 $a, which older records fill with several codes in a row."""
    coded = language_of(record.control("008")[35:38])
    if coded:
        return coded
    texts = (value[:3] for value in record.values("041", "a"))
    return next((code for text in texts if (code := language_of(text))), None)


def _linked(record: MarcRecord) -> list[tuple[str, str]]:
    """Return the fields in original script, each under the tag that it is linked to."""
    return [(link_of(field), field) for field in record.fields.get("880", ())]


def _variants_of(linked: list[tuple[str, str]]) -> tuple[str, ...]:
    """Return title and names in original script, so that a search finds them."""
    variants = [whole_title(field) for tag, field in linked if tag == "245"]
    variants += [author_of(tag, field) for tag, field in linked if tag in _AUTHORS]
    return distinct(variants, cleaning.MOST_VARIANTS)
