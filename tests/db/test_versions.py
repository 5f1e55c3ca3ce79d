"""Versions of rows, on both databases."""

import importlib.util
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine, update
from sqlalchemy.orm import Session

from circdesk.accounts.models import User
from circdesk.catalog.imports.writing.bulk import insert_rows, update_rows
from circdesk.catalog.models import Author, Branch
from circdesk.circulation.models import Loan
from circdesk.db.engine import WRITING
from circdesk.db.models import Base
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.db.versions import (
    AlreadyKnown,
    ChangedMeanwhile,
    PreconditionFailed,
    Shown,
    Versioned,
    expect_known,
    expect_versions,
    raise_if_known,
    raise_if_modified,
    show_alone,
    show_version,
    shown_version,
    version_of,
)
from circdesk.news.models import Post
from circdesk.resources import directory
from tests.conftest import CountQueries

MakePost = Callable[..., Post]

EVENT = UUID("019b8d2b-8c00-7011-8000-0123456789ab")


@pytest.fixture
def post(sessions: Sessions, make_post: MakePost) -> Post:
    """A post that is stored."""
    with unit_of_work(sessions, writing=True) as session:
        session.add(post := make_post())
    return post


def find(sessions: Sessions, post: Post) -> Post:
    with unit_of_work(sessions, writing=False) as session:
        return session.get_one(Post, post.id)


def change_behind(session: Session, post: Post) -> None:
    """Change the row as another transaction would, had ours not kept it from doing so."""
    other = update(Post.__table__).where(Post.id == post.id)  # type: ignore[arg-type]
    session.execute(other.values(title="Theirs", version=Post.version + 1))


class TestCounting:
    def test_a_new_row_has_the_first_version_and_each_change_the_next(
        self, sessions: Sessions, post: Post
    ) -> None:
        assert post.version == 1
        for number in (2, 3):
            with unit_of_work(sessions, writing=True) as session:
                session.get_one(Post, post.id).title = f"Title {number}"
            assert find(sessions, post).version == number

    def test_what_stays_as_it_is_keeps_its_version(self, sessions: Sessions, post: Post) -> None:
        with unit_of_work(sessions, writing=True) as session:
            session.get_one(Post, post.id).title = post.title
        assert find(sessions, post).version == 1

    def test_a_row_that_is_stored_past_the_mapper_has_the_first_one(
        self, sessions: Sessions, engine: Engine
    ) -> None:
        moment, key = "2026-01-31T12:00:00.000000Z", EVENT.hex
        columns = ("name", "sort_name", "created_at", "updated_at", "id")
        with engine.execution_options(**{WRITING: True}).begin() as connection:
            insert_rows(connection, Author, columns, [("Lem", "lem", moment, moment, key)])
        with unit_of_work(sessions, writing=False) as session:
            assert session.get_one(Author, EVENT).version == 1

    def test_imports_count_too(self, sessions: Sessions, engine: Engine) -> None:
        with unit_of_work(sessions, writing=True) as session:
            session.add(author := Author(name="Lem", sort_name="lem"))
        with engine.execution_options(**{WRITING: True}).begin() as connection:
            update_rows(connection, Author, ("name", "id"), [("S. Lem", author.id.hex)])
        with unit_of_work(sessions, writing=False) as session:
            found = session.get_one(Author, author.id)
            assert (found.name, found.version) == ("S. Lem", 2)

    def test_the_migration_adds_what_the_models_have(self) -> None:
        path = directory("alembic") / "versions" / "2026-11-22_versions.py"
        spec = importlib.util.spec_from_file_location("versions", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert versioned() == set(module.TABLES)


def versioned() -> set[str]:
    """The tables that count."""
    return {
        str(mapper.local_table)
        for mapper in Base.registry.mappers
        if issubclass(mapper.class_, Versioned)
    }


class TestConflicts:
    def test_a_row_that_changed_after_it_was_read_is_not_overwritten(
        self, sessions: Sessions, post: Post
    ) -> None:
        def overwrite() -> None:
            with unit_of_work(sessions, writing=True) as session:
                found = session.get_one(Post, post.id)
                change_behind(session, post)
                found.title = "Ours"

        with pytest.raises(ChangedMeanwhile):
            overwrite()
        # Nothing was stored, so not what the other did in the same transaction either.
        assert find(sessions, post).title == post.title

    def test_who_named_a_version_hears_that_it_is_another_one(
        self, sessions: Sessions, post: Post
    ) -> None:
        def overwrite() -> None:
            with unit_of_work(sessions, writing=True) as session:
                expect_versions(session, {version_of(post)})
                found = session.get_one(Post, post.id)
                raise_if_modified(session, found)
                change_behind(session, post)
                found.title = "Ours"
                session.flush()

        with pytest.raises(PreconditionFailed):
            overwrite()

    def test_a_row_that_changed_is_not_deleted(self, sessions: Sessions, post: Post) -> None:
        def delete() -> None:
            with unit_of_work(sessions, writing=True) as session:
                found = session.get_one(Post, post.id)
                change_behind(session, post)
                session.delete(found)

        with pytest.raises(ChangedMeanwhile):
            delete()
        assert find(sessions, post).version == 1


class TestExpectations:
    def test_without_any_every_version_will_do(self, session: Session, post: Post) -> None:
        raise_if_modified(session, post)

    def test_one_of_those_that_are_known_will_do(self, session: Session, post: Post) -> None:
        expect_versions(session, {"other", version_of(post)})
        raise_if_modified(session, post)

    @pytest.mark.parametrize("versions", [(), ("2-00000000",), ("1",)])
    def test_any_other_one_fails(
        self, session: Session, post: Post, versions: tuple[str, ...]
    ) -> None:
        expect_versions(session, versions)
        with pytest.raises(PreconditionFailed, match="another version"):
            raise_if_modified(session, post)

    def test_they_end_with_the_unit_of_work(self, sessions: Sessions, post: Post) -> None:
        with unit_of_work(sessions, writing=True) as session:
            expect_versions(session, ())
        with unit_of_work(sessions, writing=True) as session:
            raise_if_modified(session, post)


class TestShown:
    def test_a_version_is_its_number_and_a_part_of_the_id(self, post: Post) -> None:
        assert version_of(post) == f"1-{post.id.hex[-8:]}"

    def test_what_the_desk_changes_has_its_last_event(self) -> None:
        assert version_of(Loan(event_id=EVENT)) == "0123456789ab"
        assert version_of(Loan()) == "0"

    def test_the_edge_hears_what_was_shown(self, session: Session, post: Post) -> None:
        assert shown_version(session) is None
        show_version(session, post)
        shown = shown_version(session)
        assert shown is not None
        assert (shown.version, shown.updated_at) == (version_of(post), post.updated_at)
        assert shown.content is None


class TestKnown:
    def shown(self, session: Session, post: Post) -> Shown:
        show_alone(session, session.get_one(Post, post.id))
        shown = shown_version(session)
        assert shown is not None
        return shown

    def test_a_look_at_the_version_tells_what_showing_the_row_does(
        self, session: Session, post: Post
    ) -> None:
        expect_known(session, lambda _: True)
        with pytest.raises(AlreadyKnown) as known:
            raise_if_known(session, Post, Post.id == post.id)
        assert known.value.shown == self.shown(session, post)
        assert known.value.shown.content is not None

    def test_what_the_caller_has_not_is_to_be_shown(
        self, session: Session, post: Post, count_queries: CountQueries
    ) -> None:
        expect_known(session, lambda _: False)
        with count_queries() as statements:
            raise_if_known(session, Post, Post.id == post.id)
        assert len(statements) == 1

    def test_what_is_not_there_is_not_known(self, session: Session) -> None:
        expect_known(session, lambda _: True)
        raise_if_known(session, Post, Post.id == EVENT)
        assert shown_version(session) is None

    def test_where_nothing_is_named_nothing_is_asked(
        self, session: Session, post: Post, count_queries: CountQueries
    ) -> None:
        with count_queries() as statements:
            raise_if_known(session, Post, Post.id == post.id)
        assert statements == []

    def test_the_same_count_at_another_time_is_another_content(
        self, sessions: Sessions, post: Post
    ) -> None:
        with unit_of_work(sessions, writing=False) as session:
            before = self.shown(session, post)
        with unit_of_work(sessions, writing=True) as session:
            # As where a backup is restored, and something else is changed then.
            moment = before.updated_at + timedelta(seconds=1)
            table = Post.__table__
            session.execute(update(table).where(table.c.id == post.id).values(updated_at=moment))  # type: ignore[arg-type]
        with unit_of_work(sessions, writing=False) as session:
            after = self.shown(session, post)
        assert after.version == before.version
        assert after.content != before.content

    def test_what_the_database_changes_by_itself_is_another_content(
        self, sessions: Sessions
    ) -> None:
        def content() -> str | None:
            with unit_of_work(sessions, writing=False) as session:
                show_alone(session, session.get_one(User, user.id))
                shown = shown_version(session)
                assert shown is not None
                return shown.content

        with unit_of_work(sessions, writing=True) as session:
            hours: dict[str, object] = {"opening_hours": {}, "closed_days": []}
            session.add(
                branch := Branch(code="n", name="N", sort_name="n", time_zone="UTC", **hours)
            )
            session.flush()
            user = User(
                name="A", sort_name="a", role="member", status="active", branch_id=branch.id
            )
            session.add(user)
        before = content()
        with unit_of_work(sessions, writing=True) as session:
            session.delete(session.get_one(Branch, branch.id))
        assert content() != before
