"""Imports over HTTP, on both databases."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine, update

from circdesk.catalog.imports.jobs.running import Runner
from circdesk.catalog.imports.models import ImportIssue
from circdesk.db.engine import WRITING
from circdesk.settings import Settings

Expected = Callable[..., dict[str, Any]]

UNKNOWN = "019b8d2b-8c00-7001-8000-0000000000ff"
CSV = b"control_number,title\n1,One\n2,Two\n3,\n"
CSV_TYPE = {"Content-Type": "text/csv"}
MARC = Path(__file__).parents[3] / "shared" / "data" / "marc"


def send(admin: httpx.Client, content: bytes = CSV, **query: Any) -> dict[str, Any]:
    response = admin.post("/api/imports", content=content, headers=CSV_TYPE, params=query)
    assert response.status_code == 202, response.text
    job: dict[str, Any] = response.json()
    return job


@pytest.fixture
def run(engine: Engine, settings: Settings) -> Callable[[dict[str, Any]], None]:
    """Do what a worker does; the service under test has none, so that tests know what has run."""
    runner = Runner(engine, settings.uploads)
    return lambda job: runner.run(UUID(job["id"]))


@pytest.fixture(autouse=True)
def _no_files_left(settings: Settings) -> Iterator[None]:
    yield
    for path in settings.uploads.glob("*"):
        path.unlink()


class TestCreateImport:
    def test_it_answers_at_once_with_a_job_that_waits(self, admin: httpx.Client) -> None:
        response = admin.post(
            "/api/imports?source=AAA&overwrite=true&items=952:branch=b",
            content=CSV,
            headers=CSV_TYPE,
        )
        assert response.status_code == 202
        job = response.json()
        assert response.headers["Location"] == f"/api/imports/{job['id']}"
        created = job.pop("created_at")
        assert created.endswith("Z")
        assert job == {
            "id": job["id"],
            "state": "queued",
            "format": "csv",
            "source": "AAA",
            "items": "952:branch=b",
            "overwrite": True,
            "dry_run": False,
            "bytes": len(CSV),
            "read": 0,
            "created": 0,
            "updated": 0,
            "unchanged": 0,
            "refused": 0,
            "copies_created": 0,
            "issues_count": 0,
            "error": None,
            "started_at": None,
            "finished_at": None,
        }

    def test_a_body_of_unknown_length_is_taken(self, admin: httpx.Client) -> None:
        pieces = (CSV[place : place + 5] for place in range(0, len(CSV), 5))
        response = admin.post("/api/imports", content=pieces, headers=CSV_TYPE)
        assert response.status_code == 202
        assert response.json()["bytes"] == len(CSV)

    def test_a_file_that_is_something_else_is_refused(
        self, admin: httpx.Client, problem: Expected, settings: Settings
    ) -> None:
        response = admin.post(
            "/api/imports", content=CSV, headers={"Content-Type": "application/marc"}
        )
        message = "The file is said to be MARC 21, but is CSV."
        assert response.json() == problem(
            response,
            "file_contradicts_format",
            message,
            details=[{"in": "body", "pointer": "", "rule": "format", "message": message}],
        )
        assert admin.get("/api/imports").json()["items"] == []
        assert not settings.uploads.exists() or list(settings.uploads.iterdir()) == []

    def test_an_empty_body_is_refused(self, admin: httpx.Client) -> None:
        for body in (b"", iter([b""])):
            response = admin.post("/api/imports", content=body, headers=CSV_TYPE)
            assert response.status_code == 400, response.text

    def test_another_media_type_is_refused(self, admin: httpx.Client) -> None:
        response = admin.post("/api/imports", json={})
        assert response.status_code == 415

    def test_a_mapping_without_sense_is_refused(self, admin: httpx.Client) -> None:
        response = admin.post("/api/imports?items=001:branch=b", content=CSV, headers=CSV_TYPE)
        assert response.status_code == 400
        assert response.json()["details"][0]["pointer"] == "/items"

    def test_it_needs_a_key(self, client: httpx.Client) -> None:
        response = client.post("/api/imports", content=CSV, headers=CSV_TYPE)
        assert response.status_code == 401


class TestListImports:
    def test_the_latest_comes_first(
        self, admin: httpx.Client, run: Callable[[dict[str, Any]], None]
    ) -> None:
        jobs = [send(admin), send(admin)]
        run(jobs[0])

        listed = admin.get("/api/imports").json()
        assert [job["id"] for job in listed["items"]] == [jobs[1]["id"], jobs[0]["id"]]
        done = admin.get("/api/imports?state=done").json()
        assert [job["id"] for job in done["items"]] == [jobs[0]["id"]]

    def test_a_cursor_walks_all(self, admin: httpx.Client) -> None:
        jobs = [send(admin) for _ in range(3)]
        first = admin.get("/api/imports?per_page=2&sort=created_at").json()
        second = admin.get(
            "/api/imports",
            params={"per_page": 2, "sort": "created_at", "cursor": first["next_cursor"]},
        ).json()
        assert first["items"] + second["items"] == jobs


class TestGetImport:
    def test_it_shows_the_counts(
        self, admin: httpx.Client, run: Callable[[dict[str, Any]], None]
    ) -> None:
        sent = send(admin)
        run(sent)
        job = admin.get(f"/api/imports/{sent['id']}").json()

        assert job.pop("started_at") <= job.pop("finished_at")
        assert job == {
            **{name: value for name, value in sent.items() if not name.endswith("ed_at")},
            "created_at": sent["created_at"],
            "state": "done",
            "read": 3,
            "created": 2,
            "refused": 1,
            "issues_count": 1,
        }
        assert admin.get("/api/books?title=two").json()["total"] == 1

    def test_an_unknown_one_is_not_found(self, admin: httpx.Client, problem: Expected) -> None:
        for path in ("", "/issues", "/issues.csv"):
            response = admin.get(f"/api/imports/{UNKNOWN}{path}")
            message = f"No import has the id {UNKNOWN}."
            assert response.json() == problem(response, "not_found", message)


class TestIssues:
    @pytest.fixture
    def job(self, admin: httpx.Client, run: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        job = send(admin)
        run(job)
        return job

    def test_they_are_listed(self, admin: httpx.Client, job: dict[str, Any]) -> None:
        (issue,) = admin.get(f"/api/imports/{job['id']}/issues").json()["items"]
        assert issue == {
            "position": 3,
            "control_number": "3",
            "severity": "refused",
            "reason": "title_missing",
            "message": issue["message"],
        }

    def test_they_are_downloaded(
        self, admin: httpx.Client, engine: Engine, job: dict[str, Any]
    ) -> None:
        with engine.execution_options(**{WRITING: True}).begin() as connection:
            connection.execute(update(ImportIssue).values(message="=1+1"))
        response = admin.get(f"/api/imports/{job['id']}/issues.csv")

        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/csv"
        assert response.headers["Content-Disposition"] == (
            f'attachment; filename="import-{job["id"]}-issues.csv"'
        )
        assert response.content == (
            b"position,control_number,severity,reason,message\r\n"
            b"3,3,refused,title_missing,'=1+1\r\n"
        )

    def test_many_are_downloaded_in_portions(
        self, admin: httpx.Client, run: Callable[[dict[str, Any]], None]
    ) -> None:
        rows = b"".join(b"%d,\n" % number for number in range(2500))
        job = send(admin, b"control_number,title\n" + rows)
        run(job)
        lines = admin.get(f"/api/imports/{job['id']}/issues.csv").text.splitlines()

        assert [line.partition(",")[0] for line in lines[1:]] == [str(n) for n in range(1, 2501)]


class TestRealFile:
    def test_a_file_of_marc_records_arrives_whole(
        self, admin: httpx.Client, run: Callable[[dict[str, Any]], None]
    ) -> None:
        if not MARC.is_dir():
            pytest.skip(f"{MARC} is not there")
        content = (MARC / "programming-20.mrc").read_bytes()
        response = admin.post(
            "/api/imports", content=content, headers={"Content-Type": "application/marc"}
        )
        run(response.json())
        job = admin.get(response.headers["Location"]).json()
        assert (job["state"], job["read"], job["created"]) == ("done", 20, 20)
