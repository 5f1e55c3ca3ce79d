"""Rows for tests of the database's own rules; posts are the smallest table that has them all."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from circdesk.news.models import Post

_CONTENT: dict[str, object] = {
    "title": "News",
    "sort_title": "news",
    "body": "…",
    "author": "Ada",
    "published_at": datetime(2026, 1, 31, 12, tzinfo=UTC),
}


@pytest.fixture
def make_post() -> Callable[..., Post]:
    """`make_post(title="…")` makes a post that is not stored yet."""
    return lambda **values: Post(**_CONTENT | values)
