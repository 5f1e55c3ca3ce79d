"""Tables of the news."""

from uuid import UUID

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column, relationship

from circdesk.db.base import Base, Identified, Moment, SortableText, Timestamped
from circdesk.db.touches import Touches
from circdesk.db.versions import Versioned


class Post(Identified, Timestamped, Versioned, Base):
    """A piece of news, public from `published_at` on."""

    __tablename__ = "posts"
    __touches__ = Touches(("posts", "posts:{id}"))
    __table_args__ = (Index(None, "sort_title", "id"), Index(None, "published_at", "id"))

    title: Mapped[str]
    # The title folded, by which lists are sorted.
    sort_title: Mapped[SortableText]
    body: Mapped[str]
    author: Mapped[str] = mapped_column(index=True)
    published_at: Mapped[Moment]

    tags: Mapped[list["PostTag"]] = relationship(
        back_populates="post",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="PostTag.position",
        # A post is never shown without its tags.
        lazy="selectin",
    )


class PostTag(Base):
    """A word that a post is found by, at its place among the post's tags."""

    __tablename__ = "post_tags"
    __touches__ = Touches(("posts", "posts:{post_id}"))

    post_id: Mapped[UUID] = mapped_column(
        ForeignKey("posts.id", ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[str] = mapped_column(primary_key=True, index=True)
    position: Mapped[int]

    post: Mapped[Post] = relationship(back_populates="tags", lazy="raise_on_sql")
