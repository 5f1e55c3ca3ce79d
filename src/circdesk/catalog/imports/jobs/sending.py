"""Sending messages from where none is read: a service that has taken an upload."""

from contextlib import closing
from uuid import UUID

import structlog
from sqlalchemy import event
from sqlalchemy.orm import Session

from circdesk.settings import Settings

log = structlog.get_logger("circdesk.imports")


def send_message(settings: Settings, job: UUID) -> None:
    """Send one message; uploads are so rare that no connection is kept open for them."""
    try:
        # Nor does a service wait at its start for the queue's library and for that of Redis.
        from circdesk.catalog.imports.jobs.messages import ImportQueue  # noqa: PLC0415

        with closing(ImportQueue(settings)) as queue:
            queue.send(job)
    except Exception:
        log.exception("import_message_lost", job=str(job))


def send_after_commit(session: Session, settings: Settings, job: UUID) -> None:
    """Send the job's message once its row is there to be found, and never if it is not."""

    def send(_session: Session) -> None:
        send_message(settings, job)

    event.listen(session, "after_commit", send, once=True)
