"""Notices as people see them."""

from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from circdesk import clock
from circdesk.circulation.models import Notice
from circdesk.contract.requests import NotFound
from circdesk.db.pagination import Page, PageQuery, paginate

JSON = dict[str, Any]

_SORTS = {"created_at": (Notice.created_at,)}
_SAID = ("title", "branch_name", "due_at", "expires_at", "amount")


class NoticeQuery(PageQuery):
    """What notices can be filtered by."""

    kind: str | None
    read: bool | None


def list_notices(session: Session, user_id: UUID, query: NoticeQuery) -> Page:
    """One page of the notices of this person. Raises what `paginate` raises."""
    found = select(Notice).where(Notice.user_id == user_id)
    if query["kind"] is not None:
        found = found.where(Notice.kind == query["kind"])
    if query["read"] is not None:
        unread = Notice.read_at.is_(None)
        found = found.where(~unread if query["read"] else unread)
    return paginate(
        session,
        found,
        sorts=_SORTS,
        query=query,
        present=lambda row: present(row[0]),
        # A cursor is good for the person alone whom it was made for.
        scope=f"list_my_notices:{user_id}",
    )


def patch_notice(session: Session, user_id: UUID, notice_id: UUID, changes: JSON) -> JSON:
    """Mark a notice of this person as read, or not. Raises NotFound, also for somebody else's."""
    found = select(Notice).where(Notice.id == notice_id, Notice.user_id == user_id)
    notice = session.scalar(found.with_for_update())
    if notice is None:
        raise NotFound(f"No notice has the id {notice_id}.")
    if "read" in changes and changes["read"] != (notice.read_at is not None):
        notice.read_at = clock.now() if changes["read"] else None
    session.flush()
    return present(notice)


def present(notice: Notice) -> JSON:
    """A notice as the contract shows it."""
    return {
        "id": notice.id,
        "kind": notice.kind,
        "subject_type": notice.subject_type,
        "subject_id": notice.subject_id,
        "since": notice.since,
        **{name: notice.data[name] for name in _SAID},
        "read": notice.read_at is not None,
        "sent_at": notice.sent_at,
        "created_at": notice.created_at,
    }
