import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Select, delete, insert, select, text
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from circdesk.db import pagination
from circdesk.db.cursors import CursorInvalid, CursorSigner
from circdesk.db.pagination import Page, PageOutOfReach, PageQuery, Sorts, paginate
from circdesk.news.models import Post

MakePost = Callable[..., Post]
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
SORTS: Sorts = {
    "title": [Post.sort_title],
    "published_at": [Post.published_at],
    "id": [Post.id],
    "author": [Post.author, Post.published_at.desc(), Post.sort_title],
    "relevance": [Post.author],
}


class PostQuery(PageQuery, total=False):
    author: str | None
    since: datetime | None


def ask(
    session: Session,
    statement: Select[Any] | None = None,
    *,
    scope: str | None = None,
    sorts: Sorts = SORTS,
    **changes: Any,
) -> Page:
    query: dict[str, Any] = {"page": 1, "per_page": 3, "cursor": None, "sort": "title"} | changes
    return paginate(
        session,
        select(Post.id, Post.title, Post.author) if statement is None else statement,
        sorts=sorts,
        query=query,  # type: ignore[arg-type]
        present=lambda row: {"title": row.title},
        scope=scope,
        without_cursor={"relevance": "title"},
    )


def shown(page: Page) -> list[str]:
    return [item["title"] for item in page.items]


@pytest.fixture
def titles(session: Session, make_post: MakePost) -> list[str]:
    """Eight posts; two share a title, and pairs share an author and a day."""
    keys = ["a", "b", "c", "c", "d", "e", "f", "g"]
    posts = [
        make_post(
            title=f"{key}{number}",
            sort_title=key,
            author="Ada" if number % 3 else "Bob",
            published_at=NOON + timedelta(days=number // 2),
        )
        for number, key in enumerate(keys)
    ]
    session.add_all(posts)
    session.flush()
    return [post.title for post in posts]


class TestPages:
    def test_the_first_page_in_full(self, session: Session, titles: list[str]) -> None:
        page = ask(session)

        assert page == Page(
            items=[{"title": "a0"}, {"title": "b1"}, {"title": "c2"}],
            per_page=3,
            has_next=True,
            has_cursor=True,
            next_cursor=page.next_cursor,
            page=1,
            total=8,
            total_relation="exact",
        )
        assert page.next_cursor is not None
        assert titles[:3] == shown(page)

    def test_the_last_page_has_no_next(self, session: Session, titles: list[str]) -> None:
        page = ask(session, page=3)

        assert shown(page) == titles[6:]
        assert (page.has_next, page.next_cursor, page.total) == (False, None, 8)

    def test_a_page_beyond_the_end_is_empty_and_knows_the_total(
        self, session: Session, titles: list[str]
    ) -> None:
        page = ask(session, page=9)

        assert (page.items, page.has_next, page.total) == ([], False, len(titles))

    def test_nothing_found_is_an_empty_first_page(self, session: Session) -> None:
        page = ask(session)

        assert (page.items, page.total, page.total_relation) == ([], 0, "exact")

    def test_minus_turns_the_order_round(self, session: Session, titles: list[str]) -> None:
        page = ask(session, sort="-title", per_page=100)

        assert shown(page) == titles[::-1]

    @pytest.mark.parametrize(("page", "queries"), [(1, 2), (2, 2), (3, 1), (4, 2)])
    @pytest.mark.usefixtures("titles")
    def test_a_page_costs_two_statements_at_most(
        self, session: Session, page: int, queries: int, count_queries: Any
    ) -> None:
        with count_queries() as statements:
            ask(session, page=page)

        assert len(statements) == queries

    @pytest.mark.usefixtures("titles")
    def test_entities_can_be_listed_too(self, session: Session) -> None:
        page = paginate(
            session,
            select(Post).where(Post.author == "Bob"),
            sorts=SORTS,
            query={"page": 1, "per_page": 2, "cursor": None, "sort": "title"},
            present=lambda row: {"title": row.Post.title},
        )

        assert (shown(page), page.total) == (["a0", "c3"], 3)

    @pytest.mark.usefixtures("titles")
    def test_the_total_stops_where_counting_stops(
        self, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pagination, "REACH", 7)

        page = ask(session)

        assert (page.total, page.total_relation) == (7, "at_least")

    def test_ten_thousand_is_exact_and_one_more_is_at_least(
        self, session: Session, make_post: MakePost
    ) -> None:
        one = make_post()
        values = {
            name: getattr(one, name)
            for name in ("title", "sort_title", "body", "author", "published_at")
        }
        session.execute(insert(Post), [values | {"id": uuid7()} for _ in range(10_000)])
        exact = ask(session, per_page=100, page=100)
        session.add(one)
        session.flush()
        more = ask(session, per_page=100, page=100)

        assert (exact.total, exact.total_relation, exact.has_next) == (10_000, "exact", False)
        assert (more.total, more.total_relation, more.has_next) == (10_000, "at_least", True)
        assert more.next_cursor is not None
        rest = ask(session, per_page=100, cursor=more.next_cursor)
        assert (len(rest.items), rest.has_next) == (1, False)

    def test_a_page_out_of_reach_suggests_the_cursor(
        self, session: Session, titles: list[str]
    ) -> None:
        with pytest.raises(PageOutOfReach) as caught:
            ask(session, page=3334, author="Ada", since=None)

        problem = caught.value
        parameters = problem.suggestions[0]["parameters"]
        assert (problem.status, problem.code) == (400, "page_out_of_reach")
        assert problem.message == "page * per_page is more than 10,000."
        assert problem.details == [
            {"in": "query", "pointer": "/page", "rule": "reach", "message": problem.message}
        ]
        assert problem.suggestions == [
            {
                "operation_id": "list_posts",
                "parameters": {
                    "per_page": 3,
                    "sort": "title",
                    "author": "Ada",
                    "cursor": parameters["cursor"],
                },
                "reason": ("A cursor walks the whole list from its beginning, however long it is."),
            }
        ]
        assert shown(ask(session, **parameters)) == titles[:3]

    def test_a_sort_without_cursor_has_pages_alone(
        self, session: Session, titles: list[str]
    ) -> None:
        page = ask(session, sort="-relevance")

        assert (page.has_cursor, page.next_cursor, page.total) == (False, None, len(titles))
        with pytest.raises(PageOutOfReach) as caught:
            ask(session, sort="-relevance", page=10_000)
        (suggested,) = caught.value.suggestions
        assert suggested["parameters"] == {"per_page": 3, "sort": "title", "cursor": "start"}
        assert shown(ask(session, **suggested["parameters"])) == titles[:3]


class TestCursors:
    def walk(self, session: Session, **query: Any) -> list[str]:
        """All titles, by cursor from the first page on."""
        page = ask(session, **query)
        found = shown(page)
        while page.next_cursor is not None:
            page = ask(session, **query, cursor=page.next_cursor)
            found += shown(page)
            assert (page.page, page.total, page.total_relation) == (None, None, None)
        return found

    @pytest.mark.parametrize("direction", ["", "-"])
    @pytest.mark.parametrize("sort", ["title", "published_at", "id", "author"])
    @pytest.mark.parametrize("per_page", [1, 2, 3, 100])
    def test_a_walk_shows_every_row_once_in_the_order_of_pages(
        self, session: Session, titles: list[str], direction: str, sort: str, per_page: int
    ) -> None:
        query: dict[str, Any] = {"sort": f"{direction}{sort}", "per_page": per_page}

        walked = self.walk(session, **query)

        assert walked == shown(ask(session, **query | {"per_page": 100}))
        assert sorted(walked) == titles

    def test_mixed_directions_are_as_declared(self, session: Session, titles: list[str]) -> None:
        def rank(title: str) -> tuple[str, int, str]:
            number = int(title[1])
            return ("Ada" if number % 3 else "Bob", -(number // 2), title)

        walked = self.walk(session, sort="author", per_page=2)

        assert walked == sorted(titles, key=rank)

    def test_rows_that_come_and_go_move_no_others(
        self, session: Session, titles: list[str], make_post: MakePost
    ) -> None:
        first = ask(session)
        session.add_all(
            [make_post(title="b9", sort_title="b"), make_post(title="z", sort_title="z")]
        )
        session.execute(delete(Post).where(Post.title == "c2"))
        session.flush()

        rest = ask(session, cursor=first.next_cursor, per_page=100)

        assert shown(rest) == [*titles[3:], "z"]

    @pytest.mark.usefixtures("titles")
    def test_it_costs_one_statement(self, session: Session, count_queries: Any) -> None:
        cursor = ask(session).next_cursor

        with count_queries() as statements:
            ask(session, cursor=cursor)

        assert len(statements) == 1

    def test_another_per_page_is_welcome(self, session: Session, titles: list[str]) -> None:
        cursor = ask(session).next_cursor

        assert shown(ask(session, cursor=cursor, per_page=2)) == titles[3:5]

    @pytest.mark.usefixtures("titles")
    def test_filters_that_are_none_and_their_order_do_not_matter(self, session: Session) -> None:
        cursor = ask(session, author="Ada", since=NOON).next_cursor

        page = ask(session, since=NOON, author="Ada", cursor=cursor)
        also = ask(session, cursor=ask(session, author=None).next_cursor)

        assert page.items
        assert also.items

    @pytest.mark.parametrize(
        "change",
        [
            {"sort": "-title"},
            {"sort": "published_at"},
            {"author": "Bob"},
            {"author": None},
            {"since": NOON + timedelta(seconds=1)},
            {"tag": "new"},
            {"scope": "list_other_posts"},
        ],
        ids=str,
    )
    @pytest.mark.usefixtures("titles")
    def test_it_is_good_for_its_own_list_alone(
        self, session: Session, change: dict[str, Any]
    ) -> None:
        query: dict[str, Any] = {"author": "Ada", "since": NOON}
        cursor = ask(session, **query).next_cursor

        with pytest.raises(CursorInvalid) as caught:
            ask(session, **query | {"cursor": cursor} | change)

        message = "The cursor is damaged, or was given for another list, sort or filter."
        assert (caught.value.status, caught.value.code) == (400, "cursor_invalid")
        assert caught.value.message == message
        assert caught.value.details == [
            {"in": "query", "pointer": "/cursor", "rule": "cursor", "message": message}
        ]

    @pytest.mark.parametrize(
        "cursor",
        ["", "A", "AAAA", "not a cursor", "=", "é", "\x00", "a" * 5000, "W10", "e30=", "\ud800"],
        ids=repr,
    )
    def test_nonsense_is_refused(self, session: Session, cursor: str) -> None:
        with pytest.raises(CursorInvalid):
            ask(session, cursor=cursor)

    @pytest.mark.usefixtures("titles")
    def test_a_changed_bit_is_refused(self, session: Session) -> None:
        cursor = ask(session).next_cursor
        assert cursor is not None
        signed = base64.urlsafe_b64decode(cursor + "==")

        for place in range(len(signed)):
            forged = bytearray(signed)
            forged[place] ^= 1
            with pytest.raises(CursorInvalid):
                ask(session, cursor=base64.urlsafe_b64encode(forged).decode())

    @pytest.mark.usefixtures("titles")
    def test_a_page_beside_it_is_refused(self, session: Session) -> None:
        cursor = ask(session).next_cursor

        with pytest.raises(CursorInvalid, match="either a cursor or a page"):
            ask(session, cursor=cursor, page=2)

    @pytest.mark.usefixtures("titles")
    def test_a_sort_without_cursor_refuses_one(self, session: Session) -> None:
        cursor = ask(session).next_cursor

        with pytest.raises(CursorInvalid, match="has pages and no cursor") as caught:
            ask(session, cursor=cursor, sort="relevance")
        (suggested,) = caught.value.suggestions
        assert suggested["parameters"] == {"per_page": 3, "sort": "title", "cursor": "start"}

    def test_a_key_of_another_type_is_a_programming_error(self) -> None:
        with pytest.raises(TypeError, match="lists cannot be sorted by <class 'bytes'>"):
            CursorSigner(b"key", "scope").write([b"bytes"])


class TestIndexes:
    @pytest.mark.parametrize("sort", ["title", "-title"])
    @pytest.mark.usefixtures("titles")
    def test_the_keyset_is_read_from_an_index_without_sorting(
        self, session: Session, sort: str
    ) -> None:
        cursor = ask(session, sort=sort).next_cursor
        engine = session.get_bind().dialect.name
        if engine == "postgresql":
            # For a table that it takes for tiny, it would rather read all and sort.
            for way in ("seqscan", "bitmapscan"):
                session.execute(text(f"SET LOCAL enable_{way} = off"))
        plan = explain(session, sort=sort, cursor=cursor)

        assert "ix_posts_sort_title_id" in plan
        assert ("Sort Key" if engine == "postgresql" else "TEMP B-TREE") not in plan
        condition = "Index Cond: (ROW(" if engine == "postgresql" else "(sort_title,id)"
        assert condition in plan


def explain(session: Session, **query: Any) -> str:
    """The plan of the one statement that this part of the list costs."""
    plans: list[str] = []
    execute = session.execute

    def explained(statement: Any, values: Any) -> Any:
        dialect = session.get_bind().dialect
        whole = statement.params(values)
        compiled = whole.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
        word = "EXPLAIN" if dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
        plans.extend(str(row) for row in execute(text(f"{word} {compiled}".replace(":", "\\:"))))
        return execute(statement, values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "execute", explained)
        ask(session, **query)
    return "\n".join(plans)
