"""What each record of a batch amounts to: a new book, a change to one, or nothing."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from uuid_utils import uuid7

from circdesk.catalog.book_contents import FIELDS
from circdesk.catalog.imports.reading.records import Refusal, SourceBook, SourceCopy, SourceRecord
from circdesk.catalog.imports.writing.matching import (
    Key,
    Known,
    Link,
    holders_of,
    key_of,
    titles_agree,
)
from circdesk.catalog.imports.writing.tally import Issue, Kind, Tally
from circdesk.db.text import sort_key


@dataclass(slots=True)
class Draft:
    """A book as the records of a batch want it.

    `joined` says that a record of another source fed it, which adds to the book and takes
    nothing away; `record` is the last that did, for what there is to report.
    """

    book: str
    content: SourceBook
    record: SourceRecord
    new: bool
    joined: bool = False


@dataclass(slots=True)
class Plan:
    """Everything that a batch does, before any of it is done."""

    known: Known
    drafts: dict[str, Draft] = field(default_factory=dict)
    links: dict[Key, Link] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    issues: list[Issue] = field(default_factory=list)

    def add(self, item: SourceRecord | Refusal) -> None:
        """Decide what becomes of a record, with all that came before it in mind."""
        if isinstance(item, Refusal):
            self._refuse(item)
            return
        for note in item.notes:
            self.note(item, "left_out", note)
        self.tally.count(self._decide(item))

    def note(self, record: SourceRecord, reason: str, message: str) -> None:
        """Report something about a record that is taken all the same."""
        self._report(Issue(record.position, record.control_number, "note", reason, message))

    def _refuse(self, item: Refusal) -> None:
        self.tally.count("refused")
        number = item.control_number
        self._report(Issue(item.position, number, "refused", item.reason, item.message))

    def _report(self, issue: Issue) -> None:
        self.issues.append(issue)
        self.tally.issues_count += 1

    def _decide(self, record: SourceRecord) -> Kind:
        key = key_of(record)
        link = self.known.links.get(key)
        if link is None:
            return self._begin(record, key)
        if link.content_hash == record.content_hash:
            return "unchanged"
        link.content_hash, link.changed = record.content_hash, True
        self.links[key] = link
        self._feed(link.book, record, joined=False)
        return "updated"

    def _begin(self, record: SourceRecord, key: Key) -> Kind:
        """Take a record that was never seen: into the one book that it fits, or a new one."""
        book = self._fitting_book(record)
        joined = book is not None
        if book is None:
            book = uuid7().hex
            self.drafts[book] = Draft(book, record.book, record, new=True)
            self._hold_isbns(book, record.book)
        else:
            self._feed(book, record, joined=True)
        self.known.links[key] = self.links[key] = Link(record.content_hash, book)
        return "updated" if joined else "created"

    def _fitting_book(self, record: SourceRecord) -> str | None:
        holders = holders_of(self.known, record.book.isbns)
        if not holders:
            return None
        if len(holders) > 1:
            message = f"Its ISBNs are those of {len(holders)} books; it became a book of its own."
            self.note(record, "isbn_ambiguous", message)
            return None
        ((book, title),) = holders.items()
        if titles_agree(title, sort_key(record.book.title)):
            return book
        message = "Its ISBN is that of a book with another title; it became a book of its own."
        self.note(record, "isbn_title_differs", message)
        return None

    def _feed(self, book: str, record: SourceRecord, *, joined: bool) -> None:
        draft = self.drafts.get(book)
        if draft is None:
            self.drafts[book] = Draft(book, record.book, record, new=False, joined=joined)
        else:
            draft.content = settle(draft.content, record.book, joined=joined)
            draft.content = replace(
                draft.content, copies=tuple(_all_copies(draft.content.copies, record.book.copies))
            )
            draft.record, draft.joined = record, draft.joined or joined
        self._hold_isbns(book, record.book)

    def _hold_isbns(self, book: str, content: SourceBook) -> None:
        for isbn in content.isbns:
            self.known.holders.setdefault(isbn, {}).setdefault(book, sort_key(content.title))


def settle(
    old: SourceBook, new: SourceBook, *, joined: bool, kept: Iterable[str] = ()
) -> SourceBook:
    """The book that `new` makes of `old`, but for the fields named in `kept`.

    A later state of the same record replaces the former one; a record that joined from another
    source replaces what it knows, and takes no ISBN away.
    """
    values = {name: getattr(old, name) for name in kept}
    if joined:
        for name in FIELDS:
            if not getattr(new, name):
                values[name] = getattr(old, name)
        values.setdefault("isbns", tuple(dict.fromkeys((*old.isbns, *new.isbns))))
    return replace(new, copies=old.copies, **values) if values else replace(new, copies=old.copies)


def _all_copies(old: Sequence[SourceCopy], new: Sequence[SourceCopy]) -> Iterator[SourceCopy]:
    """Every copy that either state of a record has, in its later state."""
    later = {copy.barcode for copy in new if copy.barcode}
    yield from (copy for copy in old if copy.barcode not in later and copy not in new)
    yield from new
