import sqlite3
from collections.abc import Callable

import psycopg
import pytest
from psycopg import errors as sqlstates
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from circdesk.catalog.imports.models import SourceLink
from circdesk.contract.problems import Problem, find_problem
from circdesk.db.base import Base
from circdesk.db.errors import DatabaseBusy, as_problem, constraint_name, raises_on
from circdesk.news.models import Post, PostTag

MakePost = Callable[..., Post]


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("something")
    error.sqlite_errorcode = code
    return error


def wrapped(original: Exception) -> DBAPIError:
    return OperationalError("SELECT 1", {}, original)


class TestAsProblem:
    @pytest.mark.parametrize(
        ("original", "code"),
        [
            (sqlite_error(sqlite3.SQLITE_BUSY), "database_busy"),
            (sqlite_error(sqlite3.SQLITE_BUSY_SNAPSHOT), "database_busy"),
            (sqlite_error(sqlite3.SQLITE_INTERRUPT), "database_busy"),
            (sqlite_error(sqlite3.SQLITE_CANTOPEN), "database_unavailable"),
            (sqlite_error(sqlite3.SQLITE_FULL), "database_unavailable"),
            (sqlite_error(sqlite3.SQLITE_IOERR_FSYNC), "database_unavailable"),
            (sqlite_error(sqlite3.SQLITE_ERROR), None),
            (sqlstates.SerializationFailure(), "database_busy"),
            (sqlstates.DeadlockDetected(), "database_busy"),
            (sqlstates.LockNotAvailable(), "database_busy"),
            (sqlstates.QueryCanceled(), "database_busy"),
            (sqlstates.AdminShutdown(), "database_unavailable"),
            (sqlstates.CannotConnectNow(), "database_unavailable"),
            (sqlstates.TooManyConnections(), "database_unavailable"),
            (sqlstates.DiskFull(), "database_unavailable"),
            (sqlstates.ReadOnlySqlTransaction(), "database_unavailable"),
            (psycopg.OperationalError("connection refused"), "database_unavailable"),
            (sqlstates.UndefinedTable(), None),
            (sqlstates.NumericValueOutOfRange(), None),
            (OSError(), None),
        ],
        ids=repr,
    )
    def test_drivers_errors_have_their_code(self, original: Exception, code: str | None) -> None:
        problem = as_problem(wrapped(original))

        assert (problem and problem.code) == code

    def test_other_errors_are_none(self) -> None:
        assert as_problem(ValueError()) is None

    @pytest.mark.parametrize("code", ["database_busy", "database_unavailable", "outcome_unknown"])
    def test_the_problems_are_registered(self, code: str) -> None:
        problem = find_problem(code)

        assert problem is not None
        assert (problem.code, problem.status) == (code, 503)


class TestConstraintName:
    def breaks(self, session: Session, *rows: Base) -> str | None:
        session.add_all(rows)
        with pytest.raises(IntegrityError) as caught:
            session.flush()
        session.rollback()
        return constraint_name(caught.value)

    def test_a_primary_key_of_two_columns(self, session: Session, make_post: MakePost) -> None:
        post = make_post()
        session.add(post)
        session.flush()
        session.add(PostTag(post_id=post.id, name="a", position=0))
        session.flush()
        session.expunge_all()

        broken = self.breaks(session, PostTag(post_id=post.id, name="a", position=1))

        assert broken == "pk_post_tags"

    def test_postgresql_names_foreign_keys_and_sqlite_does_not(self, session: Session) -> None:
        broken = self.breaks(session, PostTag(post_id=uuid7(), name="a", position=0))

        named = session.get_bind().dialect.name == "postgresql"
        assert broken == ("fk_post_tags_post_id_posts" if named else None)

    @pytest.mark.parametrize(
        ("message", "name"),
        [
            ("UNIQUE constraint failed: posts.id", "pk_posts"),
            (
                "UNIQUE constraint failed: source_links.agency, source_links.control_number",
                "uq_source_links_agency_control_number",
            ),
            (
                "UNIQUE constraint failed: source_links.content_hash",
                "uq_source_links_content_hash",
            ),
            ("UNIQUE constraint failed: index 'uq_things_lower'", "uq_things_lower"),
            ("UNIQUE constraint failed: things.id", None),
            ("UNIQUE constraint failed: posts.title", None),
            ("CHECK constraint failed: ck_things_positive", "ck_things_positive"),
            ("FOREIGN KEY constraint failed", None),
            ("NOT NULL constraint failed: posts.title", None),
        ],
    )
    def test_sqlite_names_columns(self, message: str, name: str | None) -> None:
        assert SourceLink.__tablename__ in Base.metadata.tables

        error = IntegrityError("INSERT", {}, sqlite3.IntegrityError(message))

        assert constraint_name(error) == name


class TestRaisesOn:
    def test_the_broken_constraint_becomes_the_problem(
        self, session: Session, make_post: MakePost
    ) -> None:
        post = make_post()
        session.add(post)
        session.flush()
        taken: Problem = DatabaseBusy("The id is taken.")

        with pytest.raises(DatabaseBusy) as caught, raises_on("pk_posts", taken):
            session.execute(text("INSERT INTO posts SELECT * FROM posts"))

        session.rollback()
        assert caught.value is taken
        assert isinstance(caught.value.__cause__, IntegrityError)

    def test_another_constraint_stays_what_it_is(
        self, session: Session, make_post: MakePost
    ) -> None:
        session.add(make_post())
        session.flush()

        with pytest.raises(IntegrityError), raises_on("uq_posts_title", DatabaseBusy("")):
            session.execute(text("INSERT INTO posts SELECT * FROM posts"))

        session.rollback()
