"""Tables of imports: jobs, what was wrong with their records, and what came from which record."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from circdesk.db.base import Base, Identified, Moment, Timestamped


class SourceLink(Identified, Timestamped, Base):
    """Which record of which agency fed which book, so that it is known when it comes again.

    A record without a control number is known by its hash alone.
    """

    __tablename__ = "source_links"
    __table_args__ = (
        UniqueConstraint("agency", "control_number"),
        Index(
            "uq_source_links_content_hash",
            "content_hash",
            unique=True,
            sqlite_where=text("control_number IS NULL"),
            postgresql_where=text("control_number IS NULL"),
        ),
    )

    # Never null, so that the pair is unique also where no agency is known.
    agency: Mapped[str]
    control_number: Mapped[str | None]
    content_hash: Mapped[str]
    book_id: Mapped[UUID] = mapped_column(ForeignKey("books.id", ondelete="CASCADE"), index=True)


class ImportJob(Identified, Base):
    """A file that is or was imported; this row is the truth about it, whatever a queue says."""

    __tablename__ = "import_jobs"
    __table_args__ = (Index(None, "state", "created_at"), Index(None, "created_at", "id"))

    state: Mapped[str]
    format: Mapped[str]
    # The file's name under the uploads directory, or None for a file that the CLI reads in place.
    upload: Mapped[str | None]
    source: Mapped[str | None]
    items: Mapped[str | None]
    overwrite: Mapped[bool]
    dry_run: Mapped[bool]
    bytes: Mapped[int] = mapped_column(BigInteger)
    # Counts of records; `read` is also where a job that was killed goes on.
    read: Mapped[int] = mapped_column(default=0)
    created: Mapped[int] = mapped_column(default=0)
    updated: Mapped[int] = mapped_column(default=0)
    unchanged: Mapped[int] = mapped_column(default=0)
    refused: Mapped[int] = mapped_column(default=0)
    copies_created: Mapped[int] = mapped_column(default=0)
    issues_count: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None]
    # Which run has the job at present; one that lost it to another must not write any more.
    runner: Mapped[UUID | None]
    # How often the job was taken up since it last got on; one that never does is given up.
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[Moment]
    started_at: Mapped[datetime | None]
    # When the worker last said that it is still at it; a job that is silent is taken up anew.
    seen_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    issues: Mapped[list["ImportIssue"]] = relationship(
        back_populates="job",
        cascade="all, delete-orphan",
        passive_deletes=True,
        lazy="raise_on_sql",
    )


class ImportIssue(Identified, Base):
    """What was wrong with one record: refused whole, or taken with a note."""

    __tablename__ = "import_issues"
    __table_args__ = (Index(None, "job_id", "position", "id"),)

    job_id: Mapped[UUID] = mapped_column(ForeignKey("import_jobs.id", ondelete="CASCADE"))
    position: Mapped[int]
    control_number: Mapped[str | None]
    severity: Mapped[str]
    reason: Mapped[str]
    message: Mapped[str]

    job: Mapped[ImportJob] = relationship(back_populates="issues", lazy="raise_on_sql")
