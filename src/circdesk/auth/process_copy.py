"""The process's own copy of what access tokens are held against: public keys and revocations."""

import asyncio
import math
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.orm import Session

from circdesk.auth.memory import forget_with_the_rest
from circdesk.auth.revocations import live_revocations
from circdesk.auth.signing_keys import public_key, verifying_jwks
from circdesk.db.engine import REFRESH_THREADS
from circdesk.db.errors import DatabaseUnavailable
from circdesk.db.unit_of_work import Sessions, unit_of_work

# A copy is read anew when it is older than this; where that fails, it may serve a while longer,
# and then everything is refused. In seconds.
_FRESH = 1.0
_OLDEST = 2.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was true at one moment.

    Attributes:
        keys: The keys that verify, by `kid`.
        revoked: The ids of tokens, grants and clients whose tokens are refused.
        asked_at: The moment, a time of `time.monotonic`.
    """

    keys: Mapping[str, Ed25519PublicKey]
    revoked: frozenset[str]
    asked_at: float = -math.inf


class ProcessCopy:
    """The copy; awaited on the event loop, read from the database in a thread of its own.

    However many wait for a new one, it is read once.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._snapshot = Snapshot({}, frozenset())
        self._forgotten_at = -math.inf
        self._reading: asyncio.Task[None] | None = None
        self._pool = ThreadPoolExecutor(REFRESH_THREADS, thread_name_prefix="process-copy")
        forget_with_the_rest(self)

    def close(self) -> None:
        """Free the thread."""
        self._pool.shutdown()

    def clear(self) -> None:
        """Let no copy serve that was asked for before now."""
        self._forgotten_at = time.monotonic()

    async def recent(self) -> Snapshot:
        """A copy of at most 2 seconds ago. Raises DatabaseUnavailable where there is none."""
        try:
            return await self.asked_since(time.monotonic() - _FRESH)
        except DatabaseUnavailable:
            oldest = max(time.monotonic() - _OLDEST, self._forgotten_at)
            if self._snapshot.asked_at < oldest:
                raise
            return self._snapshot

    async def asked_since(self, moment: float) -> Snapshot:
        """A copy that was asked for at this moment or later. Raises DatabaseUnavailable."""
        oldest = max(moment, self._forgotten_at)
        while self._snapshot.asked_at < oldest:
            if self._reading is None:
                self._reading = asyncio.create_task(self._read())
            # A caller that goes away must not take the copy from all who wait for it.
            await asyncio.shield(self._reading)
        return self._snapshot

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._snapshot = await loop.run_in_executor(self._pool, self._ask)
        finally:
            self._reading = None

    def _ask(self) -> Snapshot:
        asked_at = time.monotonic()
        with unit_of_work(self._sessions, writing=False) as session:
            return read_snapshot(session, asked_at)


def read_snapshot(session: Session, asked_at: float) -> Snapshot:
    """What the database says now."""
    keys = {jwk["kid"]: public_key(jwk) for jwk in verifying_jwks(session)}
    return Snapshot(keys, live_revocations(session), asked_at)
