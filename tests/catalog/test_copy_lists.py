"""Lists of copies, all and those of one book, over HTTP on both databases."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy.orm import Session

from circdesk.catalog import branches, copies
from circdesk.catalog.models import NO_YEAR, Book, BookISBN
from circdesk.db.unit_of_work import Sessions, unit_of_work

JSON = dict[str, Any]
Expected = Callable[..., JSON]

UNKNOWN = "019b8d2b-8c00-7006-8000-0000000000ff"
ISBN = "9780441478125"


def add_book(session: Session, *isbns: str) -> UUID:
    book = Book(title="A", sort_title="a", sort_year=NO_YEAR, material_type="book")
    book.isbns = [BookISBN(isbn=isbn, position=place) for place, isbn in enumerate(isbns)]
    session.add(book)
    session.flush()
    return book.id


def add_branch(session: Session, code: str) -> None:
    content = {"code": code, "name": code, "address": None, "time_zone": "UTC"}
    branches.create_branch(session, content | {"opening_hours": {}, "closed_days": []})


def add_copy(
    session: Session, book: UUID, barcode: str, branch: str = "north", status: str = "available"
) -> JSON:
    content = {
        "book_id": book,
        "branch_id": f"code:{branch}",
        "barcode": barcode,
        "status": status,
        "shelf_mark": None,
        "material_type": None,
        "loanable": True,
    }
    return copies.create_copy(session, content)


@pytest.fixture
def stored(sessions: Sessions) -> dict[str, str]:
    """Five copies of two books in two branches, by barcode their ids; and a book without any."""
    with unit_of_work(sessions, writing=True) as session:
        add_branch(session, "north")
        add_branch(session, "south")
        books = {"first": add_book(session, ISBN), "second": add_book(session)}
        added = [
            add_copy(session, books["first"], "1"),
            add_copy(session, books["first"], "2", "south"),
            add_copy(session, books["first"], "3", status="lost"),
            add_copy(session, books["second"], "4"),
            add_copy(session, books["second"], "5", "south", "lost"),
        ]
        books["empty"] = add_book(session, "9780306406157")
    return {copy["barcode"]: str(copy["id"]) for copy in added} | {
        name: str(identity) for name, identity in books.items()
    }


@pytest.fixture
def shared_isbn(sessions: Sessions, stored: dict[str, str]) -> set[str]:
    """The ids of two books that have the same ISBN."""
    with unit_of_work(sessions, writing=True) as session:
        return {stored["first"], str(add_book(session, ISBN))}


class TestListCopies:
    def test_the_whole_list_stands_by_age(
        self, client: httpx.Client, stored: dict[str, str]
    ) -> None:
        response = client.get("/api/copies")

        assert response.status_code == 200
        assert response.json() == {
            "items": [client.get(f"/api/copies/{stored[number]}").json() for number in "12345"],
            "page": 1,
            "per_page": 20,
            "total": 5,
            "total_relation": "exact",
            "next_cursor": None,
            "links": {"self": "/api/copies", "first": "/api/copies"},
        }

    @pytest.mark.parametrize(
        ("query", "barcodes"),
        [
            ("status=lost", "35"),
            ("branch=code:south", "25"),
            ("branch=code:nowhere", ""),
            (f"book=isbn:{ISBN}", "123"),
            ("book=isbn:0-441-47812-3", "123"),
            ("book=isbn:9780306406157", ""),
            ("book={second}", "45"),
            (f"book={UNKNOWN}", ""),
            ("barcode=4", "4"),
            ("barcode=nothing", ""),
            (f"book=isbn:{ISBN}&branch=code:north&status=available", "1"),
            ("sort=-created_at", "54321"),
        ],
    )
    def test_filters_combine(
        self, client: httpx.Client, stored: dict[str, str], query: str, barcodes: str
    ) -> None:
        body = client.get(f"/api/copies?{query.format(**stored)}").json()

        assert "".join(copy["barcode"] for copy in body["items"]) == barcodes
        assert body["total"] == len(barcodes)

    @pytest.mark.parametrize(
        "url",
        [
            "/api/copies?page=2",
            f"/api/copies?book=isbn:{ISBN}&branch=code:north",
            "/api/copies?book={second}&status=available",
            f"/api/books/isbn:{ISBN}/copies?page=2",
            "/api/books/{first}/copies?page=2",
        ],
    )
    def test_every_list_costs_two_statements_at_most(
        self, client: httpx.Client, stored: dict[str, str], count_queries: Any, url: str
    ) -> None:
        with count_queries() as statements:
            response = client.get(url.format(**stored), params={"per_page": 1})

        assert len(response.json()["items"]) == 1
        assert len(statements) <= 2

    def test_cursors_walk_what_a_filter_leaves(
        self, client: httpx.Client, stored: dict[str, str]
    ) -> None:
        url: str | None = f"/api/copies?book=isbn:{ISBN}&per_page=2&cursor=start"
        seen = []
        while url:
            body = client.get(url).json()
            seen += [copy["id"] for copy in body["items"]]
            url = body["links"].get("next")

        assert seen == [stored[number] for number in "123"]

    def test_an_isbn_with_a_wrong_check_digit_is_refused_with_the_right_one(
        self, client: httpx.Client, problem: Expected
    ) -> None:
        response = client.get("/api/copies?book=isbn:9780441478120")

        assert response.status_code == 422
        body = response.json()
        assert body == problem(
            response,
            "isbn_invalid",
            "'9780441478120' has a wrong check digit.",
            details=[
                {
                    "in": "query",
                    "pointer": "/book",
                    "rule": "isbn",
                    "message": "'9780441478120' has a wrong check digit",
                    "allowed": ISBN,
                }
            ],
            suggestions=body["suggestions"],
        )

    @pytest.mark.parametrize("more", ["", "&status=missing"])
    def test_an_isbn_of_several_books_is_a_conflict_that_lists_them(
        self, client: httpx.Client, problem: Expected, shared_isbn: set[str], more: str
    ) -> None:
        response = client.get(f"/api/copies?book=isbn:{ISBN}{more}")

        assert response.status_code == 409
        body = response.json()
        assert {detail["allowed"] for detail in body["details"]} == shared_isbn
        assert {(detail["in"], detail["pointer"]) for detail in body["details"]} == {
            ("query", "/book")
        }
        assert body == problem(
            response,
            "isbn_ambiguous",
            f"2 books have the ISBN {ISBN}.",
            details=body["details"],
            suggestions=body["suggestions"],
        )

    def test_a_status_that_is_none_breaks_the_contract(self, client: httpx.Client) -> None:
        response = client.get("/api/copies?status=eaten")

        assert response.status_code == 400
        assert [entry["pointer"] for entry in response.json()["details"]] == ["/status"]

    def test_a_bad_key_is_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get("/api/copies", headers={"X-API-Key": "wrong"})

        assert response.status_code == 401
        assert response.json() == problem(
            response, "credentials_invalid", "The API key is not valid."
        )


class TestListBookCopies:
    @pytest.mark.parametrize("key", ["{first}", f"isbn:{ISBN}"])
    def test_they_are_the_copies_of_this_book(
        self, client: httpx.Client, stored: dict[str, str], key: str
    ) -> None:
        url = f"/api/books/{key.format(**stored)}/copies"

        response = client.get(url)

        assert response.status_code == 200
        assert response.json() == {
            "items": [client.get(f"/api/copies/{stored[number]}").json() for number in "123"],
            "page": 1,
            "per_page": 20,
            "total": 3,
            "total_relation": "exact",
            "next_cursor": None,
            "links": {"self": url, "first": url},
        }

    @pytest.mark.parametrize("key", ["{empty}", "isbn:9780306406157"])
    def test_a_book_may_have_none(
        self, client: httpx.Client, stored: dict[str, str], key: str
    ) -> None:
        body = client.get(f"/api/books/{key.format(**stored)}/copies").json()

        assert (body["items"], body["total"]) == ([], 0)

    @pytest.mark.parametrize(
        ("key", "named"), [(UNKNOWN, f"id {UNKNOWN}"), (f"isbn:{ISBN}", f"ISBN {ISBN}")]
    )
    def test_an_unknown_book_is_not_found(
        self, client: httpx.Client, problem: Expected, key: str, named: str
    ) -> None:
        response = client.get(f"/api/books/{key}/copies")

        assert response.status_code == 404
        assert response.json() == problem(response, "not_found", f"No book has the {named}.")

    def test_an_isbn_of_several_books_is_a_conflict_that_lists_them(
        self, client: httpx.Client, shared_isbn: set[str]
    ) -> None:
        response = client.get(f"/api/books/isbn:{ISBN}/copies")

        assert response.status_code == 409
        body = response.json()
        assert body["code"] == "isbn_ambiguous"
        assert {detail["allowed"] for detail in body["details"]} == shared_isbn
        assert {(detail["in"], detail["pointer"]) for detail in body["details"]} == {
            ("path", "/book_id")
        }

    def test_a_cursor_of_one_book_is_refused_for_another(
        self, client: httpx.Client, stored: dict[str, str]
    ) -> None:
        url = "/api/books/{}/copies?per_page=1&cursor={}"
        cursor = client.get(url.format(stored["first"], "start")).json()["next_cursor"]

        assert client.get(url.format(stored["first"], cursor)).status_code == 200
        response = client.get(url.format(stored["second"], cursor))

        assert response.status_code == 400
        assert response.json()["code"] == "cursor_invalid"

    def test_a_bad_key_is_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get(f"/api/books/{UNKNOWN}/copies", headers={"X-API-Key": "wrong"})

        assert response.status_code == 401
        assert response.json() == problem(
            response, "credentials_invalid", "The API key is not valid."
        )
