"""Messages that tell a worker which import waits.

They only save time: the job's row is the truth, and a worker that finds no message looks there.
"""

from collections.abc import Callable
from uuid import UUID

import structlog
from huey import SqliteHuey
from huey.api import Huey
from huey.storage import RedisStorage
from redis import RedisError

from circdesk.catalog.imports.jobs.redis_queue import make_redis_huey
from circdesk.settings import Settings

log = structlog.get_logger("circdesk.imports")

_NAME = "circdesk"
# For each answer of Redis; a worker that waits for a message asks again each second.
_SECONDS = 5


def _nothing(_job: UUID) -> None:
    raise RuntimeError("this process sends messages and runs no jobs")


class ImportQueue:
    """The queue of import jobs, in Redis where that is set, else in a file of the instance.

    Args:
        settings: Where the queue is.
        run: What a worker does with a job; a process that only sends needs none.
    """

    def __init__(self, settings: Settings, run: Callable[[UUID], None] = _nothing) -> None:
        self.huey = _make_huey(settings, works=run is not _nothing)

        def run_import(job: str) -> None:
            run(UUID(job))

        self._task = self.huey.task(name="run_import")(run_import)

    def send(self, job: UUID) -> None:
        """Send the message that a job waits; whatever prevents it is logged and no harm."""
        try:
            self._task(job.hex)
        except RedisError as error:
            # Redis may be away for a while, and each upload would tell its whole traceback.
            log.warning("import_message_lost", job=str(job), reason=type(error).__name__)
        except Exception:
            log.exception("import_message_lost", job=str(job))

    def is_empty(self) -> bool:
        """Whether no message is on its way."""
        return bool(self.huey.pending_count() == 0)

    def close(self) -> None:
        """Close the connections to where the queue is."""
        storage = self.huey.storage
        if isinstance(storage, RedisStorage):
            storage.pool.disconnect()
        else:
            storage.close()


def _make_huey(settings: Settings, *, works: bool) -> Huey:
    options = {"results": False, "utc": True}
    if settings.redis_url is not None:
        url = settings.redis_url.get_secret_value()
        return make_redis_huey(_NAME, url, works=works, **options)
    settings.instance.mkdir(mode=0o700, parents=True, exist_ok=True)
    return SqliteHuey(_NAME, filename=str(settings.instance / "queue.db"), **options)
