"""Sessions that are made whole late: where only rows are read and written past them, never.

To make a session, to begin its transaction, to commit it and to close it takes SQLAlchemy longer
than all that the desk asks of the driver. What a session does beside that, it does for objects of
the ORM; until there is one, a connection will do.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.util import IdentitySet

from circdesk.db.direct import AnyRow, AnySelect, Values, begin, begin_with, execute


class LateSession(Session):
    """A session that is made whole when something is asked of it that only a whole one has.

    Args:
        engine: What it speaks to.
        info: What it knows from the beginning.
    """

    autoflush = True

    def __init__(self, engine: Engine, *, info: Mapping[str, Any]) -> None:
        self._engine = engine
        vars(self)["info"] = {**info}

    def __getattr__(self, name: str) -> Any:
        """What a whole session has; what is missing there is nowhere."""
        if self.is_whole:
            raise AttributeError(name)
        self._make_whole()
        return getattr(self, name)

    @property
    def is_whole(self) -> bool:
        """Whether it has been made whole."""
        return "_transaction" in vars(self)

    def _make_whole(self) -> None:
        super().__init__(self._engine, autoflush=self.autoflush)

    def get_bind(self, *asked: Any, **options: Any) -> Engine | Connection:
        """Its engine, or the connection that it had before it was whole."""
        return super().get_bind(*asked, **options) if self.is_whole else self._engine

    def in_transaction(self) -> bool:
        """Whether it has begun one."""
        return self.is_whole and super().in_transaction()

    def close(self) -> None:
        """End it, and roll back what is not committed."""
        if self.is_whole:
            super().close()


class ReadingSession(LateSession):
    """A session that only reads; a change in it is a programming error and never stored."""

    autoflush = False


@event.listens_for(ReadingSession, "before_flush")
def _refuse_change(session: Session, *_: object) -> None:
    changed = [*session.new, *session.dirty, *session.deleted]
    raise RuntimeError(f"a reading unit of work was asked to store {changed}")


class WritingSession(LateSession):
    """A session that writes; what it has written may be shown after the commit.

    It begins its transaction on a connection, and joins it where it is made whole afterwards.
    """

    _begun: Connection | None = None
    _joins = False

    def connection(self, *asked: Any, **options: Any) -> Connection:
        """The connection of its transaction, which it begins where there is none."""
        if asked or options or not self._will_do:
            return super().connection(*asked, **options)
        connection = self._begun
        if connection is None:
            connection = self._take_connection()
            begin(connection)
        return connection

    def read(self, statement: AnySelect, values: Values) -> Sequence[AnyRow]:
        """The rows of a statement of columns, with which the transaction may begin."""
        if self._begun is None and self._will_do:
            return begin_with(self._take_connection(), statement, values)
        self.flush()
        return execute(self.connection(), statement, values)

    @property
    def _will_do(self) -> bool:
        """Whether it need not be whole; who listens to this very session is told by a whole one."""
        return not self.is_whole and "dispatch" not in vars(self)

    def _take_connection(self) -> Connection:
        self._begun = self._engine.connect()
        self._begun.begin()
        return self._begun

    def in_transaction(self) -> bool:
        """Whether it has begun one."""
        return self._begun is not None if not self.is_whole else super().in_transaction()

    def in_nested_transaction(self) -> bool:
        """Whether it has set a savepoint."""
        return self.is_whole and super().in_nested_transaction()

    @property
    def new(self) -> Any:
        """The objects that wait to be stored."""
        return super().new if self.is_whole else IdentitySet()

    def flush(self, objects: Sequence[Any] | None = None) -> None:
        """Store the objects that wait for it."""
        if self.is_whole:
            super().flush(objects)

    def commit(self) -> None:
        """Commit what was written; whoever listens hears of it."""
        if self.is_whole:
            super().commit()
        elif self._begun is not None:
            self._begun.commit()
            self._leave()
            self.dispatch.after_commit(self)

    def rollback(self) -> None:
        """Take back what is not committed."""
        if self.is_whole:
            super().rollback()
        else:
            self._leave()

    def close(self) -> None:
        """End it, and take back what is not committed."""
        super().close()
        self._leave()

    def _leave(self) -> None:
        if self._begun is not None:
            self._begun.close()
            self._begun = None

    def _make_whole(self) -> None:
        self._joins = self._begun is not None
        Session.__init__(
            self,
            self._begun or self._engine,
            expire_on_commit=False,
            join_transaction_mode="control_fully",
        )
        if self._joins:
            # A session ends at its commit only what it knows of.
            super().connection()

    def began(self, transaction: SessionTransaction, connection: Connection) -> None:
        """Begin in the database what has begun here, unless that was joined."""
        joins, self._joins = self._joins, False
        if not (transaction.nested or joins):
            begin(connection)


event.listen(WritingSession, "after_begin", WritingSession.began)
