"""Import jobs: made, listed and read; what becomes of them is in `running`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from circdesk import clock
from circdesk.catalog.imports.jobs.uploads import store_upload
from circdesk.catalog.imports.models import ImportIssue, ImportJob
from circdesk.catalog.imports.reading.formats import MEDIA_TYPES
from circdesk.catalog.imports.reading.marc.items import ItemMapping
from circdesk.contract.problems import fault
from circdesk.contract.requests import InvalidRequest, NotFound
from circdesk.db.pagination import Page, PageQuery, paginate

JSON = dict[str, Any]

_JOB_SORTS = {"created_at": (ImportJob.created_at,)}
_ISSUE_SORTS = {"position": (ImportIssue.position,)}
_ROWS_AT_ONCE = 1000


class ImportQuery(PageQuery):
    """What imports can be filtered by."""

    state: str | None


class IssueQuery(PageQuery):
    """Whose issues are listed."""

    import_id: UUID


def create_import(session: Session, uploads: Path, upload: Any, options: JSON) -> ImportJob:
    """Store a file as it arrives, and a job for it, which waits for a worker.

    Args:
        session: The session that stores the job; it is not used before the file is there.
        uploads: The directory for such files.
        upload: The body: `media_type` and `stream`.
        options: `source`, `items`, `overwrite` and `dry_run`.

    Raises:
        InvalidRequest: The file is empty, or `items` is no mapping.
        FileContradictsFormat: The file is something else than its media type says.
        UploadNotStored: The disk does not take it.
    """
    _raise_for_items(options["items"])
    fmt = MEDIA_TYPES[upload.media_type]
    stored = store_upload(uploads, upload.stream, fmt)
    job = ImportJob(
        state="queued",
        format=fmt.value,
        upload=stored.name,
        bytes=stored.bytes,
        created_at=clock.now(),
        **options,
    )
    session.add(job)
    session.flush()
    return job


def list_imports(session: Session, query: ImportQuery) -> Page:
    """One page of the imports."""
    found = select(ImportJob)
    if query["state"] is not None:
        found = found.where(ImportJob.state == query["state"])
    return paginate(
        session,
        found,
        sorts=_JOB_SORTS,
        query=query,
        present=lambda row: present(row[0]),
        scope="list_imports",
    )


def read_import(session: Session, import_id: UUID) -> JSON:
    """One import. Raises NotFound."""
    return present(_find(session, import_id))


def list_issues(session: Session, query: IssueQuery) -> Page:
    """One page of an import's issues. Raises NotFound."""
    _find(session, query["import_id"])
    return paginate(
        session,
        select(ImportIssue).where(ImportIssue.job_id == query["import_id"]),
        sorts=_ISSUE_SORTS,
        query=query,
        present=lambda row: _present_issue(row[0]),
        scope="list_import_issues",
    )


def walk_issues(session: Session, import_id: UUID) -> Iterator[JSON]:
    """All issues of an import, by place in the file, read from the database in portions.

    Raises NotFound at once.
    """
    _find(session, import_id)
    return _walk(session, import_id)


def _walk(session: Session, import_id: UUID) -> Iterator[JSON]:
    place = tuple_(ImportIssue.position, ImportIssue.id)
    query = select(ImportIssue).where(ImportIssue.job_id == import_id)
    portion = query.order_by(ImportIssue.position, ImportIssue.id).limit(_ROWS_AT_ONCE)
    rows = session.scalars(portion).all()
    while rows:
        yield from map(_present_issue, rows)
        last = (rows[-1].position, rows[-1].id)
        session.expunge_all()
        rows = session.scalars(portion.where(place > last)).all()


def present(job: ImportJob) -> JSON:
    """An import as the contract shows it."""
    return {
        "id": job.id,
        "state": job.state,
        "format": job.format,
        "source": job.source,
        "items": job.items,
        "overwrite": job.overwrite,
        "dry_run": job.dry_run,
        "bytes": job.bytes,
        "read": job.read,
        "created": job.created,
        "updated": job.updated,
        "unchanged": job.unchanged,
        "refused": job.refused,
        "copies_created": job.copies_created,
        "issues_count": job.issues_count,
        "error": job.error,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
    }


def _present_issue(issue: ImportIssue) -> JSON:
    return {
        "position": issue.position,
        "control_number": issue.control_number,
        "severity": issue.severity,
        "reason": issue.reason,
        "message": issue.message,
    }


def _find(session: Session, import_id: UUID) -> ImportJob:
    job = session.get(ImportJob, import_id)
    if job is None:
        raise NotFound(f"No import has the id {import_id}.")
    return job


def _raise_for_items(text: str | None) -> None:
    """Refuse a mapping that has the form of one and no sense."""
    try:
        if text is not None:
            ItemMapping.parse(text)
    except ValueError as error:
        details = [fault("query", "/items", "item_mapping", str(error))]
        raise InvalidRequest(f"items: {error}", details=details) from None
