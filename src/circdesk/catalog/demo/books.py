"""Writes the books of the demo and their copies, with the parts that an import is made of."""

from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import cast

from sqlalchemy import Connection

from circdesk.catalog.demo import BRANCHES, books_csv
from circdesk.catalog.demo.identities import MOMENT, Kind, demo_id
from circdesk.catalog.imports.reading.formats import Format, read_records
from circdesk.catalog.imports.reading.records import SourceRecord
from circdesk.catalog.imports.writing.bulk import insert_rows
from circdesk.catalog.imports.writing.matching import Key, Link
from circdesk.catalog.imports.writing.planning import Draft
from circdesk.catalog.imports.writing.storing import Store, write_links
from circdesk.catalog.models import Author, Copy, Subject
from circdesk.db.text import sort_key

# Under this agency the records are known, should the file be imported later on.
AGENCY = "demo"

_NOW = MOMENT.isoformat(timespec="microseconds").replace("+00:00", "Z")
_NAME = ("id", "name", "sort_name", "created_at", "updated_at")
_COPY = (
    "id",
    "book_id",
    "branch_id",
    "barcode",
    "status",
    "shelf_mark",
    "material_type",
    "loanable",
    "created_at",
    "updated_at",
)


def write_books(connection: Connection) -> tuple[int, int]:
    """Store the packaged catalogue, whose branches must be there already.

    Returns:
        How many books and how many copies that were.
    """
    drafts = [
        Draft(_hex(Kind.BOOK, number), record.book, record, new=True)
        for number, record in enumerate(_records(), 1)
    ]
    contents = [draft.content for draft in drafts]
    _write_names(connection, Author, Kind.AUTHOR, (n for book in contents for n in book.authors))
    _write_names(connection, Subject, Kind.SUBJECT, (n for book in contents for n in book.subjects))
    Store().write_new(connection, drafts, _NOW)
    _write_links(connection, drafts)
    return len(drafts), _write_copies(connection, drafts)


def _records() -> list[SourceRecord]:
    stream = BytesIO(books_csv().read_bytes())
    # A test sees to it that the reader refuses none.
    return cast("list[SourceRecord]", list(read_records(stream, Format.CSV, source=AGENCY)))


def _write_names(
    connection: Connection, model: type[Author | Subject], kind: Kind, names: Iterable[str]
) -> None:
    """Store each name once, before the books would make ids of their own for it."""
    distinct: dict[str, str] = {}
    for name in names:
        distinct.setdefault(sort_key(name), name)
    rows = [
        (_hex(kind, number), name, key, _NOW, _NOW)
        for number, (key, name) in enumerate(distinct.items(), 1)
    ]
    insert_rows(connection, model, _NAME, rows)


def _write_links(connection: Connection, drafts: Sequence[Draft]) -> None:
    links: dict[Key, Link] = {
        (AGENCY, draft.record.control_number or ""): Link(draft.record.content_hash, draft.book)
        for draft in drafts
    }
    write_links(connection, links, _NOW)


def _write_copies(connection: Connection, drafts: Sequence[Draft]) -> int:
    branches = {branch.code: _hex(Kind.BRANCH, number) for number, branch in enumerate(BRANCHES, 1)}
    copies = [(draft, copy) for draft in drafts for copy in draft.content.copies]
    rows = [
        (
            _hex(Kind.COPY, number),
            draft.book,
            branches[copy.branch],
            copy.barcode,
            "available",
            copy.shelf_mark,
            draft.content.material_type,
            copy.loanable,
            _NOW,
            _NOW,
        )
        for number, (draft, copy) in enumerate(copies, 1)
    ]
    insert_rows(connection, Copy, _COPY, rows)
    return len(rows)


def _hex(kind: Kind, number: int) -> str:
    return demo_id(kind, number).hex
