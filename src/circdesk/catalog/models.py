"""Tables of the catalogue: books, authors, subjects, branches and copies."""

from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    Identity,
    Index,
    Integer,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from circdesk.db.base import Base, Identified, Moment, SortableText, Timestamped, when_created
from circdesk.db.touches import Touches
from circdesk.db.versions import Versioned

# What stands for "no year" where lists are sorted by year, so that the key is never null.
NO_YEAR = -10_000


class Book(Identified, Timestamped, Versioned, Base):
    """A title that the library knows; its copies are what can be lent."""

    __tablename__ = "books"
    # The database deletes the lists of a book with it, and names tell how many books they have.
    __touches__ = Touches(("books", "books:{id}"), deleting=("authors", "subjects"))
    __table_args__ = (
        Index(None, "sort_title", "id"),
        Index(None, "sort_year", "id"),
        Index(None, "created_at", "id"),
    )

    title: Mapped[str]
    # The title folded, and the year or NO_YEAR: never null, because lists are sorted by them.
    sort_title: Mapped[SortableText]
    sort_year: Mapped[int]
    subtitle: Mapped[str | None]
    publisher: Mapped[str | None]
    year: Mapped[int | None]
    language: Mapped[str | None] = mapped_column(index=True)
    summary: Mapped[str | None]
    material_type: Mapped[str] = mapped_column(index=True)
    edition: Mapped[str | None]
    # Set by hand: lists of the book are tables of their own, and `edited_fields` are no change.
    updated_at: Mapped[Moment] = mapped_column(default=when_created, sort_order=101)
    # Names of the fields that a person has set; an import leaves these alone.
    edited_fields: Mapped[list[str]] = mapped_column(JSON, default=list)

    isbns: Mapped[list["BookISBN"]] = relationship(
        back_populates="book",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="BookISBN.position",
        lazy="raise_on_sql",
    )
    authors: Mapped[list["BookAuthor"]] = relationship(
        back_populates="book",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="BookAuthor.position",
        lazy="raise_on_sql",
    )
    subjects: Mapped[list["BookSubject"]] = relationship(
        back_populates="book",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="BookSubject.position",
        lazy="raise_on_sql",
    )
    copies: Mapped[list["Copy"]] = relationship(
        back_populates="book", passive_deletes="all", lazy="raise_on_sql"
    )


class BookISBN(Base):
    """An ISBN-13 of a book; several books may carry the same, as publishers reuse them."""

    __tablename__ = "book_isbns"
    __touches__ = Touches(("books", "books:{book_id}"))

    book_id: Mapped[UUID] = mapped_column(
        ForeignKey("books.id", ondelete="CASCADE"), primary_key=True
    )
    isbn: Mapped[str] = mapped_column(primary_key=True, index=True)
    position: Mapped[int]

    book: Mapped[Book] = relationship(back_populates="isbns", lazy="raise_on_sql")


class Author(Identified, Timestamped, Versioned, Base):
    """A person or body that books are by; two names that fold alike are one author."""

    __tablename__ = "authors"
    # Books show the names of their authors.
    __touches__ = Touches(("authors",), updating=("books", "books:*"))

    name: Mapped[str]
    sort_name: Mapped[SortableText] = mapped_column(unique=True)

    books: Mapped[list["BookAuthor"]] = relationship(
        back_populates="author", passive_deletes="all", lazy="raise_on_sql"
    )


class BookAuthor(Base):
    """An author at their place among the authors of a book."""

    __tablename__ = "book_authors"
    __touches__ = Touches(("books", "books:{book_id}", "authors"))

    book_id: Mapped[UUID] = mapped_column(
        ForeignKey("books.id", ondelete="CASCADE"), primary_key=True
    )
    author_id: Mapped[UUID] = mapped_column(ForeignKey("authors.id"), primary_key=True, index=True)
    position: Mapped[int]

    book: Mapped[Book] = relationship(back_populates="authors", lazy="raise_on_sql")
    author: Mapped[Author] = relationship(back_populates="books", lazy="raise_on_sql")


class Subject(Identified, Timestamped, Versioned, Base):
    """A heading that books are found under; two names that fold alike are one subject."""

    __tablename__ = "subjects"
    __touches__ = Touches(("subjects",), updating=("books", "books:*"))

    name: Mapped[str]
    sort_name: Mapped[SortableText] = mapped_column(unique=True)

    books: Mapped[list["BookSubject"]] = relationship(
        back_populates="subject", passive_deletes="all", lazy="raise_on_sql"
    )


class BookSubject(Base):
    """A subject at its place among the subjects of a book."""

    __tablename__ = "book_subjects"
    __touches__ = Touches(("books", "books:{book_id}", "subjects"))

    book_id: Mapped[UUID] = mapped_column(
        ForeignKey("books.id", ondelete="CASCADE"), primary_key=True
    )
    subject_id: Mapped[UUID] = mapped_column(
        ForeignKey("subjects.id"), primary_key=True, index=True
    )
    position: Mapped[int]

    book: Mapped[Book] = relationship(back_populates="subjects", lazy="raise_on_sql")
    subject: Mapped[Subject] = relationship(back_populates="books", lazy="raise_on_sql")


class BookText(Base):
    """What full-text search reads of a book, folded; written by `circdesk.catalog.search` alone.

    It stands beside the book, so that lists read narrow rows. What the engines search belongs
    to the migrations: on PostgreSQL a generated column `document`, the weighted `tsvector` of
    the texts, with a GIN index; on SQLite the FTS5 table `book_search`, kept by triggers.
    """

    __tablename__ = "book_texts"
    # FTS5 needs an integer key that stays; Identity is for PostgreSQL, rowid for SQLite.
    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), Identity(), primary_key=True
    )
    book_id: Mapped[UUID] = mapped_column(ForeignKey("books.id", ondelete="CASCADE"), unique=True)
    title: Mapped[str]
    people: Mapped[str]
    subjects: Mapped[str]
    rest: Mapped[str]
    # Titles and names in other scripts, which imports alone know: they stay when the book is
    # edited, unlike the other texts, which are made anew from the book.
    variants: Mapped[str]


class Branch(Identified, Timestamped, Versioned, Base):
    """A place where copies stand and the desk is open at certain hours."""

    __tablename__ = "branches"
    __touches__ = Touches(("branches",))

    code: Mapped[SortableText] = mapped_column(unique=True)
    name: Mapped[str]
    sort_name: Mapped[SortableText] = mapped_column(index=True)
    address: Mapped[str | None]
    time_zone: Mapped[str]
    # By weekday, `{"monday": [{"opens": "10:00", "closes": "18:00"}]}`; a missing day is closed.
    opening_hours: Mapped[dict[str, Any]] = mapped_column(JSON)
    closed_days: Mapped[list[str]] = mapped_column(JSON)

    copies: Mapped[list["Copy"]] = relationship(
        back_populates="branch", passive_deletes="all", lazy="raise_on_sql"
    )


class Copy(Identified, Timestamped, Versioned, Base):
    """One physical or licensed item of a book."""

    __tablename__ = "copies"
    # A book shows how many of its copies are available.
    __touches__ = Touches(("copies", "copies:{id}", "books:{book_id}"))
    __table_args__ = (
        # Each book that is shown counts its copies and those of them that are available. SQLite
        # without statistics takes an index on the status alone for as good as one on the book.
        Index(None, "book_id", "status"),
        Index(None, "branch_id", "status"),
        Index(None, "created_at", "id"),
    )

    book_id: Mapped[UUID] = mapped_column(ForeignKey("books.id"))
    branch_id: Mapped[UUID] = mapped_column(ForeignKey("branches.id"))
    barcode: Mapped[str | None] = mapped_column(unique=True)
    status: Mapped[str] = mapped_column(index=True)
    shelf_mark: Mapped[str | None]
    material_type: Mapped[str]
    loanable: Mapped[bool]
    # The last event of the desk that changed it; see `circdesk.circulation.models`.
    event_id: Mapped[UUID | None]

    book: Mapped[Book] = relationship(back_populates="copies", lazy="raise_on_sql")
    branch: Mapped[Branch] = relationship(back_populates="copies", lazy="raise_on_sql")


# What an import writes to, by statements of its own.
CATALOG = (Book, BookISBN, BookAuthor, BookSubject, Author, Subject, Branch, Copy)
