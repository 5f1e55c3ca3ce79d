"""HTTP face of the news."""

from typing import Unpack
from uuid import UUID

from circdesk.db.pagination import Page
from circdesk.db.unit_of_work import current_session
from circdesk.news import posts
from circdesk.news.posts import JSON, PostQuery


def list_posts(**query: Unpack[PostQuery]) -> Page:
    """List posts."""
    return posts.list_posts(current_session(), query)


def create_post(*, body: JSON) -> tuple[JSON, int, dict[str, str]]:
    """Publish a post."""
    post = posts.create_post(current_session(), body)
    return post, 201, {"Location": f"/api/posts/{post['id']}"}


def get_post(*, post_id: UUID) -> JSON:
    """Read one post."""
    return posts.read_post(current_session(), post_id)


def replace_post(*, post_id: UUID, body: JSON) -> JSON:
    """Replace a post."""
    return posts.replace_post(current_session(), post_id, body)


def update_post(*, post_id: UUID, body: JSON) -> JSON:
    """Change a post."""
    return posts.patch_post(current_session(), post_id, body)


def delete_post(*, post_id: UUID) -> None:
    """Delete a post."""
    posts.delete_post(current_session(), post_id)
