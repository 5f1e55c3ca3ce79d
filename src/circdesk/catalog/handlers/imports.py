"""HTTP face of the imports."""

from typing import Any, Unpack
from uuid import UUID

from flask import current_app

from circdesk.catalog.imports.jobs import jobs
from circdesk.catalog.imports.jobs.issue_table import as_csv
from circdesk.catalog.imports.jobs.jobs import JSON, ImportQuery, IssueQuery
from circdesk.catalog.imports.jobs.sending import send_after_commit
from circdesk.contract.answers import Stream
from circdesk.db.pagination import Page
from circdesk.db.unit_of_work import current_session
from circdesk.settings import Settings


def list_imports(**query: Unpack[ImportQuery]) -> Page:
    """List imports."""
    return jobs.list_imports(current_session(), query)


def create_import(
    *, source: str | None, overwrite: bool, dry_run: bool, items: str | None, body: Any
) -> tuple[JSON, int, dict[str, str]]:
    """Import a file of records."""
    settings: Settings = current_app.extensions["circdesk.settings"]
    session = current_session()
    options = {"source": source, "items": items, "overwrite": overwrite, "dry_run": dry_run}
    job = jobs.create_import(session, settings.uploads, body, options)
    send_after_commit(session, settings, job.id)
    return jobs.present(job), 202, {"Location": f"/api/imports/{job.id}"}


def get_import(*, import_id: UUID) -> JSON:
    """Read an import."""
    return jobs.read_import(current_session(), import_id)


def list_import_issues(**query: Unpack[IssueQuery]) -> Page:
    """List an import's issues."""
    return jobs.list_issues(current_session(), query)


def download_import_issues(*, import_id: UUID) -> tuple[Stream, int, dict[str, str]]:
    """Download an import's issues."""
    issues = jobs.walk_issues(current_session(), import_id)
    name = f"import-{import_id}-issues.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Stream("text/csv", as_csv(issues)), 200, headers
