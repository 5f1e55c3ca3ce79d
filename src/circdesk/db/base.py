"""What every table shares: names for constraints, column types that agree on both engines, keys."""

import uuid
from datetime import UTC, datetime
from typing import Annotated, Any

from sqlalchemy import DateTime, Dialect, MetaData, String, Text, TypeDecorator, Uuid
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeEngine
from uuid_utils.compat import uuid7

from circdesk import clock

# A constraint that is named by rule can be found by rule: in a migration, and in the error of a
# race that it lost.
NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """A moment, aware and in UTC on its way in and out; a naive datetime is a `ValueError`.

    SQLite has no type for it and gets text of one length, `2026-01-31T09:30:00.000000Z`, which
    sorts and compares as the moments do.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime] | TypeEngine[str]:
        """Text on SQLite, `timestamptz` on PostgreSQL."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(27))
        return dialect.type_descriptor(DateTime(timezone=True))

    def bind_processor(self, dialect: Dialect) -> Any:
        """On PostgreSQL a look at the moment, whose driver sends its time zone with it."""
        return _aware if dialect.name == "postgresql" else super().bind_processor(dialect)

    def process_bind_param(
        self,
        value: datetime | None,
        dialect: Dialect,  # noqa: ARG002 - SQLAlchemy's signature.
    ) -> str | None:
        """The text for SQLite."""
        aware = _aware(value)
        if aware is None:
            return None
        moment = aware.astimezone(UTC)
        return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """None on PostgreSQL: what its driver reads is aware and in UTC, as the connection is."""
        if dialect.name == "postgresql":
            return None
        return super().result_processor(dialect, coltype)

    def process_result_value(
        self,
        value: str | None,
        dialect: Dialect,  # noqa: ARG002 - SQLAlchemy's signature.
    ) -> datetime | None:
        """An aware datetime of the text of SQLite."""
        return None if value is None else datetime.fromisoformat(value)


def _aware(value: datetime | None) -> datetime | None:
    """The same; a naive moment PostgreSQL would take for the session's local time."""
    if value is not None and value.tzinfo is None:
        raise ValueError(f"a moment without a time zone: {value!r}")
    return value


class Words(TypeDecorator[list[str]]):
    """A few words of ours, none of which has a blank; stored as one text, parted by blanks."""

    impl = Text
    cache_ok = True

    def process_bind_param(
        self,
        value: list[str] | None,
        dialect: Dialect,  # noqa: ARG002 - SQLAlchemy's signature.
    ) -> str | None:
        """One text."""
        return None if value is None else " ".join(value)

    def process_result_value(
        self,
        value: str | None,
        dialect: Dialect,  # noqa: ARG002 - SQLAlchemy's signature.
    ) -> list[str] | None:
        """The words again, in their order."""
        return None if value is None else value.split()


# A column that lists are sorted by. Both engines compare its bytes, so that a page, a cursor and
# an index mean the same order everywhere, whatever locale the server was made with.
SortKey = Text().with_variant(Text(collation="C"), "postgresql")

Moment = Annotated[datetime, mapped_column(UtcDateTime)]
SortableText = Annotated[str, mapped_column(SortKey)]


class Base(DeclarativeBase):
    """The base of every model; its metadata is what the migrations are compared with."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's name, read once and never changed.
        datetime: UtcDateTime,
        str: Text,
        uuid.UUID: Uuid,
    }


def _now() -> datetime:
    # Looked up at each call, so that a test that sets the clock sets the columns too.
    return clock.now()


def when_created(context: DefaultExecutionContext) -> datetime:
    """What was never changed was last changed when it was made; the columns fill up in order."""
    created: datetime = context.get_current_parameters()["created_at"]  # type: ignore[no-untyped-call]  # SQLAlchemy leaves this one untyped.
    return created


class Identified:
    """A table whose key is a UUIDv7, which grows with time and so keeps its index compact."""

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid7, sort_order=-2)


class Timestamped:
    """A table that knows when each row was made and last changed."""

    created_at: Mapped[Moment] = mapped_column(default=_now, sort_order=100)
    updated_at: Mapped[Moment] = mapped_column(default=when_created, onupdate=_now, sort_order=101)
