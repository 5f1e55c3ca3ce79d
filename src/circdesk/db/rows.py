"""Rows of columns, read past the ORM, and statements that are put together once for each shape.

To put a statement of a list together, and to look up how it is compiled, takes SQLAlchemy longer
than PostgreSQL takes to answer it. What changes from one request to the next is only its values.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter
from sqlalchemy.orm import Session

from circdesk.db.direct import AnyRow, AnySelect, DirectEngine, Values, execute
from circdesk.db.sessions import WritingSession

# There are as many shapes as lists, times the sorts and the filters that somebody has combined.
_MOST_SHAPES = 1000
# Of each kind of statement that is kept.
MOST_KEPT = 200


def engine_of(session: Session) -> str:
    """The name of the engine that the session speaks to, `postgresql` or `sqlite`."""
    return session.get_bind().dialect.name


def read_rows(
    session: Session, statement: AnySelect, values: Values | None = None
) -> Sequence[AnyRow]:
    """What a statement of columns, not of entities, selects: rows that have them by name.

    Args:
        session: The session of a unit of work; what waits in it to be stored is stored first.
        statement: One that is kept from request to request is found compiled much faster.
        values: Those of its named parameters.
    """
    engine = session.get_bind()
    if isinstance(engine, DirectEngine) and not (engine.is_heard or session.in_transaction()):
        rows = engine.read(statement, values or {})
        if rows is not None:
            return rows
    if isinstance(session, WritingSession) and session.autoflush:
        return session.read(statement, values or {})
    return execute(session.connection(), statement, values or {})


@dataclass(frozen=True, slots=True)
class Shaped:
    """A statement that was made of another one of the same shape, and the values for this one."""

    statement: AnySelect
    values: Values


class Shapes:
    """Statements that are made of other statements, once for each shape of those.

    Two statements have the same shape if they differ only in the values of their parameters.
    """

    def __init__(self) -> None:
        self._made: dict[Hashable, tuple[AnySelect, Sequence[BindParameter[Any]]]] = {}
        self._made_of_kept: dict[Hashable, Shaped] = {}

    def find_kept(
        self, statement: AnySelect, kind: Hashable, make: Callable[[AnySelect], AnySelect]
    ) -> Shaped:
        """The same as `find`, for a statement that is itself kept from request to request."""
        # It is found by itself: no two statements are equal.
        found = self._made_of_kept.get((kind, statement))
        if found is None:
            found = Shaped(make(statement), {})
            if len(self._made_of_kept) >= _MOST_SHAPES:
                self._made_of_kept.clear()
            self._made_of_kept[kind, statement] = found
        return found

    def find(
        self, statement: AnySelect, kind: Hashable, make: Callable[[AnySelect], AnySelect]
    ) -> Shaped:
        """What `make` makes of the statement, or has made of one of this shape and kind before.

        Args:
            statement: What it is made of.
            kind: Whatever else `make` depends on.
            make: Its parameters must be named, but for those that the statement has.
        """
        shape = statement._generate_cache_key()  # noqa: SLF001  By it SQLAlchemy keeps what it compiles.
        if shape is None:
            return Shaped(make(statement), {})
        found = self._made.get((kind, shape.key))
        if found is None:
            found = make(statement), shape.bindparams
            if len(self._made) >= _MOST_SHAPES:
                self._made.clear()
            self._made[kind, shape.key] = found
        made, parameters = found
        values = {
            mine.key: theirs.effective_value
            for mine, theirs in zip(parameters, shape.bindparams, strict=True)
        }
        return Shaped(made, values)


def read_row(session: Session, statement: AnySelect, values: Values) -> Any:
    """The only row that `read_rows` reads, or None."""
    return next(iter(read_rows(session, statement, values)), None)
