"""Lists: the one way they are made, by page or by cursor, in two statements at most."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple, TypedDict

from sqlalchemy import FromClause, Integer, Label, Row, SQLColumnExpression, bindparam, func, select
from sqlalchemy.orm import Session

from circdesk.contract.problems import Problem, fault
from circdesk.db.cursors import CursorSigner, Key, beyond, canonical, invalid_cursor
from circdesk.db.direct import AnySelect, Values
from circdesk.db.engine import CURSOR_KEY
from circdesk.db.rows import Shapes, engine_of, read_rows

REACH = 10_000
# The cursor that stands before the first row of any list.
START = "start"
# The parameters of a part.
_LIMIT, _SKIPPED = "part_limit", "part_skipped"
_PLACE = frozenset(("page", "per_page", "cursor", "sort"))

JSON = dict[str, Any]
Present = Callable[[Row[*tuple[Any, ...]]], JSON]
Show = Callable[[FromClause], AnySelect]
Relation = Literal["exact", "at_least"]
Sorts = Mapping[str, Sequence[SQLColumnExpression[Any]]]


class PageQuery(TypedDict):
    """What every list is asked with; a list's own filters stand beside these."""

    page: int
    per_page: int
    cursor: str | None
    sort: str


class Page(NamedTuple):
    """A part of a list, from a page number or from a cursor; the latter knows no total.

    Args:
        items: The presented rows, at most `per_page`.
        per_page: How many were asked for.
        has_next: Whether more follow.
        has_cursor: Whether a list in this order can be walked by cursor at all.
        next_cursor: Where the next part begins, or None at the end.
        page: The number of the page, from 1, or None with a cursor.
        total: How many rows match, at most 10,000, or None with a cursor.
        total_relation: `exact`, or `at_least` where more than `total` match.
    """

    items: list[JSON]
    per_page: int
    has_next: bool
    has_cursor: bool
    next_cursor: str | None = None
    page: int | None = None
    total: int | None = None
    total_relation: Relation | None = None


class PageOutOfReach(Problem):
    """The page lies so deep that the rows before it would all have to be read."""

    code: ClassVar[str] = "page_out_of_reach"
    status: ClassVar[int] = 400
    title: ClassVar[str] = "The page is out of reach."
    advice: ClassVar[str] = (
        "page * per_page reaches 10,000. Walk long lists by cursor: send the one in suggestions, "
        "then each next_cursor. Or narrow the list with filters."
    )


def paginate(
    session: Session,
    statement: AnySelect,
    *,
    sorts: Sorts,
    query: PageQuery,
    present: Present,
    values: Values | None = None,
    unique: SQLColumnExpression[Any] | None = None,
    scope: str | None = None,
    without_cursor: Mapping[str, str] = MappingProxyType({}),
    show: Show | None = None,
    total: str | int | None = None,
) -> Page:
    """One part of the list that the statement selects, without order or limit of its own.

    The page costs one statement. The total costs a second one, which stops counting at 10,000,
    and none where the page shows that it is the last.

    Args:
        session: The session of a unit of work.
        statement: What the list holds; each row once. Its filters are those in the query.
        sorts: The columns of each sort, none of them nullable, directed as for its plain name;
            `-name` turns all of them round.
        query: Place, sort, and every filter, parts of the path included: a cursor is only good
            for the same ones.
        values: Those of the statement's own named parameters, where it is kept from request to
            request: so it is known how it is compiled.
        present: Makes an item of a row, whose columns are those of the statement and then some.
        unique: The column that decides among equals; by default the first entity's `id`.
        scope: The list's operationId; by default `list_` and the first entity's table.
        without_cursor: Sorts that have pages only, such as relevance, each with the sort that a
            walk by cursor may take instead.
        show: Selects what `present` wants to see of the rows of one part, given as a subquery, so
            that what is costly is not worked out for the rows before it.
        total: How many match, at least up to 10,001, where that is known already; or the label of
            a column that tells it in each row, where the statement knows it at little cost.

    Raises:
        CursorInvalid: The cursor was not made for this list, or came with a page.
        PageOutOfReach: `page * per_page` is more than 10,000.
    """
    if unique is None or scope is None:
        entity = statement.column_descriptions[0]["entity"]
        unique = entity.id if unique is None else unique
        scope = scope or f"list_{entity.__tablename__}"
    keys = _keys(sorts, query["sort"], unique)
    listing = _Listing(
        session,
        statement,
        keys,
        query,
        present,
        values,
        scope=scope,
        walked_by=without_cursor.get(query["sort"].removeprefix("-"), query["sort"]),
        show=show,
        total=total,
    )
    return listing.numbered() if query["cursor"] is None else listing.after(query["cursor"])


def _keys(sorts: Sorts, sort: str, unique: SQLColumnExpression[Any]) -> list[Key]:
    reverse = sort.startswith("-")
    keys = [Key.of(column, reverse=reverse) for column in sorts[sort.removeprefix("-")]]
    # The last of equals stays the last in either direction of an index on (key, id).
    return [*keys, Key(unique, keys[-1].descending)]


def _names(keys: Sequence[Key]) -> list[str]:
    """The names of the parameters that say after which row a part begins."""
    return [f"part_after_{place}" for place in range(len(keys))]


def _labelled(keys: Sequence[Key]) -> Iterator[Label[Any]]:
    # Under names of their own they never hide a column that the statement selects itself.
    return (key.column.label(f"sort_key_{place}") for place, key in enumerate(keys))


_shapes = Shapes()


@dataclass(frozen=True, slots=True)
class _Listing:
    """One request for a part of a list."""

    session: Session
    statement: AnySelect
    keys: Sequence[Key]
    query: PageQuery
    present: Present
    values: Values | None
    scope: str
    # The sort by which a cursor can walk the list; the one that was asked for, if it can.
    walked_by: str
    show: Show | None
    total: str | int | None

    @property
    def has_cursor(self) -> bool:
        return self.walked_by == self.query["sort"]

    def after(self, cursor: str) -> Page:
        if not self.has_cursor:
            reason = f"The sort {self.query['sort']!r} has pages and no cursor."
            raise invalid_cursor(reason, [self._by_cursor()])
        values = [] if cursor == START else self._signer().read(cursor)
        if self.query["page"] > 1:
            raise invalid_cursor("Send either a cursor or a page, not both.")
        return self._part(after=values)._replace(total=None)

    def numbered(self) -> Page:
        page, per_page = self.query["page"], self.query["per_page"]
        if page * per_page > REACH:
            raise self._out_of_reach()
        skipped = (page - 1) * per_page
        part = self._part(skipped=skipped)
        # Rows that were seen count even if they went while the others were counted.
        total = skipped + len(part.items) + part.has_next if part.items else 0
        if part.has_next or (page > 1 and not part.items):
            total = max(total, self._count() if part.total is None else part.total)
        relation: Relation = "at_least" if total > REACH else "exact"
        return part._replace(page=page, total=min(total, REACH), total_relation=relation)

    def _part(self, *, after: Sequence[Any] = (), skipped: int = 0) -> Page:
        per_page = self.query["per_page"]
        places = dict(zip(_names(self.keys), after, strict=False))
        rows = self._execute(
            ("part", bool(after), bool(skipped)),
            partial(self._shown, after=bool(after), skips=bool(skipped)),
            places | {_LIMIT: per_page + 1} | ({_SKIPPED: skipped} if skipped else {}),
        )
        shown, has_next = rows[:per_page], len(rows) > per_page
        next_cursor = None
        if has_next and self.has_cursor:
            next_cursor = self._signer().write(tuple(shown[-1])[-len(self.keys) :])
        items = [self.present(row) for row in shown]
        total = self.total
        if isinstance(total, str):
            total = getattr(rows[0], total) if rows else None
        return Page(items, per_page, has_next, self.has_cursor, next_cursor, total=total)

    def _execute(
        self, kind: tuple[object, ...], make: Callable[[AnySelect], AnySelect], values: JSON
    ) -> Sequence[Row[*tuple[Any, ...]]]:
        """The rows of what is made of the statement, by its kind and what all parts depend on."""
        of_list = (self.scope.partition(":")[0], self.query["sort"], engine_of(self.session))
        find = _shapes.find if self.values is None else _shapes.find_kept
        shaped = find(self.statement, (*of_list, *kind), make)
        values = {**shaped.values, **(self.values or {}), **values}
        # Entities are the session's; columns need nothing of it.
        if self.show is None:
            return self.session.execute(shaped.statement, values).all()
        return read_rows(self.session, shaped.statement, values)

    def _shown(self, statement: AnySelect, *, after: bool, skips: bool) -> AnySelect:
        part = self._ordered(statement).limit(bindparam(_LIMIT, type_=Integer))
        if after:
            part = part.where(beyond(self.keys, _names(self.keys)))
        if skips:
            part = part.offset(bindparam(_SKIPPED, type_=Integer))
        if self.show is None:
            return part
        narrow = part.subquery("part")
        places = [
            (key, narrow.c[label.name])
            for key, label in zip(self.keys, _labelled(self.keys), strict=True)
        ]
        columns = [narrow.c[self.total]] if isinstance(self.total, str) else []
        wide = self.show(narrow).add_columns(*columns, *(column for _, column in places))
        return wide.order_by(*(Key(column, key.descending).order for key, column in places))

    def _ordered(self, statement: AnySelect) -> AnySelect:
        keys = statement.add_columns(*_labelled(self.keys))
        return keys.order_by(*(key.order for key in self.keys))

    def _count(self) -> int:
        ((count,),) = self._execute(("count",), self._counted, {})
        return int(count)

    def _counted(self, statement: AnySelect) -> AnySelect:
        unique = self.keys[-1].column
        matches = statement.with_only_columns(unique, maintain_column_froms=True)
        return select(func.count()).select_from(matches.limit(REACH + 1).subquery())

    def _signer(self) -> CursorSigner:
        key: bytes = self.session.get_bind().get_execution_options()[CURSOR_KEY]
        filters = {name: value for name, value in self.query.items() if name not in _PLACE}
        return CursorSigner(key, "\n".join((self.scope, self.query["sort"], canonical(filters))))

    def _out_of_reach(self) -> PageOutOfReach:
        message = f"page * per_page is more than {REACH:,}."
        details = [fault("query", "/page", "reach", message)]
        return PageOutOfReach(message, details=details, suggestions=[self._by_cursor()])

    def _by_cursor(self) -> JSON:
        parameters = {name: value for name, value in self.query.items() if value is not None}
        del parameters["page"]
        parameters |= {"sort": self.walked_by, "cursor": START}
        return {
            "operation_id": self.scope,
            "parameters": parameters,
            "reason": "A cursor walks the whole list from its beginning, however long it is.",
        }
