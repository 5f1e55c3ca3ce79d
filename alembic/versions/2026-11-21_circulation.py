"""The desk: loans, holds, policies, fees, blocks, notices, and the events that tell of them.

Revision ID: 0007
"""

import sqlalchemy as sa
from alembic import op

from circdesk.db.base import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# Whatever an UPDATE of an event does but for forgetting whose it was and how it is undone.
SQLITE_EVENT_CHANGE = """
    (NEW.user_id IS NOT NULL AND NEW.user_id IS NOT OLD.user_id)
    OR (NEW.undo IS NOT NULL AND NEW.undo IS NOT OLD.undo)
    OR (NEW.transaction_id IS NOT OLD.transaction_id AND OLD.transaction_id <> 0)
    OR (NEW.id, NEW.kind, NEW.subject_type, NEW.subject_id, NEW.data)
    IS NOT (OLD.id, OLD.kind, OLD.subject_type, OLD.subject_id, OLD.data)
    OR (NEW.actor_type, NEW.occurred_at, NEW.undo_until, NEW.undoes_id)
    IS NOT (OLD.actor_type, OLD.occurred_at, OLD.undo_until, OLD.undoes_id)
    OR (NEW.actor_id IS NOT OLD.actor_id
        AND (NEW.actor_id IS NOT NULL OR OLD.actor_id IS NOT OLD.user_id))
"""
POSTGRESQL_EVENT_CHANGE = """
    (NEW.user_id IS NOT NULL AND NEW.user_id IS DISTINCT FROM OLD.user_id)
    OR (NEW.undo IS NOT NULL AND NEW.undo::text IS DISTINCT FROM OLD.undo::text)
    OR (to_jsonb(NEW) - '{user_id,undo,actor_id}'::text[])
    IS DISTINCT FROM (to_jsonb(OLD) - '{user_id,undo,actor_id}'::text[])
    OR (NEW.actor_id IS DISTINCT FROM OLD.actor_id
        AND (NEW.actor_id IS NOT NULL OR OLD.actor_id IS DISTINCT FROM OLD.user_id))
"""
# The tables that are append-only, and which changes are refused on each engine.
APPEND_ONLY = {
    "events": (SQLITE_EVENT_CHANGE, POSTGRESQL_EVENT_CHANGE),
    "ledger_entries": ("true", "true"),
}


def upgrade() -> None:
    extend_older_tables()
    create_events()
    create_policies()
    create_loans()
    create_holds()
    create_fees()
    create_blocks()
    create_notices()
    create_sandbox_clock()
    refuse_changes()


def extend_older_tables() -> None:
    op.add_column("copies", sa.Column("event_id", sa.Uuid(), nullable=True))
    op.add_column(
        "users", sa.Column("category", sa.Text(), server_default="standard", nullable=False)
    )
    op.add_column(
        "users",
        sa.Column("unwanted_notices", sa.Text(), server_default=sa.text("''"), nullable=False),
    )


def create_events() -> None:
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    transaction = "(pg_current_xact_id()::text::bigint)" if on_postgresql else "0"
    op.create_table(
        "events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "transaction_id", sa.BigInteger(), server_default=sa.text(transaction), nullable=False
        ),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("actor_type", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("occurred_at", UtcDateTime(), nullable=False),
        sa.Column("undo", sa.JSON(), nullable=True),
        sa.Column("undo_until", UtcDateTime(), nullable=True),
        sa.Column("undoes_id", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sa.UniqueConstraint("undoes_id", name="uq_events_undoes_id"),
    )
    op.create_index("ix_events_kind_transaction_id_id", "events", ["kind", "transaction_id", "id"])
    op.create_index("ix_events_occurred_at", "events", ["occurred_at"])
    op.create_index(
        "ix_events_subject_id_transaction_id", "events", ["subject_id", "transaction_id"]
    )
    op.create_index("ix_events_transaction_id_id", "events", ["transaction_id", "id"])
    op.create_index(
        "ix_events_undoable",
        "events",
        ["undo_until"],
        sqlite_where=sa.text("undo IS NOT NULL"),
        postgresql_where=sa.text("undo IS NOT NULL"),
    )
    if not on_postgresql:
        # Ids are no order: two processes make theirs by clocks of their own.
        op.execute(
            "CREATE TRIGGER events_number AFTER INSERT ON events BEGIN"
            " UPDATE events SET transaction_id = (SELECT max(transaction_id) + 1 FROM events)"
            " WHERE id = NEW.id; END"
        )


def create_policies() -> None:
    op.create_table(
        "loan_policies",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("user_category", sa.Text(), nullable=True),
        sa.Column("material_type", sa.Text(), nullable=True),
        sa.Column("branch_id", sa.Uuid(), nullable=True),
        sa.Column("period_unit", sa.Text(), nullable=False),
        sa.Column("period_length", sa.Integer(), nullable=True),
        sa.Column("period_date", sa.Date(), nullable=True),
        sa.Column("closed_days", sa.Text(), nullable=False),
        sa.Column("renewals", sa.Integer(), nullable=False),
        sa.Column("renewable_days", sa.Integer(), nullable=True),
        sa.Column("max_loans", sa.Integer(), nullable=True),
        sa.Column("max_holds", sa.Integer(), nullable=True),
        sa.Column("max_overdue", sa.Integer(), nullable=True),
        sa.Column("max_debt", sa.BigInteger(), nullable=True),
        sa.Column("lends", sa.Boolean(), nullable=False),
        sa.Column("holds", sa.Boolean(), nullable=False),
        sa.Column("self_service", sa.Boolean(), nullable=False),
        sa.Column("hold_shelf_days", sa.Integer(), nullable=False),
        sa.Column("recall_days", sa.Integer(), nullable=True),
        sa.Column("fee_per_day", sa.BigInteger(), nullable=False),
        sa.Column("fee_cap", sa.BigInteger(), nullable=True),
        sa.Column("grace_days", sa.Integer(), nullable=False),
        sa.Column("lost_fee", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["branch_id"],
            ["branches.id"],
            name="fk_loan_policies_branch_id_branches",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_loan_policies"),
        sa.UniqueConstraint("scope", name="uq_loan_policies_scope"),
    )
    op.create_index("ix_loan_policies_branch_id", "loan_policies", ["branch_id"])
    op.create_index("ix_loan_policies_created_at_id", "loan_policies", ["created_at", "id"])


def create_loans() -> None:
    op.create_table(
        "loans",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("copy_id", sa.Uuid(), nullable=True),
        sa.Column("book_id", sa.Uuid(), nullable=True),
        sa.Column("branch_id", sa.Uuid(), nullable=True),
        sa.Column("user_category", sa.Text(), nullable=False),
        sa.Column("material_type", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("lent_at", UtcDateTime(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("returned_at", UtcDateTime(), nullable=True),
        sa.Column("renewals", sa.Integer(), nullable=False),
        sa.Column("renewed_at", UtcDateTime(), nullable=True),
        sa.Column("recalled_at", UtcDateTime(), nullable=True),
        sa.Column("policy_id", sa.Uuid(), nullable=True),
        sa.Column("terms", sa.JSON(), nullable=False),
        sa.Column("accrues_at", UtcDateTime(), nullable=True),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["book_id"], ["books.id"], name="fk_loans_book_id_books", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["branch_id"], ["branches.id"], name="fk_loans_branch_id_branches", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["copy_id"], ["copies.id"], name="fk_loans_copy_id_copies", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["policy_id"],
            ["loan_policies.id"],
            name="fk_loans_policy_id_loan_policies",
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_loans_user_id_users"),
        sa.PrimaryKeyConstraint("id", name="pk_loans"),
    )
    op.create_index("ix_loans_book_id", "loans", ["book_id"])
    op.create_index("ix_loans_branch_id", "loans", ["branch_id"])
    op.create_index("ix_loans_copy_id_lent_at", "loans", ["copy_id", "lent_at"])
    op.create_index("ix_loans_due_at_id", "loans", ["due_at", "id"])
    op.create_index("ix_loans_lent_at_id", "loans", ["lent_at", "id"])
    op.create_index(
        "ix_loans_open_due",
        "loans",
        ["due_at", "id"],
        sqlite_where=sa.text("returned_at IS NULL"),
        postgresql_where=sa.text("returned_at IS NULL"),
    )
    op.create_index(
        "ix_loans_open_user",
        "loans",
        ["user_id", "due_at"],
        sqlite_where=sa.text("returned_at IS NULL"),
        postgresql_where=sa.text("returned_at IS NULL"),
    )
    op.create_index("ix_loans_policy_id", "loans", ["policy_id"])
    op.create_index("ix_loans_user_id_lent_at", "loans", ["user_id", "lent_at"])
    op.create_index(
        "uq_loans_open_copy",
        "loans",
        ["copy_id"],
        unique=True,
        sqlite_where=sa.text("returned_at IS NULL"),
        postgresql_where=sa.text("returned_at IS NULL"),
    )


def create_holds() -> None:
    op.create_table(
        "holds",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("book_id", sa.Uuid(), nullable=True),
        sa.Column("copy_id", sa.Uuid(), nullable=True),
        sa.Column("pickup_branch_id", sa.Uuid(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("rank", sa.BigInteger(), nullable=False),
        sa.Column("placed_at", UtcDateTime(), nullable=False),
        sa.Column("suspended_until", sa.Date(), nullable=True),
        sa.Column("trapped_copy_id", sa.Uuid(), nullable=True),
        sa.Column("shelf_days", sa.Integer(), nullable=False),
        sa.Column("ready_at", UtcDateTime(), nullable=True),
        sa.Column("shelf_expires_at", UtcDateTime(), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["book_id"], ["books.id"], name="fk_holds_book_id_books", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["copy_id"], ["copies.id"], name="fk_holds_copy_id_copies", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["pickup_branch_id"],
            ["branches.id"],
            name="fk_holds_pickup_branch_id_branches",
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["trapped_copy_id"],
            ["copies.id"],
            name="fk_holds_trapped_copy_id_copies",
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_holds_user_id_users"),
        sa.PrimaryKeyConstraint("id", name="pk_holds"),
    )
    op.create_index("ix_holds_book_id", "holds", ["book_id"])
    op.create_index("ix_holds_copy_id", "holds", ["copy_id"])
    op.create_index("ix_holds_pickup_branch_id", "holds", ["pickup_branch_id"])
    op.create_index("ix_holds_placed_at_id", "holds", ["placed_at", "id"])
    op.create_index(
        "ix_holds_shelf",
        "holds",
        ["shelf_expires_at"],
        sqlite_where=sa.text("status = 'ready'"),
        postgresql_where=sa.text("status = 'ready'"),
    )
    op.create_index("ix_holds_user_id_placed_at", "holds", ["user_id", "placed_at"])
    op.create_index(
        "uq_holds_active_user",
        "holds",
        ["user_id", "book_id"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(
        "uq_holds_queue",
        "holds",
        ["book_id", "rank"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(
        "uq_holds_trapped_copy",
        "holds",
        ["trapped_copy_id"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )


def create_fees() -> None:
    op.create_table(
        "fees",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("loan_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("outstanding", sa.BigInteger(), nullable=False),
        sa.Column("loan_renewals", sa.Integer(), nullable=False),
        sa.Column("earlier", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "outstanding >= 0 AND outstanding <= amount", name="ck_fees_outstanding"
        ),
        sa.ForeignKeyConstraint(["loan_id"], ["loans.id"], name="fk_fees_loan_id_loans"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_fees_user_id_users"),
        sa.PrimaryKeyConstraint("id", name="pk_fees"),
    )
    op.create_index("ix_fees_created_at_id", "fees", ["created_at", "id"])
    op.create_index(
        "ix_fees_outstanding",
        "fees",
        ["user_id"],
        sqlite_where=sa.text("outstanding > 0"),
        postgresql_where=sa.text("outstanding > 0"),
    )
    op.create_index("ix_fees_user_id_created_at", "fees", ["user_id", "created_at"])
    op.create_index(
        "uq_fees_loan",
        "fees",
        ["loan_id", "kind"],
        unique=True,
        sqlite_where=sa.text("loan_id IS NOT NULL"),
        postgresql_where=sa.text("loan_id IS NOT NULL"),
    )
    op.create_table(
        "ledger_entries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("fee_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reverses", sa.Text(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("occurred_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["fee_id"], ["fees.id"], name="fk_ledger_entries_fee_id_fees"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_ledger_entries_user_id_users"),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_entries"),
    )
    op.create_index("ix_ledger_entries_event_id", "ledger_entries", ["event_id"])
    op.create_index("ix_ledger_entries_fee_id", "ledger_entries", ["fee_id"])
    op.create_index("ix_ledger_entries_user_id_id", "ledger_entries", ["user_id", "id"])


def create_blocks() -> None:
    op.create_table(
        "blocks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("lifted_at", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_blocks_user_id_users"),
        sa.PrimaryKeyConstraint("id", name="pk_blocks"),
    )
    op.create_index("ix_blocks_user_id_created_at", "blocks", ["user_id", "created_at"])


def create_notices() -> None:
    op.create_table(
        "notices",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("read_at", UtcDateTime(), nullable=True),
        sa.Column("next_attempt_at", UtcDateTime(), nullable=True),
        sa.Column("sent_at", UtcDateTime(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_notices_user_id_users"),
        sa.PrimaryKeyConstraint("id", name="pk_notices"),
        sa.UniqueConstraint("kind", "subject_id", "since", name="uq_notices_kind_subject_id_since"),
    )
    op.create_index(
        "ix_notices_unsent",
        "notices",
        ["next_attempt_at"],
        sqlite_where=sa.text("next_attempt_at IS NOT NULL"),
        postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
    )
    op.create_index("ix_notices_user_id_created_at", "notices", ["user_id", "created_at"])


def create_sandbox_clock() -> None:
    op.create_table(
        "sandbox_clock",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("offset_seconds", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name="ck_sandbox_clock_one_row"),
        sa.PrimaryKeyConstraint("id", name="pk_sandbox_clock"),
    )


def refuse_changes() -> None:
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    if on_postgresql:
        op.execute(
            "CREATE FUNCTION refuse_append_only_change() RETURNS trigger LANGUAGE plpgsql AS $$"
            " BEGIN RAISE EXCEPTION 'this table is append-only'"
            " USING ERRCODE = 'integrity_constraint_violation'; END $$"
        )
    for table, (sqlite_change, postgresql_change) in APPEND_ONLY.items():
        if on_postgresql:
            refuse_on_postgresql(table, postgresql_change)
        else:
            refuse_on_sqlite(table, sqlite_change)


def refuse_on_postgresql(table: str, change: str) -> None:
    for event, condition in (("DELETE", "true"), ("UPDATE", change)):
        op.execute(
            f"CREATE TRIGGER {table}_{event.lower()} BEFORE {event} ON {table}"
            f" FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION refuse_append_only_change()"
        )


def refuse_on_sqlite(table: str, change: str) -> None:
    # INSERT OR REPLACE would delete without a DELETE.
    there = f"EXISTS (SELECT 1 FROM {table} WHERE id = NEW.id)"  # noqa: S608 - a name of ours.
    for event, condition in (("DELETE", "true"), ("UPDATE", change), ("INSERT", there)):
        op.execute(
            f"CREATE TRIGGER {table}_{event.lower()} BEFORE {event} ON {table}"
            f" WHEN {condition} BEGIN SELECT RAISE(ABORT, 'this table is append-only'); END"
        )


def downgrade() -> None:
    for table in (
        "sandbox_clock",
        "notices",
        "blocks",
        "ledger_entries",
        "fees",
        "holds",
        "loans",
        "loan_policies",
        "events",
    ):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_append_only_change")
    op.drop_column("copies", "event_id")
    op.drop_column("users", "unwanted_notices")
    op.drop_column("users", "category")
