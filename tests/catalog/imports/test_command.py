"""`circdesk import`: a file that breaks off, and several files that belong together."""

import gzip
import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select

from circdesk.catalog.imports.models import ImportIssue, ImportJob
from circdesk.catalog.models import Book
from circdesk.settings import Settings
from tests.forks import run_forked

Run = Callable[..., "subprocess.CompletedProcess[str]"]

NOISE = random.Random(1)


@pytest.fixture
def run(settings: Settings, tmp_path: Path) -> Run:
    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        variables = {
            "DATABASE_URL": settings.database_url.get_secret_value(),
            "CIRCDESK_INSTANCE": str(tmp_path / "instance"),
        }
        return run_forked("import", "--json", *arguments, variables=variables, cwd=tmp_path)

    return run


def test_what_a_broken_file_holds_is_stored_and_the_break_is_told(
    engine: Engine, run: Run, tmp_path: Path
) -> None:
    lines = [f"{number},{NOISE.randbytes(50).hex()}\n" for number in range(2000)]
    packed = gzip.compress(f"control_number,title\n{''.join(lines)}".encode())
    (tmp_path / "cut.csv.gz").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "good.csv").write_text("control_number,title\nx,Good\n")
    result = run("cut.csv.gz", "good.csv")

    assert result.returncode == 1
    counts = json.loads(result.stdout)
    assert (counts["refused"], counts["created"]) == (1, counts["read"] - 1)
    assert counts["created"] > 900
    told = "The packed file is damaged or cut off. What stands before that is imported."
    assert f"cut.csv.gz: {told}\n" in result.stderr
    with engine.connect() as connection:
        assert connection.scalar(select(func.count(Book.id))) == counts["created"]
        jobs = connection.execute(
            select(ImportJob.state, ImportJob.error, ImportJob.refused).order_by(ImportJob.id)
        )
        assert [tuple(job) for job in jobs] == [("failed", told, 1), ("done", None, 0)]
        (issue,) = connection.execute(select(ImportIssue.__table__))
        # The other file's record is counted, too, and makes up for the place of the break.
        assert (issue.reason, issue.position) == ("file_damaged", counts["created"])


def test_a_dry_run_counts_several_files_as_a_real_run_does(
    engine: Engine, run: Run, tmp_path: Path
) -> None:
    header = "control_number,title,isbn,copies\n"
    (tmp_path / "a.csv").write_text(f"{header}1,Dune,9780441013593,Main|1\n")
    (tmp_path / "b.csv").write_text(
        f"{header}1,Dune,9780441013593,Main|1\n2,Dune,9780441013593,main|2\n3,Emma,,Main|3\n"
    )
    dry, real = (run(*more, "a.csv", "b.csv") for more in (["--dry-run"], []))

    assert json.loads(dry.stdout) == {
        "read": 4, "created": 2, "updated": 1, "unchanged": 1, "refused": 0,
    }  # fmt: skip
    assert (dry.stdout, dry.stderr) == (real.stdout, real.stderr)
