"""Rows of columns, read past the ORM, and statements that are put together once for each shape.

To put a statement of a list together, and to look up how it is compiled, takes SQLAlchemy longer
than PostgreSQL takes to answer it. What changes from one request to the next is only its values.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Result, Select
from sqlalchemy.orm import Session

AnySelect = Select[*tuple[Any, ...]]
Values = Mapping[str, Any]

# There are as many shapes as lists, times the sorts and the filters that somebody has combined.
_MOST_SHAPES = 1000


def engine_of(session: Session) -> str:
    """The name of the engine that the session speaks to, `postgresql` or `sqlite`."""
    return session.get_bind().dialect.name


def read_rows(
    session: Session, statement: AnySelect, values: Values | None = None
) -> Result[*tuple[Any, ...]]:
    """What a statement of columns, not of entities, selects.

    Args:
        session: The session of a unit of work; what waits in it to be stored is stored first.
        statement: One that is kept from request to request is found compiled much faster.
        values: Those of its named parameters.
    """
    if session.autoflush:
        session.flush()
    return session.connection().execute(statement, values)


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
    return read_rows(session, statement, values).one_or_none()
