"""Authors over HTTP, on both databases."""

from collections.abc import Callable
from typing import Any

import httpx

Expected = Callable[..., dict[str, Any]]

UNKNOWN = "019b8d2b-8c00-7003-8000-0000000000ff"


def add(admin: httpx.Client, name: str) -> dict[str, Any]:
    response = admin.post("/api/authors", json={"name": name})
    assert response.status_code == 201, response.text
    author: dict[str, Any] = response.json()
    return author


def add_book(admin: httpx.Client, *authors: dict[str, Any], **content: Any) -> dict[str, Any]:
    members = [{"id": author["id"]} for author in authors]
    body = {"title": "A book", "authors": members} | content
    response = admin.post("/api/books", json=body)
    assert response.status_code == 201, response.text
    book: dict[str, Any] = response.json()
    return book


def missing(expected: Expected, response: httpx.Response) -> dict[str, Any]:
    return expected(response, "not_found", f"No author has the id {UNKNOWN}.")


class TestListAuthorBooks:
    def test_in_any_place_among_the_authors(self, admin: httpx.Client) -> None:
        author, other = add(admin, "Austen, Jane"), add(admin, "Brontë, Emily")
        second = add_book(admin, other, author, title="B", year=1)
        first = add_book(admin, author, title="A", year=2)
        add_book(admin, other, title="C")
        url = f"/api/authors/{author['id']}/books"

        assert admin.get(url).json() == {
            "items": [first, second],
            "page": 1,
            "per_page": 20,
            "total": 2,
            "total_relation": "exact",
            "next_cursor": None,
            "links": {"self": url, "first": url},
        }
        assert admin.get(f"{url}?sort=year").json()["items"] == [second, first]

    def test_a_cursor_is_good_for_one_author(self, admin: httpx.Client) -> None:
        author, other = add(admin, "Austen, Jane"), add(admin, "Brontë, Emily")
        for _ in range(2):
            add_book(admin, author, other)
        body = admin.get(f"/api/authors/{author['id']}/books?per_page=1").json()
        query = f"books?per_page=1&cursor={body['next_cursor']}"

        assert admin.get(f"/api/authors/{author['id']}/{query}").status_code == 200
        response = admin.get(f"/api/authors/{other['id']}/{query}")
        assert response.status_code == 400
        assert response.json()["code"] == "cursor_invalid"

    def test_an_author_may_have_none(self, admin: httpx.Client) -> None:
        author = add(admin, "Austen, Jane")

        assert admin.get(f"/api/authors/{author['id']}/books").json()["items"] == []

    def test_it_takes_two_statements(self, admin: httpx.Client, count_queries: Any) -> None:
        author = add(admin, "Austen, Jane")
        for _ in range(3):
            add_book(admin, author)
        with count_queries() as statements:
            admin.get(f"/api/authors/{author['id']}/books?per_page=2")

        assert len(statements) == 2

    def test_an_unknown_author_is_missing(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get(f"/api/authors/{UNKNOWN}/books")

        assert response.status_code == 404
        assert response.json() == missing(problem, response)
