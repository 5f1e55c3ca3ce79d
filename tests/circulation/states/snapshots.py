"""Snapshots: all that the desk has, as it is stored at a moment, and what an undo makes of it."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from circdesk.catalog.models import Copy
from circdesk.circulation.models import Fee, Hold, LedgerEntry, Loan
from circdesk.circulation.money import NOTHING

# When a row was last written says nothing of what it is, nor when a fee is reckoned next.
_IGNORED = {"created_at", "updated_at", "version", "accrues_at"}
_MODELS: tuple[Any, ...] = (Copy, Loan, Hold, Fee)
_TABLES = {
    model.__tablename__: [column for column in inspect(model).columns if column.key not in _IGNORED]
    for model in _MODELS
}

Key = tuple[str, UUID]
Values = Mapping[str, Any]
Snapshot = dict[Key, Values]


def take(session: Session) -> Snapshot:
    """The copies, loans, holds, what people owe, and their fees but for those that are cancelled.

    A fee of an action that was taken back stays, with nothing charged; so it is left out.
    """
    rows: Snapshot = {}
    for table, columns in _TABLES.items():
        for row in session.execute(select(*columns)).mappings():
            if table != "fees" or row["amount"]:
                rows[table, row["id"]] = {column.key: row[column.key] for column in columns}
    balances: dict[UUID, Decimal] = {}
    for user_id, amount in session.execute(select(LedgerEntry.user_id, LedgerEntry.amount)):
        balances[user_id] = balances.get(user_id, NOTHING) + amount
    return rows | {
        ("balances", user_id): {"sum": total} for user_id, total in balances.items() if total
    }


def undone(now: Snapshot, before: Snapshot, after: Snapshot) -> Snapshot:
    """What there must be once an action is taken back: what it changed as before, the rest as now.

    Args:
        now: What there is.
        before: What there was before the action.
        after: What there was after it.
    """
    expected = dict(now)
    for key in {*before, *after}:
        old, new = before.get(key), after.get(key)
        if key[0] == "balances":
            changed = _sum(new) - _sum(old)
            if changed:
                rest = _sum(now.get(key)) - changed
                expected[key] = {"sum": rest}
                if not rest:
                    del expected[key]
        elif old is None:
            expected.pop(key, None)
        elif new is None:
            expected[key] = old
        elif old != new:
            there = now.get(key, old)
            kept = {name: value for name, value in there.items() if old[name] == new[name]}
            expected[key] = {**old, **kept}
    return expected


def difference(expected: Snapshot, found: Snapshot) -> list[str]:
    """What is not as expected, a line each; nothing where all is."""
    lines = []
    for key in sorted({*expected, *found}, key=str):
        wanted, there = expected.get(key), found.get(key)
        if wanted is None or there is None:
            if wanted != there:
                lines.append(f"{key}: {wanted} expected, found {there}")
            continue
        lines += [
            f"{key} {name}: {value} expected, found {there[name]}"
            for name, value in wanted.items()
            if there[name] != value
        ]
    return lines


def _sum(balance: Values | None) -> Decimal:
    return NOTHING if balance is None else balance["sum"]
