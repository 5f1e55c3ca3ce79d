"""Authors and subjects over HTTP, on both databases: both are names that books are found by."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

Expected = Callable[..., dict[str, Any]]

pytestmark = pytest.mark.parametrize("noun", ["author", "subject"])

UNKNOWN = "019b8d2b-8c00-7003-8000-0000000000ff"


def add(admin: httpx.Client, noun: str, name: str) -> dict[str, Any]:
    response = admin.post(f"/api/{noun}s", json={"name": name})
    assert response.status_code == 201, response.text
    named: dict[str, Any] = response.json()
    return named


def add_book(
    admin: httpx.Client, noun: str, *names: dict[str, Any], **content: Any
) -> dict[str, Any]:
    members = [{"id": named["id"]} for named in names]
    body = {"title": "A book", f"{noun}s": members} | content
    response = admin.post("/api/books", json=body)
    assert response.status_code == 201, response.text
    book: dict[str, Any] = response.json()
    return book


def missing(expected: Expected, noun: str, response: httpx.Response) -> dict[str, Any]:
    return expected(response, "not_found", f"No {noun} has the id {UNKNOWN}.")


def taken(
    expected: Expected, noun: str, response: httpx.Response, other: dict[str, Any]
) -> dict[str, Any]:
    message = f"The {noun} {other['name']!r} exists already."
    return expected(
        response,
        f"{noun}_exists",
        message,
        details=[{"in": "body", "pointer": "/name", "rule": "unique", "message": message}],
        suggestions=[
            {
                "operation_id": f"get_{noun}",
                "parameters": {f"{noun}_id": other["id"]},
                "reason": "It has this name.",
            }
        ],
    )


class TestListNames:
    def test_in_the_order_of_their_names(self, noun: str, admin: httpx.Client) -> None:
        second, first = add(admin, noun, "Brontë, Emily"), add(admin, noun, "Austen, Jane")

        assert admin.get(f"/api/{noun}s").json() == {
            "items": [first, second],
            "page": 1,
            "per_page": 20,
            "total": 2,
            "total_relation": "exact",
            "next_cursor": None,
            "links": {"self": f"/api/{noun}s", "first": f"/api/{noun}s"},
        }
        assert admin.get(f"/api/{noun}s?sort=-name").json()["items"] == [second, first]

    @pytest.mark.parametrize("name", ["BRONTE", "emily", "e em", "Ë"])
    def test_a_part_of_a_name_finds_it(self, noun: str, admin: httpx.Client, name: str) -> None:
        wanted = add(admin, noun, "Brontë, Emily")
        add(admin, noun, "Doyl, A. C.")

        response = admin.get(f"/api/{noun}s", params={"name": name})

        assert response.json()["items"] == [wanted]

    @pytest.mark.parametrize("name", ["%", "_", "\\", "'"])
    def test_signs_are_no_wildcards(self, noun: str, admin: httpx.Client, name: str) -> None:
        add(admin, noun, "Austen, Jane")

        assert admin.get(f"/api/{noun}s", params={"name": name}).json()["items"] == []

    def test_they_tell_how_many_books_have_them(self, noun: str, admin: httpx.Client) -> None:
        named = add(admin, noun, "Austen, Jane")
        add_book(admin, noun, named)
        add_book(admin, noun, named)

        assert admin.get(f"/api/{noun}s").json()["items"] == [named | {"books_count": 2}]

    def test_cursors_walk_the_whole_list_once(self, noun: str, admin: httpx.Client) -> None:
        names = [add(admin, noun, f"Name {number}")["name"] for number in range(5)]
        url: str | None = f"/api/{noun}s?per_page=2&cursor=start"
        seen = []
        while url:
            body = admin.get(url).json()
            seen += [named["name"] for named in body["items"]]
            url = body["links"].get("next")

        assert seen == names

    def test_it_takes_two_statements(
        self, noun: str, admin: httpx.Client, count_queries: Any
    ) -> None:
        for number in range(5):
            add(admin, noun, f"Name {number}")
        with count_queries() as statements:
            admin.get(f"/api/{noun}s?per_page=2")

        assert len(statements) == 2


class TestCreateName:
    def test_the_answer_is_the_name_and_where_it_stands(
        self, noun: str, admin: httpx.Client
    ) -> None:
        response = admin.post(f"/api/{noun}s", json={"name": "Austen, Jane"})

        assert response.status_code == 201
        named = response.json()
        assert response.headers["Location"] == f"/api/{noun}s/{named['id']}"
        assert UUID(named.pop("id")).version == 7
        assert named.pop("updated_at") == named.pop("created_at")
        assert named == {"name": "Austen, Jane", "books_count": 0}

    def test_a_name_that_folds_alike_is_taken(
        self, noun: str, admin: httpx.Client, problem: Expected
    ) -> None:
        other = add(admin, noun, "Brontë, Emily")
        response = admin.post(f"/api/{noun}s", json={"name": "bronte  EMILY"})

        assert response.status_code == 409
        assert response.json() == taken(problem, noun, response, other)

    def test_without_a_key_it_is_refused(
        self, noun: str, client: httpx.Client, problem: Expected
    ) -> None:
        response = client.post(f"/api/{noun}s", json={"name": "Austen, Jane"})

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestGetName:
    def test_the_answer_is_the_name(self, noun: str, admin: httpx.Client) -> None:
        named = add(admin, noun, "Austen, Jane")
        response = admin.get(f"/api/{noun}s/{named['id']}")

        assert response.status_code == 200
        assert response.json() == named

    def test_an_unknown_name_is_missing(
        self, noun: str, client: httpx.Client, problem: Expected
    ) -> None:
        response = client.get(f"/api/{noun}s/{UNKNOWN}")

        assert response.status_code == 404
        assert response.json() == missing(problem, noun, response)


class TestReplaceName:
    def test_books_are_found_by_the_new_name(self, noun: str, admin: httpx.Client) -> None:
        named = add(admin, noun, "Evans, Mary Ann")
        book = add_book(admin, noun, named)
        response = admin.put(f"/api/{noun}s/{named['id']}", json={"name": "Eliot, George"})

        assert response.status_code == 200
        changed = response.json()
        assert changed.pop("updated_at") > named.pop("updated_at")
        assert changed == named | {"name": "Eliot, George", "books_count": 1}
        found = admin.get("/api/books?q=eliot").json()["items"]
        assert [entry["id"] for entry in found] == [book["id"]]
        assert found[0][f"{noun}s"][0]["name"] == "Eliot, George"
        assert admin.get("/api/books?q=evans").json()["items"] == []

    def test_its_own_name_changes_nothing(self, noun: str, admin: httpx.Client) -> None:
        named = add(admin, noun, "Evans, Mary Ann")
        url = f"/api/{noun}s/{named['id']}"

        assert admin.put(url, json={"name": "Evans, Mary Ann"}).json() == named
        assert admin.patch(url, json={"name": "Evans, Mary Ann"}).json() == named

    def test_its_own_name_in_another_spelling_is_free(self, noun: str, admin: httpx.Client) -> None:
        named = add(admin, noun, "Bronte, Emily")
        response = admin.put(f"/api/{noun}s/{named['id']}", json={"name": "Brontë, Emily"})

        assert response.status_code == 200
        assert response.json()["name"] == "Brontë, Emily"

    def test_the_name_of_another_is_taken(
        self, noun: str, admin: httpx.Client, problem: Expected
    ) -> None:
        named, other = add(admin, noun, "Austen, Jane"), add(admin, noun, "Brontë, Emily")
        response = admin.put(f"/api/{noun}s/{named['id']}", json={"name": "Bronte, Emily"})

        assert response.status_code == 409
        assert response.json() == taken(problem, noun, response, other)

    def test_an_unknown_name_is_missing(
        self, noun: str, admin: httpx.Client, problem: Expected
    ) -> None:
        response = admin.put(f"/api/{noun}s/{UNKNOWN}", json={"name": "Austen, Jane"})

        assert response.status_code == 404
        assert response.json() == missing(problem, noun, response)

    def test_without_a_key_it_is_refused(
        self, noun: str, client: httpx.Client, problem: Expected
    ) -> None:
        response = client.put(f"/api/{noun}s/{UNKNOWN}", json={"name": "Austen, Jane"})

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestUpdateName:
    def test_nothing_named_is_nothing_changed(self, noun: str, admin: httpx.Client) -> None:
        named = add(admin, noun, "Austen, Jane")
        response = admin.patch(f"/api/{noun}s/{named['id']}", json={})

        assert response.status_code == 200
        assert response.json() == named

    def test_a_new_name(self, noun: str, admin: httpx.Client) -> None:
        named = add(admin, noun, "Evans, Mary Ann")
        response = admin.patch(f"/api/{noun}s/{named['id']}", json={"name": "Eliot, George"})

        assert response.json() == named | {
            "name": "Eliot, George",
            "updated_at": response.json()["updated_at"],
        }

    def test_the_name_of_another_is_taken(
        self, noun: str, admin: httpx.Client, problem: Expected
    ) -> None:
        named, other = add(admin, noun, "Austen, Jane"), add(admin, noun, "Brontë, Emily")
        response = admin.patch(f"/api/{noun}s/{named['id']}", json={"name": other["name"]})

        assert response.status_code == 409
        assert response.json() == taken(problem, noun, response, other)

    def test_an_unknown_name_is_missing(
        self, noun: str, admin: httpx.Client, problem: Expected
    ) -> None:
        response = admin.patch(f"/api/{noun}s/{UNKNOWN}", json={})

        assert response.status_code == 404
        assert response.json() == missing(problem, noun, response)

    def test_without_a_key_it_is_refused(
        self, noun: str, client: httpx.Client, problem: Expected
    ) -> None:
        response = client.patch(f"/api/{noun}s/{UNKNOWN}", json={})

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestDeleteName:
    def test_it_is_gone(self, noun: str, admin: httpx.Client) -> None:
        named = add(admin, noun, "Austen, Jane")
        response = admin.delete(f"/api/{noun}s/{named['id']}")

        assert response.status_code == 204
        assert response.content == b""
        assert admin.get(f"/api/{noun}s/{named['id']}").status_code == 404

    def test_what_books_have_is_in_use(
        self, noun: str, admin: httpx.Client, problem: Expected
    ) -> None:
        named = add(admin, noun, "Austen, Jane")
        book = add_book(admin, noun, named)
        response = admin.delete(f"/api/{noun}s/{named['id']}")

        assert response.status_code == 409
        assert response.json() == problem(
            response,
            f"{noun}_in_use",
            f"Books still have the {noun} 'Austen, Jane'.",
            details=[
                {
                    "in": "path",
                    "pointer": f"/{noun}_id",
                    "rule": "in_use",
                    "message": "'A book' has it",
                    "allowed": book["id"],
                }
            ],
            suggestions=[
                {
                    "operation_id": "list_books",
                    "parameters": {noun: named["id"]},
                    "reason": "These are the books that have it.",
                }
            ],
        )

    def test_an_unknown_name_is_missing(
        self, noun: str, admin: httpx.Client, problem: Expected
    ) -> None:
        response = admin.delete(f"/api/{noun}s/{UNKNOWN}")

        assert response.status_code == 404
        assert response.json() == missing(problem, noun, response)

    def test_without_a_key_it_is_refused(
        self, noun: str, client: httpx.Client, problem: Expected
    ) -> None:
        response = client.delete(f"/api/{noun}s/{UNKNOWN}")

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")
