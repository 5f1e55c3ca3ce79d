"""The audit log.

Revision ID: 0006
"""

import sqlalchemy as sa
from alembic import op

from circdesk.db.base import UtcDateTime

REFUSAL = "the audit log is append-only"

# Whatever an UPDATE does but for dropping the address.
SQLITE_CHANGE = """
    NEW.address IS NOT NULL
    OR (NEW.id, NEW.occurred_at, NEW.action, NEW.outcome, NEW.actor_type, NEW.details)
    IS NOT (OLD.id, OLD.occurred_at, OLD.action, OLD.outcome, OLD.actor_type, OLD.details)
    OR (NEW.actor_id, NEW.target_type, NEW.target_id, NEW.request_id)
    IS NOT (OLD.actor_id, OLD.target_type, OLD.target_id, OLD.request_id)
"""
# The type `json` has no equality, `jsonb` has.
POSTGRESQL_CHANGE = """
    NEW.address IS NOT NULL
    OR (to_jsonb(NEW) - 'address') IS DISTINCT FROM (to_jsonb(OLD) - 'address')
"""
POSTGRESQL_FUNCTION = f"""
    CREATE FUNCTION refuse_audit_log_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'integrity_constraint_violation';
    END $$
"""

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("occurred_at", UtcDateTime(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("actor_type", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("target_type", sa.Text(), nullable=True),
        sa.Column("target_id", sa.Uuid(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_log"),
    )
    op.create_index("ix_audit_log_action_occurred_at", "audit_log", ["action", "occurred_at"])
    op.create_index("ix_audit_log_actor_id_occurred_at", "audit_log", ["actor_id", "occurred_at"])
    op.create_index("ix_audit_log_occurred_at_id", "audit_log", ["occurred_at", "id"])
    op.create_index("ix_audit_log_target_id_occurred_at", "audit_log", ["target_id", "occurred_at"])
    op.create_index(
        "ix_audit_log_with_address",
        "audit_log",
        ["occurred_at"],
        sqlite_where=sa.text("address IS NOT NULL"),
        postgresql_where=sa.text("address IS NOT NULL"),
    )
    if op.get_bind().dialect.name == "postgresql":
        refuse_changes_on_postgresql()
    else:
        refuse_changes_on_sqlite()


def refuse_changes_on_postgresql() -> None:
    op.execute(POSTGRESQL_FUNCTION)
    for event, condition in (("DELETE", "true"), ("UPDATE", POSTGRESQL_CHANGE)):
        op.execute(
            f"CREATE TRIGGER audit_log_{event.lower()} BEFORE {event} ON audit_log"
            f" FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION refuse_audit_log_change()"
        )


def refuse_changes_on_sqlite() -> None:
    for event, condition in (
        ("DELETE", "true"),
        ("UPDATE", SQLITE_CHANGE),
        # INSERT OR REPLACE would delete without a DELETE.
        ("INSERT", "EXISTS (SELECT 1 FROM audit_log WHERE id = NEW.id)"),
    ):
        op.execute(
            f"CREATE TRIGGER audit_log_{event.lower()} BEFORE {event} ON audit_log"
            f" WHEN {condition} BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
        )


def downgrade() -> None:
    op.drop_table("audit_log")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_audit_log_change")
