"""What authors and subjects share: a name by which there is only one of each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from circdesk import clock
from circdesk.catalog import search
from circdesk.catalog.checks import suggestion
from circdesk.catalog.models import Author, Book, BookAuthor, BookSubject, Subject
from circdesk.contract.problems import Problem, fault
from circdesk.contract.requests import NotFound
from circdesk.db.errors import DatabaseBusy, raises_on
from circdesk.db.pagination import Page, PageQuery, paginate
from circdesk.db.rows import engine_of
from circdesk.db.text import sort_key
from circdesk.db.versions import raise_if_modified, show_version

JSON = dict[str, Any]
Named = Author | Subject
_BOOKS_NAMED = 20


class NameQuery(PageQuery):
    """What lists of authors and of subjects are asked with."""

    name: str | None


@dataclass(frozen=True, slots=True)
class Names:
    """One kind of name: authors or subjects.

    Args:
        model: Its table.
        member: The table that says which books have which of them.
        noun: What one of them is called in the contract.
        exists: The problem of a name that another one has.
        in_use: The problem of deleting what books have.
    """

    model: type[Author] | type[Subject]
    member: type[BookAuthor] | type[BookSubject]
    noun: str
    exists: type[Problem]
    in_use: type[Problem]

    def list_page(self, session: Session, query: NameQuery) -> Page:
        """One page of those whose name contains what is asked for."""
        found = select(self.model.id)
        if query["name"] is not None:
            key = sort_key(query["name"])
            found = found.where(self.model.sort_name.contains(key, autoescape=True))
        return paginate(
            session,
            found,
            sorts={"name": (self.model.sort_name,)},
            query=query,
            present=_present,
            scope=f"list_{self.noun}s",
            show=lambda part: self._shown().join(part, part.c.id == self.model.id),
        )

    def create(self, session: Session, content: JSON) -> JSON:
        """Add one. Raises `exists`."""
        named = self.model()
        self._rename(session, named, content["name"])
        return self.read(session, named.id)

    def read(self, session: Session, identity: UUID) -> JSON:
        """One, with the number of its books. Raises NotFound."""
        row = session.execute(self._shown().where(self.model.id == identity)).one_or_none()
        if row is None:
            raise self._not_found(identity)
        show_version(session, row)
        return _present(row)

    def change(self, session: Session, identity: UUID, changes: JSON) -> JSON:
        """Set what the changes name; books are found by a new name at once.

        Raises NotFound, PreconditionFailed and `exists`.
        """
        named = self._locked(session, identity)
        if "name" in changes:
            self._rename(session, named, changes["name"])
            self._index_books(session, identity)
        return self.read(session, identity)

    def delete(self, session: Session, identity: UUID) -> None:
        """Delete one. Raises NotFound, PreconditionFailed, and `in_use` where books have it."""
        named = self._locked(session, identity)
        if books := self._books_of(session, identity):
            raise self._in_use(named, books)
        table = self.member.__tablename__
        constraint = f"fk_{table}_{self.noun}_id_{self.model.__tablename__}"
        # A book may get it in another transaction in the meantime.
        with raises_on(constraint, self._in_use(named, [])):
            session.execute(delete(self.model).where(self.model.id == identity))

    def find_or_create(
        self, session: Session, given: Sequence[JSON]
    ) -> tuple[list[UUID], list[JSON]]:
        """The ids of what a book's body names by `{id}` or `{name}`, each once, in their order.

        Names that nobody has are created; others may be doing the same at this moment. The
        second list has a fault for each id that nobody has.
        """
        keys = {sort_key(entry["name"]): entry["name"] for entry in given if "name" in entry}
        known = self._by_key(session, keys)
        if missing := sorted(keys.keys() - known.keys()):
            self._insert(session, [(key, keys[key]) for key in missing])
            known |= self._by_key(session, missing)
        there = self._there(session, [UUID(entry["id"]) for entry in given if "id" in entry])
        if len(known) < len(keys):
            # Whoever had created it has deleted it again between our two statements.
            message = "Somebody else is changing the same names."
            raise DatabaseBusy(message, headers={"Retry-After": "1"})
        ids = [
            UUID(entry["id"]) if "id" in entry else known[sort_key(entry["name"])]
            for entry in given
        ]
        return [*dict.fromkeys(ids)], [*self._faults(ids, there | {*known.values()})]

    def _faults(self, ids: Sequence[UUID], there: set[UUID]) -> Iterator[JSON]:
        for place, identity in enumerate(ids):
            if identity not in there:
                message = f"no {self.noun} has the id {identity}"
                yield fault("body", f"/{self.noun}s/{place}/id", "reference", message)

    def _by_key(self, session: Session, keys: Sequence[str] | dict[str, str]) -> dict[str, UUID]:
        if not keys:
            return {}
        query = select(self.model.sort_name, self.model.id).where(self.model.sort_name.in_(keys))
        # Locked as by a foreign key, they stay until the book that names them is stored.
        rows = session.execute(query.with_for_update(read=True, key_share=True))
        return {row.sort_name: row.id for row in rows}

    def _there(self, session: Session, ids: Sequence[UUID]) -> set[UUID]:
        if not ids:
            return set()
        query = select(self.model.id).where(self.model.id.in_(ids))
        return {*session.scalars(query.with_for_update(read=True, key_share=True))}

    def _insert(self, session: Session, names: Sequence[tuple[str, str]]) -> None:
        insert = postgresql.insert if engine_of(session) == "postgresql" else sqlite.insert
        now = clock.now()
        rows = [
            {"id": uuid7(), "name": name, "sort_name": key, "created_at": now, "updated_at": now}
            for key, name in names
        ]
        session.execute(insert(self.model).on_conflict_do_nothing(), rows)

    def _rename(self, session: Session, named: Named, name: str) -> None:
        key = sort_key(name)
        other = session.execute(
            select(self.model.id, self.model.name).where(self.model.sort_name == key)
        ).one_or_none()
        if other is not None and other.id != named.id:
            raise self._exists(other.name, other.id)
        named.name, named.sort_name = name, key
        session.add(named)
        with raises_on(f"uq_{self.model.__tablename__}_sort_name", self._exists(name, None)):
            session.flush()

    def _index_books(self, session: Session, identity: UUID) -> None:
        ids = select(self.member.book_id).where(self._of(identity))
        # Whoever is changing one of the books reads the new name, or is waited for.
        locked = select(Book.id).where(Book.id.in_(ids)).order_by(Book.id)
        books = session.scalars(locked.with_for_update(key_share=True)).all()
        search.index_books(session, books)

    def _locked(self, session: Session, identity: UUID) -> Named:
        """It, locked, and of a version that the caller knows."""
        lock = {"key_share": True}
        named: Named | None = session.get(self.model, identity, with_for_update=lock)  # type: ignore[assignment]  # The union is taken for its base.
        if named is None:
            raise self._not_found(identity)
        raise_if_modified(session, named)
        return named

    def _shown(self) -> Any:
        count = select(func.count()).where(self._of(self.model.id)).correlate(self.model)
        model = self.model
        books_count = count.scalar_subquery().label("books_count")
        return select(
            model.id, model.name, books_count, model.created_at, model.updated_at, model.version
        )

    def _of(self, identity: Any) -> Any:
        column = getattr(self.member, f"{self.noun}_id")
        return column == identity

    def _books_of(self, session: Session, identity: UUID) -> Sequence[Any]:
        query = select(Book.id, Book.title).join(self.member).where(self._of(identity))
        return session.execute(query.order_by(Book.id).limit(_BOOKS_NAMED)).all()

    def _not_found(self, identity: UUID) -> NotFound:
        return NotFound(f"No {self.noun} has the id {identity}.")

    def _exists(self, name: str, identity: UUID | None) -> Problem:
        message = f"The {self.noun} {name!r} exists already."
        calls = []
        if identity is not None:
            parameters = {f"{self.noun}_id": str(identity)}
            calls = [suggestion(f"get_{self.noun}", parameters, reason="It has this name.")]
        return self.exists(
            message, details=[fault("body", "/name", "unique", message)], suggestions=calls
        )

    def _in_use(self, named: Named, books: Sequence[Any]) -> Problem:
        return self.in_use(
            f"Books still have the {self.noun} {named.name!r}.",
            details=[
                fault("path", f"/{self.noun}_id", "in_use", f"{book.title!r} has it", str(book.id))
                for book in books
            ],
            suggestions=[
                suggestion(
                    "list_books",
                    {self.noun: str(named.id)},
                    reason="These are the books that have it.",
                )
            ],
        )


def _present(row: Any) -> JSON:
    """An author or a subject as the contract shows it."""
    return {
        "id": row.id,
        "name": row.name,
        "books_count": row.books_count,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }
