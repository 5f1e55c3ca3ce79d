"""The queue of import jobs in Redis, for which nobody waits long, and which work can do without."""

import time
from collections import deque
from typing import Any

import structlog
from huey.api import Huey
from huey.storage import RedisStorage
from redis import ConnectionPool, RedisError

log = structlog.get_logger("circdesk.imports")

# How long connecting, and each answer, may take, in seconds; a worker asks for the next message
# for one second at a time.
_PATIENCE = 3.0
_PAUSE_WHILE_AWAY = 1.0


class _StorageWithoutRedis(RedisStorage):  # type: ignore[misc]  # huey has no types.
    """What a worker reads; while Redis is away, what this very worker has sent.

    A worker finds by itself which jobs wait, so imports go on. It is told once that Redis is away,
    and once that it is back.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._own: deque[bytes] = deque()
        self._is_away = False

    def enqueue(self, data: bytes, priority: int | None = None) -> None:
        """Send a message, or keep it here."""
        try:
            super().enqueue(data, priority)
        except RedisError as error:
            self._note(error)
            self._own.append(data)

    def dequeue(self) -> bytes | None:
        """The next message, if one comes in time."""
        if self._own:
            return self._own.popleft()
        try:
            # huey's own takes a Redis that does not answer for one that has nothing to say.
            found = self.conn.brpop([self.queue_key], timeout=self.read_timeout)
        except RedisError as error:
            self._note(error)
            time.sleep(_PAUSE_WHILE_AWAY)
            return None
        self._note(None)
        return found[1] if found else None

    def queue_size(self) -> int:
        """How many messages are on their way."""
        try:
            return len(self._own) + int(super().queue_size())
        except RedisError as error:
            self._note(error)
            return len(self._own)

    def read_schedule(self, _moment: object) -> list[bytes]:
        """Nothing: no job is put off, and Redis need not be asked each second."""
        return []

    def peek_many(self, _keys: object) -> dict[str, bytes]:
        """Nothing: no message is ever taken back."""
        return {}

    def delete_data(self, _key: object) -> bool:
        """Nothing: no results are kept."""
        return False

    def _note(self, error: RedisError | None) -> None:
        if error is not None and not self._is_away:
            log.warning("import_queue_away", reason=type(error).__name__)
        if error is None and self._is_away:
            log.warning("import_queue_back")
        self._is_away = error is not None


def make_redis_huey(name: str, url: str, *, works: bool, **options: Any) -> Huey:
    """The queue at this address.

    Args:
        name: Of the queue.
        url: `redis://…`, or `rediss://…`.
        works: Whether messages are read here, too; what only sends is told of one that is lost.
        options: For huey itself.
    """
    pool = ConnectionPool.from_url(url, socket_timeout=_PATIENCE, socket_connect_timeout=_PATIENCE)
    storage = _StorageWithoutRedis if works else RedisStorage
    return Huey(name, storage_class=storage, connection_pool=pool, **options)
