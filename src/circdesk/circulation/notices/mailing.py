"""Mailing: notices go to people by SMTP, where the library has a server for it.

A notice is claimed before it is sent and marked once it is: whoever is killed in between sends it
once more, with the same Message-ID. Nothing is locked while the server is talked to.
"""

import smtplib
import ssl
from collections.abc import Callable
from datetime import datetime, timedelta
from email.message import EmailMessage
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from uuid import UUID

import structlog
from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.orm import Session

from circdesk import clock
from circdesk.accounts.models import User
from circdesk.circulation.models import Notice
from circdesk.circulation.notices.letters import write_letter
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.spans import span

log = structlog.get_logger("circdesk.mail")

# For each step of the conversation with the server.
_SECONDS = 10
# One that fails is tried again after these times; what is older than a day is no news any more.
_AGAIN_AFTER = (timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=3))
_NEWS = timedelta(days=1)
# In one run, so that other work gets its turn.
_MOST = 200


class MailServer(NamedTuple):
    """Where mails are handed over, and from whom they come."""

    url: SecretStr
    sender: str

    def send(self, letter: EmailMessage) -> None:
        """Hand one mail over. Raises OSError and SMTPException where that fails."""
        url = urlsplit(self.url.get_secret_value())
        host, secure = url.hostname or "", url.scheme == "smtps"
        context = ssl.create_default_context()
        with (
            smtplib.SMTP_SSL(host, url.port or 465, timeout=_SECONDS, context=context)
            if secure
            else smtplib.SMTP(host, url.port or 587, timeout=_SECONDS)
        ) as server:
            server.ehlo()
            if not secure and server.has_extn("starttls"):
                server.starttls(context=context)
            if url.username is not None:
                server.login(unquote(url.username), unquote(url.password or ""))
            server.send_message(letter)


def mail_notices(
    sessions: Sessions, server: MailServer, stopping: Callable[[], bool] = lambda: False
) -> int:
    """Mail what is due; answers how many mails were handed over.

    Args:
        sessions: The sessions of the database.
        server: Where mails are handed over.
        stopping: Asked before each mail; what is left over is mailed the next time.
    """
    sent = 0
    for _ in range(_MOST):
        if stopping():
            break
        with unit_of_work(sessions, writing=True) as session:
            claimed = _claim(session, server.sender, clock.now())
        if claimed is None:
            break
        sent += _send(sessions, server, *claimed)
    return sent


def _claim(session: Session, sender: str, now: datetime) -> tuple[UUID, EmailMessage] | None:
    """The next notice to mail, put off as if it had failed already."""
    row = session.execute(
        select(Notice, User.name, User.email)
        .join(User, User.id == Notice.user_id)
        .where(
            Notice.next_attempt_at <= now,
            Notice.next_attempt_at > now - _NEWS,
            User.email.is_not(None),
        )
        .order_by(Notice.next_attempt_at)
        .limit(1)
        .with_for_update(of=Notice, skip_locked=True)
    ).one_or_none()
    if row is None:
        return None
    notice, name, email = row
    again = _AGAIN_AFTER[notice.attempts] if notice.attempts < len(_AGAIN_AFTER) else None
    notice.next_attempt_at = None if again is None else now + again
    notice.attempts += 1
    return notice.id, write_letter(notice, name, sender, str(email))


def _send(sessions: Sessions, server: MailServer, notice_id: UUID, letter: EmailMessage) -> int:
    try:
        with span("SMTP", "client"):
            server.send(letter)
    except (OSError, smtplib.SMTPException) as error:
        # The error's own text may have the address in it.
        log.warning("mail_failed", notice=str(notice_id), reason=type(error).__name__)
        return 0
    with unit_of_work(sessions, writing=True) as session:
        notice = session.get_one(Notice, notice_id)
        notice.sent_at, notice.next_attempt_at = clock.now(), None
    return 1
