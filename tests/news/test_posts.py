"""Posts over HTTP, on both databases."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

Expected = Callable[..., dict[str, Any]]

UNKNOWN = "019b8d2b-8c00-7001-8000-0000000000ff"
INPUT = {
    "title": "The harbour branch opens",
    "body": "From Monday on.\nCome and see.",
    "author": "Circulation desk",
    "tags": ["opening-hours", "harbour"],
    "published_at": "2026-01-05T08:00:00Z",
}


def publish(admin: httpx.Client, **changes: Any) -> dict[str, Any]:
    response = admin.post("/api/posts", json=INPUT | changes)
    assert response.status_code == 201, response.text
    post: dict[str, Any] = response.json()
    return post


def missing(expected: Expected, response: httpx.Response) -> dict[str, Any]:
    return expected(response, "not_found", f"No post has the id {UNKNOWN}.")


class TestListPosts:
    def test_an_empty_list_has_its_first_page(self, client: httpx.Client) -> None:
        response = client.get("/api/posts")

        assert response.status_code == 200
        assert response.json() == {
            "items": [],
            "page": 1,
            "per_page": 20,
            "total": 0,
            "total_relation": "exact",
            "next_cursor": None,
            "links": {"self": "/api/posts", "first": "/api/posts"},
        }
        assert response.headers["Link"] == '</api/posts>; rel="self", </api/posts>; rel="first"'

    def test_a_page_in_the_middle_knows_its_neighbours(self, admin: httpx.Client) -> None:
        posts = [publish(admin, title=f"News {number}") for number in range(5)]

        body = admin.get("/api/posts?sort=title&per_page=2&page=2").json()

        assert body.pop("next_cursor")
        assert body == {
            "items": posts[2:4],
            "page": 2,
            "per_page": 2,
            "total": 5,
            "total_relation": "exact",
            "links": {
                "self": "/api/posts?sort=title&per_page=2&page=2",
                "first": "/api/posts?sort=title&per_page=2",
                "prev": "/api/posts?sort=title&per_page=2&page=1",
                "next": "/api/posts?sort=title&per_page=2&page=3",
            },
        }

    def test_cursors_walk_the_whole_list_once(self, admin: httpx.Client) -> None:
        titles = {publish(admin, title=f"News {number}")["title"] for number in range(5)}
        url: str | None = "/api/posts?sort=-title&per_page=2&cursor=start"
        seen = []
        while url:
            body = admin.get(url).json()
            assert "total" not in body
            assert body["links"]["first"] == "/api/posts?sort=-title&per_page=2&cursor=start"
            seen += [post["title"] for post in body["items"]]
            url = body["links"].get("next")

        assert seen == sorted(titles, reverse=True)

    def test_filters_combine(self, admin: httpx.Client) -> None:
        wanted = publish(admin, tags=["holiday"], published_at="2026-02-01T00:00:00Z")
        publish(admin, tags=["holiday"], published_at="2026-03-01T00:00:00Z")
        publish(admin, tags=["other"], published_at="2026-02-01T00:00:00Z")
        publish(admin, tags=["holiday"], published_at="2026-02-01T00:00:00Z", author="Someone")
        query = {
            "tag": "holiday",
            "author": "Circulation desk",
            "published_after": "2026-02-01T01:00:00+01:00",
            "published_before": "2026-03-01T00:00:00Z",
        }

        assert admin.get("/api/posts", params=query).json()["items"] == [wanted]

    def test_it_takes_two_statements_however_many_posts(
        self, admin: httpx.Client, count_queries: Any
    ) -> None:
        for number in range(30):
            publish(admin, title=f"News {number}")
        with count_queries() as statements:
            admin.get("/api/posts")

        # The page with its tags, and the total.
        assert len(statements) == 2

    def test_every_fault_is_reported(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get("/api/posts?page=0&colour=red&sort=size")

        assert response.status_code == 400
        body = response.json()
        assert [(entry["pointer"], entry["rule"]) for entry in body["details"]] == [
            ("/colour", "unknown"),
            ("/page", "minimum"),
            ("/sort", "enum"),
        ]
        assert body == problem(
            response, "invalid_request", "The request has 3 faults.", details=body["details"]
        )

    def test_a_bad_key_is_refused_where_anonymous_callers_are_welcome(
        self, client: httpx.Client, problem: Expected
    ) -> None:
        response = client.get("/api/posts", headers={"X-API-Key": "wrong"})

        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == (
            'ApiKey realm="circdesk", header="X-API-Key"'
        )
        assert response.json() == problem(
            response, "credentials_invalid", "The API key is not valid."
        )


class TestCreatePost:
    def test_the_answer_is_the_post_and_where_it_stands(self, admin: httpx.Client) -> None:
        response = admin.post("/api/posts", json=INPUT)

        assert response.status_code == 201
        post = response.json()
        assert response.headers["Location"] == f"/api/posts/{post['id']}"
        assert UUID(post["id"]).version == 7
        assert post == INPUT | {name: post[name] for name in ("id", "created_at", "updated_at")}
        assert admin.get(response.headers["Location"]).json() == post

    def test_what_is_left_out_has_its_default(self, admin: httpx.Client) -> None:
        minimal = {name: INPUT[name] for name in ("title", "body", "author")}

        post = admin.post("/api/posts", json=minimal).json()

        assert post["tags"] == []
        assert post["published_at"][:16] == post["created_at"][:16]

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.post("/api/posts", json=INPUT)

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")

    @pytest.mark.parametrize(
        ("changes", "pointer", "rule"),
        [
            pytest.param({"title": " "}, "/title", "pattern", id="blank title"),
            pytest.param({"title": "x" * 201}, "/title", "maxLength", id="long title"),
            pytest.param({"tags": ["a", "a"]}, "/tags", "uniqueItems", id="the same tag twice"),
            pytest.param(
                {"published_at": "2026-13-01T00:00:00Z"}, "/published_at", "format", id="month 13"
            ),
            pytest.param({"colour": "red"}, "/colour", "additionalProperties", id="unknown"),
        ],
    )
    def test_a_body_that_breaks_the_contract_is_refused(
        self, admin: httpx.Client, changes: dict[str, Any], pointer: str, rule: str
    ) -> None:
        response = admin.post("/api/posts", json=INPUT | changes)

        assert response.status_code == 400
        (entry,) = response.json()["details"]
        assert (entry["in"], entry["pointer"], entry["rule"]) == ("body", pointer, rule)
        assert admin.get("/api/posts").json()["total"] == 0


class TestGetPost:
    def test_the_post_is_shown_whole(self, admin: httpx.Client) -> None:
        post = publish(admin)

        response = admin.get(f"/api/posts/{post['id']}")

        assert response.status_code == 200
        assert response.json() == post

    def test_an_unknown_id_is_not_found(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get(f"/api/posts/{UNKNOWN}")

        assert response.status_code == 404
        assert response.json() == missing(problem, response)


class TestReplacePost:
    def test_everything_is_replaced(self, admin: httpx.Client) -> None:
        post = publish(admin)

        response = admin.put(
            f"/api/posts/{post['id']}", json={"title": "New", "body": "Text", "author": "Me"}
        )

        assert response.status_code == 200
        replaced = response.json()
        assert replaced == post | {
            "title": "New",
            "body": "Text",
            "author": "Me",
            "tags": [],
            "updated_at": replaced["updated_at"],
        }
        assert replaced["updated_at"] > post["updated_at"]

    def test_an_unknown_id_is_not_found(self, admin: httpx.Client, problem: Expected) -> None:
        response = admin.put(f"/api/posts/{UNKNOWN}", json=INPUT)

        assert response.status_code == 404
        assert response.json() == missing(problem, response)

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.put(f"/api/posts/{UNKNOWN}", json=INPUT)

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestUpdatePost:
    def test_what_is_not_named_stays(self, admin: httpx.Client) -> None:
        post = publish(admin)

        response = admin.patch(
            f"/api/posts/{post['id']}",
            json={"title": "Changed", "tags": ["opening-hours", "new"]},
            headers={"Content-Type": "application/merge-patch+json"},
        )

        assert response.status_code == 200
        assert response.json() == post | {
            "title": "Changed",
            "tags": ["opening-hours", "new"],
            "updated_at": response.json()["updated_at"],
        }

    def test_null_empties_the_tags(self, admin: httpx.Client) -> None:
        post = publish(admin)

        changed = admin.patch(f"/api/posts/{post['id']}", json={"tags": None}).json()

        assert changed["tags"] == []

    def test_an_unknown_id_is_not_found(self, admin: httpx.Client, problem: Expected) -> None:
        response = admin.patch(f"/api/posts/{UNKNOWN}", json={})

        assert response.status_code == 404
        assert response.json() == missing(problem, response)

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.patch(f"/api/posts/{UNKNOWN}", json={})

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestDeletePost:
    def test_the_post_is_gone(self, admin: httpx.Client) -> None:
        post = publish(admin)

        response = admin.delete(f"/api/posts/{post['id']}")

        assert response.status_code == 204
        assert response.content == b""
        assert "Content-Type" not in response.headers
        assert admin.get(f"/api/posts/{post['id']}").status_code == 404
        assert admin.get("/api/posts?tag=harbour").json()["items"] == []

    def test_an_unknown_id_is_not_found(self, admin: httpx.Client, problem: Expected) -> None:
        response = admin.delete(f"/api/posts/{UNKNOWN}")

        assert response.status_code == 404
        assert response.json() == missing(problem, response)

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.delete(f"/api/posts/{UNKNOWN}")

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")
