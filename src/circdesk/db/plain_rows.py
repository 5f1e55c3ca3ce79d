"""Rows past the ORM: read into plain objects, and stored in as few statements as there can be.

To load an entity, to watch what is changed of it, and to flush it takes SQLAlchemy longer than
PostgreSQL takes to do what is asked. What is done at the desk all day does without.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, cast
from uuid import UUID

from sqlalchemy import Insert, Table, Update, bindparam, insert, update
from sqlalchemy.orm import Session

from circdesk.db.base import Base
from circdesk.db.direct import execute
from circdesk.db.rows import MOST_KEPT, engine_of
from circdesk.db.touches import note_row

Model = TypeVar("Model", bound=Base)

# What is done at the desk writes no more rows than this, unless it is done to many at once.
_MOST_AT_ONCE = 12


class PlainRow:
    """A row of a table: its columns as attributes, None where they were not read or set.

    No session knows it, so that to change it stores nothing.
    """

    __table__: ClassVar[Table]
    __tablename__: ClassVar[str]

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


def plain(model: type[Model]) -> type[Model]:
    """A class of plain rows that, to whoever only asks for its columns, are entities."""
    table = cast("Table", model.__table__)
    members = dict.fromkeys(table.c.keys()) | {
        "__table__": table, "__tablename__": table.name,
        "__touches__": getattr(model, "__touches__", None),
    }  # fmt: skip
    return cast("type[Model]", type(f"Plain{model.__name__}", (PlainRow,), members))


def is_plain(row: object) -> bool:
    """Whether it is a plain row, and no entity."""
    return isinstance(row, PlainRow)


class Part(Generic[Model]):
    """The columns of one table in what a statement selects.

    Args:
        model: The table.
        names: The columns, but for `id`, which is always the first; without any it is all.
        alias: What the statement calls the table, if not by its name.
    """

    def __init__(self, model: type[Model], *names: str, alias: Any = None) -> None:
        self._names = ("id", *names) if names else (*model.__table__.c.keys(),)
        self._plain = plain(model)
        self.columns = [getattr(alias or model, name) for name in self._names]

    def take(self, values: Iterator[Any]) -> Model | None:
        """The next values of a row that was read; None where the table was joined in vain."""
        # The names are the first to end, so that nothing is taken of what comes after.
        found = self._plain(**dict(zip(self._names, values, strict=False)))
        return None if found.id is None else found  # type: ignore[attr-defined]


class _Shape(NamedTuple):
    """What the statement of a write depends on."""

    table: Table
    is_new: bool
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Write:
    """A row that is to be stored.

    Args:
        table: Where.
        values: Its columns; of a new row all that Python has the default of.
        key: The id of the row that is changed, which is locked; None for a new one.
        row: The plain row that it is. What tells what it touches does not change.
    """

    table: Table
    values: Mapping[str, Any]
    key: UUID | None = None
    row: Any = None

    @classmethod
    def of(cls, row: Any, changed: Iterable[str] | None = None) -> "Write":
        """How a plain row is stored: as a new one, or these columns of it."""
        if changed is None:
            return cls(row.__table__, vars(row), row=row)
        return cls(row.__table__, {name: getattr(row, name) for name in changed}, row.id, row)


def write_rows(session: Session, writes: Collection[Write]) -> None:
    """Store rows: a few in one statement, and of many all of a shape at once.

    SQLite, which has no round trips, takes a statement for each shape.
    """
    connection = session.connection()
    for write in writes:
        if write.row is not None:
            note_row(session, write.row, is_new=write.key is None)
    if len(writes) <= _MOST_AT_ONCE and engine_of(session) == "postgresql":
        values: dict[str, Any] = {}
        for place, write in enumerate(writes):
            values |= _parameters(write, place)
        execute(connection, _statement(tuple(map(_shape, writes))), values)
        return
    shapes: dict[_Shape, list[Write]] = defaultdict(list)
    for write in writes:
        shapes[_shape(write)].append(write)
    for shape, same in shapes.items():
        connection.execute(_statement((shape,)), [_parameters(write, 0) for write in same])


def _shape(write: Write) -> _Shape:
    return _Shape(write.table, write.key is None, tuple(write.values))


@lru_cache(MOST_KEPT)
def _statement(shapes: Sequence[_Shape]) -> Insert | Update:
    """A write of each shape, all but the last as parts of a `WITH`.

    None of them sees what another one does, so that they must not depend on each other.
    """
    *others, last = (_write(shape, place) for place, shape in enumerate(shapes))
    return last.add_cte(*(write.cte(f"write_{place}") for place, write in enumerate(others)))


def _write(shape: _Shape, place: int) -> Insert | Update:
    columns = shape.table.c
    values: dict[str, Any] = {
        name: bindparam(f"{name}_{place}", type_=columns[name].type) for name in shape.names
    }
    if shape.is_new:
        return insert(shape.table).values(values)
    if "version" in columns:
        values["version"] = columns.version + 1
    key = bindparam(f"key_{place}", type_=columns.id.type)
    return update(shape.table).where(columns.id == key).values(values)


def _parameters(write: Write, place: int) -> dict[str, Any]:
    named = {f"{name}_{place}": value for name, value in write.values.items()}
    return named if write.key is None else {**named, f"key_{place}": write.key}
