from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import literal, select, text
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Session

from circdesk import clock
from circdesk.db.base import UtcDateTime
from circdesk.news.models import Post

MakePost = Callable[..., Post]

# What only PostgreSQL does is tested there alone.
on_postgresql = pytest.mark.parametrize(
    "database_url", ["postgresql"], indirect=True, scope="session"
)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


class TestUtcDateTime:
    @pytest.mark.parametrize(
        "moment",
        [
            NOON,
            NOON.replace(microsecond=1),
            datetime(1, 1, 1, tzinfo=UTC),
            datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        ],
    )
    def test_what_goes_in_comes_out_in_utc(
        self, make_post: MakePost, session: Session, moment: datetime
    ) -> None:
        session.add(make_post(published_at=moment))
        session.flush()
        session.expire_all()

        stored = session.scalars(select(Post.published_at)).one()

        assert stored == moment
        assert stored.utcoffset() == timedelta(0)

    def test_another_zone_is_brought_to_utc(self, make_post: MakePost, session: Session) -> None:
        berlin = timezone(timedelta(hours=1))
        session.add(make_post(published_at=NOON.replace(hour=13, tzinfo=berlin)))
        session.flush()
        session.expire_all()

        assert session.scalars(select(Post.published_at)).one() == NOON

    def test_a_moment_without_a_zone_is_refused(self, session: Session) -> None:
        with pytest.raises(StatementError, match="a moment without a time zone"):
            session.scalar(select(literal(NOON.replace(tzinfo=None), UtcDateTime)))

    def test_none_stays_none(self, session: Session) -> None:
        assert session.scalar(select(literal(None, UtcDateTime))) is None

    def test_moments_compare_and_sort_as_time_does(
        self, make_post: MakePost, session: Session
    ) -> None:
        moments = [NOON + timedelta(microseconds=n) for n in (0, 1, 10, 999_999, 1_000_000)]
        session.add_all([make_post(published_at=moment) for moment in reversed(moments)])
        session.flush()

        found = select(Post.published_at).where(Post.published_at > NOON)

        assert session.scalars(found.order_by(Post.published_at)).all() == moments[1:]


class TestKeysAndStamps:
    def test_ids_are_version_7_and_grow(self, make_post: MakePost, session: Session) -> None:
        posts = [make_post() for _ in range(100)]
        for post in posts:
            session.add(post)
            session.flush()

        ids = [post.id for post in posts]

        assert all(key.version == 7 for key in ids)
        assert session.scalars(select(Post.id).order_by(Post.id)).all() == sorted(ids) == ids

    def test_stamps_follow_the_clock(
        self, make_post: MakePost, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(clock, "now", lambda: NOON)
        post = make_post()
        session.add(post)
        session.flush()
        assert (post.created_at, post.updated_at) == (NOON, NOON)

        monkeypatch.setattr(clock, "now", lambda: NOON + timedelta(days=1))
        post.title = "Other news"
        session.flush()

        assert (post.created_at, post.updated_at) == (NOON, NOON + timedelta(days=1))

    def test_sort_keys_sort_by_their_bytes(self, make_post: MakePost, session: Session) -> None:
        session.add_all([make_post(sort_title=title) for title in ("b", "Z", "é", "a b", "a")])
        session.flush()

        found = select(Post.sort_title).order_by(Post.sort_title)

        assert session.scalars(found).all() == ["Z", "a", "a b", "b", "é"]


class TestClock:
    def test_it_tells_utc(self) -> None:
        assert clock.now().tzinfo is UTC
        assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)

    @on_postgresql
    def test_the_database_agrees_on_the_zone(self, session: Session) -> None:
        assert session.scalar(text("SHOW timezone")) == "UTC"
