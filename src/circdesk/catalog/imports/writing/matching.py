"""What the catalogue knows of the records of a batch: their sources, ISBNs, barcodes, branches."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from circdesk.catalog.imports.models import SourceLink
from circdesk.catalog.imports.reading.records import SourceRecord
from circdesk.catalog.imports.writing.bulk import among
from circdesk.catalog.imports.writing.names import id_hex
from circdesk.catalog.models import Book, BookISBN, Branch, Copy

# Agency and control number; of a record without one None and its hash.
Key = tuple[str | None, str]


@dataclass(slots=True)
class Link:
    """A source record that has come before, in this state, and the book that it fed."""

    content_hash: str
    book: str
    # The row's id, or None for a record that this batch has met first.
    id: str | None = None
    changed: bool = False


@dataclass(frozen=True, slots=True)
class KnownCopy:
    """A copy that has a barcode, whose it is and what kind of thing."""

    id: str | None
    book: str
    material_type: str


class Known:
    """What is known before a batch, to which its decisions are added one by one."""

    def __init__(self) -> None:
        self.links: dict[Key, Link] = {}
        # By ISBN the books that hold it, with their folded titles.
        self.holders: dict[str, dict[str, str]] = {}
        self.copies: dict[str, KnownCopy] = {}
        # Codes, and by folded name the code; of several branches with one name, the first code.
        self.branches: set[str] = set()
        self.branch_names: dict[str, str] = {}

    def load(self, connection: Connection, records: Sequence[SourceRecord]) -> None:
        """Look everything up that these records may touch, in one query for each kind."""
        self._load_links(connection, records)
        new = [record for record in records if key_of(record) not in self.links]
        self._load_holders(connection, {isbn for record in new for isbn in record.book.isbns})
        items = [copy for record in records for copy in record.book.copies]
        self._load_copies(connection, {copy.barcode for copy in items if copy.barcode})
        if items:
            query = select(Branch.code, Branch.sort_name).order_by(Branch.code)
            for code, name in connection.execute(query):
                self.add_branch(code, name)

    def add_branch(self, code: str, folded_name: str) -> None:
        """Know a branch by its code and by its name."""
        self.branches.add(code)
        self.branch_names.setdefault(folded_name, code)

    def _load_links(self, connection: Connection, records: Sequence[SourceRecord]) -> None:
        keys = {key_of(record) for record in records} - self.links.keys()
        numbered = [number for agency, number in keys if agency is not None]
        hashes = [number for agency, number in keys if agency is None]
        agencies = {agency for agency, _ in keys if agency is not None}
        table = SourceLink
        columns = (table.id, table.agency, table.control_number, table.content_hash, table.book_id)
        if numbered:
            query = select(*columns).where(
                among(connection, table.control_number, numbered),
                among(connection, table.agency, agencies),
            )
            for identity, agency, number, content_hash, book in connection.execute(query):
                if (key := (agency, number)) in keys:
                    self.links[key] = Link(content_hash, id_hex(book), id_hex(identity))
        if hashes:
            query = select(*columns).where(
                table.control_number.is_(None), among(connection, table.content_hash, hashes)
            )
            for identity, _, _, content_hash, book in connection.execute(query):
                self.links[None, content_hash] = Link(content_hash, id_hex(book), id_hex(identity))

    def _load_holders(self, connection: Connection, isbns: set[str]) -> None:
        missing = isbns - self.holders.keys()
        if missing:
            query = (
                select(BookISBN.isbn, BookISBN.book_id, Book.sort_title)
                .join(BookISBN.book)
                .where(among(connection, BookISBN.isbn, missing))
            )
            for isbn, book, title in connection.execute(query):
                self.holders.setdefault(isbn, {})[id_hex(book)] = title

    def _load_copies(self, connection: Connection, barcodes: set[str]) -> None:
        missing = barcodes - self.copies.keys()
        if missing:
            columns = Copy.__table__.c
            query = select(columns.barcode, Copy.id, Copy.book_id, Copy.material_type)
            found = connection.execute(query.where(among(connection, columns.barcode, missing)))
            for barcode, identity, book, material_type in found:
                self.copies[barcode] = KnownCopy(id_hex(identity), id_hex(book), material_type)


def key_of(record: SourceRecord) -> Key:
    """By what a record is known when it comes again."""
    if record.control_number is None:
        return None, record.content_hash
    return record.agency or "", record.control_number


def titles_agree(one: str, other: str) -> bool:
    """Whether two folded titles are the same, or one begins with all words of the other.

    Catalogues differ in whether a subtitle or the title of a part belongs to the title.
    """
    return one == other or one.startswith(f"{other} ") or other.startswith(f"{one} ")


def holders_of(known: Known, isbns: Iterable[str]) -> dict[str, str]:
    """The books that hold any of these ISBNs, with their folded titles."""
    return {book: title for isbn in isbns for book, title in known.holders.get(isbn, {}).items()}
