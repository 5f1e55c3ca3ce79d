"""Runs import jobs in a worker, from where they stand to their end."""

from collections.abc import Callable
from contextlib import closing
from itertools import islice
from pathlib import Path
from uuid import UUID

import structlog
from sqlalchemy import Engine

from circdesk.catalog.imports.jobs.leases import (
    AnyRow,
    Lease,
    LeaseLostError,
    give_up_in_place,
    needed_uploads,
    take,
    waiting_jobs,
)
from circdesk.catalog.imports.jobs.uploads import remove_leftovers, remove_upload
from circdesk.catalog.imports.reading.formats import Format, read_records
from circdesk.catalog.imports.reading.marc.items import ItemMapping
from circdesk.catalog.imports.reading.records import NotThisFormatError
from circdesk.catalog.imports.reading.sources import open_source
from circdesk.catalog.imports.writing.writer import Options, Writer
from circdesk.db.errors import DatabaseUnavailable, raises_problems

log = structlog.get_logger("circdesk.imports")

# A job that is taken up so often without getting on would only break the next worker, too.
_MOST_ATTEMPTS = 3
_GIVEN_UP = (
    "The import was taken up three times and broke off each time without getting on; "
    "the service's log says why."
)


class Runner:
    """Runs jobs on one database.

    Args:
        engine: The database.
        uploads: The directory where the files are.
        is_stopping: Asked after each batch; a run that is to stop gives its job back.
    """

    def __init__(
        self, engine: Engine, uploads: Path, is_stopping: Callable[[], bool] = lambda: False
    ) -> None:
        self._engine = engine
        self._uploads = uploads
        self._is_stopping = is_stopping

    def run(self, job_id: UUID) -> None:
        """Run a job that waits; one that is over, or that somebody else has, is left alone.

        An error that may pass leaves the job to be taken up again, three times at most.
        """
        try:
            with raises_problems():
                self._take_and_run(job_id)
        except LeaseLostError:
            log.warning("import_taken_over", job=str(job_id))
        except DatabaseUnavailable as error:
            log.warning("import_waits_for_database", job=str(job_id), reason=error.message)

    def _take_and_run(self, job_id: UUID) -> None:
        taken = take(self._engine, job_id)
        if taken is None:
            return
        lease, job = taken
        try:
            with raises_problems():
                self._run(lease, job)
        except (LeaseLostError, DatabaseUnavailable):
            raise
        except Exception:
            log.exception("import_broke_off", job=str(job_id))
            lease.release()

    def waiting_jobs(self) -> list[UUID]:
        """Jobs whose message or whose run was lost; cleans up behind those that are over."""
        give_up_in_place(self._engine)
        remove_leftovers(self._uploads, needed_uploads(self._engine))
        return waiting_jobs(self._engine)

    def _run(self, lease: Lease, job: AnyRow) -> None:
        if job.attempts > _MOST_ATTEMPTS:
            error: str | None = _GIVEN_UP
        else:
            try:
                error = None
                if not self._import(lease, job):
                    lease.release()
                    return
            except NotThisFormatError as wrong:
                error = str(wrong)
            except FileNotFoundError:
                error = "The file is not in the directory of uploads any more."
        lease.finish(error)
        remove_upload(self._uploads, job.upload)

    def _import(self, lease: Lease, job: AnyRow) -> bool:
        """Import the rest of the file; tell whether it came to its end."""
        options = Options(overwrite=job.overwrite, dry_run=job.dry_run)
        writer = Writer(self._engine, options)
        items = ItemMapping.parse(job.items) if job.items else ItemMapping.default
        with open_source(self._uploads / job.upload, lambda _: lease.beat()) as stream:
            records = read_records(stream, Format(job.format), source=job.source, items=items)
            # What a former run has counted, it has also stored.
            with closing(writer.write(islice(records, job.read, None), lease.record)) as outcomes:
                for _ in outcomes:
                    if self._is_stopping():
                        return False
        return True
