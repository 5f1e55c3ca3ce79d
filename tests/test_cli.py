"""The command line, as a person calls it."""

import gzip
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from circdesk.catalog.imports.models import ImportJob
from circdesk.catalog.models import Author, Book
from circdesk.settings import Settings
from tests.forks import run_forked

Run = Callable[..., "subprocess.CompletedProcess[str]"]

CSV = "control_number,title,copies\n1,One,Central|30001|A\n2,Two,\n3,,\n"
EDITION = "/type/edition\t/books/OL1M\t1\t2020-01-01T00:00:00\t"
AUTHOR = "/type/author\t/authors/OL1A\t1\t2020-01-01T00:00:00\t"


@pytest.fixture
def run(settings: Settings, tmp_path: Path) -> Run:
    def run(*arguments: str | Path, **variables: str) -> "subprocess.CompletedProcess[str]":
        usual = {
            "DATABASE_URL": settings.database_url.get_secret_value(),
            "CIRCDESK_INSTANCE": str(tmp_path / "instance"),
            "COLUMNS": "200",
        }
        return run_forked(*arguments, variables=usual | variables, cwd=tmp_path)

    return run


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    path = tmp_path / "books.csv"
    path.write_text(CSV)
    return path


def rows(engine: Engine, table: Any) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(table.__table__)))


class TestImport:
    def test_json_has_the_counts_and_nothing_else(
        self, engine: Engine, run: Run, csv_file: Path
    ) -> None:
        result = run("import", "--json", csv_file)

        assert result.returncode == 0
        assert json.loads(result.stdout) == {
            "read": 3, "created": 2, "updated": 0, "unchanged": 0, "refused": 1,
        }  # fmt: skip
        assert sorted(result.stderr.splitlines()) == [
            'books.csv: record 1 (1): note: The branch "Central" was unknown and is created.',
            "books.csv: record 3 (3): refused: The row has no title.",
        ]
        (job,) = rows(engine, ImportJob)
        assert (job.state, job.upload, job.read, job.created, job.refused) == (
            "done", None, 3, 2, 1,
        )  # fmt: skip

    def test_counts_are_the_sum_of_all_files(
        self, engine: Engine, run: Run, csv_file: Path, tmp_path: Path
    ) -> None:
        packed = tmp_path / "again.csv.gz"
        packed.write_bytes(gzip.compress(csv_file.read_bytes()))
        result = run("import", csv_file, packed)

        assert result.returncode == 0
        assert result.stdout == "6 read, 2 created, 0 updated, 2 unchanged, 2 refused\n"
        assert len(rows(engine, Book)) == 2

    def test_a_dry_run_leaves_nothing(self, engine: Engine, run: Run, csv_file: Path) -> None:
        result = run("import", "--dry-run", "--json", csv_file)

        assert json.loads(result.stdout)["created"] == 2
        assert rows(engine, Book) == rows(engine, ImportJob) == []

    def test_one_file_that_cannot_be_read_does_not_stop_the_others(
        self, engine: Engine, run: Run, csv_file: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "image.csv").write_bytes(b"\x89PNG....")
        (tmp_path / "wrong.csv").write_text("title,title\nx,y\n")
        result = run("import", "image.csv", "missing.mrc", "wrong.csv", ".", csv_file)

        assert result.returncode == 1
        assert result.stdout == "3 read, 2 created, 0 updated, 0 unchanged, 1 refused\n"
        assert "image.csv: The file is a PNG image.\n" in result.stderr
        assert "missing.mrc: No such file or directory\n" in result.stderr
        assert ".: Is a directory\n" in result.stderr
        assert sorted(job.state for job in rows(engine, ImportJob)) == ["done", "failed"]

    def test_a_format_that_is_said_wins_and_is_checked(
        self, engine: Engine, run: Run, csv_file: Path
    ) -> None:
        result = run("import", "--format", "marc21", csv_file)

        assert result.returncode == 1
        assert "books.csv: The file is said to be MARC 21, but is CSV.\n" in result.stderr
        assert rows(engine, Book) == []

    def test_editions_take_their_authors_from_another_file(
        self, engine: Engine, run: Run, tmp_path: Path
    ) -> None:
        edition = {"title": "Fantastic Mr. Fox", "authors": [{"key": "/authors/OL1A"}]}
        (tmp_path / "editions.txt").write_text(EDITION + json.dumps(edition) + "\n")
        (tmp_path / "authors.txt").write_text(AUTHOR + json.dumps({"name": "Roald Dahl"}) + "\n")
        result = run("import", "editions.txt", "authors.txt")

        assert result.returncode == 0, result.stderr
        assert [author.name for author in rows(engine, Author)] == ["Roald Dahl"]

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (("--items", "12", "x"), "must begin with a tag"),
            (("--format", "pdf", "x"), "'pdf' is not one of"),
            ((), "Missing argument"),
        ],
    )
    def test_a_wrong_call_is_explained(
        self, run: Run, arguments: tuple[str, ...], told: str
    ) -> None:
        result = run("import", *arguments)
        assert result.returncode == 2
        assert told in result.stderr


class TestErrorsOfTheOperator:
    @pytest.mark.parametrize("command", ["import x", "worker", "db upgrade"])
    def test_a_wrong_setting_is_one_line(self, run: Run, command: str) -> None:
        result = run(*command.split(), CIRCDESK_THREADS="none")

        assert result.returncode == 2
        assert result.stdout == ""
        (line,) = result.stderr.splitlines()
        assert line.startswith("circdesk: CIRCDESK_THREADS: ")

    def test_a_database_that_is_away_is_one_line(self, run: Run, csv_file: Path) -> None:
        url = "postgresql://nobody@127.0.0.1:1/nothing"
        result = run("import", csv_file, DATABASE_URL=url)

        assert result.returncode == 2
        assert result.stderr == "circdesk: The database does not answer at the moment.\n"

    def test_only_a_developers_database_is_migrated_unasked(
        self, run: Run, csv_file: Path, tmp_path: Path
    ) -> None:
        url = f"sqlite:///{tmp_path / 'new.db'}"
        production = {
            "CIRCDESK_ENV": "production",
            "CIRCDESK_PUBLIC_URL": "https://library.example",
            "DATABASE_URL": url,
            "CIRCDESK_SECRET_KEY": "x" * 40,
            "CIRCDESK_ENCRYPTION_KEY": "x" * 40,
        }
        result = run("import", csv_file, **production)
        assert result.returncode == 2
        assert result.stderr == (
            "circdesk: the database is not at the newest migration; run `circdesk db upgrade`\n"
        )

        assert run("import", csv_file, DATABASE_URL=url).returncode == 0
        upgraded = run("db", "upgrade", **production)
        assert upgraded.stdout.startswith("The database is at migration ")
        assert run("import", csv_file, **production).returncode == 0
