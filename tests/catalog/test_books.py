"""Books over HTTP, on both databases."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from circdesk.catalog.models import Book

Expected = Callable[..., dict[str, Any]]

UNKNOWN = "019b8d2b-8c00-7005-8000-0000000000ff"
ISBN = "9780441478125"
# Whatever is there is to be replaced.
ANY = {"If-Match": "*"}
INPUT = {
    "title": "The Left Hand of Darkness",
    "subtitle": None,
    "authors": [{"name": "Le Guin, Ursula K."}],
    "isbns": ["978-0-441-47812-5"],
    "publisher": "Ace Books",
    "year": 1969,
    "language": "en",
    "subjects": [{"name": "Science fiction"}, {"name": "Space travel"}],
    "summary": "An envoy visits a world\ncalled Winter.",
    "material_type": "book",
    "edition": "1st ed.",
}


def add(admin: httpx.Client, **changes: Any) -> dict[str, Any]:
    response = admin.post("/api/books", json={"title": "A book"} | changes)
    assert response.status_code == 201, response.text
    book: dict[str, Any] = response.json()
    return book


def add_copy(admin: httpx.Client, book: dict[str, Any], **changes: Any) -> dict[str, Any]:
    branch = {"code": "central", "name": "Central", "time_zone": "Europe/Berlin"}
    admin.post("/api/branches", json=branch)
    url = f"/api/books/{book['id']}/copies"
    response = admin.post(url, json={"branch_id": "code:central"} | changes)
    assert response.status_code == 201, response.text
    copy: dict[str, Any] = response.json()
    return copy


def titles(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [book["title"] for book in response.json()["items"]]


def names(members: list[dict[str, Any]]) -> list[str]:
    return [member["name"] for member in members]


class TestListBooks:
    def test_an_empty_catalogue_has_its_first_page(self, client: httpx.Client) -> None:
        response = client.get("/api/books")

        assert response.status_code == 200
        assert response.json() == {
            "items": [],
            "page": 1,
            "per_page": 20,
            "total": 0,
            "total_relation": "exact",
            "next_cursor": None,
            "links": {"self": "/api/books", "first": "/api/books"},
        }

    def test_items_are_whole_books(self, admin: httpx.Client) -> None:
        book = add(admin, **INPUT)
        other = add(admin, title="A book")

        assert admin.get("/api/books").json()["items"] == [other, book]

    def test_a_search_has_pages_and_no_cursor(self, admin: httpx.Client) -> None:
        book = add(admin, **INPUT)
        add(admin, title="Something else")

        assert admin.get("/api/books?q=darkness").json() == {
            "items": [book],
            "page": 1,
            "per_page": 20,
            "total": 1,
            "total_relation": "exact",
            "links": {"self": "/api/books?q=darkness", "first": "/api/books?q=darkness"},
        }

    @pytest.mark.parametrize(
        ("place", "code"),
        [
            ({"cursor": "start"}, "cursor_invalid"),
            ({"page": 101, "per_page": 100}, "page_out_of_reach"),
        ],
    )
    def test_where_relevance_ends_a_cursor_by_title_is_suggested(
        self, admin: httpx.Client, place: dict[str, Any], code: str
    ) -> None:
        add(admin, title="Darkness")
        response = admin.get("/api/books", params={"q": "darkness"} | place)

        assert response.status_code == 400
        body = response.json()
        assert body["code"] == code
        (suggested,) = body["suggestions"]
        assert suggested["operation_id"] == "list_books"
        assert suggested["parameters"] == {
            "q": "darkness",
            "per_page": place.get("per_page", 20),
            "sort": "title",
            "cursor": "start",
        }
        assert titles(admin.get("/api/books", params=suggested["parameters"])) == ["Darkness"]

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({"title": "hand"}, ["Hand of Light", "Left Hand"]),
            ({"title": "hand", "sort": "-title"}, ["Left Hand", "Hand of Light"]),
            ({"author": "guin"}, ["Left Hand"]),
            ({"subject": "SCIENCE-fiction"}, ["Left Hand"]),
            ({"isbn": "0-441-47812-3"}, ["Left Hand"]),
            ({"language": "de"}, ["Hand of Light"]),
            ({"language": "ger"}, ["Hand of Light"]),
            ({"year_from": 1970}, ["Hand of Light"]),
            ({"year_to": 1970}, ["Left Hand"]),
            ({"year_from": 1969, "year_to": 1969}, ["Left Hand"]),
            ({"material_type": "map"}, ["Somewhere"]),
            ({"branch": "code:central"}, ["Hand of Light", "Left Hand"]),
            ({"branch": "code:nowhere"}, []),
            ({"available": True}, ["Left Hand"]),
            ({"available": False}, ["Hand of Light", "Somewhere"]),
            ({"available": True, "branch": "code:central"}, ["Left Hand"]),
            ({"available": False, "branch": "code:central"}, ["Hand of Light"]),
            ({"q": "hand", "language": "eng"}, ["Left Hand"]),
            ({"q": "hand", "sort": "title", "language": "eng"}, ["Left Hand"]),
            ({"sort": "year"}, ["Somewhere", "Left Hand", "Hand of Light"]),
            ({"sort": "-year"}, ["Hand of Light", "Left Hand", "Somewhere"]),
            ({"sort": "-created_at"}, ["Somewhere", "Hand of Light", "Left Hand"]),
            ({"sort": "relevance"}, ["Hand of Light", "Left Hand", "Somewhere"]),
            ({"sort": "-relevance"}, ["Somewhere", "Left Hand", "Hand of Light"]),
        ],
    )
    def test_filters_and_sorts(
        self, admin: httpx.Client, query: dict[str, Any], expected: list[str]
    ) -> None:
        left = add(admin, **INPUT | {"title": "Left Hand"})
        light = add(admin, title="Hand of Light", year=2001, language="deu")
        add(admin, title="Somewhere", material_type="map")
        add_copy(admin, left)
        add_copy(admin, light, loanable=False)

        assert titles(admin.get("/api/books", params=query)) == expected

    def test_authors_and_subjects_are_found_by_id(self, admin: httpx.Client) -> None:
        book = add(admin, **INPUT)
        add(admin)

        for query in (
            {"author": book["authors"][0]["id"]},
            {"subject": book["subjects"][1]["id"]},
        ):
            assert titles(admin.get("/api/books", params=query)) == [book["title"]]

    def test_cursors_walk_the_whole_list_once(self, admin: httpx.Client) -> None:
        expected = [add(admin, title="Same", year=number)["year"] for number in range(1, 6)]
        url: str | None = "/api/books?sort=title&per_page=2&cursor=start"
        seen = []
        while url:
            body = admin.get(url).json()
            seen += [book["year"] for book in body["items"]]
            url = body["links"].get("next")

        assert seen == expected

    def test_a_wrong_isbn_suggests_the_right_one(
        self, client: httpx.Client, problem: Expected
    ) -> None:
        response = client.get("/api/books?isbn=9780441478126")

        assert response.status_code == 422
        message = "'9780441478126' has a wrong check digit"
        assert response.json() == problem(
            response,
            "isbn_invalid",
            f"{message}.",
            details=[
                {
                    "in": "query",
                    "pointer": "/isbn",
                    "rule": "isbn",
                    "message": message,
                    "allowed": ISBN,
                }
            ],
            suggestions=[
                {
                    "operation_id": "list_books",
                    "parameters": {"isbn": ISBN},
                    "reason": "The check digit is right here; see whether this is the book that "
                    "was meant.",
                }
            ],
        )

    def test_an_unknown_language_is_impossible(
        self, client: httpx.Client, problem: Expected
    ) -> None:
        response = client.get("/api/books?language=qq")

        assert response.status_code == 422
        assert response.json() == problem(
            response,
            "language_unknown",
            "'qq' is no language.",
            details=[
                {
                    "in": "query",
                    "pointer": "/language",
                    "rule": "language",
                    "message": "'qq' is no language of ISO 639",
                }
            ],
        )

    def test_a_bad_key_is_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get("/api/books", headers={"X-API-Key": "wrong"})

        assert response.status_code == 401
        assert response.json() == problem(
            response, "credentials_invalid", "The API key is not valid."
        )


class TestCreateBook:
    def test_the_answer_is_the_book_and_where_it_stands(self, admin: httpx.Client) -> None:
        response = admin.post("/api/books", json=INPUT)

        assert response.status_code == 201
        book = response.json()
        assert response.headers["Location"] == f"/api/books/{book['id']}"
        for part in ("authors", "subjects"):
            for member in book[part]:
                assert UUID(member.pop("id")).version == 7
        assert UUID(book.pop("id")).version == 7
        assert book.pop("updated_at") == book.pop("created_at")
        assert book == INPUT | {
            "isbns": [ISBN],
            "language": "eng",
            "copies_total": 0,
            "copies_available": 0,
        }

    def test_a_title_is_enough(self, admin: httpx.Client) -> None:
        book = add(admin, title="Beowulf")

        assert {name: book[name] for name in INPUT} == {
            "title": "Beowulf",
            "subtitle": None,
            "authors": [],
            "isbns": [],
            "publisher": None,
            "year": None,
            "language": None,
            "subjects": [],
            "summary": None,
            "material_type": "book",
            "edition": None,
        }

    def test_names_that_fold_alike_are_one(self, admin: httpx.Client) -> None:
        first = add(admin, authors=[{"name": "Brontë, Emily"}], subjects=[{"name": "Love"}])
        second = add(
            admin,
            authors=[{"name": "BRONTE EMILY"}, {"name": "Brontë, Emily"}],
            subjects=[{"name": "love!"}, {"id": first["subjects"][0]["id"]}],
        )

        assert second["authors"] == first["authors"]
        assert second["subjects"] == first["subjects"]

    def test_names_of_signs_alone_stay_apart(self, admin: httpx.Client) -> None:
        book = add(admin, title="!!!", authors=[{"name": "???"}, {"name": "!?"}, {"name": "???"}])

        assert names(book["authors"]) == ["???", "!?"]

    def test_authors_keep_their_order(self, admin: httpx.Client) -> None:
        known = add(admin, authors=[{"name": "B"}, {"name": "A"}])["authors"]
        book = add(admin, authors=[{"name": "C"}, {"id": known[1]["id"]}, {"name": "b"}])

        assert names(book["authors"]) == ["C", "A", "B"]

    def test_an_isbn_that_is_given_twice_is_kept_once(self, admin: httpx.Client) -> None:
        assert add(admin, isbns=[ISBN, "0-441-47812-3"])["isbns"] == [ISBN]

    def test_a_wrong_isbn_is_suggested_in_the_same_call(
        self, admin: httpx.Client, problem: Expected
    ) -> None:
        response = admin.post("/api/books", json=INPUT | {"isbns": [ISBN, "0-306-40615-3"]})

        assert response.status_code == 422
        message = "'0-306-40615-3' has a wrong check digit"
        assert response.json() == problem(
            response,
            "book_invalid",
            "The book has a fault.",
            details=[
                {
                    "in": "body",
                    "pointer": "/isbns/1",
                    "rule": "isbn",
                    "message": message,
                    "allowed": "9780306406157",
                }
            ],
            suggestions=[
                {
                    "operation_id": "create_book",
                    "parameters": {},
                    "body": INPUT | {"isbns": [ISBN, "9780306406157"]},
                    "reason": "The check digits are right here; see whether these are the ISBNs "
                    "that were meant.",
                }
            ],
        )
        assert admin.get("/api/books").json()["total"] == 0

    def test_all_that_is_impossible_is_reported(
        self, admin: httpx.Client, problem: Expected
    ) -> None:
        body = {"title": "A book", "language": "qqq", "isbns": ["123456789-0123"]}
        response = admin.post("/api/books", json=body)

        assert response.status_code == 422
        assert response.json() == problem(
            response,
            "book_invalid",
            "The book has 2 faults.",
            details=[
                {
                    "in": "body",
                    "pointer": "/isbns/0",
                    "rule": "isbn",
                    "message": "'123456789-0123' is not an ISBN",
                },
                {
                    "in": "body",
                    "pointer": "/language",
                    "rule": "language",
                    "message": "'qqq' is no language of ISO 639",
                },
            ],
        )

    def test_an_unknown_author_is_impossible_and_nothing_is_stored(
        self, admin: httpx.Client, problem: Expected
    ) -> None:
        authors = [{"name": "Somebody new"}, {"id": UNKNOWN}]
        response = admin.post("/api/books", json={"title": "A book", "authors": authors})

        assert response.status_code == 422
        assert response.json() == problem(
            response,
            "book_invalid",
            "The book has a fault.",
            details=[
                {
                    "in": "body",
                    "pointer": "/authors/1/id",
                    "rule": "reference",
                    "message": f"no author has the id {UNKNOWN}",
                }
            ],
        )
        assert admin.get("/api/authors").json()["total"] == 0

    def test_the_same_new_names_at_the_same_time_are_one(self, admin: httpx.Client) -> None:
        def post(number: int) -> int:
            people = [{"name": f"Author {(number + step) % 4}"} for step in range(4)]
            body = {"title": f"Book {number}", "authors": people, "subjects": people}
            return admin.post("/api/books", json=body).status_code

        with ThreadPoolExecutor(8) as pool:
            statuses = set(pool.map(post, range(24)))

        # Whoever cannot wait any longer is told so; nobody gets an error of ours.
        assert statuses <= {201, 503}
        assert 201 in statuses
        assert admin.get("/api/authors").json()["total"] == 4

    def test_what_a_person_gave_is_remembered(self, admin: httpx.Client, session: Session) -> None:
        add(admin, title="A book", year=1969)

        assert session.scalars(select(Book.edited_fields)).all() == [
            ["title", "year", "material_type"]
        ]

    def test_without_a_key_it_is_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.post("/api/books", json=INPUT)

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestGetBook:
    def test_by_id_and_by_isbn(self, admin: httpx.Client) -> None:
        book = add(admin, **INPUT)

        for key in (book["id"], f"isbn:{ISBN}", "isbn:0-441-47812-3", "isbn:978-0-441-47812-5"):
            response = admin.get(f"/api/books/{key}")
            assert response.status_code == 200
            assert response.json() == book

    def test_it_counts_copies(self, admin: httpx.Client) -> None:
        book = add(admin)
        add_copy(admin, book)
        add_copy(admin, book, loanable=False)

        shown = admin.get(f"/api/books/{book['id']}").json()

        assert shown == book | {"copies_total": 2, "copies_available": 1}

    def test_it_takes_one_statement(self, admin: httpx.Client, count_queries: Any) -> None:
        book = add(admin, **INPUT)
        with count_queries() as statements:
            admin.get(f"/api/books/{book['id']}")

        assert len(statements) == 1

    @pytest.mark.parametrize(
        ("key", "message"),
        [
            (UNKNOWN, f"No book has the id {UNKNOWN}."),
            (f"isbn:{ISBN}", f"No book has the ISBN {ISBN}."),
        ],
    )
    def test_an_unknown_book_is_missing(
        self, client: httpx.Client, problem: Expected, key: str, message: str
    ) -> None:
        response = client.get(f"/api/books/{key}")

        assert response.status_code == 404
        assert response.json() == problem(response, "not_found", message)

    def test_a_wrong_isbn_suggests_the_right_one(
        self, client: httpx.Client, problem: Expected
    ) -> None:
        response = client.get("/api/books/isbn:9780441478126")

        assert response.status_code == 422
        message = "'9780441478126' has a wrong check digit"
        assert response.json() == problem(
            response,
            "isbn_invalid",
            f"{message}.",
            details=[
                {
                    "in": "path",
                    "pointer": "/book_id",
                    "rule": "isbn",
                    "message": message,
                    "allowed": ISBN,
                }
            ],
            suggestions=[
                {
                    "operation_id": "get_book",
                    "parameters": {"book_id": f"isbn:{ISBN}"},
                    "reason": "The check digit is right here; see whether this is the book that "
                    "was meant.",
                }
            ],
        )

    def test_an_isbn_of_several_books_lists_them(
        self, admin: httpx.Client, problem: Expected
    ) -> None:
        books = [
            add(admin, title="One", isbns=[ISBN]),
            add(admin, title="Two", isbns=[ISBN], year=2),
        ]
        response = admin.get(f"/api/books/isbn:{ISBN}")

        assert response.status_code == 409
        named = ["'One'", "'Two' of 2"]
        assert response.json() == problem(
            response,
            "isbn_ambiguous",
            f"2 books have the ISBN {ISBN}.",
            details=[
                {
                    "in": "path",
                    "pointer": "/book_id",
                    "rule": "ambiguous",
                    "message": f"{name} has this ISBN",
                    "allowed": book["id"],
                }
                for book, name in zip(books, named, strict=True)
            ],
            suggestions=[
                {
                    "operation_id": "get_book",
                    "parameters": {"book_id": book["id"]},
                    "reason": f"This is {name}.",
                }
                for book, name in zip(books, named, strict=True)
            ],
        )


class TestReplaceBook:
    def test_what_is_left_out_is_gone(self, admin: httpx.Client) -> None:
        book = add(admin, **INPUT)
        response = admin.put(f"/api/books/isbn:{ISBN}", json={"title": "New"}, headers=ANY)

        assert response.status_code == 200
        empty: dict[str, Any] = dict.fromkeys(INPUT) | {"material_type": "book"}
        lists: dict[str, Any] = {"authors": [], "isbns": [], "subjects": []}
        replaced = response.json()
        assert replaced.pop("updated_at") > book.pop("updated_at")
        assert replaced == book | empty | lists | {"title": "New"}
        assert titles(admin.get("/api/books?q=new")) == ["New"]
        assert titles(admin.get("/api/books?q=darkness")) == []

    def test_twice_is_as_once(self, admin: httpx.Client) -> None:
        book = add(admin)
        answers = [
            admin.put(f"/api/books/{book['id']}", json=INPUT, headers=ANY).json() for _ in range(2)
        ]

        assert answers[0] == answers[1]

    def test_an_unknown_book_is_missing(self, admin: httpx.Client, problem: Expected) -> None:
        response = admin.put(f"/api/books/{UNKNOWN}", json=INPUT, headers=ANY)

        assert response.status_code == 404
        assert response.json() == problem(response, "not_found", f"No book has the id {UNKNOWN}.")

    def test_a_wrong_isbn_is_suggested_in_the_same_call(self, admin: httpx.Client) -> None:
        book = add(admin)
        body = {"title": "New", "isbns": ["9780441478126"]}
        response = admin.put(f"/api/books/{book['id']}", json=body, headers=ANY)

        assert response.status_code == 422
        (suggested,) = response.json()["suggestions"]
        assert suggested["operation_id"] == "replace_book"
        assert admin.put(
            f"/api/books/{suggested['parameters']['book_id']}", json=suggested["body"], headers=ANY
        ).json()["isbns"] == [ISBN]

    def test_many_at_the_same_time_all_succeed_or_are_told_to_wait(
        self, admin: httpx.Client
    ) -> None:
        book = add(admin)

        def put(number: int) -> int:
            body = INPUT | {"title": f"Title {number}"}
            return admin.put(f"/api/books/{book['id']}", json=body, headers=ANY).status_code

        with ThreadPoolExecutor(8) as pool:
            statuses = set(pool.map(put, range(16)))

        assert statuses <= {200, 503}
        assert 200 in statuses

    def test_without_a_key_it_is_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.put(f"/api/books/{UNKNOWN}", json=INPUT)

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestUpdateBook:
    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({}, {}),
            ({"title": "New"}, {"title": "New"}),
            ({"year": None}, {"year": None}),
            ({"language": "fr"}, {"language": "fre"}),
            ({"language": None}, {"language": None}),
            ({"isbns": None}, {"isbns": []}),
            ({"isbns": ["0306406152"]}, {"isbns": ["9780306406157"]}),
            ({"authors": None, "subjects": []}, {"authors": [], "subjects": []}),
        ],
    )
    def test_what_is_not_named_stays(
        self, admin: httpx.Client, changes: dict[str, Any], expected: dict[str, Any]
    ) -> None:
        book = add(admin, **INPUT)
        response = admin.patch(f"/api/books/{book['id']}", json=changes)

        assert response.status_code == 200
        changed = response.json()
        assert (changed.pop("updated_at") > book.pop("updated_at")) == bool(changes)
        assert changed == book | expected

    @pytest.mark.parametrize(
        "changes",
        [
            {"title": INPUT["title"], "language": "en", "isbns": ["0441478123"]},
            {"authors": [{"name": "le guin, URSULA K."}], "subjects": INPUT["subjects"]},
            {"year": 1969},
        ],
    )
    def test_what_was_there_already_changes_nothing(
        self, admin: httpx.Client, changes: dict[str, Any]
    ) -> None:
        book = add(admin, **INPUT)

        assert admin.patch(f"/api/books/{book['id']}", json=changes).json() == book

    def test_another_order_is_a_change(self, admin: httpx.Client) -> None:
        book = add(admin, **INPUT)
        changes = {"subjects": [{"id": subject["id"]} for subject in book["subjects"][::-1]]}
        changed = admin.patch(f"/api/books/{book['id']}", json=changes).json()

        assert changed["subjects"] == book["subjects"][::-1]
        assert changed["updated_at"] > book["updated_at"]

    def test_saying_again_what_an_import_said_is_no_update(
        self, admin: httpx.Client, session: Session
    ) -> None:
        book = add(admin)
        changed = admin.patch(f"/api/books/{book['id']}", json={"edition": None}).json()

        assert changed == book
        stored = session.get_one(Book, UUID(book["id"]))
        assert stored.edited_fields == ["title", "material_type", "edition"]

    def test_a_merge_patch_by_its_own_media_type(self, admin: httpx.Client) -> None:
        book = add(admin)
        response = admin.patch(
            f"/api/books/{book['id']}",
            content=b'{"edition": "2nd ed."}',
            headers={"Content-Type": "application/merge-patch+json"},
        )

        assert response.json()["edition"] == "2nd ed."

    def test_what_a_person_changed_is_remembered(
        self, admin: httpx.Client, session: Session
    ) -> None:
        book = add(admin, title="A book")
        admin.patch(f"/api/books/{book['id']}", json={"authors": None, "edition": "2nd ed."})

        assert session.scalars(select(Book.edited_fields)).all() == [
            ["title", "authors", "material_type", "edition"]
        ]

    def test_a_wrong_isbn_is_suggested_in_the_same_call(self, admin: httpx.Client) -> None:
        book = add(admin, **INPUT)
        response = admin.patch(f"/api/books/{book['id']}", json={"isbns": ["9780441478126"]})

        assert response.status_code == 422
        (suggested,) = response.json()["suggestions"]
        assert suggested["operation_id"] == "update_book"
        assert suggested["body"] == {"isbns": [ISBN]}

    def test_an_unknown_book_is_missing(self, admin: httpx.Client, problem: Expected) -> None:
        response = admin.patch(f"/api/books/{UNKNOWN}", json={})

        assert response.status_code == 404
        assert response.json() == problem(response, "not_found", f"No book has the id {UNKNOWN}.")

    def test_without_a_key_it_is_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.patch(f"/api/books/{UNKNOWN}", json={})

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestDeleteBook:
    def test_it_is_gone_and_its_authors_stay(self, admin: httpx.Client) -> None:
        book = add(admin, **INPUT)
        response = admin.delete(f"/api/books/isbn:{ISBN}")

        assert response.status_code == 204
        assert response.content == b""
        assert admin.get(f"/api/books/{book['id']}").status_code == 404
        assert titles(admin.get("/api/books?q=darkness")) == []
        assert names(admin.get("/api/authors").json()["items"]) == ["Le Guin, Ursula K."]

    def test_a_book_with_copies_is_in_use(self, admin: httpx.Client, problem: Expected) -> None:
        book = add(admin)
        keys = ["barcode:30001", str(add_copy(admin, book)["id"])]
        add_copy(admin, book, barcode="30001")
        response = admin.delete(f"/api/books/{book['id']}")

        assert response.status_code == 409
        body = response.json()
        body["details"].sort(key=lambda entry: entry["allowed"], reverse=True)
        assert body == problem(
            response,
            "book_in_use",
            "The book has 2 copies.",
            details=[
                {
                    "in": "path",
                    "pointer": "/book_id",
                    "rule": "in_use",
                    "message": f"the copy {key} is of this book",
                    "allowed": key,
                }
                for key in keys
            ],
            suggestions=[
                {
                    "operation_id": "list_book_copies",
                    "parameters": {"book_id": book["id"]},
                    "reason": "These are the copies of the book.",
                }
            ],
        )

    def test_an_unknown_book_is_missing(self, admin: httpx.Client, problem: Expected) -> None:
        response = admin.delete(f"/api/books/{UNKNOWN}")

        assert response.status_code == 404
        assert response.json() == problem(response, "not_found", f"No book has the id {UNKNOWN}.")

    def test_without_a_key_it_is_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.delete(f"/api/books/{UNKNOWN}")

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")
