"""Fees: charged by hand, read, listed and added up over HTTP, on both databases."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import select

from circdesk.audit.models import AuditEntry
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.events.models import Event
from tests.circulation.conftest import Library
from tests.conftest import CountQueries
from tests.people import LIBRARIAN_ID, MEMBER_ID

JSON = dict[str, Any]
Expected = Callable[..., JSON]

UNKNOWN = "019b8d2b-8c00-7014-8000-0000000000ff"
INPUT: JSON = {"user": "card:20001", "amount": "2.50", "reason": "A page was torn."}


def euros(amount: str) -> JSON:
    return {"amount": amount, "currency": "EUR"}


def charge(librarian: httpx.Client, **changes: Any) -> JSON:
    """A new fee of the member's."""
    response = librarian.post("/api/fees", json=INPUT | changes)
    assert response.status_code == 201, response.text
    fee: JSON = response.json()["fee"]
    return fee


def unknown_fee(problem: Expected, response: httpx.Response, fee_id: str = UNKNOWN) -> JSON:
    return problem(response, "not_found", f"No fee has the id {fee_id}.")


def lacks(problem: Expected, response: httpx.Response, scope: str) -> JSON:
    message = f"The credential lacks the scope {scope}."
    detail = {"in": "header", "pointer": "/Authorization", "rule": "scope", "message": message}
    return problem(response, "scope_missing", message, details=[detail | {"allowed": [scope]}])


class TestCreateFee:
    def test_the_answer_is_the_fee_its_entry_and_the_way_back(
        self, librarian: httpx.Client
    ) -> None:
        response = librarian.post("/api/fees", json=INPUT)

        assert response.status_code == 201
        answer = response.json()
        fee, entry = answer["fee"], answer["entry"]
        assert response.headers["Location"] == f"/api/fees/{fee['id']}"
        assert fee == {
            "id": fee["id"],
            "user_id": str(MEMBER_ID),
            "loan_id": None,
            "kind": "manual",
            "reason": "A page was torn.",
            "status": "open",
            "amount": euros("2.50"),
            "outstanding": euros("2.50"),
            "created_at": fee["created_at"],
            "updated_at": fee["created_at"],
        }
        assert entry == {
            "id": entry["id"],
            "fee_id": fee["id"],
            "kind": "charge",
            "reverses": None,
            "amount": euros("2.50"),
            "comment": None,
            "actor_id": str(LIBRARIAN_ID),
            "event_id": entry["event_id"],
            "occurred_at": fee["created_at"],
        }
        assert answer["warnings"] == []
        assert answer["compensation"] == {
            "operation_id": "reverse_event",
            "parameters": {"event_id": entry["event_id"]},
            "deadline": answer["compensation"]["deadline"],
        }
        assert librarian.get(response.headers["Location"]).json() == fee

    def test_it_is_an_event_and_an_entry_of_the_audit_log(
        self, librarian: httpx.Client, sessions: Sessions
    ) -> None:
        fee = charge(librarian)

        with unit_of_work(sessions, writing=False) as session:
            happened = session.scalars(select(Event)).one()
            audited = session.scalars(select(AuditEntry)).one()
        assert (happened.kind, happened.subject_type, str(happened.subject_id)) == (
            "fee.create",
            "fee",
            fee["id"],
        )
        assert (happened.actor_id, happened.user_id) == (LIBRARIAN_ID, MEMBER_ID)
        assert happened.data == {"amount": "2.50"}
        assert (audited.action, str(audited.target_id)) == ("fee.create", fee["id"])
        assert audited.details == {"amount": "2.50"}

    def test_an_unknown_user_is_not_found(self, librarian: httpx.Client, problem: Expected) -> None:
        response = librarian.post("/api/fees", json=INPUT | {"user": "card:99999"})

        assert response.status_code == 404
        assert response.json() == problem(response, "not_found", "No user has the key card:99999.")

    @pytest.mark.parametrize("amount", ["0", "0.00", "-1", "1.005", "1,5", "1e3", "999999999", 2.5])
    def test_an_amount_is_more_than_nothing_and_has_two_decimal_places_at_most(
        self, librarian: httpx.Client, amount: Any
    ) -> None:
        response = librarian.post("/api/fees", json=INPUT | {"amount": amount})

        assert response.status_code == 400
        assert [detail["pointer"] for detail in response.json()["details"]] == ["/amount"]

    @pytest.mark.parametrize(
        ("amount", "shown"), [("3", "3.00"), ("0.5", "0.50"), ("99999999.99", "99999999.99")]
    )
    def test_amounts_are_kept_to_the_cent(
        self, librarian: httpx.Client, amount: str, shown: str
    ) -> None:
        assert charge(librarian, amount=amount)["amount"] == euros(shown)

    def test_members_may_not(self, member: httpx.Client, problem: Expected) -> None:
        response = member.post("/api/fees", json=INPUT)

        assert response.status_code == 403
        assert response.json() == lacks(problem, response, "fees:write")

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.post("/api/fees", json=INPUT)

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestGetFee:
    def test_people_see_their_own(self, librarian: httpx.Client, member: httpx.Client) -> None:
        fee = charge(librarian)

        response = member.get(f"/api/fees/{fee['id']}")

        assert response.status_code == 200
        assert response.json() == fee

    def test_somebody_elses_is_as_unknown_as_one_that_is_not_there(
        self, librarian: httpx.Client, member: httpx.Client, problem: Expected
    ) -> None:
        fee = charge(librarian, user="card:20003")

        for fee_id in (fee["id"], UNKNOWN):
            response = member.get(f"/api/fees/{fee_id}")
            assert response.status_code == 404
            assert response.json() == unknown_fee(problem, response, fee_id)

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get(f"/api/fees/{UNKNOWN}")

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestListFees:
    @pytest.fixture
    def fees(self, librarian: httpx.Client) -> list[JSON]:
        """One of each state, the oldest first; the last one is somebody else's."""
        settled = charge(librarian)
        payment = {"amount": "2.50"}
        librarian.post(f"/api/fees/{settled['id']}/payments", json=payment).raise_for_status()
        undone = librarian.post("/api/fees", json=INPUT).json()
        event_id = undone["entry"]["event_id"]
        librarian.post(f"/api/events/{event_id}/reversals").raise_for_status()
        fees = [settled, undone["fee"], charge(librarian), charge(librarian, user="card:20003")]
        return [librarian.get(f"/api/fees/{fee['id']}").json() for fee in fees]

    def test_the_newest_comes_first(self, librarian: httpx.Client, fees: list[JSON]) -> None:
        response = librarian.get("/api/fees")

        assert response.status_code == 200
        page = response.json()
        assert page["items"] == fees[::-1]
        assert (page["total"], page["total_relation"], page["next_cursor"]) == (4, "exact", None)
        assert librarian.get("/api/fees?sort=created_at").json()["items"] == fees

    @pytest.mark.parametrize(
        ("query", "places"),
        [
            ("status=open", [3, 2]),
            ("status=settled", [0]),
            ("status=cancelled", [1]),
            ("kind=manual", [3, 2, 1, 0]),
            ("kind=lost", []),
            ("user=card:20003", [3]),
            (f"user={MEMBER_ID}&status=open", [2]),
            (f"user={UUID(int=7)}", []),
        ],
    )
    def test_filters_combine(
        self, librarian: httpx.Client, fees: list[JSON], query: str, places: list[int]
    ) -> None:
        found = librarian.get(f"/api/fees?{query}").json()["items"]

        assert found == [fees[place] for place in places]

    def test_a_cursor_walks_all_of_them(self, librarian: httpx.Client, fees: list[JSON]) -> None:
        walked, cursor = [], "start"
        while cursor:
            page = librarian.get("/api/fees", params={"cursor": cursor, "per_page": 3}).json()
            walked += page["items"]
            cursor = page["next_cursor"]
        assert walked == fees[::-1]

    @pytest.mark.usefixtures("fees")
    def test_it_costs_two_statements(
        self, librarian: httpx.Client, count_queries: CountQueries
    ) -> None:
        librarian.get("/api/fees")
        with count_queries() as statements:
            librarian.get("/api/fees?per_page=1&user=card:20001&status=open")
        assert len(statements) <= 2

    def test_members_may_not(self, member: httpx.Client, problem: Expected) -> None:
        response = member.get("/api/fees")

        assert response.status_code == 403
        assert response.json() == lacks(problem, response, "circulation:read")

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get("/api/fees")

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestListUserFees:
    @pytest.mark.parametrize("key", ["card:20001", str(MEMBER_ID)])
    def test_staff_see_anybodys_and_people_their_own(
        self, librarian: httpx.Client, member: httpx.Client, key: str
    ) -> None:
        fee = charge(librarian)
        charge(librarian, user="card:20003")

        for caller in (librarian, member):
            response = caller.get(f"/api/users/{key}/fees")
            assert response.status_code == 200
            assert response.json()["items"] == [fee]

    def test_it_costs_three_statements(
        self, librarian: httpx.Client, count_queries: CountQueries
    ) -> None:
        fee = charge(librarian)
        charge(librarian)
        for path in ("/api/users/card:20001/fees", f"/api/fees/{fee['id']}/entries"):
            with count_queries() as statements:
                librarian.get(f"{path}?per_page=1").raise_for_status()
            assert len(statements) <= 3

    def test_states_and_kinds_are_filters(self, librarian: httpx.Client) -> None:
        fee = charge(librarian)
        path = "/api/users/card:20001/fees"

        assert librarian.get(f"{path}?status=open&kind=manual").json()["items"] == [fee]
        assert librarian.get(f"{path}?status=settled").json()["items"] == []
        assert librarian.get(f"{path}?kind=overdue").json()["items"] == []

    def test_somebody_else_is_as_unknown_as_nobody(
        self, member: httpx.Client, problem: Expected
    ) -> None:
        for key in ("card:20003", "card:99999"):
            response = member.get(f"/api/users/{key}/fees")
            assert response.status_code == 404
            assert response.json() == problem(response, "not_found", f"No user has the key {key}.")

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get("/api/users/card:20001/fees")

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestListMyFees:
    def test_they_are_ones_own(self, librarian: httpx.Client, member: httpx.Client) -> None:
        fee = charge(librarian)
        charge(librarian, user="card:20003")

        response = member.get("/api/me/fees?status=open")

        assert response.status_code == 200
        assert response.json()["items"] == [fee]

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get("/api/me/fees")

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestListFeeEntries:
    def test_they_add_up_and_a_person_never_learns_who_wrote_them(
        self, librarian: httpx.Client, member: httpx.Client
    ) -> None:
        charged = librarian.post("/api/fees", json=INPUT).json()
        path = f"/api/fees/{charged['fee']['id']}"
        paid = librarian.post(f"{path}/payments", json={"amount": "1.00"}).json()

        response = librarian.get(f"{path}/entries")

        assert response.status_code == 200
        assert response.json()["items"] == [charged["entry"], paid["entry"]]
        assert response.json()["total"] == 2
        latest = librarian.get(f"{path}/entries?sort=-occurred_at").json()["items"]
        assert latest == [paid["entry"], charged["entry"]]
        unsigned = {"actor_id": None}
        assert member.get(f"{path}/entries").json()["items"] == [
            charged["entry"] | unsigned,
            paid["entry"] | unsigned,
        ]

    def test_somebody_elses_is_as_unknown_as_one_that_is_not_there(
        self, librarian: httpx.Client, member: httpx.Client, problem: Expected
    ) -> None:
        fee = charge(librarian, user="card:20003")

        for fee_id in (fee["id"], UNKNOWN):
            response = member.get(f"/api/fees/{fee_id}/entries")
            assert response.status_code == 404
            assert response.json() == unknown_fee(problem, response, fee_id)

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get(f"/api/fees/{UNKNOWN}/entries")

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestGetBalance:
    def test_it_is_what_is_outstanding_of_all_fees(
        self, librarian: httpx.Client, member: httpx.Client
    ) -> None:
        charge(librarian)
        fee = charge(librarian)
        path = f"/api/fees/{fee['id']}/payments"
        librarian.post(path, json={"amount": "0.75"}).raise_for_status()
        charge(librarian, user="card:20003")

        expected = {"user_id": str(MEMBER_ID), "balance": euros("4.25"), "open_fees": 2}
        assert librarian.get("/api/users/card:20001/balance").json() == expected
        assert member.get(f"/api/users/{MEMBER_ID}/balance").json() == expected
        assert member.get("/api/me/balance").json() == expected

    def test_whoever_owes_nothing_owes_nothing(self, member: httpx.Client) -> None:
        assert member.get("/api/me/balance").json() == {
            "user_id": str(MEMBER_ID),
            "balance": euros("0.00"),
            "open_fees": 0,
        }

    def test_a_million_cents_are_added_up_exactly(
        self, librarian: httpx.Client, library: Library
    ) -> None:
        user = str(library.user())
        for amount in ("99999999.99", "0.01", "0.10", "0.20"):
            charge(librarian, user=user, amount=amount)

        balance = librarian.get(f"/api/users/{user}/balance").json()["balance"]
        assert balance == euros("100000000.30")

    def test_somebody_else_is_as_unknown_as_nobody(
        self, member: httpx.Client, problem: Expected
    ) -> None:
        for key in ("card:20003", str(uuid4())):
            response = member.get(f"/api/users/{key}/balance")
            assert response.status_code == 404
            assert response.json() == problem(response, "not_found", f"No user has the key {key}.")

    @pytest.mark.parametrize("path", ["/api/users/card:20001/balance", "/api/me/balance"])
    def test_anonymous_callers_are_refused(
        self, client: httpx.Client, problem: Expected, path: str
    ) -> None:
        response = client.get(path)

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")
