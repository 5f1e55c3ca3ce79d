"""Find the available copies of a book by the book on SQLite too, which has no statistics.

Revision ID: 0010
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_copies_book_id_status", "copies", ["book_id", "status"])
    op.drop_index("ix_copies_book_id", "copies")


def downgrade() -> None:
    op.create_index("ix_copies_book_id", "copies", ["book_id"])
    op.drop_index("ix_copies_book_id_status", "copies")
