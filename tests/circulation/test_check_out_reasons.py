"""Why a copy is not lent, over HTTP, on both databases."""

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import pytest

from circdesk.catalog.models import Copy
from circdesk.circulation import check_out_facts
from circdesk.circulation.check_outs import check_out_copy
from circdesk.circulation.models import Block, Fee, Hold, LoanPolicy
from circdesk.db.base import Base
from circdesk.db.errors import DatabaseBusy
from circdesk.db.unit_of_work import Sessions, unit_of_work
from tests.circulation.check_out_desk import (
    NOBODY,
    NOW,
    PATH,
    Desk,
    blockers,
    codes,
    values,
    warnings,
)
from tests.circulation.conftest import Library
from tests.people import MEMBER_ID

JSON = dict[str, Any]
Expected = Callable[..., JSON]
Read = Callable[[type[Base], UUID], Any]
Change = Callable[..., None]


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, library: Library) -> Desk:
    monkeypatch.setattr("circdesk.clock.now", lambda: NOW)
    return Desk.of(library)


class TestCopies:
    """What lies in the copy."""

    def test_a_refusal_carries_the_whole_decision(
        self, librarian: httpx.Client, desk: Desk, problem: Expected, change: Change
    ) -> None:
        change(Copy, desk.copy, status="withdrawn")

        response = librarian.post(PATH, json=desk.body)

        reason = {"code": "copy_withdrawn", "message": "The copy was withdrawn."}
        token = response.json()["decision"]["plan_token"]
        assert response.json() == problem(
            response,
            "action_refused",
            "The copy was withdrawn.",
            details=[
                {
                    "in": "body",
                    "pointer": "",
                    "rule": "copy_withdrawn",
                    "message": "The copy was withdrawn.",
                }
            ],
            decision={
                "action": "check_out",
                "allowed": False,
                "blockers": [{**reason, "values": {}, "permission": None}],
                "confirmations": [],
                "warnings": [],
                "rule": {
                    "policy_id": str(desk.policy),
                    "name": "Everything else",
                    "user_category": None,
                    "material_type": None,
                    "branch_id": None,
                },
                "result": {
                    "due_at": "2026-02-02T17:00:00Z",
                    "copy_status": "on_loan",
                    "renewals_left": 2,
                },
                "next_allowed_at": None,
                "plan_token": token,
            },
        )

    @pytest.mark.parametrize(
        ("status", "code"),
        [
            ("on_hold_shelf", "held_for_another"),
            ("in_transit", "copy_in_transit"),
            ("on_order", "copy_on_order"),
            ("in_repair", "copy_damaged"),
            ("missing", "copy_missing"),
            ("lost", "copy_lost"),
        ],
    )
    def test_a_copy_that_is_not_there_is_not_lent(
        self, librarian: httpx.Client, desk: Desk, change: Change, status: str, code: str
    ) -> None:
        change(Copy, desk.copy, status=status)

        assert codes(librarian.post(PATH, json=desk.body)) == [code]

    def test_a_copy_is_lent_once(self, librarian: httpx.Client, desk: Desk) -> None:
        librarian.post(PATH, json=desk.body)

        second = librarian.post(PATH, json=desk.body | {"user": "card:20001"})

        assert codes(second) == ["copy_on_loan"]
        assert values(second) == {"due_at": "2026-02-02T17:00:00Z"}

    def test_an_open_loan_counts_whatever_the_copy_says(
        self, librarian: httpx.Client, desk: Desk
    ) -> None:
        desk.library.loan(MEMBER_ID, desk.copy, status="claimed_returned")

        assert codes(librarian.post(PATH, json=desk.body)) == ["copy_on_loan"]

    def test_a_copy_that_a_borrower_lost_is_lost(
        self, librarian: httpx.Client, desk: Desk, change: Change
    ) -> None:
        change(Copy, desk.copy, status="lost")
        desk.library.loan(desk.user, desk.copy, status="lost")

        refused = librarian.post(PATH, json=desk.body)

        assert codes(refused) == ["copy_lost"]
        assert refused.json()["decision"]["confirmations"] == []

    def test_a_copy_may_not_be_for_loan(
        self, librarian: httpx.Client, desk: Desk, change: Change
    ) -> None:
        change(Copy, desk.copy, loanable=False)

        assert values(librarian.post(PATH, json=desk.body)) == {}

    def test_a_rule_may_lend_nothing(self, librarian: httpx.Client, desk: Desk) -> None:
        policy = desk.library.policy(material_type="book", lends=False)

        refused = librarian.post(PATH, json=desk.body)

        assert codes(refused) == ["not_for_loan"]
        assert values(refused) == {"policy_id": str(policy)}

    def test_what_is_unknown_is_told_at_once(self, librarian: httpx.Client, desk: Desk) -> None:
        refused = librarian.post(PATH, json={"user": NOBODY, "copy": "barcode:none"})

        assert codes(refused) == ["user_unknown", "copy_unknown"]
        assert codes(librarian.post(PATH, json=desk.body | {"copy": NOBODY})) == ["copy_unknown"]

    def test_who_is_deleted_is_unknown(self, librarian: httpx.Client, desk: Desk) -> None:
        gone = desk.library.user(status="deleted")

        refused = librarian.post(PATH, json=desk.body | {"user": str(gone)})

        assert codes(refused) == ["user_unknown"]


class TestBorrowers:
    """What lies in the person."""

    def test_a_card_is_good_to_the_end_of_its_last_day(
        self, librarian: httpx.Client, desk: Desk
    ) -> None:
        today = desk.library.user(expires_on=date(2026, 1, 5))
        yesterday = desk.library.user(expires_on=date(2026, 1, 4))

        refused = librarian.post(PATH, json=desk.body | {"user": str(yesterday)})
        lent = librarian.post(PATH, json=desk.body | {"user": str(today)})

        assert codes(refused) == ["card_expired"]
        assert values(refused) == {"expired_on": "2026-01-04"}
        [warning] = warnings(lent)
        assert (warning["code"], warning["values"]) == (
            "card_expires_first",
            {"expires_on": "2026-01-05"},
        )

    def test_staff_learn_why_somebody_is_blocked_and_until_when(
        self, librarian: httpx.Client, desk: Desk
    ) -> None:
        ends = NOW + timedelta(days=3)
        desk.library.store(Block(user_id=desk.user, reason="Wet atlases.", expires_at=ends))

        refused = librarian.post(PATH, json=desk.body)

        assert codes(refused) == ["user_blocked"]
        assert values(refused) == {"until": "2026-01-08T09:30:00Z", "reason": "Wet atlases."}
        assert refused.json()["decision"]["next_allowed_at"] == "2026-01-08T09:30:00Z"

    def test_the_longest_block_counts(self, librarian: httpx.Client, desk: Desk) -> None:
        for reason, ends in (("Short.", NOW + timedelta(days=3)), ("For good.", None)):
            desk.library.store(Block(user_id=desk.user, reason=reason, expires_at=ends))

        refused = librarian.post(PATH, json=desk.body)

        assert values(refused) == {"until": None, "reason": "For good."}
        assert refused.json()["decision"]["next_allowed_at"] is None

    @pytest.mark.parametrize("over", [{"expires_at": NOW}, {"expires_at": None, "lifted_at": NOW}])
    def test_a_block_that_is_over_counts_no_more(
        self, librarian: httpx.Client, desk: Desk, over: JSON
    ) -> None:
        desk.library.store(Block(user_id=desk.user, reason="Over.", **over))

        assert librarian.post(PATH, json=desk.body).status_code == 201

    def test_an_account_may_be_blocked_as_a_whole(
        self, librarian: httpx.Client, desk: Desk
    ) -> None:
        blocked = desk.library.user(status="blocked")

        refused = librarian.post(PATH, json=desk.body | {"user": str(blocked)})

        assert values(refused) == {"until": None}

    def test_debts_have_a_limit(self, librarian: httpx.Client, desk: Desk, change: Change) -> None:
        change(LoanPolicy, desk.policy, max_debt=Decimal("5.00"))
        for owed in ("2.00", "2.99"):
            amounts = {"amount": Decimal("3.00"), "outstanding": Decimal(owed)}
            desk.library.store(Fee(user_id=desk.user, kind="manual", **amounts))

        assert librarian.post(PATH, json=desk.body).status_code == 201
        desk.library.store(
            Fee(user_id=desk.user, kind="manual", amount=Decimal(1), outstanding=Decimal("0.01"))
        )
        another = desk.library.copy(desk.library.book(), desk.branch)
        refused = librarian.post(PATH, json=desk.body | {"copy": str(another)})

        assert codes(refused) == ["debt_limit"]
        assert values(refused) == {
            "amount": {"amount": "5.00", "currency": "EUR"},
            "limit": {"amount": "5.00", "currency": "EUR"},
            "policy_id": str(desk.policy),
        }

    def test_overdue_loans_have_a_limit(
        self, librarian: httpx.Client, desk: Desk, change: Change
    ) -> None:
        change(LoanPolicy, desk.policy, max_overdue=0)
        copies = [desk.library.copy(desk.library.book(), desk.branch) for _ in range(3)]
        late = {"due_at": NOW - timedelta(days=1)}
        desk.library.loan(desk.user, copies[0], **late, status="claimed_returned")
        desk.library.loan(desk.user, copies[1], **late, status="lost")

        assert librarian.post(PATH, json=desk.body).status_code == 201
        desk.library.loan(desk.user, copies[2], **late)
        another = desk.library.copy(desk.library.book(), desk.branch)
        refused = librarian.post(PATH, json=desk.body | {"copy": str(another)})

        assert codes(refused) == ["overdue_limit"]
        assert values(refused) == {"current": 1, "allowed": 0, "policy_id": str(desk.policy)}


class TestRules:
    """What lies in the rule."""

    def test_loans_have_a_limit_up_to_which_they_are_lent(
        self, librarian: httpx.Client, desk: Desk, change: Change
    ) -> None:
        change(LoanPolicy, desk.policy, max_loans=1)
        another = desk.library.copy(desk.library.book(), desk.branch)

        assert librarian.post(PATH, json=desk.body).status_code == 201
        refused = librarian.post(PATH, json=desk.body | {"copy": str(another)})

        assert codes(refused) == ["loan_limit"]
        assert values(refused) == {"current": 1, "allowed": 1, "policy_id": str(desk.policy)}

    def test_lost_and_returned_loans_do_not_count(
        self, librarian: httpx.Client, desk: Desk, change: Change
    ) -> None:
        change(LoanPolicy, desk.policy, max_loans=1)
        lost, back = (desk.library.copy(desk.library.book(), desk.branch) for _ in range(2))
        desk.library.loan(desk.user, lost, status="lost")
        desk.library.loan(desk.user, back, status="returned", returned_at=NOW)

        assert librarian.post(PATH, json=desk.body).status_code == 201

    @pytest.mark.parametrize("scope", ["material_type", "branch_id"])
    def test_the_limit_of_a_rule_counts_what_is_in_its_scope(
        self, librarian: httpx.Client, desk: Desk, scope: str
    ) -> None:
        branch = desk.library.branch()
        place: JSON = {"material_type": "video", "branch_id": branch}
        desk.library.policy(**{scope: place[scope]}, max_loans=1)
        elsewhere = desk.library.copy(desk.library.book(), desk.branch)
        desk.library.loan(desk.user, elsewhere)
        first, second = (
            desk.library.copy(desk.library.book(), branch, material_type="video") for _ in range(2)
        )

        lent = librarian.post(PATH, json=desk.body | {"copy": str(first)})
        refused = librarian.post(PATH, json=desk.body | {"copy": str(second)})

        assert lent.status_code == 201
        assert codes(refused) == ["loan_limit"]
        assert blockers(refused)[0]["values"]["current"] == 1

    def test_the_most_specific_rule_decides_whole(
        self, librarian: httpx.Client, desk: Desk
    ) -> None:
        policy = desk.library.policy(user_category="standard", period_length=7, renewals=0)

        loan = librarian.post(PATH, json=desk.body).json()["loan"]

        assert (loan["policy_id"], loan["due_at"]) == (str(policy), "2026-01-12T17:00:00Z")

    def test_without_a_rule_nothing_is_lent_and_nobody_can_lift_that(
        self, librarian: httpx.Client, desk: Desk, change: Change
    ) -> None:
        change(LoanPolicy, desk.policy, material_type="map", scope="/map/")
        override = {"codes": ["no_loan_policy"], "comment": "Please."}

        refused = librarian.post(PATH, json=desk.body | {"override": override})

        assert codes(refused) == ["no_loan_policy"]
        assert blockers(refused)[0]["permission"] is None
        assert refused.json()["decision"]["rule"] is None
        assert refused.json()["decision"]["result"] is None

    def test_a_day_that_has_passed_is_no_due_date(
        self, librarian: httpx.Client, desk: Desk, change: Change
    ) -> None:
        change(
            LoanPolicy,
            desk.policy,
            period_unit="fixed_date",
            period_length=None,
            period_date=date(2026, 1, 4),
            closed_days="keep",
        )

        refused = librarian.post(PATH, json=desk.body)

        assert codes(refused) == ["loan_period_over"]
        assert values(refused) == {
            "due_at": "2026-01-04T17:00:00Z",
            "policy_id": str(desk.policy),
        }
        assert refused.json()["decision"]["result"] is None

    def test_a_due_date_that_was_moved_is_told(self, librarian: httpx.Client, desk: Desk) -> None:
        branch = desk.library.branch(closed_days=["2026-02-02"])
        copy = desk.library.copy(desk.book, branch)

        lent = librarian.post(PATH, json=desk.body | {"copy": str(copy)})

        assert lent.json()["loan"]["due_at"] == "2026-02-03T17:00:00Z"
        [warning] = warnings(lent)
        assert (warning["code"], warning["values"]) == (
            "due_date_moved",
            {"closed_days": "next_open_day"},
        )

    def test_another_copy_of_the_title_has_to_be_confirmed(
        self, librarian: httpx.Client, desk: Desk
    ) -> None:
        other = desk.library.copy(desk.book, desk.branch)
        desk.library.loan(desk.user, other)

        refused = librarian.post(PATH, json=desk.body)
        lent = librarian.post(PATH, json=desk.body | {"confirm": ["same_title_on_loan"]})

        assert codes(refused) == []
        [confirmation] = refused.json()["decision"]["confirmations"]
        assert confirmation["code"] == "same_title_on_loan"
        assert confirmation["values"] == {"current": 1}
        assert lent.status_code == 201

    def test_a_rule_that_is_deleted_meanwhile_makes_the_caller_try_again(
        self, sessions: Sessions, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if sessions.writing().get_bind().dialect.name == "sqlite":
            pytest.skip("Writers on SQLite wait for each other.")
        load = check_out_facts.load_facts

        def load_and_lose(*arguments: Any) -> Any:
            facts = load(*arguments)
            with unit_of_work(sessions, writing=True) as other:
                other.delete(other.get_one(LoanPolicy, desk.policy))
            return facts

        monkeypatch.setattr("circdesk.circulation.check_outs.load_facts", load_and_lose)
        with pytest.raises(DatabaseBusy), unit_of_work(sessions, writing=True) as session:
            check_out_copy(session, None, desk.body)


class TestHolds:
    """What lies in the queue of the title."""

    def test_who_waits_comes_first_as_long_as_there_are_too_few_copies(
        self, librarian: httpx.Client, desk: Desk
    ) -> None:
        desk.library.hold(MEMBER_ID, desk.book, desk.branch)

        refused = librarian.post(PATH, json=desk.body)
        desk.library.copy(desk.book, desk.branch)
        lent = librarian.post(PATH, json=desk.body)

        assert codes(refused) == ["held_for_another"]
        assert values(refused) == {"waiting": 1, "available": 1}
        assert lent.status_code == 201

    @pytest.mark.parametrize(
        "other",
        [
            {"suspended_until": date(2026, 1, 6)},
            {"status": "expired", "ended_at": NOW},
            {"status": "in_transit"},
        ],
    )
    def test_holds_that_do_not_wait_are_in_nobodys_way(
        self, librarian: httpx.Client, desk: Desk, other: JSON
    ) -> None:
        desk.library.hold(MEMBER_ID, desk.book, desk.branch, **other)

        assert librarian.post(PATH, json=desk.body).status_code == 201

    def test_a_hold_on_another_copy_is_in_nobodys_way(
        self, librarian: httpx.Client, desk: Desk
    ) -> None:
        other = desk.library.copy(desk.book, desk.branch, status="in_repair")
        desk.library.hold(MEMBER_ID, desk.book, desk.branch, copy_id=other)

        assert librarian.post(PATH, json=desk.body).status_code == 201

    def test_a_hold_takes_part_again_on_the_day_until_which_it_is_suspended(
        self, librarian: httpx.Client, desk: Desk
    ) -> None:
        desk.library.hold(MEMBER_ID, desk.book, desk.branch, suspended_until=date(2026, 1, 5))

        assert codes(librarian.post(PATH, json=desk.body)) == ["held_for_another"]

    def test_ones_own_place_in_the_queue_counts(
        self, librarian: httpx.Client, desk: Desk, read: Read
    ) -> None:
        own = desk.library.hold(desk.user, desk.book, desk.branch)
        behind = desk.library.hold(MEMBER_ID, desk.book, desk.branch)

        lent = librarian.post(PATH, json=desk.body)

        [warning] = warnings(lent)
        assert (warning["code"], warning["values"]) == ("fulfils_hold", {"hold_id": str(own)})
        hold = read(Hold, own)
        assert (hold.status, hold.ended_at) == ("fulfilled", NOW)
        assert str(hold.event_id) == lent.json()["compensation"]["parameters"]["event_id"]
        assert read(Hold, behind).status == "waiting"

    def test_a_copy_on_the_hold_shelf_is_lent_to_whom_it_is_for(
        self, librarian: httpx.Client, desk: Desk, read: Read, change: Change
    ) -> None:
        own = desk.library.hold(
            desk.user, desk.book, desk.branch, status="ready", trapped_copy_id=desk.copy
        )
        change(Copy, desk.copy, status="on_hold_shelf")

        refused = librarian.post(PATH, json=desk.body | {"user": "card:20001"})
        lent = librarian.post(PATH, json=desk.body)

        assert codes(refused) == ["held_for_another"]
        assert values(refused) == {"on_hold_shelf": True}
        assert lent.status_code == 201
        assert read(Hold, own).status == "fulfilled"

    def test_a_hold_that_has_a_copy_set_aside_stays_when_another_is_lent(
        self, librarian: httpx.Client, desk: Desk, read: Read
    ) -> None:
        other = desk.library.copy(desk.book, desk.branch, status="on_hold_shelf")
        own = desk.library.hold(
            desk.user, desk.book, desk.branch, status="ready", trapped_copy_id=other
        )

        assert warnings(librarian.post(PATH, json=desk.body)) == []
        assert read(Hold, own).status == "ready"

    def test_staff_who_lend_what_is_set_aside_let_the_other_wait_again(
        self, librarian: httpx.Client, desk: Desk, read: Read, change: Change
    ) -> None:
        shelf: JSON = {"ready_at": NOW, "shelf_expires_at": NOW + timedelta(days=7)}
        hold_id = desk.library.hold(
            MEMBER_ID, desk.book, desk.branch, status="ready", trapped_copy_id=desk.copy, **shelf
        )
        change(Copy, desk.copy, status="on_hold_shelf")
        override = {"codes": ["held_for_another"], "comment": "Comes back at noon."}

        lent = librarian.post(PATH, json=desk.body | {"override": override})

        assert lent.status_code == 201
        hold = read(Hold, hold_id)
        assert (hold.status, hold.trapped_copy_id) == ("waiting", None)
        assert (hold.ready_at, hold.shelf_expires_at, hold.ended_at) == (None, None, None)
