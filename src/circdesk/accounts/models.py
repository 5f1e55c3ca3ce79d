"""Tables of accounts."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from circdesk.db.base import Base, Identified, SortableText, Timestamped, Words
from circdesk.db.versions import Versioned


class User(Identified, Timestamped, Versioned, Base):
    """A person who may sign in: a member, a librarian or an administrator.

    Of a deleted user the row stays, so that history keeps its counts; everything in it that tells
    who the person was is gone, and `anonymised_at` is set.
    """

    __tablename__ = "users"
    __table_args__ = (Index(None, "sort_name", "id"), Index(None, "created_at", "id"))
    # A branch that is deleted is taken out by the database.
    __uncounted__ = ("branch_id",)

    name: Mapped[str | None]
    # The name folded, by which lists are sorted; empty once the person is gone.
    sort_name: Mapped[SortableText]
    # In lower case and ASCII alone, so that no two addresses can look alike.
    email: Mapped[str | None] = mapped_column(unique=True)
    card_number: Mapped[str | None] = mapped_column(unique=True)
    role: Mapped[str] = mapped_column(index=True)
    # What kind of borrower loan policies see: `standard`, or a word of the library's own.
    category: Mapped[str] = mapped_column(default="standard", server_default="standard")
    status: Mapped[str] = mapped_column(index=True)
    # The home branch; a branch that is gone is nobody's.
    branch_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("branches.id", ondelete="SET NULL"), index=True
    )
    # The last day on which the card is good.
    expires_on: Mapped[date | None]
    phone: Mapped[str | None]
    postal_address: Mapped[str | None]
    # Whether returned loans stay linked to the person.
    keeps_history: Mapped[bool] = mapped_column(default=False)
    # Whether the library may write to the person about its news.
    receives_news: Mapped[bool] = mapped_column(default=False)
    # Kinds of notices that the person does not want to be told.
    unwanted_notices: Mapped[list[str]] = mapped_column(
        Words, default=list, server_default=text("''")
    )
    password_hash: Mapped[str | None]
    password_changed_at: Mapped[datetime | None]
    anonymised_at: Mapped[datetime | None]
