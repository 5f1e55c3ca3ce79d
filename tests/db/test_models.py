"""Rules for all tables: their constraints have names, and their foreign keys indexes."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Column, ForeignKeyConstraint, Table, UniqueConstraint

from circdesk.db.models import Base

TABLES = list(Base.metadata.tables.values())


def each(table: Table) -> str:
    return table.name


def leading_columns(table: Table) -> Iterator[Column[object]]:
    """The first column of the key and of each index and unique constraint."""
    yield next(iter(table.primary_key.columns))
    yield from (next(iter(index.columns)) for index in table.indexes)
    for item in table.constraints:
        if isinstance(item, UniqueConstraint):
            yield next(iter(item.columns))


@pytest.mark.parametrize("table", TABLES, ids=each)
class TestEveryTable:
    def test_foreign_keys_are_indexed(self, table: Table) -> None:
        indexed = {column.name for column in leading_columns(table)}
        foreign = {
            next(iter(item.columns)).name
            for item in table.constraints
            if isinstance(item, ForeignKeyConstraint)
        }

        assert foreign - indexed == set()

    def test_constraints_and_indexes_have_names_that_postgresql_keeps(self, table: Table) -> None:
        names = [*(c.name for c in table.constraints), *(i.name for i in table.indexes)]

        assert all(isinstance(name, str) and len(name) <= 63 for name in names)
        assert len(set(names)) == len(names)
