"""Which resources a transaction touches: noted as it writes, told to all once it is committed.

A model says in `__touches__` which resources a change of one of its rows touches. Sessions that
write note it by themselves, whether they flush objects or execute statements. What is written
without a session, as imports do, is told by `touch_whole`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import eq
from typing import Any

from sqlalchemy import BinaryExpression, BindParameter, Engine, event, inspect
from sqlalchemy.orm import ORMExecuteState, Session

from circdesk.db.engine import GENERATIONS
from circdesk.db.generations import Generations
from circdesk.db.sessions import WritingSession

# Under this key a session keeps what it has touched.
_TOUCHED = "circdesk_touched"

_COLUMN = re.compile(r"\{(\w+)\}")
# It stands for every row where it is not known which.
_EVERY = "*"

# The values of a row's columns, as far as they are known; a change may have two of them.
Values = Mapping[str, Iterable[Any]]


@dataclass(frozen=True, slots=True)
class Touches:
    """The resources that a change of a row touches.

    In `books:{id}` stands the value of the row's column `id`, or `*` where it is not known; who
    keeps something of a single row depends on `books:*` too.

    Attributes:
        always: Whatever the change.
        updating: Besides, when a row that was there is changed.
        deleting: Besides, when it is deleted, as the database deletes other rows with it.
    """

    always: tuple[str, ...]
    updating: tuple[str, ...] = ()
    deleting: tuple[str, ...] = ()

    def everything(self) -> tuple[str, ...]:
        """The resources that any change may touch."""
        return (*self.always, *self.updating, *self.deleting)


@event.listens_for(WritingSession, "after_flush")
def _note_flushed(session: Session, _context: object) -> None:
    for row in session.new:
        _note(session, row, lambda touches: touches.always)
    for row in session.dirty:
        if session.is_modified(row):
            _note(session, row, lambda touches: touches.always + touches.updating)
    for row in session.deleted:
        _note(session, row, lambda touches: touches.always + touches.deleting)


def _note(session: Session, row: object, kind: Any) -> None:
    touches = getattr(row, "__touches__", None)
    if touches is not None:
        _touched(session).update(_filled(kind(touches), _History(row)))


class _History(Mapping[str, Iterable[Any]]):
    """The values that columns of an object have, and had before the flush."""

    def __init__(self, row: object) -> None:
        self._attributes = inspect(row).attrs

    def __getitem__(self, name: str) -> Iterable[Any]:
        values: Iterable[Any] = self._attributes[name].history.sum()
        return values

    def __iter__(self) -> Iterator[str]:
        return iter(self._attributes.keys())

    def __len__(self) -> int:
        return len(self._attributes)


@event.listens_for(WritingSession, "do_orm_execute")
def _note_executed(state: ORMExecuteState) -> None:
    if not (state.is_insert or state.is_update or state.is_delete):
        return
    mapper = state.bind_mapper
    touches: Touches | None = getattr(mapper and mapper.class_, "__touches__", None)
    if touches is None:
        return
    if state.is_insert:
        resources = _filled(touches.always, _inserted(state.parameters))
    else:
        more = touches.updating if state.is_update else touches.deleting
        resources = _filled((*touches.always, *more), _wanted(state.statement))
    _touched(state.session).update(resources)


def _inserted(parameters: Any) -> Values:
    rows = [parameters] if isinstance(parameters, Mapping) else parameters or ()
    names = {name for row in rows for name in row}
    return {name: {row[name] for row in rows} for name in names if all(name in row for row in rows)}


def _wanted(statement: Any) -> Values:
    """The column and its value where the statement is for the rows with this value."""
    where = statement.whereclause
    if (
        isinstance(where, BinaryExpression)
        and where.operator is eq
        and isinstance(where.right, BindParameter)
    ):
        return {str(where.left.key): [where.right.effective_value]}
    return {}


def _filled(templates: Iterable[str], values: Values) -> Iterator[str]:
    for template in templates:
        column = _COLUMN.search(template)
        if column is None:
            yield template
            continue
        found = [value for value in values.get(column[1], ()) if value is not None]
        for value in found or [_EVERY]:
            yield template.replace(column[0], str(value))


def note_row(session: Session, row: Any, *, is_new: bool) -> None:
    """Note that the session has stored a row that it does not know."""
    touches: Touches | None = row.__touches__
    if touches is not None:
        values = {name: [value] for name, value in vars(row).items()}
        kind = touches.always if is_new else touches.always + touches.updating
        _touched(session).update(_filled(kind, values))


def _touched(session: Session) -> set[str]:
    touched: set[str] = session.info.setdefault(_TOUCHED, set())
    return touched


@event.listens_for(WritingSession, "after_commit")
def _tell_after_commit(session: Session) -> None:
    # A savepoint that is released has told nobody anything yet.
    if not session.in_nested_transaction():
        tell_touched(session)


def tell_touched(session: Session) -> None:
    """Give what the session has touched new generations; after its commit, also a doubtful one."""
    touched = session.info.pop(_TOUCHED, None)
    if touched:
        generations_of(session.get_bind().engine).touch(touched)


def note_whole(session: Session, *models: type) -> None:
    """Note that the session has written to these tables through its connection."""
    _touched(session).update(_whole(models))


def touch_whole(engine: Engine, *models: type) -> None:
    """Tell that a transaction without a session has written to these tables, after its commit."""
    generations_of(engine).touch({*_whole(models)})


def _whole(models: Iterable[Any]) -> Iterator[str]:
    for model in models:
        yield from _filled(model.__touches__.everything(), {})


def generations_of(engine: Engine) -> Generations:
    """The generations of what is in the engine's database."""
    generations: Generations = engine.get_execution_options()[GENERATIONS]
    return generations
