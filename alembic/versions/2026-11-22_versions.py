"""Count the changes of what callers edit.

Revision ID: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TABLES = (
    "api_keys",
    "authors",
    "blocks",
    "books",
    "branches",
    "copies",
    "loan_policies",
    "oauth_clients",
    "posts",
    "subjects",
    "users",
)


def upgrade() -> None:
    # On both engines a column with a constant default is added without touching a row.
    for table in TABLES:
        op.add_column(table, sa.Column("version", sa.Integer, server_default="1", nullable=False))


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_column(table, "version")
