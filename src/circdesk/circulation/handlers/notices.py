"""HTTP face of one's own notices."""

from typing import Unpack
from uuid import UUID

from circdesk.circulation.notices import notices
from circdesk.circulation.notices.notices import JSON, NoticeQuery
from circdesk.db.pagination import Page
from circdesk.db.unit_of_work import current_session
from circdesk.visits import current_user_id


def list_my_notices(**query: Unpack[NoticeQuery]) -> Page:
    """List one's own notices."""
    return notices.list_notices(current_session(), current_user_id(), query)


def update_my_notice(*, notice_id: UUID, body: JSON) -> JSON:
    """Mark one of one's own notices as read."""
    return notices.patch_notice(current_session(), current_user_id(), notice_id, body)
