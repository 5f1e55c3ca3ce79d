"""Promises: whether what was done is what the decision said, in the answer and in the tables."""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from circdesk.circulation.money import NOTHING
from tests.circulation.states.desk import JSON, Answer
from tests.circulation.states.snapshots import Snapshot, Values

# What a live call raises for a subject that the decision calls unknown.
_UNKNOWN = {"loan_unknown", "hold_unknown"}


def is_kept(action: str, asked: Answer, done: Answer, before: Snapshot, after: Snapshot) -> None:
    """Fail where the live call was not what the decision before it has promised."""
    decision = asked.body
    assert done.is_success == decision["allowed"], (decision, done.body)
    if not done.is_success:
        _is_refused_alike(decision, done)
        assert after == before, "a refusal has changed something"
        return
    assert done.body["warnings"] == decision["warnings"]
    _KEPT[action](decision["result"], done.body, _Stored(before, after))


def as_shown(decision: JSON) -> JSON:
    """What of a decision the state alone decides, at any one time.

    The day about which a copy is expected is a guess; nobody's plan is outdated by another one.
    """
    hidden = {"plan_token", "next_allowed_at"}
    result = {k: v for k, v in (decision["result"] or {}).items() if k != "expected_on"}
    return {k: v for k, v in decision.items() if k not in hidden} | {"result": result}


def _is_refused_alike(decision: JSON, done: Answer) -> None:
    codes = {reason["code"] for reason in decision["blockers"]}
    if codes <= _UNKNOWN and done.status == 404:
        return
    assert (done.status, done.code) == (409, "action_refused"), done.body
    assert done.body["decision"] == decision
    reasons = [*decision["blockers"], *decision["confirmations"]]
    assert [detail["rule"] for detail in done.body["details"]] == [r["code"] for r in reasons]


class _Stored:
    """The rows as they were and as they are."""

    def __init__(self, before: Snapshot, after: Snapshot) -> None:
        self._before, self._after = before, after

    def was(self, table: str, row_id: Any) -> Values:
        return self._before[table, UUID(str(row_id))]

    def now(self, table: str, row_id: Any) -> Values:
        return self._after[table, UUID(str(row_id))]

    def overdue_fee(self, loan_id: str) -> Decimal:
        """What was charged for a loan since it was last renewed, before it was renewed again."""
        renewals = self.was("loans", loan_id)["renewals"]
        for (table, _), fee in self._after.items():
            mine = table == "fees" and str(fee["loan_id"]) == loan_id
            if mine and fee["kind"] == "overdue" and fee["loan_renewals"] == renewals:
                charged: Decimal = fee["amount"] - fee["earlier"]
                return charged
        return NOTHING

    def recalled(self) -> list[datetime]:
        """When the loans are due now that were recalled by it."""
        return [
            loan["due_at"]
            for key, loan in self._after.items()
            if key[0] == "loans" and loan["recalled_at"] and key in self._before
            if loan["recalled_at"] != self._before[key]["recalled_at"]
        ]

    def position(self, hold_id: str) -> int:
        """The place in its queue, counted here."""
        own = self.now("holds", hold_id)
        return sum(
            hold["book_id"] == own["book_id"]
            and hold["ended_at"] is None
            and hold["rank"] <= own["rank"]
            for (table, _), hold in self._after.items()
            if table == "holds"
        )


def _checked_out(result: JSON, answer: JSON, stored: _Stored) -> None:
    loan = stored.now("loans", answer["loan"]["id"])
    assert answer["loan"]["due_at"] == result["due_at"]
    assert loan["due_at"] == datetime.fromisoformat(result["due_at"])
    assert stored.now("copies", answer["loan"]["copy_id"])["status"] == result["copy_status"]
    assert result["copy_status"] == "on_loan"
    if "hold_id" in result:
        assert stored.now("holds", result["hold_id"])["status"] == "fulfilled"


def _returned(result: JSON, answer: JSON, stored: _Stored) -> None:
    for name in ("copy_status", "next_step", "branch_id"):
        assert answer[name] == result[name], name
    assert stored.now("copies", answer["copy_id"])["status"] == result["copy_status"]
    hold = answer["hold"]
    assert (hold and hold["id"]) == result.get("hold_id")
    if hold is not None:
        held = stored.now("holds", hold["id"])
        assert str(held["trapped_copy_id"]) == answer["copy_id"]
        assert held["status"] == ("ready" if answer["next_step"] == "hold_shelf" else "in_transit")
    if answer["loan"] is None:
        assert "fee" not in result
        return
    loan_id = answer["loan"]["id"]
    assert stored.now("loans", loan_id)["status"] == "returned"
    assert answer["fee"] == result["fee"]
    if stored.was("loans", loan_id)["status"] == "open":
        assert stored.overdue_fee(loan_id) >= Decimal(result["fee"]["amount"])


def _renewed(result: JSON, answer: JSON, stored: _Stored) -> None:
    loan_id = answer["loan"]["id"]
    before, loan = stored.was("loans", loan_id), stored.now("loans", loan_id)
    assert answer["loan"]["due_at"] == result["due_at"]
    assert loan["due_at"] == datetime.fromisoformat(result["due_at"])
    assert loan["due_at"] > before["due_at"]
    assert loan["renewals"] == before["renewals"] + 1
    assert answer["fee"] == result["fee"]
    assert stored.overdue_fee(loan_id) >= Decimal(result["fee"]["amount"])


def _placed(result: JSON, answer: JSON, stored: _Stored) -> None:
    hold = answer["hold"]
    assert hold["position"] == result["queue_position"] == stored.position(hold["id"])
    assert hold["expected_on"] == result["expected_on"]
    recalls = [w for w in answer["warnings"] if w["code"] == "recalls_loan"]
    recalled = stored.recalled()
    assert [at.isoformat().replace("+00:00", "Z") for at in recalled] == [
        warning["values"]["due_at"] for warning in recalls
    ]


def _cancelled(result: JSON, answer: JSON, stored: _Stored) -> None:
    assert answer["result"] == result
    assert answer["hold"]["id"] == result["hold_id"]
    assert stored.now("holds", result["hold_id"])["status"] == "cancelled"
    copy_id = stored.was("holds", result["hold_id"])["trapped_copy_id"]
    assert (copy_id is None) == ("copy_status" not in result)
    if copy_id is not None:
        assert stored.now("copies", copy_id)["status"] == result["copy_status"]


_KEPT: Mapping[str, Callable[[JSON, JSON, _Stored], None]] = {
    "check_out": _checked_out,
    "return": _returned,
    "renew": _renewed,
    "place_hold": _placed,
    "cancel_hold": _cancelled,
}
