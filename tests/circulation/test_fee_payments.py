"""Payments, waivers and refunds: each operation over HTTP, also at once, on both databases."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from threading import Barrier
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from circdesk.audit.models import AuditEntry
from circdesk.circulation.models import Fee, LedgerEntry
from circdesk.db.unit_of_work import Sessions, unit_of_work
from tests.people import LIBRARIAN_ID

JSON = dict[str, Any]
Expected = Callable[..., JSON]

UNKNOWN = "019b8d2b-8c00-7014-8000-0000000000ff"
BODY: JSON = {"amount": "1.00", "comment": "Why it is done."}
ROUNDS = 8


def euros(amount: str) -> JSON:
    return {"amount": amount, "currency": "EUR"}


@pytest.fixture
def path(librarian: httpx.Client) -> str:
    """The path of a fee of 2.50, the member's."""
    return charge(librarian)


def charge(librarian: httpx.Client, amount: str = "2.50") -> str:
    body = {"user": "card:20001", "amount": amount, "reason": "A page was torn."}
    return str(librarian.post("/api/fees", json=body).raise_for_status().headers["Location"])


def post(librarian: httpx.Client, path: str, amount: str) -> JSON:
    body = {"amount": amount, "comment": "Why it is done."}
    answer: JSON = librarian.post(path, json=body).raise_for_status().json()
    return answer


def amounts(fee: JSON) -> tuple[str, str, str]:
    return fee["status"], fee["amount"]["amount"], fee["outstanding"]["amount"]


def refused(
    problem: Expected, response: httpx.Response, code: str, message: str, allowed: str
) -> JSON:
    detail = {"in": "body", "pointer": "/amount", "rule": "amount", "message": message}
    return problem(response, code, message, details=[detail | {"allowed": allowed}])


def kinds(librarian: httpx.Client, path: str) -> list[tuple[str, str | None, str]]:
    """The ledger of a fee; what the fee says of itself must be its sums."""
    entries = librarian.get(f"{path}/entries").json()["items"]
    fee = librarian.get(path).json()
    total = sum((Decimal(entry["amount"]["amount"]) for entry in entries), Decimal())
    assert total == Decimal(fee["outstanding"]["amount"])
    return [(entry["kind"], entry["reverses"], entry["amount"]["amount"]) for entry in entries]


class TestPayFee:
    def test_the_answer_is_the_fee_the_entry_and_the_way_back(
        self, librarian: httpx.Client, path: str
    ) -> None:
        response = librarian.post(f"{path}/payments", json={"amount": "1"})

        assert response.status_code == 200
        answer = response.json()
        entry = answer["entry"]
        assert amounts(answer["fee"]) == ("open", "2.50", "1.50")
        assert answer["fee"] == librarian.get(path).json()
        assert entry == {
            "id": entry["id"],
            "fee_id": answer["fee"]["id"],
            "kind": "payment",
            "reverses": None,
            "amount": euros("-1.00"),
            "comment": None,
            "actor_id": str(LIBRARIAN_ID),
            "event_id": entry["event_id"],
            "occurred_at": answer["fee"]["updated_at"],
        }
        assert answer["warnings"] == []
        assert answer["compensation"]["parameters"] == {"event_id": entry["event_id"]}

    def test_the_last_part_settles_it(self, librarian: httpx.Client, path: str) -> None:
        post(librarian, f"{path}/payments", "1.50")
        answer = post(librarian, f"{path}/payments", "1.00")

        assert amounts(answer["fee"]) == ("settled", "2.50", "0.00")

    def test_more_than_is_outstanding_is_a_conflict_that_says_how_much_is(
        self, librarian: httpx.Client, path: str, problem: Expected
    ) -> None:
        post(librarian, f"{path}/payments", "1.00")

        response = librarian.post(f"{path}/payments", json={"amount": "1.51"})

        assert response.status_code == 409
        message = "1.51 EUR is more than the 1.50 EUR outstanding."
        assert response.json() == refused(
            problem, response, "outstanding_exceeded", message, "1.50"
        )
        assert amounts(librarian.get(path).json()) == ("open", "2.50", "1.50")

    def test_it_is_owed_again_once_it_is_taken_back(
        self, librarian: httpx.Client, path: str
    ) -> None:
        compensation = post(librarian, f"{path}/payments", "2.50")["compensation"]

        event_id = compensation["parameters"]["event_id"]
        librarian.post(f"/api/events/{event_id}/reversals").raise_for_status()

        assert amounts(librarian.get(path).json()) == ("open", "2.50", "2.50")
        assert kinds(librarian, path)[1:] == [
            ("payment", None, "-2.50"),
            ("reversal", "payment", "2.50"),
        ]

    def test_it_is_final_once_something_else_was_done_with_the_fee(
        self, librarian: httpx.Client, path: str
    ) -> None:
        first = post(librarian, f"{path}/payments", "1.00")["compensation"]
        post(librarian, f"{path}/payments", "1.00")

        event_id = first["parameters"]["event_id"]
        assert librarian.post(f"/api/events/{event_id}/reversals").status_code == 409
        assert amounts(librarian.get(path).json()) == ("open", "2.50", "0.50")

    def test_it_is_an_entry_of_the_audit_log_without_the_comment(
        self, librarian: httpx.Client, path: str, sessions: Sessions
    ) -> None:
        post(librarian, f"{path}/payments", "1.00")

        with unit_of_work(sessions, writing=False) as session:
            newest = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(1)
            audited = session.scalars(newest).one()
        assert (audited.action, audited.details) == ("fee.pay", {"amount": "1.00"})


class TestWaiveFee:
    def test_what_is_let_go_is_not_owed_any_more(self, librarian: httpx.Client, path: str) -> None:
        answer = post(librarian, f"{path}/waivers", "2.50")

        assert amounts(answer["fee"]) == ("settled", "2.50", "0.00")
        entry = answer["entry"]
        assert (entry["kind"], entry["amount"]) == ("waiver", euros("-2.50"))
        assert entry["comment"] == "Why it is done."

    def test_more_than_is_outstanding_is_a_conflict_that_says_how_much_is(
        self, librarian: httpx.Client, path: str, problem: Expected
    ) -> None:
        post(librarian, f"{path}/payments", "2.50")

        response = librarian.post(f"{path}/waivers", json=BODY)

        assert response.status_code == 409
        message = "1.00 EUR is more than the 0.00 EUR outstanding."
        assert response.json() == refused(
            problem, response, "outstanding_exceeded", message, "0.00"
        )

    def test_a_waiver_says_why(self, librarian: httpx.Client, path: str) -> None:
        response = librarian.post(f"{path}/waivers", json={"amount": "1.00"})

        assert response.status_code == 400
        assert [detail["rule"] for detail in response.json()["details"]] == ["required"]


class TestRefundFee:
    def test_what_is_given_back_is_not_owed_again(self, librarian: httpx.Client, path: str) -> None:
        post(librarian, f"{path}/payments", "2.00")

        answer = post(librarian, f"{path}/refunds", "1.50")

        assert amounts(answer["fee"]) == ("open", "2.50", "0.50")
        assert (answer["entry"]["kind"], answer["entry"]["amount"]) == ("refund", euros("1.50"))
        assert kinds(librarian, path)[2:] == [
            ("refund", None, "1.50"),
            ("waiver", None, "-1.50"),
        ]

    def test_more_than_was_paid_and_not_refunded_is_a_conflict_that_says_how_much_was(
        self, librarian: httpx.Client, path: str, problem: Expected
    ) -> None:
        post(librarian, f"{path}/payments", "2.00")
        post(librarian, f"{path}/refunds", "1.50")

        response = librarian.post(f"{path}/refunds", json=BODY)

        assert response.status_code == 409
        message = "1.00 EUR is more than the 0.50 EUR paid and not refunded."
        assert response.json() == refused(problem, response, "paid_exceeded", message, "0.50")

    def test_nothing_is_refunded_that_was_never_paid(
        self, librarian: httpx.Client, path: str, problem: Expected
    ) -> None:
        post(librarian, f"{path}/waivers", "2.00")

        response = librarian.post(f"{path}/refunds", json=BODY)

        assert response.status_code == 409
        message = "1.00 EUR is more than the 0.00 EUR paid and not refunded."
        assert response.json() == refused(problem, response, "paid_exceeded", message, "0.00")

    def test_a_payment_that_was_taken_back_is_not_refunded(
        self, librarian: httpx.Client, path: str
    ) -> None:
        paid = post(librarian, f"{path}/payments", "2.00")
        event_id = paid["entry"]["event_id"]
        librarian.post(f"/api/events/{event_id}/reversals").raise_for_status()

        assert librarian.post(f"{path}/refunds", json=BODY).status_code == 409

    def test_a_refund_is_taken_back_whole(self, librarian: httpx.Client, path: str) -> None:
        post(librarian, f"{path}/payments", "2.00")
        event_id = post(librarian, f"{path}/refunds", "1.50")["entry"]["event_id"]

        librarian.post(f"/api/events/{event_id}/reversals").raise_for_status()

        assert amounts(librarian.get(path).json()) == ("open", "2.50", "0.50")
        assert kinds(librarian, path)[4:] == [
            ("reversal", "refund", "-1.50"),
            ("reversal", "waiver", "1.50"),
        ]
        # The payment stands as it did, and can be refunded all the same.
        post(librarian, f"{path}/refunds", "2.00")


@pytest.mark.parametrize("noun", ["payments", "waivers", "refunds"])
class TestAllOfThem:
    def test_an_unknown_fee_is_not_found(
        self, librarian: httpx.Client, problem: Expected, noun: str
    ) -> None:
        response = librarian.post(f"/api/fees/{UNKNOWN}/{noun}", json=BODY)

        assert response.status_code == 404
        assert response.json() == problem(response, "not_found", f"No fee has the id {UNKNOWN}.")

    def test_nobody_settles_their_own(
        self, member: httpx.Client, path: str, problem: Expected, noun: str
    ) -> None:
        response = member.post(f"{path}/{noun}", json=BODY)

        assert response.status_code == 403
        message = "The credential lacks the scope fees:write."
        detail = {"in": "header", "pointer": "/Authorization", "rule": "scope"}
        detail |= {"message": message}
        assert response.json() == problem(
            response, "scope_missing", message, details=[detail | {"allowed": ["fees:write"]}]
        )

    def test_anonymous_callers_are_refused(
        self, client: httpx.Client, problem: Expected, noun: str
    ) -> None:
        response = client.post(f"/api/fees/{UNKNOWN}/{noun}", json=BODY)

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestAtOnce:
    """What two callers do with one fee in the same moment; each again and again."""

    def race(self, librarian: httpx.Client, path: str, calls: list[tuple[str, str]]) -> list[int]:
        """The statuses of the calls, begun together, each on a connection of its own."""
        barrier = Barrier(len(calls))

        def call(noun: str, amount: str) -> int:
            url, headers = str(librarian.base_url), librarian.headers
            with httpx.Client(base_url=url, headers=headers, timeout=30) as caller:
                barrier.wait()
                body = {"amount": amount, "comment": "At once."}
                return caller.post(f"{path}/{noun}", json=body).status_code

        with ThreadPoolExecutor(len(calls)) as pool:
            return sorted(pool.map(lambda each: call(*each), calls))

    @pytest.mark.parametrize(
        "calls",
        [
            pytest.param([("payments", "2.00"), ("payments", "2.00")], id="two payments"),
            pytest.param([("payments", "2.00"), ("waivers", "2.00")], id="payment and waiver"),
        ],
    )
    def test_a_fee_is_never_overpaid(
        self, librarian: httpx.Client, calls: list[tuple[str, str]]
    ) -> None:
        for _ in range(ROUNDS):
            path = charge(librarian)
            assert self.race(librarian, path, calls) == [200, 409]
            assert amounts(librarian.get(path).json()) == ("open", "2.50", "0.50")
            assert len(kinds(librarian, path)) == 2

    def test_exactly_as_many_payments_succeed_as_there_is_to_pay(
        self, librarian: httpx.Client
    ) -> None:
        path = charge(librarian, "5.00")

        statuses = self.race(librarian, path, [("payments", "1.00")] * 8)

        assert statuses == [200] * 5 + [409] * 3
        assert amounts(librarian.get(path).json()) == ("settled", "5.00", "0.00")
        assert len(kinds(librarian, path)) == 6

    def test_nothing_is_refunded_twice(self, librarian: httpx.Client) -> None:
        for _ in range(ROUNDS):
            path = charge(librarian)
            post(librarian, f"{path}/payments", "2.50")
            assert self.race(librarian, path, [("refunds", "2.50")] * 2) == [200, 409]
            assert amounts(librarian.get(path).json()) == ("settled", "2.50", "0.00")

    def test_the_ledger_adds_up_to_all_fees(
        self, librarian: httpx.Client, sessions: Sessions
    ) -> None:
        for _ in range(ROUNDS):
            path = charge(librarian)
            calls = [("payments", "1.00"), ("waivers", "0.70"), ("refunds", "0.40")]
            self.race(librarian, path, [*calls, ("payments", "0.80")])

        with unit_of_work(sessions, writing=False) as session:
            entries = select(func.sum(LedgerEntry.amount)).scalar_subquery()
            fees = select(func.sum(Fee.outstanding)).scalar_subquery()
            total, outstanding = session.execute(select(entries, fees)).one()
        assert total == outstanding
