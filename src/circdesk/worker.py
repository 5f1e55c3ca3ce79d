"""The worker: runs import jobs, does chores and tidies up, beside the service or within it."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import structlog
from huey.consumer import Consumer, Scheduler

from circdesk import clock
from circdesk.catalog.imports.jobs.messages import ImportQueue
from circdesk.catalog.imports.jobs.running import Runner
from circdesk.circulation.notices.mailing import MailServer, mail_notices
from circdesk.circulation.periodic import forget, run_due
from circdesk.db.engine import make_engine
from circdesk.db.errors import DatabaseUnavailable, raises_problems
from circdesk.db.unit_of_work import Sessions, make_sessions
from circdesk.housekeeping import tidy
from circdesk.service.heartbeat import Heartbeat
from circdesk.settings import Settings
from circdesk.spans import span

log = structlog.get_logger("circdesk.worker")

_SECONDS_BETWEEN_SEARCHES = 5
_SECONDS_BETWEEN_TIDYINGS = 3600
_SECONDS_BETWEEN_CHORES = 60
# Longer than that a scheduler that works looks like one that hangs; it goes on a minute later.
_LONGEST_CHORES_SECONDS = 30
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
    queue = ImportQueue(settings, _run_traced(runner))
    settings.instance.mkdir(mode=0o700, parents=True, exist_ok=True)
    heartbeat = Heartbeat(settings)
    # The first one comes before the first request of a service that the worker is embedded in.
    _try("heartbeat_failed", heartbeat.beat)
    consumer = kind(queue, runner, make_sessions(engine), heartbeat, _mail_server(settings))
    stopping.append(consumer.stop_flag.is_set)
    try:
        yield consumer
    finally:
        heartbeat.close()
        queue.close()
        engine.dispose()


def _run_traced(runner: Runner) -> Callable[[UUID], None]:
    def run(job: UUID) -> None:
        with span("import"):
            runner.run(job)

    return run


def _mail_server(settings: Settings) -> MailServer | None:
    if settings.smtp_url is None:
        return None
    return MailServer(settings.smtp_url, settings.mail_from)


class _Scheduler(Scheduler):  # type: ignore[misc]  # huey has no types.
    """Does what is to be done time and again, where huey's own would only send messages."""

    periodic_task_seconds = _SECONDS_BETWEEN_SEARCHES

    def __init__(
        self,
        search: Callable[[], None],
        do_chores: Callable[[], None],
        tidy_up: Callable[[], None],
        beat: Callable[[], None],
        *arguments: Any,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self._search, self._do_chores, self._tidy_up = search, do_chores, tidy_up
        self._beat = beat
        self._next_chores = self._next_tidying = time.monotonic()

    def enqueue_periodic_tasks(self, _now: object) -> None:
        """Send messages for jobs that have none; each minute do chores, each hour tidy up."""
        _try("heartbeat_failed", self._beat)
        _try("search_failed", self._search)
        if self._next_chores <= time.monotonic():
            self._next_chores = time.monotonic() + _SECONDS_BETWEEN_CHORES
            with span("chores"):
                _try("chores_failed", self._do_chores)
        if self._next_tidying <= time.monotonic():
            # One that fails is not tried again at once: what is due now is due in an hour, too.
            self._next_tidying = time.monotonic() + _SECONDS_BETWEEN_TIDYINGS
            with span("housekeeping"):
                _try("housekeeping_failed", self._tidy_up)


def _try(failure: str, deed: Callable[[], None]) -> None:
    try:
        with raises_problems():
            deed()
    except DatabaseUnavailable as error:
        # It may be away for a while; the next time is soon.
        log.warning(failure, reason=error.message)
    except Exception:
        log.exception(failure)


class _Consumer(Consumer):  # type: ignore[misc]  # huey has no types.
    def __init__(
        self,
        queue: ImportQueue,
        runner: Runner,
        sessions: Sessions,
        heartbeat: Heartbeat,
        mail_server: MailServer | None,
    ) -> None:
        self._queue = queue
        self._runner = runner
        self._sessions = sessions
        self._heartbeat = heartbeat
        self._mail_server = mail_server
        super().__init__(queue.huey, max_delay=_LONGEST_NAP_SECONDS)

    def search(self) -> None:
        """Send the messages that were lost.

        While one is still on its way, it may be theirs; then there is time until the next search.
        """
        waiting: list[UUID] = self._runner.waiting_jobs()
        if self._queue.is_empty():
            for job in waiting:
                self._queue.send(job)

    def do_chores(self) -> None:
        """Do what time has brought about at the desk."""
        deadline = time.monotonic() + _LONGEST_CHORES_SECONDS

        def stopping() -> bool:
            return self.stop_flag.is_set() or time.monotonic() > deadline

        counts = {**run_due(self._sessions, stopping)}
        if self._mail_server is not None:
            counts["mails"] = mail_notices(self._sessions, self._mail_server, stopping)
        if any(counts.values()):
            log.info("chores", **counts)

    def tidy_up(self) -> None:
        """Forget what has served its purpose."""
        counts = {
            **tidy(self._sessions, clock.now(), stopping=self.stop_flag.is_set),
            **forget(self._sessions, self.stop_flag.is_set),
        }
        if counts:
            log.info("housekeeping", **counts)

    def _create_scheduler(self) -> _Scheduler:
        return _Scheduler(
            self.search,
            self.do_chores,
            self.tidy_up,
            self._heartbeat.beat,
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
