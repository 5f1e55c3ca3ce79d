"""Who works on which import job: each job has one run at a time, and a lost one is found again."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    and_,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import InstrumentedAttribute
from uuid_utils import uuid7
from uuid_utils.compat import uuid7 as new_id

from circdesk import clock
from circdesk.catalog.imports.models import ImportIssue, ImportJob
from circdesk.catalog.imports.writing.bulk import insert_rows
from circdesk.catalog.imports.writing.tally import Outcome
from circdesk.db.base import UtcDateTime
from circdesk.db.engine import WRITING

SILENCE = timedelta(seconds=60)
_BEAT_SECONDS = 10
# A message is on its way for a moment before the job counts as lost.
_WAITING = timedelta(seconds=5)
_MOST_AT_ONCE = 100
_LONGEST_MESSAGE = 2000
_COUNTS = (
    "read",
    "created",
    "updated",
    "unchanged",
    "refused",
    "copies_created",
    "issues_count",
)
_ISSUE = ("id", "job_id", "position", "control_number", "severity", "reason", "message")

AnyRow = Row[*tuple[Any, ...]]


class LeaseLostError(Exception):
    """Another run has the job now; this one must not write any more."""


@dataclass(slots=True)
class Lease:
    """The right of one run to work on one job.

    Everything that it writes about the job it writes only as long as it has it.
    """

    engine: Engine
    job_id: UUID
    runner: UUID
    _beaten: float

    def record(self, connection: Connection, outcome: Outcome) -> None:
        """Add a batch to the job's counts, in the transaction that stores the batch.

        Raises LeaseLostError, by which the batch is rolled back.
        """
        tally = outcome.tally
        counts = {name: getattr(ImportJob, name) + getattr(tally, name) for name in _COUNTS}
        # The job got on, so its attempts count anew.
        self._update(connection, {**counts, "seen_at": clock.now(), "attempts": 0})
        job = self.job_id.hex
        rows = [
            (uuid7().hex, job, issue.position, issue.control_number or None, issue.severity,
             issue.reason, issue.message[:_LONGEST_MESSAGE])
            for issue in outcome.issues
        ]  # fmt: skip
        insert_rows(connection, ImportIssue, _ISSUE, rows)
        self._beaten = monotonic()

    def beat(self) -> None:
        """Say now and then that the run is still at it. Raises LeaseLostError."""
        if monotonic() - self._beaten < _BEAT_SECONDS:
            return
        self._beaten = monotonic()
        try:
            self._write({"seen_at": clock.now()})
        except SQLAlchemyError:
            # A database that is busy or away is for the next batch to notice.
            return

    def finish(self, error: str | None = None) -> None:
        """End the job, as failed if there is an error. Raises LeaseLostError."""
        state = "failed" if error else "done"
        self._write({"state": state, "error": error, "runner": None, "finished_at": clock.now()})

    def release(self) -> None:
        """Give the job back, for the next worker to go on. Raises LeaseLostError."""
        self._write({"state": "queued", "runner": None})

    def _write(self, values: Mapping[str, Any]) -> None:
        with self.engine.execution_options(**{WRITING: True}).begin() as connection:
            self._update(connection, values)

    def _update(self, connection: Connection, values: Mapping[str, Any]) -> None:
        mine = and_(
            ImportJob.id == self.job_id,
            ImportJob.state == "running",
            ImportJob.runner == self.runner,
        )
        if connection.execute(update(ImportJob).where(mine).values(**values)).rowcount != 1:
            raise LeaseLostError(f"another run has the job {self.job_id}")


def begin_in_place(engine: Engine, values: Mapping[str, Any]) -> Lease:
    """Make a job for a file that this process reads where it is, and take it at once."""
    job, runner, now = new_id(), uuid4(), clock.now()
    row = {
        "id": job,
        "state": "running",
        "runner": runner,
        "created_at": now,
        "started_at": now,
        "seen_at": now,
        **values,
    }
    with engine.execution_options(**{WRITING: True}).begin() as connection:
        connection.execute(insert(ImportJob), [row])
    return Lease(engine, job, runner, monotonic())


def take(engine: Engine, job_id: UUID) -> tuple[Lease, AnyRow] | None:
    """Take a job that waits or whose run fell silent; None where somebody else has it.

    Of all that try, exactly one changes the row.
    """
    runner, now = uuid4(), clock.now()
    free = and_(
        ImportJob.id == job_id,
        ImportJob.upload.is_not(None),
        or_(ImportJob.state == "queued", _is_silent(now)),
    )
    taken = {
        "state": "running",
        "runner": runner,
        "started_at": func.coalesce(ImportJob.started_at, literal(now, UtcDateTime())),
        "seen_at": now,
        "attempts": ImportJob.attempts + 1,
    }
    with engine.execution_options(**{WRITING: True}).begin() as connection:
        if connection.execute(update(ImportJob).where(free).values(**taken)).rowcount != 1:
            return None
        query = select(ImportJob.__table__).where(ImportJob.id == job_id)
        return Lease(engine, job_id, runner, monotonic()), connection.execute(query).one()


def waiting_jobs(engine: Engine) -> list[UUID]:
    """Jobs that nobody works on although they have waited for a while, the oldest first."""
    now = clock.now()
    queued = and_(ImportJob.state == "queued", _is_beyond(ImportJob.created_at, now, _WAITING))
    query = (
        select(ImportJob.id)
        .where(ImportJob.upload.is_not(None), or_(queued, _is_silent(now)))
        .order_by(ImportJob.created_at)
        .limit(_MOST_AT_ONCE)
    )
    with engine.connect() as connection:
        return list(connection.execute(query).scalars())


def needed_uploads(engine: Engine) -> set[str]:
    """The files of jobs that are not over."""
    query = select(ImportJob.upload).where(ImportJob.state.in_(("queued", "running")))
    with engine.connect() as connection:
        return {name for name in connection.execute(query).scalars() if name}


def give_up_in_place(engine: Engine) -> None:
    """Mark the jobs of commands that were killed; nobody else can read their files."""
    silent = and_(ImportJob.upload.is_(None), _is_silent(clock.now()))
    error = "The command that ran this import was interrupted. Run it again to complete it."
    with engine.connect() as connection:
        if connection.execute(select(ImportJob.id).where(silent).limit(1)).first() is None:
            return
    over = {"state": "failed", "error": error, "runner": None, "finished_at": clock.now()}
    with engine.execution_options(**{WRITING: True}).begin() as connection:
        connection.execute(update(ImportJob).where(silent).values(**over))


def _is_silent(now: datetime) -> ColumnElement[bool]:
    return and_(ImportJob.state == "running", _is_beyond(ImportJob.seen_at, now, SILENCE))


def _is_beyond(
    moment: InstrumentedAttribute[Any], now: datetime, patience: timedelta
) -> ColumnElement[bool]:
    """Whether a moment is too long ago, or so far ahead that the clock was set back since then.

    Nobody would take such a job up again before the clock has come to that moment once more.
    """
    return or_(moment < now - patience, moment > now + SILENCE)
