"""HTTP face of the audit log."""

from typing import Unpack

from circdesk.audit import log
from circdesk.audit.log import AuditQuery
from circdesk.db.pagination import Page
from circdesk.db.unit_of_work import current_session


def list_audit_entries(**query: Unpack[AuditQuery]) -> Page:
    """List entries of the audit log."""
    return log.list_entries(current_session(), query)
