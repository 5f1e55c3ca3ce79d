"""A worker is killed in the middle: the next one goes on, and nothing is done twice."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from functools import partial
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, func, select

from circdesk import clock
from circdesk.catalog.imports.jobs import jobs
from circdesk.catalog.imports.jobs.leases import SILENCE
from circdesk.catalog.imports.models import ImportJob
from circdesk.catalog.models import Book, Copy
from circdesk.circulation.models import Fee, LedgerEntry, Loan, Notice
from circdesk.db.base import Base
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.settings import Settings
from tests.circulation.conftest import TERMS, Library
from tests.circulation.invariants import assert_invariants
from tests.faults.processes import Launcher, until

RECORDS = 6000
LOANS = 600
OPTIONS = {"source": None, "items": None, "overwrite": False, "dry_run": False}


@pytest.fixture
def here(settings: Settings, tmp_path: Path) -> Settings:
    """The settings, with uploads that no other test has used."""
    return settings.model_copy(update={"uploads": tmp_path / "uploads"})


@pytest.fixture
def count(engine: Engine, sessions: Sessions) -> Callable[[type[Base]], int]:
    """`count(Fee)`: how many there are."""

    def count(model: type[Base]) -> int:
        with unit_of_work(sessions, writing=False) as session:
            return session.scalar(select(func.count()).select_from(model)) or 0

    return count


def add_job(sessions: Sessions, settings: Settings) -> UUID:
    """An import of many records; no message tells of it."""
    lines = "".join(f"{n},Title {n}\n" for n in range(RECORDS))
    stream = BytesIO(f"control_number,title\n{lines}".encode())
    upload = SimpleNamespace(media_type="text/csv", stream=stream)
    with unit_of_work(sessions, writing=True) as session:
        return jobs.create_import(session, settings.uploads, upload, OPTIONS).id


def test_an_import_whose_worker_is_killed_is_taken_up_where_it_was(
    launcher: Launcher,
    here: Settings,
    sessions: Sessions,
    count: Callable[[type[Base]], int],
    tmp_path: Path,
) -> None:
    job = add_job(sessions, here)

    def row() -> ImportJob:
        with unit_of_work(sessions, writing=False) as session:
            return session.get_one(ImportJob, job)

    # Nobody waits in earnest for as long as a silent run keeps its job: each clock is ahead of
    # that of the one before.
    for number in range(2):
        read = row().read
        with launcher.worker(tmp_path / str(number), here) as worker:
            worker.move_clock((number + 1) * (SILENCE.total_seconds() + 5))
            until(partial(_is_beyond, row, read), worker.log)
            worker.kill()
        assert row().state == "running"
        assert count(Book) == row().read == row().created

    with launcher.worker(tmp_path / "last", here) as worker:
        worker.move_clock(3 * (SILENCE.total_seconds() + 5))
        until(lambda: row().state == "done", worker.log)
    assert (row().read, row().created, row().refused, count(Book)) == (RECORDS, RECORDS, 0, RECORDS)
    assert [*here.uploads.iterdir()] == []


def test_chores_whose_worker_is_killed_are_done_once(
    launcher: Launcher,
    here: Settings,
    sessions: Sessions,
    library: Library,
    count: Callable[[type[Base]], int],
    tmp_path: Path,
) -> None:
    _lend_many(sessions, library)
    # First in the middle of the fees, then in the middle of the notices.
    for model in (Fee, Notice):
        with launcher.worker(tmp_path / model.__name__, here) as worker:
            until(partial(count, model), worker.log)
            worker.kill()
    assert count(Notice) < LOANS, "the worker was quicker than who kills it"

    with launcher.worker(tmp_path / "last", here) as worker:
        until(lambda: _told_of(sessions, "overdue") == LOANS, worker.log)
        until(lambda: count(Fee) == LOANS, worker.log)
        worker.kill()
    with unit_of_work(sessions, writing=False) as session:
        assert len(session.scalars(select(Fee.loan_id).distinct()).all()) == LOANS
        # Each was reckoned once, and all alike.
        entries = session.execute(
            select(func.count(), func.min(LedgerEntry.amount), func.max(LedgerEntry.amount))
        ).one()
        assert entries == (LOANS, Decimal("2.00"), Decimal("2.00"))
        assert_invariants(session)


def _lend_many(sessions: Sessions, library: Library) -> None:
    """Loans that are all overdue since the same moment."""
    library.policy()
    branch, user = library.branch(), library.user()
    due_at = clock.now() - timedelta(days=10)
    rows: list[Any] = []
    for number in range(LOANS):
        book = Book(title=f"T{number}", sort_title=f"t{number}", sort_year=0, material_type="book")
        copy = Copy(
            book=book,
            branch_id=branch,
            barcode=f"4{number:05}",
            status="on_loan",
            material_type="book",
            loanable=True,
        )
        rows.append((book, copy))
    with unit_of_work(sessions, writing=True) as session:
        session.add_all([row for pair in rows for row in pair])
        session.flush()
        session.add_all(
            Loan(
                user_id=user,
                copy_id=copy.id,
                book_id=book.id,
                branch_id=branch,
                material_type="book",
                user_category="standard",
                status="open",
                lent_at=due_at - timedelta(days=28),
                due_at=due_at,
                terms=TERMS,
            )
            for book, copy in rows
        )


def _is_beyond(row: Callable[[], ImportJob], read: int) -> bool:
    return row().read > read


def _told_of(sessions: Sessions, kind: str) -> int:
    with unit_of_work(sessions, writing=False) as session:
        told = select(func.count()).select_from(Notice).where(Notice.kind == kind)
        return session.scalar(told) or 0
