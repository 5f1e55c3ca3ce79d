"""Two who do at once what gets in each other's way, on four processes and both databases.

Whoever comes first, it is as if the other had come a moment later.
"""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import select

from circdesk import clock
from circdesk.accounts.models import User
from circdesk.catalog.models import Copy
from circdesk.circulation.models import Fee, Hold, Loan
from circdesk.circulation.periodic import run_due
from circdesk.db.unit_of_work import Sessions, unit_of_work
from tests.circulation.races.desk import LONG, Check, Desk, moment, only_success, statuses
from tests.circulation.races.service import Call, blockers

Read = Callable[..., Any]

ROUNDS = 100 if LONG else 10
# A loan that may be renewed, and what is overdue for so many days.
SOON = timedelta(days=2)


def rule_of(refusal: httpx.Response) -> tuple[str, str]:
    """The code of a problem, and the rule of its only detail."""
    body = refusal.json()
    [detail] = body["details"]
    return body["code"], detail["rule"]


class TestLoans:
    def test_a_check_out_and_a_return(self, desk: Desk, check_invariants: Check) -> None:
        desk.library.policy()
        user = desk.library.user()
        for _ in range(ROUNDS):
            copy = desk.copy()

            lent, returned = desk.service.at_once([desk.check_out(user, copy), desk.return_(copy)])

            assert (lent.status_code, returned.status_code) == (201, 200)
            check_invariants(written_down=True)

    def test_a_return_and_a_renewal(self, desk: Desk, check_invariants: Check, read: Read) -> None:
        desk.library.policy()
        user = desk.library.user()
        headers = desk.library.key(user)
        for _ in range(ROUNDS):
            copy = desk.copy()
            loan = desk.lend(user, copy, due_in=SOON)

            returned, renewed = desk.service.at_once(
                [desk.return_(copy), desk.renew(loan, headers)]
            )

            assert returned.status_code == 200
            assert renewed.is_success or blockers(renewed) == ["loan_not_open"]
            row = read(Loan, loan)
            assert (row.status, row.renewals) == ("returned", int(renewed.is_success))
            check_invariants(written_down=True)

    def test_two_returns(self, desk: Desk, check_invariants: Check) -> None:
        desk.library.policy()
        user = desk.library.user()
        for _ in range(ROUNDS):
            copy = desk.copy()
            loan = desk.lend(user, copy, due_in=-SOON)

            answers = desk.service.at_once([desk.return_(copy)] * 2)

            assert statuses(answers) == {200: 2}
            ended = [answer.json()["loan"] for answer in answers]
            assert sorted(each and each["id"] for each in ended if each) == [str(loan)]
            check_invariants(written_down=True)

    def test_two_renewals_of_which_one_is_allowed(
        self, desk: Desk, check_invariants: Check, read: Read
    ) -> None:
        desk.library.policy(renewals=1)
        user = desk.library.user()
        for _ in range(ROUNDS):
            loan = desk.lend(user, desk.copy(), due_in=SOON)

            answers = desk.service.at_once([desk.renew(loan)] * 2)

            assert "renewal_limit" in blockers(answers[1 - only_success(answers)])
            assert read(Loan, loan).renewals == 1
            check_invariants(written_down=True)

    def test_a_loss_and_a_return(self, desk: Desk, check_invariants: Check, read: Read) -> None:
        desk.library.policy()
        user = desk.library.user()
        for _ in range(ROUNDS):
            copy = desk.copy()
            loan = desk.lend(user, copy, due_in=-SOON)

            lost, returned = desk.service.at_once(
                [desk.post(f"/api/loans/{loan}/losses"), desk.return_(copy)]
            )

            assert returned.status_code == 200
            assert lost.status_code in (200, 409)
            assert (read(Loan, loan).status, read(Copy, copy).status) == ("returned", "available")
            check_invariants(written_down=True)

    def test_bulk_calls_that_cross(self, desk: Desk, check_invariants: Check) -> None:
        desk.library.policy()
        user = desk.library.user()
        for _ in range(ROUNDS // 5):
            copies = [desk.copy() for _ in range(10)]
            loans = [str(desk.lend(user, copy, due_in=SOON)) for copy in copies]
            keys = [str(copy) for copy in copies]

            answers = desk.service.at_once(
                [
                    desk.post("/api/bulk-returns", {"copies": keys}),
                    desk.post("/api/bulk-renewals", {"loans": loans}),
                    desk.post("/api/bulk-returns", {"copies": keys[::-1]}),
                    desk.post("/api/bulk-renewals", {"loans": loans[::-1]}),
                ]
            )

            assert statuses(answers) == {207: 4}
            for returns in (answers[0], answers[2]):
                assert {item["status"] for item in returns.json()["items"]} == {200}
            check_invariants(written_down=True)


class TestHolds:
    def test_a_hold_and_a_check_out(self, desk: Desk, check_invariants: Check) -> None:
        desk.library.policy()
        holder, borrower = desk.library.user(), desk.library.user()
        for _ in range(ROUNDS):
            book = desk.library.book()
            copy = desk.library.copy(book, desk.branch)

            held, lent = desk.service.at_once(
                [desk.hold(holder, book), desk.check_out(borrower, copy)]
            )

            assert held.status_code == 201
            if lent.is_success:
                lent_at = moment(lent.json()["loan"]["lent_at"])
                assert lent_at <= moment(held.json()["hold"]["placed_at"])
            else:
                assert blockers(lent) == ["held_for_another"]
            check_invariants(written_down=True)

    def test_a_recall_and_a_renewal(self, desk: Desk, check_invariants: Check, read: Read) -> None:
        desk.library.policy(recall_days=1)
        holder, borrower = desk.library.user(), desk.library.user()
        for _ in range(ROUNDS):
            book = desk.library.book()
            loan = desk.lend(borrower, desk.library.copy(book, desk.branch), due_in=2 * SOON)

            held, renewed = desk.service.at_once([desk.hold(holder, book), desk.renew(loan)])

            assert held.status_code == 201
            assert renewed.is_success or "loan_recalled" in blockers(renewed)
            row = read(Loan, loan)
            assert row.recalled_at is not None
            assert row.due_at < clock.now() + SOON
            check_invariants(written_down=True)

    def test_two_holds_of_one_person(self, desk: Desk, check_invariants: Check) -> None:
        desk.library.policy()
        user = desk.library.user()
        headers = desk.library.key(user)
        for _ in range(ROUNDS):
            book = desk.library.book()
            desk.library.copy(book, desk.branch, status="in_transit")

            answers = desk.service.at_once([desk.hold(user, book, headers)] * 2)

            assert blockers(answers[1 - only_success(answers)]) == ["already_held"]
            assert [hold["position"] for hold in desk.queue(book)] == [1]
            check_invariants(written_down=True)

    def test_a_return_and_a_cancellation_of_who_is_first(
        self, desk: Desk, check_invariants: Check, read: Read
    ) -> None:
        desk.library.policy()
        borrower, first, second = (desk.library.user() for _ in range(3))
        for _ in range(ROUNDS):
            book = desk.library.book()
            copy = desk.library.copy(book, desk.branch)
            desk.lend(borrower, copy)
            holds = [desk.do(desk.hold(user, book))["hold"]["id"] for user in (first, second)]

            answers = desk.service.at_once([desk.return_(copy), desk.cancel(holds[0])])

            assert statuses(answers) == {200: 2}
            assert [hold["id"] for hold in desk.queue(book)] == [holds[1]]
            assert desk.queue(book)[0]["trapped_copy_id"] == str(copy)
            assert read(Copy, copy).status == "on_hold_shelf"
            check_invariants(written_down=True)

    def test_a_cancellation_and_a_check_out_of_what_is_ready(
        self, desk: Desk, check_invariants: Check
    ) -> None:
        desk.library.policy(self_service=True)
        borrower, first, second = (desk.library.user() for _ in range(3))
        key = desk.library.key(first)
        for _ in range(ROUNDS):
            book = desk.library.book()
            copy = desk.library.copy(book, desk.branch)
            desk.lend(borrower, copy)
            hold = desk.do(desk.hold(first, book))["hold"]["id"]
            desk.do(desk.hold(second, book))
            desk.do(desk.return_(copy))

            answers = desk.service.at_once([desk.cancel(hold), desk.check_out(first, copy, key)])

            refused = ("held_for_another", "hold_not_active")[only_success(answers)]
            assert blockers(answers[1 - only_success(answers)]) == [refused]
            check_invariants(written_down=True)

    def test_the_end_of_the_shelf_and_a_check_out(
        self, desk: Desk, check_invariants: Check, read: Read, sessions: Sessions
    ) -> None:
        desk.library.policy()
        borrower, first, second = (desk.library.user() for _ in range(3))
        for _ in range(ROUNDS):
            book = desk.library.book()
            copy = desk.library.copy(book, desk.branch)
            desk.lend(borrower, copy)
            hold, following = (
                UUID(desk.do(desk.hold(user, book))["hold"]["id"]) for user in (first, second)
            )
            desk.do(desk.return_(copy))
            desk.change(Hold, hold, shelf_expires_at=clock.now())

            [lent] = desk.service.at_once(
                [desk.check_out(first, copy)], beside=lambda: run_due(sessions)
            )

            if lent.is_success:
                assert read(Hold, hold).status == "fulfilled"
                assert read(Hold, following).status == "waiting"
            else:
                assert blockers(lent) == ["held_for_another"]
                assert read(Hold, hold).status == "expired"
                assert read(Hold, following).status == "ready"
            check_invariants(written_down=True)

    def test_places_that_are_changed(self, desk: Desk, check_invariants: Check) -> None:
        desk.library.policy()
        users = [desk.library.user() for _ in range(8)]
        for _ in range(ROUNDS // 2):
            book = desk.library.book()
            desk.library.copy(book, desk.branch, status="in_transit")
            holds = [desk.do(desk.hold(user, book))["hold"]["id"] for user in users[:4]]
            moves = [
                Call("PATCH", f"/api/holds/{hold}", desk.staff, {"position": 1}) for hold in holds
            ]
            answers = desk.service.at_once(
                [*moves, *(desk.hold(user, book) for user in users[4:]), desk.cancel(holds[0])]
            )

            assert all(each.is_success for each in answers[1:])
            assert [hold["position"] for hold in desk.queue(book)] == [*range(1, 8)]
            check_invariants(written_down=True)


class TestUndo:
    def test_two_reversals(self, desk: Desk, check_invariants: Check, read: Read) -> None:
        desk.library.policy()
        user = desk.library.user()
        for _ in range(ROUNDS):
            copy = desk.copy()
            lent = desk.do(desk.check_out(user, copy))

            answers = desk.service.at_once([desk.undo(lent)] * 2)

            refused = answers[1 - only_success(answers)]
            assert rule_of(refused) == ("reversal_impossible", "reversed")
            assert read(Copy, copy).status == "available"
            check_invariants(written_down=True)

    def test_a_reversed_return_and_the_next_check_out(
        self, desk: Desk, check_invariants: Check
    ) -> None:
        desk.library.policy()
        first, second = desk.library.user(), desk.library.user()
        for _ in range(ROUNDS):
            copy = desk.copy()
            desk.lend(first, copy)
            returned = desk.do(desk.return_(copy))

            answers = desk.service.at_once([desk.undo(returned), desk.check_out(second, copy)])

            refused = answers[1 - only_success(answers)]
            if only_success(answers) == 0:
                assert blockers(refused) == ["copy_on_loan"]
            else:
                assert rule_of(refused) == ("reversal_impossible", "changed")
            check_invariants(written_down=True)

    def test_a_reversed_return_and_another_loan_where_one_is_allowed(
        self, desk: Desk, check_invariants: Check
    ) -> None:
        desk.library.policy(max_loans=1)
        for _ in range(ROUNDS):
            user, copy = desk.library.user(), desk.copy()
            desk.lend(user, copy)
            returned = desk.do(desk.return_(copy))

            answers = desk.service.at_once([desk.undo(returned), desk.check_out(user, desk.copy())])

            refused = answers[1 - only_success(answers)]
            if only_success(answers) == 0:
                assert blockers(refused) == ["loan_limit"]
            else:
                assert rule_of(refused) == ("reversal_impossible", "changed")
            check_invariants(written_down=True)


class TestFees:
    def test_payments_and_what_grows(
        self, desk: Desk, check_invariants: Check, sessions: Sessions
    ) -> None:
        desk.library.policy()
        user = desk.library.user()
        for _ in range(ROUNDS):
            loan = desk.lend(user, desk.copy(), due_in=timedelta(days=-4))
            run_due(sessions)
            before = fee_of(sessions, loan)
            earlier = clock.now() - timedelta(days=7)
            desk.change(Loan, loan, due_at=earlier, accrues_at=None)

            pay = desk.pay(before.id, f"{before.amount:.2f}")
            answers = desk.service.at_once([pay, pay], beside=lambda: run_due(sessions))

            refused = answers[1 - only_success(answers)]
            assert rule_of(refused) == ("outstanding_exceeded", "amount")
            run_due(sessions)
            after = fee_of(sessions, loan)
            assert after.amount == before.amount + 3 * Decimal("0.20")
            assert after.outstanding == after.amount - before.amount
            check_invariants(written_down=True)

    def test_a_return_and_what_grows(
        self, desk: Desk, check_invariants: Check, sessions: Sessions
    ) -> None:
        desk.library.policy()
        user = desk.library.user()
        for _ in range(ROUNDS):
            copy = desk.copy()
            loan = desk.lend(user, copy, due_in=timedelta(days=-4))

            [returned] = desk.service.at_once(
                [desk.return_(copy)], beside=lambda: run_due(sessions)
            )

            assert returned.status_code == 200
            charged = Decimal(returned.json()["fee"]["amount"])
            assert (fee_of(sessions, loan).amount, charged) == (charged, Decimal("0.80"))
            check_invariants(written_down=True)


class TestCatalogue:
    def test_a_copy_that_is_missed_and_lent(self, desk: Desk, check_invariants: Check) -> None:
        desk.library.policy()
        user = desk.library.user()
        for _ in range(ROUNDS):
            copy = desk.copy()
            miss = Call("PATCH", f"/api/copies/{copy}", desk.staff, {"status": "missing"})

            answers = desk.service.at_once([miss, desk.check_out(user, copy)])

            refused = answers[1 - only_success(answers)]
            if only_success(answers) == 0:
                assert blockers(refused) == ["copy_missing"]
            else:
                assert refused.json()["code"] == "copy_status_managed"
            check_invariants(written_down=True)

    def test_a_copy_that_is_deleted_and_lent(self, desk: Desk, check_invariants: Check) -> None:
        desk.library.policy()
        user = desk.library.user()
        for _ in range(ROUNDS):
            copy = desk.copy()
            delete = Call("DELETE", f"/api/copies/{copy}", desk.staff)

            answers = desk.service.at_once([delete, desk.check_out(user, copy)])

            assert only_success(answers) in (0, 1)
            check_invariants(written_down=True)

    def test_a_person_who_leaves_and_borrows(
        self, desk: Desk, check_invariants: Check, read: Read
    ) -> None:
        desk.library.policy()
        admin = desk.library.key(desk.library.user("admin"), "admin")
        for _ in range(ROUNDS):
            user, copy = desk.library.user(), desk.copy()
            leave = Call("DELETE", f"/api/users/{user}", admin)

            answers = desk.service.at_once([leave, desk.check_out(user, copy)])

            gone = only_success(answers) == 0
            assert (read(User, user).status == "deleted") == gone
            assert read(Copy, copy).status == ("available" if gone else "on_loan")
            check_invariants(written_down=True)


def fee_of(sessions: Sessions, loan: UUID) -> Fee:
    """The overdue fee of a loan."""
    with unit_of_work(sessions, writing=False) as session:
        return session.scalars(select(Fee).where(Fee.loan_id == loan)).one()
