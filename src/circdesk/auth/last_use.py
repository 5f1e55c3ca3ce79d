"""When a credential was last used, stored beside the requests that use it."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Lock
from uuid import UUID

import structlog
from sqlalchemy import or_, update

from circdesk import clock
from circdesk.auth.models import ApiKey, WebSession
from circdesk.contract.problems import Problem
from circdesk.db.unit_of_work import Sessions, unit_of_work

log = structlog.get_logger("circdesk")

# A use is stored at most once in so many seconds; so many credentials are remembered for it.
_SECONDS = 60
_MOST = 10_000


class LastUse:
    """Notes uses in a thread of its own: no request waits for it, or fails with it."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._noted: dict[UUID, float] = {}
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="last-use")

    def close(self) -> None:
        """Free the thread."""
        self._pool.shutdown(cancel_futures=True)

    def note(self, table: type[ApiKey] | type[WebSession], credential_id: UUID) -> None:
        """Have it stored that the credential was used just now."""
        now = time.monotonic()
        with self._lock:
            if now - self._noted.get(credential_id, -_SECONDS) < _SECONDS:
                return
            if len(self._noted) >= _MOST:
                self._noted.clear()
            self._noted[credential_id] = now
        self._pool.submit(self._store, table, credential_id)

    def _store(self, table: type[ApiKey] | type[WebSession], credential_id: UUID) -> None:
        now = clock.now()
        # Another process may have stored it a moment ago.
        outdated = or_(
            table.last_used_at.is_(None), table.last_used_at < now - timedelta(seconds=_SECONDS)
        )
        try:
            with unit_of_work(self._sessions, writing=True) as session:
                session.execute(
                    update(table)
                    .where(table.id == credential_id, outdated)
                    .values(last_used_at=now, updated_at=table.updated_at)
                )
        except Problem as problem:
            log.warning("last_use_lost", code=problem.code)
