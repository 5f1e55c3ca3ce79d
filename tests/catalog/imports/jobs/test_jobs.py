"""Import jobs: how files are kept, how jobs are run, lost and found; on both engines."""

import io
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, select, update

from circdesk import clock
from circdesk.catalog.imports.jobs import jobs, leases, running
from circdesk.catalog.imports.jobs.issue_table import as_csv
from circdesk.catalog.imports.jobs.leases import LeaseLostError, begin_in_place, take, waiting_jobs
from circdesk.catalog.imports.jobs.running import Runner
from circdesk.catalog.imports.jobs.uploads import (
    FileContradictsFormat,
    UploadNotStored,
    remove_leftovers,
    store_upload,
)
from circdesk.catalog.imports.models import ImportIssue, ImportJob
from circdesk.catalog.imports.reading.formats import MEDIA_TYPES, Format
from circdesk.catalog.imports.writing import writer
from circdesk.catalog.imports.writing.tally import Issue, Outcome, Tally
from circdesk.catalog.models import Book
from circdesk.contract.requests import ContentTooLarge, InvalidRequest
from circdesk.contract.streams import LimitedReader
from circdesk.db.engine import WRITING
from circdesk.db.errors import DatabaseUnavailable
from circdesk.db.unit_of_work import Sessions, unit_of_work

CSV = b"control_number,title\n1,One\n2,Two\n3,\n4,Four\n5,Five\n"
OPTIONS = {"source": None, "items": None, "overwrite": False, "dry_run": False}
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


class Arriving(io.RawIOBase):
    """A body that arrives in small pieces."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        return self._content.readinto(memoryview(target)[:7])


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    return tmp_path / "uploads"


@pytest.fixture
def add_job(sessions: Sessions, uploads: Path) -> Callable[..., UUID]:
    def add(content: bytes = CSV, media_type: str = "text/csv", **options: Any) -> UUID:
        upload = SimpleNamespace(media_type=media_type, stream=Arriving(content))
        with unit_of_work(sessions, writing=True) as session:
            return jobs.create_import(session, uploads, upload, OPTIONS | options).id

    return add


def job_row(engine: Engine, job: UUID) -> Any:
    with engine.connect() as connection:
        query = select(ImportJob.__table__).where(ImportJob.id == job)
        return connection.execute(query).one()


def change(engine: Engine, job: UUID, **values: Any) -> None:
    with engine.execution_options(**{WRITING: True}).begin() as connection:
        connection.execute(update(ImportJob).where(ImportJob.id == job).values(**values))


def titles(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(select(Book.title).order_by(Book.title)).scalars())


class TestStoringUploads:
    @pytest.mark.parametrize("fmt", MEDIA_TYPES.values())
    def test_an_empty_body_is_refused(self, uploads: Path, fmt: Format) -> None:
        with pytest.raises(InvalidRequest, match="empty"):
            store_upload(uploads, Arriving(b""), fmt)
        assert list(uploads.iterdir()) == []

    @pytest.mark.parametrize(
        ("content", "fmt"),
        [
            (CSV, Format.MARC21),
            (b"%PDF-1.7 ...", Format.CSV),
            (b"\x1f\x8b packed", Format.MARC21),
            (b"<collection/>", Format.CSV),
            (b"no,column,of,ours\n", Format.CSV),
            (b"title,title\n", Format.CSV),
        ],
    )
    def test_a_file_that_is_something_else_is_refused(
        self, uploads: Path, content: bytes, fmt: Format
    ) -> None:
        with pytest.raises(FileContradictsFormat):
            store_upload(uploads, Arriving(content), fmt)
        assert list(uploads.iterdir()) == []

    def test_what_is_something_else_is_not_read_to_its_end(self, uploads: Path) -> None:
        stream = io.BytesIO(b"%PDF" + b" " * 100_000)
        with pytest.raises(FileContradictsFormat):
            store_upload(uploads, stream, Format.CSV)  # type: ignore[arg-type]
        assert stream.tell() < 10_000

    def test_bytes_are_counted_as_they_arrive(self, uploads: Path) -> None:
        assert store_upload(uploads, LimitedReader(Arriving(CSV), len(CSV)), Format.CSV).bytes == 50
        with pytest.raises(ContentTooLarge):
            store_upload(uploads, LimitedReader(Arriving(CSV), len(CSV) - 1), Format.CSV)
        assert len(list(uploads.iterdir())) == 1

    def test_a_full_disk_is_a_problem_and_leaves_nothing(
        self, uploads: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(UploadNotStored, match="No space left") as caught:
            store_upload(uploads, Arriving(CSV), Format.CSV)
        assert caught.value.headers == {"Retry-After": "60"}
        assert list(uploads.iterdir()) == []

    def test_a_mapping_without_sense_is_refused(self, add_job: Callable[..., UUID]) -> None:
        with pytest.raises(InvalidRequest, match="from 010 to 999"):
            add_job(items="001:branch=b")

    def test_what_killed_processes_left_is_removed_after_a_while(self, uploads: Path) -> None:
        uploads.mkdir()
        for name in ("old", "needed", "new"):
            (uploads / name).touch()
        for name in ("old", "needed"):
            os.utime(uploads / name, (1, 1))
        remove_leftovers(uploads, {"needed"})

        assert sorted(path.name for path in uploads.iterdir()) == ["needed", "new"]


class TestRunning:
    def test_a_job_runs_to_its_end_and_its_file_goes(
        self, engine: Engine, uploads: Path, add_job: Callable[..., UUID]
    ) -> None:
        job = add_job()
        Runner(engine, uploads).run(job)

        row = job_row(engine, job)
        assert (row.state, row.error, row.runner) == ("done", None, None)
        assert (row.read, row.created, row.refused, row.issues_count) == (5, 4, 1, 1)
        assert row.created_at <= row.started_at <= row.finished_at
        assert titles(engine) == ["Five", "Four", "One", "Two"]
        assert list(uploads.iterdir()) == []
        with engine.connect() as connection:
            (issue,) = connection.execute(select(ImportIssue.__table__))
        assert (issue.position, issue.control_number, issue.severity) == (3, "3", "refused")

    def test_a_dry_run_leaves_only_the_job(
        self, engine: Engine, uploads: Path, add_job: Callable[..., UUID]
    ) -> None:
        job = add_job(dry_run=True)
        Runner(engine, uploads).run(job)

        assert job_row(engine, job).created == 4
        assert titles(engine) == []

    def test_a_job_that_is_over_is_not_run_again(
        self, engine: Engine, uploads: Path, add_job: Callable[..., UUID]
    ) -> None:
        job = add_job()
        runner = Runner(engine, uploads)
        runner.run(job)
        before = job_row(engine, job)
        runner.run(job)
        runner.run(uuid4())

        assert job_row(engine, job) == before

    def test_a_run_that_is_to_stop_gives_its_job_back_and_the_next_goes_on(
        self,
        engine: Engine,
        uploads: Path,
        add_job: Callable[..., UUID],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(writer, "BATCH", 2)
        job = add_job()
        Runner(engine, uploads, lambda: True).run(job)
        row = job_row(engine, job)
        assert (row.state, row.runner, row.read, row.created) == ("queued", None, 2, 2)

        Runner(engine, uploads).run(job)
        row = job_row(engine, job)
        assert (row.state, row.read, row.created, row.refused) == ("done", 5, 4, 1)

    def test_a_run_that_was_killed_is_taken_up_where_it_was(
        self,
        engine: Engine,
        uploads: Path,
        add_job: Callable[..., UUID],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(writer, "BATCH", 2)
        job = add_job()
        Runner(engine, uploads, lambda: True).run(job)
        assert take(engine, job)  # A run that never says anything again.
        runner = Runner(engine, uploads)
        runner.run(job)
        assert job_row(engine, job).state == "running"
        assert runner.waiting_jobs() == []

        change(engine, job, seen_at=LONG_AGO)
        assert runner.waiting_jobs() == [job]
        runner.run(job)
        assert job_row(engine, job).state == "done"
        assert titles(engine) == ["Five", "Four", "One", "Two"]

    def test_a_file_that_is_gone_fails_the_job(
        self, engine: Engine, uploads: Path, add_job: Callable[..., UUID]
    ) -> None:
        job = add_job()
        for path in uploads.iterdir():
            path.unlink()
        Runner(engine, uploads).run(job)

        row = job_row(engine, job)
        assert (row.state, row.error) == (
            "failed",
            "The file is not in the directory of uploads any more.",
        )

    def test_a_file_that_turns_out_to_be_something_else_fails_the_job(
        self, engine: Engine, uploads: Path, add_job: Callable[..., UUID]
    ) -> None:
        job = add_job()
        (path,) = uploads.iterdir()
        path.write_bytes(b"%PDF")
        Runner(engine, uploads).run(job)

        row = job_row(engine, job)
        assert (row.state, row.error) == ("failed", "The file is a PDF document.")
        assert list(uploads.iterdir()) == []

    def test_a_job_that_breaks_every_worker_is_given_up(
        self,
        engine: Engine,
        uploads: Path,
        add_job: Callable[..., UUID],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def broken(*_: object, **__: object) -> None:
            raise RuntimeError("a bug")

        monkeypatch.setattr(running, "read_records", broken)
        job = add_job()
        runner = Runner(engine, uploads)
        for _ in range(3):
            runner.run(job)
            assert job_row(engine, job).state == "queued"
        runner.run(job)

        row = job_row(engine, job)
        assert row.state == "failed"
        assert row.error.startswith("The import was taken up three times")
        assert list(uploads.iterdir()) == []

    def test_a_database_that_is_away_leaves_the_job_for_later(
        self,
        engine: Engine,
        uploads: Path,
        add_job: Callable[..., UUID],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def away(*_: object, **__: object) -> None:
            raise DatabaseUnavailable("away")

        job = add_job()
        with monkeypatch.context() as patch:
            patch.setattr(writer.Writer, "write", away)
            Runner(engine, uploads).run(job)
        assert job_row(engine, job).state == "running"

        change(engine, job, seen_at=LONG_AGO)
        Runner(engine, uploads).run(job)
        assert job_row(engine, job).state == "done"


class TestLeases:
    def test_exactly_one_of_many_takes_a_job(
        self, engine: Engine, add_job: Callable[..., UUID]
    ) -> None:
        job = add_job()
        taken = []
        threads = [
            threading.Thread(target=lambda: taken.append(take(engine, job))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len([one for one in taken if one]) == 1
        assert len(taken) == 4

    def test_a_clock_that_was_set_back_leaves_no_job_behind(
        self, engine: Engine, add_job: Callable[..., UUID]
    ) -> None:
        queued, running = add_job(), add_job()
        assert take(engine, running)
        ahead = clock.now() + timedelta(days=1)
        change(engine, queued, created_at=ahead)
        change(engine, running, created_at=ahead, seen_at=ahead)

        assert set(waiting_jobs(engine)) == {queued, running}
        assert take(engine, running)

    def test_a_run_that_lost_its_job_writes_nothing_more(
        self, engine: Engine, add_job: Callable[..., UUID]
    ) -> None:
        job = add_job()
        first = take(engine, job)
        change(engine, job, seen_at=LONG_AGO)
        assert take(engine, job)

        assert first is not None
        lease, _ = first
        outcome = Outcome(Tally(read=1, created=1), (Issue(1, None, "note", "left_out", "x"),))
        with pytest.raises(LeaseLostError), engine.begin() as connection:
            lease.record(connection, outcome)
        with pytest.raises(LeaseLostError):
            lease.finish()
        assert job_row(engine, job).read == 0

    def test_a_run_says_now_and_then_that_it_is_still_there(
        self, engine: Engine, add_job: Callable[..., UUID], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = add_job()
        taken = take(engine, job)
        assert taken is not None
        lease, before = taken
        lease.beat()
        assert job_row(engine, job).seen_at == before.seen_at

        monkeypatch.setattr(leases, "_BEAT_SECONDS", 0)
        lease.beat()
        assert job_row(engine, job).seen_at > before.seen_at

    def test_a_job_without_message_is_found_after_a_moment(
        self, engine: Engine, add_job: Callable[..., UUID], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = add_job()
        assert waiting_jobs(engine) == []
        later = clock.now() + timedelta(seconds=6)
        monkeypatch.setattr(clock, "now", lambda: later)
        assert waiting_jobs(engine) == [job]

    def test_a_command_that_was_killed_leaves_a_failed_job(
        self, engine: Engine, uploads: Path
    ) -> None:
        values = {"format": "csv", "overwrite": False, "dry_run": False, "bytes": 1}
        job = begin_in_place(engine, values).job_id
        runner = Runner(engine, uploads)
        runner.waiting_jobs()
        assert job_row(engine, job).state == "running"

        change(engine, job, seen_at=LONG_AGO)
        assert runner.waiting_jobs() == []
        row = job_row(engine, job)
        assert row.state == "failed"
        assert row.error == (
            "The command that ran this import was interrupted. Run it again to complete it."
        )
        assert take(engine, job) is None


class TestIssueTable:
    def test_formulas_are_made_harmless(self) -> None:
        issue = {
            "position": 3,
            "control_number": "=1+1",
            "severity": "note",
            "reason": "left_out",
            "message": '@x, "y"',
        }
        assert b"".join(as_csv([issue])) == (
            b"position,control_number,severity,reason,message\r\n"
            b'3,\'=1+1,note,left_out,"\'@x, ""y"""\r\n'
        )

    def test_it_is_written_as_it_is_read(self) -> None:
        issue = {
            "position": 1, "control_number": None, "severity": "note", "reason": "x",
            "message": "m",
        }  # fmt: skip
        chunks = list(as_csv(issue for _ in range(450)))
        assert [chunk.count(b"\n") for chunk in chunks] == [201, 200, 50]

    @pytest.mark.parametrize("position", [-1, None, "1"])
    def test_what_is_no_issue_ends_the_stream(self, position: Any) -> None:
        issue = dict.fromkeys(("control_number", "severity", "reason", "message"), "x")
        with pytest.raises(ValueError, match="no place"):
            list(as_csv([{**issue, "position": position}]))
