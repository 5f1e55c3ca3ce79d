"""The worker: runs import jobs, beside the service or within it."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import structlog
from huey.consumer import Consumer, Scheduler

from circdesk.catalog.imports.messages import ImportQueue
from circdesk.catalog.imports.running import Runner
from circdesk.db.engine import make_engine
from circdesk.db.errors import DatabaseUnavailable
from circdesk.settings import Settings

log = structlog.get_logger("circdesk.worker")

_SECONDS_BETWEEN_SEARCHES = 5
_LONGEST_NAP_SECONDS = 1.0


def run_worker(settings: Settings) -> None:
    """Run jobs until SIGTERM or SIGINT comes; then end after the batch that is being stored.

    A second signal ends at once; what it interrupts is rolled back and taken up again.
    """
    with _consumer(settings, _ForegroundConsumer) as consumer:
        consumer.run()


@contextmanager
def embedded_worker(settings: Settings) -> Iterator[None]:
    """Run jobs in threads of this process for as long as the block lasts."""
    with _consumer(settings, _EmbeddedConsumer) as consumer:
        consumer.start()
        try:
            yield
        finally:
            consumer.stop(graceful=True)


@contextmanager
def _consumer(settings: Settings, kind: "type[_Consumer]") -> Iterator["_Consumer"]:
    engine = make_engine(settings)
    stopping: list[Callable[[], bool]] = []
    runner = Runner(engine, settings.uploads, lambda: any(ask() for ask in stopping))
    queue = ImportQueue(settings, runner.run)
    consumer = kind(queue, runner)
    stopping.append(consumer.stop_flag.is_set)
    try:
        yield consumer
    finally:
        queue.close()
        engine.dispose()


class _Scheduler(Scheduler):  # type: ignore[misc]  # huey has no types.
    """Looks for lost jobs, where huey's own would only send messages about its tasks."""

    periodic_task_seconds = _SECONDS_BETWEEN_SEARCHES

    def __init__(self, search: Callable[[], None], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._search = search

    def enqueue_periodic_tasks(self, _now: object) -> None:
        """Send messages for jobs that have none."""
        try:
            self._search()
        except DatabaseUnavailable as error:
            # It may be away for a while; the next search is soon.
            log.warning("search_failed", reason=error.message)
        except Exception:
            log.exception("search_failed")


class _Consumer(Consumer):  # type: ignore[misc]  # huey has no types.
    def __init__(self, queue: ImportQueue, runner: Runner) -> None:
        self._queue = queue
        self._runner = runner
        super().__init__(queue.huey, max_delay=_LONGEST_NAP_SECONDS)

    def search(self) -> None:
        """Send the messages that were lost.

        While one is still on its way, it may be theirs; then there is time until the next search.
        """
        waiting: list[UUID] = self._runner.waiting_jobs()
        if self._queue.is_empty():
            for job in waiting:
                self._queue.send(job)

    def _create_scheduler(self) -> _Scheduler:
        return _Scheduler(
            self.search,
            huey=self.huey,
            stop_flag=self.stop_flag,
            interval=self.scheduler_interval,
            periodic=self.periodic,
        )


class _ForegroundConsumer(_Consumer):
    def _set_signal_handlers(self) -> None:
        """Let every signal to stop be a graceful one; huey's own SIGTERM leaves a job half done."""
        self._signal_actions = dict.fromkeys((signal.SIGTERM, signal.SIGINT), (False, True))
        super()._set_signal_handlers()


class _EmbeddedConsumer(_Consumer):
    def _set_signal_handlers(self) -> None:
        """Leave signals to the server around this worker."""
