"""The catalogue as SQLAlchemy's documentation maps it, as far as the operations need it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    ForeignKey,
    Integer,
    Table,
    Text,
    Uuid,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column, relationship


class Base(DeclarativeBase):
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's name, read once.
        datetime: DateTime(timezone=True),
        str: Text,
        UUID: Uuid,
        dict[str, Any]: JSON,
        list[Any]: JSON,
    }


def _names(table: str, column: str, names: str) -> Table:
    return Table(
        table,
        Base.metadata,
        Column("book_id", ForeignKey("books.id"), primary_key=True),
        Column(column, ForeignKey(names), primary_key=True),
        Column("position", Integer),
    )


book_authors = _names("book_authors", "author_id", "authors.id")
book_subjects = _names("book_subjects", "subject_id", "subjects.id")


class Author(Base):
    __tablename__ = "authors"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]


class Subject(Base):
    __tablename__ = "subjects"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]


class BookISBN(Base):
    __tablename__ = "book_isbns"
    book_id: Mapped[UUID] = mapped_column(ForeignKey("books.id"), primary_key=True)
    isbn: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int]


class BookText(Base):
    __tablename__ = "book_texts"
    id: Mapped[int] = mapped_column(primary_key=True)
    book_id: Mapped[UUID] = mapped_column(ForeignKey("books.id"))
    document: Mapped[Any] = mapped_column(TSVECTOR)


class Branch(Base):
    __tablename__ = "branches"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    time_zone: Mapped[str]
    opening_hours: Mapped[dict[str, Any]]
    closed_days: Mapped[list[Any]]


class Copy(Base):
    __tablename__ = "copies"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    book_id: Mapped[UUID] = mapped_column(ForeignKey("books.id"))
    branch_id: Mapped[UUID] = mapped_column(ForeignKey("branches.id"))
    status: Mapped[str]
    material_type: Mapped[str]
    loanable: Mapped[bool] = mapped_column(Boolean)
    event_id: Mapped[UUID | None]
    updated_at: Mapped[datetime]
    version: Mapped[int] = mapped_column()
    branch: Mapped[Branch] = relationship()
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - the same.


class Book(Base):
    __tablename__ = "books"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    title: Mapped[str]
    sort_title: Mapped[str]
    sort_year: Mapped[int]
    subtitle: Mapped[str | None]
    publisher: Mapped[str | None]
    year: Mapped[int | None]
    language: Mapped[str | None]
    summary: Mapped[str | None]
    material_type: Mapped[str]
    edition: Mapped[str | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    authors: Mapped[list[Author]] = relationship(
        secondary=book_authors, order_by=book_authors.c.position, viewonly=True
    )
    subjects: Mapped[list[Subject]] = relationship(
        secondary=book_subjects, order_by=book_subjects.c.position, viewonly=True
    )
    isbn_rows: Mapped[list[BookISBN]] = relationship(order_by=BookISBN.position, viewonly=True)
    copies: Mapped[list[Copy]] = relationship(viewonly=True)

    @property
    def isbns(self) -> list[str]:
        return [row.isbn for row in self.isbn_rows]


def _count(*conditions: ColumnElement[bool]) -> Any:
    counted = select(func.count(Copy.id)).where(Copy.book_id == Book.id, *conditions)
    return column_property(counted.correlate_except(Copy).scalar_subquery())


Book.copies_total = _count()
Book.copies_available = _count(Copy.status == "available", Copy.loanable)
