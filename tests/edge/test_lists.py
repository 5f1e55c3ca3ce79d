"""The links of a list: the query as it was sent, but for the place in the list."""

from typing import Any

import pytest

from circdesk.db.pagination import START, Page
from circdesk.edge.lists import list_answer


def links(url: str, **place: Any) -> dict[str, str]:
    page = Page([], 20, has_next=True, has_cursor=True, next_cursor="a=b", **place)
    body, _, headers = list_answer(page, url)
    found: dict[str, str] = body["links"]
    assert headers["Link"] == ", ".join(f'<{url}>; rel="{rel}"' for rel, url in found.items())
    return found


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("page=2", ""),
        ("page=2&q=a%20b", "q=a%20b&"),
        ("q=a+b&page=2&sort=-title", "q=a+b&sort=-title&"),
        ("%70age=2&&author=", "author=&"),
        ("page=2&pages&mypage=1", "pages&mypage=1&"),
    ],
)
def test_by_page_they_have_all_but_the_page(query: str, kept: str) -> None:
    assert links(f"/api/books?{query}", page=2, total=100, total_relation="exact") == {
        "self": f"/api/books?{query}",
        "first": f"/api/books?{kept}".rstrip("?&"),
        "prev": f"/api/books?{kept}page=1",
        "next": f"/api/books?{kept}page=3",
    }


def test_by_cursor_they_stay_with_cursors() -> None:
    assert links("/api/books?cursor=old&q=a") == {
        "self": "/api/books?cursor=old&q=a",
        "first": f"/api/books?q=a&cursor={START}",
        "next": "/api/books?q=a&cursor=a%3Db",
    }
