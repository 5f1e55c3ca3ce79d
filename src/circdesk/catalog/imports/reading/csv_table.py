"""CSV with Circdesk's own columns (see `csv_columns`)."""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import BinaryIO

from circdesk.catalog.imports.reading import cleaning
from circdesk.catalog.imports.reading.cleaning import clean, distinct
from circdesk.catalog.imports.reading.csv_columns import CSV_COLUMNS, csv_template
from circdesk.catalog.imports.reading.csv_rows import rows
from circdesk.catalog.imports.reading.records import (
    NotThisFormatError,
    Refusal,
    SourceBook,
    SourceCopy,
    SourceRecord,
    UnreadableRecordError,
)
from circdesk.catalog.imports.reading.values import MATERIAL_TYPES, isbns_of, language_of, year_in

__all__ = ["CSV_COLUMNS", "csv_template", "read_csv"]

_LONGEST_CELL = 1 << 20


def read_csv(stream: BinaryIO, *, source: str | None = None) -> Iterator[SourceRecord | Refusal]:
    """Yield the rows of the stream as records; the first row behind the header is position 1.

    Raises `NotThisFormatError` for a header that is missing or names other columns.
    """
    table = rows(stream)
    header = _header(next(table, []))
    for position, row in enumerate(table, 1):
        number = None
        try:
            if isinstance(row, UnreadableRecordError):
                yield row.refusal(position)
                continue
            cells = _cells(header, row)
            number = clean(cells.get("control_number"), cleaning.CONTROL_NUMBER)
            book, notes = _book(cells)
            yield SourceRecord(position, source, number, _hash(cells), book, tuple(notes))
        except UnreadableRecordError as error:
            yield error.refusal(position, number)


def _header(row: list[str] | UnreadableRecordError) -> list[str]:
    if isinstance(row, UnreadableRecordError) or not row:
        raise NotThisFormatError("The first row of a CSV file must name its columns.")
    names = [name.strip().casefold().replace(" ", "_") for name in row]
    unknown = [repr(name)[:40] for name in names if name not in CSV_COLUMNS]
    if unknown:
        raise NotThisFormatError(
            f"Unknown columns: {', '.join(unknown[:5])}. Known are {', '.join(CSV_COLUMNS)}."
        )
    if "title" not in names or len(set(names)) < len(names):
        raise NotThisFormatError('The header must have the column "title", and no column twice.')
    return names


def _cells(header: list[str], row: list[str]) -> dict[str, str]:
    """Return the cells that hold something, by column."""
    if len(row) != len(header):
        raise UnreadableRecordError(
            "cell_count_wrong", f"The row has {len(row)} cells, the header {len(header)}."
        )
    try:
        "".join(row).encode()
    except UnicodeEncodeError:
        raise UnreadableRecordError("text_undecodable", "The row is not valid UTF-8.") from None
    cells = {name: clean(cell, _LONGEST_CELL) for name, cell in zip(header, row, strict=True)}
    return {name: cell for name, cell in cells.items() if cell}


def _hash(cells: dict[str, str]) -> str:
    """Return the SHA-256 of the values, whatever the order of their columns."""
    lines = (f"{name}={cells[name]}" for name in CSV_COLUMNS if name in cells)
    return sha256("\n".join(lines).encode()).hexdigest()


def _book(cells: dict[str, str]) -> tuple[SourceBook, list[str]]:
    title = clean(cells.get("title"), cleaning.TITLE)
    if not title:
        raise UnreadableRecordError("title_missing", "The row has no title.")
    isbns, notes = isbns_of(_several(cells, "isbn"))
    language = cells.get("language")
    if language and not language_of(language):
        notes.append(f'Language "{language[:60]}" is not known; left out.')
    book = SourceBook(
        title=title,
        subtitle=clean(cells.get("subtitle"), cleaning.SUBTITLE),
        authors=_bounded(_several(cells, "authors"), cleaning.AUTHOR, cleaning.MOST_AUTHORS),
        isbns=isbns,
        publisher=clean(cells.get("publisher"), cleaning.PUBLISHER),
        year=_year(cells.get("year")),
        language=language_of(language) if language else None,
        subjects=_bounded(_several(cells, "subjects"), cleaning.SUBJECT, cleaning.MOST_SUBJECTS),
        summary=clean(cells.get("summary"), cleaning.SUMMARY),
        material_type=_material_type(cells.get("material_type")),
        edition=clean(cells.get("edition"), cleaning.EDITION),
        copies=_copies(_several(cells, "copies")),
    )
    return book, notes


def _several(cells: dict[str, str], name: str) -> list[str]:
    return [part for text in cells.get(name, "").split(";") if (part := text.strip())]


def _bounded(values: Iterable[str], limit: int, most: int) -> tuple[str, ...]:
    return distinct((clean(value, limit) or "" for value in values), most)


def _year(text: str | None) -> int | None:
    if text is None:
        return None
    if len(text) == 4 and text.isascii() and (year := year_in(text)):
        return year
    raise UnreadableRecordError("year_invalid", f'"{text[:40]}" is not a year of four digits.')


def _material_type(text: str | None) -> str:
    kind = text.casefold() if text else "book"
    if kind not in MATERIAL_TYPES:
        raise UnreadableRecordError(
            "material_type_unknown", f'"{kind[:40]}" is none of {", ".join(MATERIAL_TYPES)}.'
        )
    return kind


def _copies(entries: list[str]) -> tuple[SourceCopy, ...]:
    copies = tuple(_copy(entry) for entry in entries[: cleaning.MOST_COPIES])
    barcodes = [copy.barcode for copy in copies if copy.barcode]
    if len(set(barcodes)) < len(barcodes):
        raise UnreadableRecordError("copies_invalid", "Two copies have the same barcode.")
    return copies


def _copy(entry: str) -> SourceCopy:
    branch, *rest = (part.strip() for part in entry.split("|"))
    if not branch or len(rest) > 2:
        raise UnreadableRecordError(
            "copies_invalid", f'"{entry[:60]}" is not "branch|barcode|shelf mark".'
        )
    barcode, shelf_mark = [*rest, "", ""][:2]
    return SourceCopy(
        branch=branch[: cleaning.BRANCH],
        barcode=clean(barcode, cleaning.BARCODE),
        shelf_mark=clean(shelf_mark, cleaning.SHELF_MARK),
    )
