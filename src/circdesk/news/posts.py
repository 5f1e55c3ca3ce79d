"""What can be done with posts."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, inspect, select
from sqlalchemy.orm import Session, raiseload
from sqlalchemy.orm.attributes import flag_modified

from circdesk import clock
from circdesk.contract.requests import NotFound
from circdesk.db.pagination import Page, PageQuery, paginate
from circdesk.db.text import sort_key
from circdesk.db.versions import raise_if_known, raise_if_modified, show_alone
from circdesk.news.models import Post, PostTag

JSON = dict[str, Any]

# The tags of each post in the post's own statement, so that they are of its version; no tag holds a
# blank.
_ORDERED = select(PostTag.name).where(PostTag.post_id == Post.id).order_by(PostTag.position)
_TAGS = select(
    func.aggregate_strings(_ORDERED.correlate(Post).subquery().c.name, " ")
).scalar_subquery()
_SHOWN = select(Post, _TAGS.label("tags")).options(raiseload(Post.tags))

_SORTS = {"title": (Post.sort_title,), "published_at": (Post.published_at,)}


class PostQuery(PageQuery):
    """What posts can be filtered by."""

    tag: str | None
    author: str | None
    published_after: datetime | None
    published_before: datetime | None


def list_posts(session: Session, query: PostQuery) -> Page:
    """One page of the posts that match."""
    found = _SHOWN
    if query["tag"] is not None:
        found = found.where(Post.tags.any(PostTag.name == query["tag"]))
    if query["author"] is not None:
        found = found.where(Post.author == query["author"])
    if query["published_after"] is not None:
        found = found.where(Post.published_at >= query["published_after"])
    if query["published_before"] is not None:
        found = found.where(Post.published_at < query["published_before"])
    return paginate(session, found, sorts=_SORTS, query=query, present=_present_row)


def create_post(session: Session, content: JSON) -> JSON:
    """Publish a post, at once where `published_at` is None."""
    post = Post(published_at=clock.now())
    _fill(post, content)
    session.add(post)
    session.flush()
    return present(post)


def read_post(session: Session, post_id: UUID) -> JSON:
    """One post. Raises NotFound."""
    raise_if_known(session, Post, Post.id == post_id)
    row = session.execute(_SHOWN.where(Post.id == post_id)).one_or_none()
    if row is None:
        raise _unknown(post_id)
    show_alone(session, row[0])
    return _present_row(row)


def replace_post(session: Session, post_id: UUID, content: JSON) -> JSON:
    """Replace everything that a caller can set. Raises NotFound and PreconditionFailed."""
    post = _locked(session, post_id)
    _fill(post, content)
    session.flush()
    return present(post)


def patch_post(session: Session, post_id: UUID, changes: JSON) -> JSON:
    """Apply a merge patch (RFC 7396): what it does not name stays.

    Raises NotFound and PreconditionFailed.
    """
    post = _locked(session, post_id)
    _fill(post, present(post) | changes)
    session.flush()
    return present(post)


def delete_post(session: Session, post_id: UUID) -> None:
    """Delete a post. Raises NotFound and PreconditionFailed."""
    session.delete(_locked(session, post_id))


def present(post: Post) -> JSON:
    """A post as the contract shows it."""
    return _present(post, [tag.name for tag in post.tags])


def _present_row(row: Row[*tuple[Any, ...]]) -> JSON:
    return _present(row[0], row.tags.split() if row.tags else [])


def _present(post: Post, tags: list[str]) -> JSON:
    return {
        "id": post.id,
        "title": post.title,
        "body": post.body,
        "author": post.author,
        "tags": tags,
        "published_at": post.published_at,
        "created_at": post.created_at,
        "updated_at": post.updated_at,
    }


def _unknown(post_id: UUID) -> NotFound:
    return NotFound(f"No post has the id {post_id}.")


def _locked(session: Session, post_id: UUID) -> Post:
    """The post, locked, and of a version that the caller knows."""
    post = session.get(Post, post_id, with_for_update={"key_share": True})
    if post is None:
        raise _unknown(post_id)
    raise_if_modified(session, post)
    return post


def _fill(post: Post, content: JSON) -> None:
    post.title = content["title"]
    post.sort_title = sort_key(post.title)
    post.body = content["body"]
    post.author = content["author"]
    # Without a time it stays as it was, so that replacing a post twice is replacing it once.
    post.published_at = content["published_at"] or post.published_at
    kept = {tag.name: tag for tag in post.tags}
    if inspect(post).has_identity and [*kept] != (content["tags"] or []):
        # The tags are a table of their own; by this the change counts as one of the post, also
        # where the clock stands still.
        post.updated_at = clock.now()
        flag_modified(post, "updated_at")
    post.tags = [kept.get(name) or PostTag(name=name) for name in content["tags"] or ()]
    for position, tag in enumerate(post.tags):
        tag.position = position
