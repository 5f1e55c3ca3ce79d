"""The catalogue: books, authors, subjects, branches, copies, and where they came from.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op

from circdesk.db.base import SortKey, UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_books()
    create_authors()
    create_subjects()
    create_copies()
    create_imports()
    create_texts()


def create_books() -> None:
    op.create_table(
        "books",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("sort_title", SortKey, nullable=False),
        sa.Column("sort_year", sa.Integer(), nullable=False),
        sa.Column("subtitle", sa.Text(), nullable=True),
        sa.Column("publisher", sa.Text(), nullable=True),
        sa.Column("year", sa.Integer(), nullable=True),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("summary", sa.Text(), nullable=True),
        sa.Column("material_type", sa.Text(), nullable=False),
        sa.Column("edition", sa.Text(), nullable=True),
        sa.Column("edited_fields", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_books"),
    )
    op.create_index("ix_books_created_at_id", "books", ["created_at", "id"])
    op.create_index("ix_books_language", "books", ["language"])
    op.create_index("ix_books_material_type", "books", ["material_type"])
    op.create_index("ix_books_sort_title_id", "books", ["sort_title", "id"])
    op.create_index("ix_books_sort_year_id", "books", ["sort_year", "id"])
    op.create_table(
        "book_isbns",
        sa.Column("book_id", sa.Uuid(), nullable=False),
        sa.Column("isbn", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["book_id"], ["books.id"], name="fk_book_isbns_book_id_books", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("book_id", "isbn", name="pk_book_isbns"),
    )
    op.create_index("ix_book_isbns_isbn", "book_isbns", ["isbn"])


def create_authors() -> None:
    op.create_table(
        "authors",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sort_name", SortKey, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_authors"),
        sa.UniqueConstraint("sort_name", name="uq_authors_sort_name"),
    )
    op.create_table(
        "book_authors",
        sa.Column("book_id", sa.Uuid(), nullable=False),
        sa.Column("author_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["author_id"], ["authors.id"], name="fk_book_authors_author_id_authors"
        ),
        sa.ForeignKeyConstraint(
            ["book_id"], ["books.id"], name="fk_book_authors_book_id_books", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("book_id", "author_id", name="pk_book_authors"),
    )
    op.create_index("ix_book_authors_author_id", "book_authors", ["author_id"])


def create_subjects() -> None:
    op.create_table(
        "subjects",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sort_name", SortKey, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_subjects"),
        sa.UniqueConstraint("sort_name", name="uq_subjects_sort_name"),
    )
    op.create_table(
        "book_subjects",
        sa.Column("book_id", sa.Uuid(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["book_id"], ["books.id"], name="fk_book_subjects_book_id_books", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["subject_id"], ["subjects.id"], name="fk_book_subjects_subject_id_subjects"
        ),
        sa.PrimaryKeyConstraint("book_id", "subject_id", name="pk_book_subjects"),
    )
    op.create_index("ix_book_subjects_subject_id", "book_subjects", ["subject_id"])


def create_copies() -> None:
    op.create_table(
        "branches",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", SortKey, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sort_name", SortKey, nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("opening_hours", sa.JSON(), nullable=False),
        sa.Column("closed_days", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_branches"),
        sa.UniqueConstraint("code", name="uq_branches_code"),
    )
    op.create_index("ix_branches_sort_name", "branches", ["sort_name"])
    op.create_table(
        "copies",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("book_id", sa.Uuid(), nullable=False),
        sa.Column("branch_id", sa.Uuid(), nullable=False),
        sa.Column("barcode", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("shelf_mark", sa.Text(), nullable=True),
        sa.Column("material_type", sa.Text(), nullable=False),
        sa.Column("loanable", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["book_id"], ["books.id"], name="fk_copies_book_id_books"),
        sa.ForeignKeyConstraint(
            ["branch_id"], ["branches.id"], name="fk_copies_branch_id_branches"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_copies"),
        sa.UniqueConstraint("barcode", name="uq_copies_barcode"),
    )
    op.create_index("ix_copies_book_id", "copies", ["book_id"])
    op.create_index("ix_copies_branch_id_status", "copies", ["branch_id", "status"])
    op.create_index("ix_copies_created_at_id", "copies", ["created_at", "id"])
    op.create_index("ix_copies_status", "copies", ["status"])


def create_imports() -> None:
    op.create_table(
        "source_links",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("control_number", sa.Text(), nullable=True),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("book_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["book_id"], ["books.id"], name="fk_source_links_book_id_books", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_source_links"),
        sa.UniqueConstraint(
            "agency", "control_number", name="uq_source_links_agency_control_number"
        ),
    )
    op.create_index("ix_source_links_book_id", "source_links", ["book_id"])
    op.create_index(
        "uq_source_links_content_hash",
        "source_links",
        ["content_hash"],
        unique=True,
        sqlite_where=sa.text("control_number IS NULL"),
        postgresql_where=sa.text("control_number IS NULL"),
    )
    op.create_table(
        "import_jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("upload", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("items", sa.Text(), nullable=True),
        sa.Column("overwrite", sa.Boolean(), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("read", sa.Integer(), nullable=False),
        sa.Column("created", sa.Integer(), nullable=False),
        sa.Column("updated", sa.Integer(), nullable=False),
        sa.Column("unchanged", sa.Integer(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False),
        sa.Column("copies_created", sa.Integer(), nullable=False),
        sa.Column("issues_count", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("runner", sa.Uuid(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("seen_at", UtcDateTime(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_import_jobs"),
    )
    op.create_index("ix_import_jobs_created_at_id", "import_jobs", ["created_at", "id"])
    op.create_index("ix_import_jobs_state_created_at", "import_jobs", ["state", "created_at"])
    op.create_table(
        "import_issues",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("control_number", sa.Text(), nullable=True),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["import_jobs.id"],
            name="fk_import_issues_job_id_import_jobs",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_import_issues"),
    )
    op.create_index(
        "ix_import_issues_job_id_position_id", "import_issues", ["job_id", "position", "id"]
    )


def create_texts() -> None:
    op.create_table(
        "book_texts",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            sa.Identity(),
            nullable=False,
        ),
        sa.Column("book_id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("people", sa.Text(), nullable=False),
        sa.Column("subjects", sa.Text(), nullable=False),
        sa.Column("rest", sa.Text(), nullable=False),
        sa.Column("variants", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["book_id"], ["books.id"], name="fk_book_texts_book_id_books", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_book_texts"),
        sa.UniqueConstraint("book_id", name="uq_book_texts_book_id"),
    )


def downgrade() -> None:
    op.drop_table("book_texts")
    op.drop_table("import_issues")
    op.drop_table("import_jobs")
    op.drop_table("source_links")
    op.drop_table("copies")
    op.drop_table("branches")
    op.drop_table("book_subjects")
    op.drop_table("subjects")
    op.drop_table("book_authors")
    op.drop_table("authors")
    op.drop_table("book_isbns")
    op.drop_table("books")
