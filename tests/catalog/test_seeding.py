"""The demo library as it is stored, on both databases."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.orm import Session

from circdesk import clock
from circdesk.catalog.demo import BRANCHES, POSTS, books_csv, seeding
from circdesk.catalog.demo.books import AGENCY, write_books
from circdesk.catalog.demo.seeding import seed_demo
from circdesk.catalog.imports.models import SourceLink
from circdesk.catalog.imports.reading.formats import Format, read_records
from circdesk.catalog.imports.reading.records import SourceRecord
from circdesk.catalog.imports.writing.tally import Tally
from circdesk.catalog.imports.writing.writer import Options, Writer
from circdesk.catalog.models import NO_YEAR, Author, Book, Branch, Copy, Subject
from circdesk.circulation.models import LoanPolicy
from circdesk.db.base import Base
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.news.models import Post

TIMES = {"created_at": "2026-01-05T08:00:00Z", "updated_at": "2026-01-05T08:00:00Z"}


def records() -> list[SourceRecord]:
    found = list(read_records(BytesIO(books_csv().read_bytes()), Format.CSV, source=AGENCY))
    assert all(isinstance(record, SourceRecord) and not record.notes for record in found)
    return [record for record in found if isinstance(record, SourceRecord)]


def everything(sessions: Sessions) -> dict[str, list[Any]]:
    with unit_of_work(sessions, writing=False) as session:
        return {
            table.name: sorted(map(repr, session.execute(select(table)).all()))
            for table in Base.metadata.tables.values()
        }


def count(session: Session, model: type[Base]) -> int:
    return session.execute(select(func.count()).select_from(model)).scalar_one()


class TestSeedDemo:
    def test_everything_that_is_packaged_is_stored(self, sessions: Sessions) -> None:
        books = [record.book for record in records()]
        seed_demo(sessions)

        with unit_of_work(sessions, writing=False) as session:
            assert count(session, Book) == count(session, SourceLink) == len(books)
            assert count(session, Copy) == sum(len(book.copies) for book in books)
            assert count(session, Author) == len({name for book in books for name in book.authors})
            subjects = {name for book in books for name in book.subjects}
            assert count(session, Subject) == len(subjects)
            assert count(session, Branch) == len(BRANCHES)
            assert count(session, Post) == len(POSTS)
            assert count(session, LoanPolicy) == 3

    def test_a_second_start_changes_nothing_and_asks_once(
        self, sessions: Sessions, count_queries: Any
    ) -> None:
        seed_demo(sessions)
        before = everything(sessions)

        with count_queries() as statements:
            seed_demo(sessions)

        assert len(statements) == 1
        assert everything(sessions) == before

    @pytest.mark.parametrize(
        "thing",
        [
            pytest.param(
                lambda: Book(
                    title="Mine", sort_title="mine", sort_year=NO_YEAR, material_type="book"
                ),
                id="a book",
            ),
            pytest.param(
                lambda: Branch(
                    code="mine",
                    name="Mine",
                    sort_name="mine",
                    time_zone="UTC",
                    opening_hours={},
                    closed_days=[],
                ),
                id="a branch",
            ),
            pytest.param(
                lambda: Post(
                    title="Mine", sort_title="mine", body="x", author="x", published_at=clock.now()
                ),
                id="a post",
            ),
        ],
    )
    def test_a_database_that_holds_anything_is_left_alone(
        self, sessions: Sessions, thing: Callable[[], Base]
    ) -> None:
        with unit_of_work(sessions, writing=True) as session:
            session.add(thing())
        before = everything(sessions)

        seed_demo(sessions)

        assert everything(sessions) == before

    def test_a_start_that_was_killed_leaves_nothing_and_the_next_one_does_all(
        self, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = everything(sessions)
        with monkeypatch.context() as killed:
            killed.setattr(seeding, "write_books", _write_and_die)
            with pytest.raises(KeyboardInterrupt):
                seed_demo(sessions)
        assert everything(sessions) == before

        seed_demo(sessions)

        with unit_of_work(sessions, writing=False) as session:
            assert count(session, Book) == len(records())

    def test_of_two_starts_at_once_one_seeds_and_the_other_sees_it(
        self, sessions: Sessions
    ) -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(seed_demo, [sessions, sessions]))

        with unit_of_work(sessions, writing=False) as session:
            assert count(session, Book) == len(records())
            assert count(session, Post) == len(POSTS)

    def test_its_own_file_imported_later_is_known(self, sessions: Sessions, engine: Engine) -> None:
        seed_demo(sessions)

        (outcome,) = Writer(engine, Options()).write(records())

        assert outcome.tally == Tally(read=len(records()), unchanged=len(records()))
        assert outcome.issues == ()


def _write_and_die(connection: Connection) -> None:
    write_books(connection)
    raise KeyboardInterrupt


class TestDemoOverHTTP:
    """What the contract gives as examples is there, under the ids that they have."""

    @pytest.fixture(autouse=True)
    def _demo(self, sessions: Sessions) -> None:
        seed_demo(sessions)

    def test_the_first_book(self, client: httpx.Client) -> None:
        assert client.get("/api/books/isbn:9780441478125").json() == {
            "id": "019b8d2b-8c00-7005-8000-000000000001",
            "title": "The Left Hand of Darkness",
            "subtitle": None,
            "authors": [
                {"id": "019b8d2b-8c00-7003-8000-000000000001", "name": "Le Guin, Ursula K."}
            ],
            "isbns": ["9780441478125"],
            "publisher": "Ace Books",
            "year": 1969,
            "language": "eng",
            "subjects": [
                {"id": "019b8d2b-8c00-7004-8000-000000000001", "name": "Science fiction"},
                {"id": "019b8d2b-8c00-7004-8000-000000000002", "name": "Space travel"},
                {"id": "019b8d2b-8c00-7004-8000-000000000003", "name": "Women"},
            ],
            "summary": None,
            "material_type": "book",
            "edition": None,
            "copies_total": 3,
            "copies_available": 3,
            **TIMES,
        }

    def test_the_first_copy(self, client: httpx.Client) -> None:
        assert client.get("/api/copies/barcode:30001").json() == {
            "id": "019b8d2b-8c00-7006-8000-000000000001",
            "book_id": "019b8d2b-8c00-7005-8000-000000000001",
            "branch_id": "019b8d2b-8c00-7002-8000-000000000001",
            "barcode": "30001",
            "status": "available",
            "shelf_mark": "SF LEG",
            "material_type": "book",
            "loanable": True,
            **TIMES,
        }

    def test_the_branches(self, client: httpx.Client) -> None:
        central, harbour = client.get("/api/branches").json()["items"]

        assert central == {
            "id": "019b8d2b-8c00-7002-8000-000000000001",
            "code": "central",
            "name": "Central Library",
            "address": "Lindenplatz 1, 20099 Hamburg, Germany",
            "time_zone": "Europe/Berlin",
            "opening_hours": {
                "monday": [],
                "tuesday": [{"opens": "10:00", "closes": "19:00"}],
                "wednesday": [{"opens": "10:00", "closes": "19:00"}],
                "thursday": [{"opens": "10:00", "closes": "20:00"}],
                "friday": [{"opens": "10:00", "closes": "19:00"}],
                "saturday": [{"opens": "10:00", "closes": "16:00"}],
                "sunday": [],
            },
            "closed_days": ["2026-12-25", "2026-12-26", "2027-01-01", "2027-03-26", "2027-05-01"],
            **TIMES,
        }
        assert harbour["id"] == "019b8d2b-8c00-7002-8000-000000000002"
        assert harbour["opening_hours"]["monday"] == [
            {"opens": "09:30", "closes": "13:00"},
            {"opens": "14:00", "closes": "18:00"},
        ]

    def test_the_posts_the_latest_first(self, client: httpx.Client) -> None:
        posts = client.get("/api/posts").json()["items"]

        assert [post["title"] for post in posts] == [post.title for post in POSTS]
        assert posts[0] == {
            "id": "019b8d2b-8c00-7001-8000-000000000001",
            "title": POSTS[0].title,
            "body": POSTS[0].body,
            "author": "Circdesk demo team",
            "tags": ["opening-hours", "harbour"],
            "published_at": "2026-01-05T08:00:00Z",
            **TIMES,
        }

    def test_a_book_is_found_by_words_of_its_author_and_title(self, client: httpx.Client) -> None:
        found = client.get("/api/books", params={"q": "guin darkness"}).json()["items"]

        assert [book["title"] for book in found] == ["The Left Hand of Darkness"]
