"""Loan policies: each operation over HTTP, on both databases."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import httpx
import pytest

from circdesk.circulation.models import Loan
from circdesk.db.unit_of_work import Sessions, unit_of_work
from tests.circulation.conftest import Library
from tests.people import LIBRARIAN_ID

JSON = dict[str, Any]
Expected = Callable[..., JSON]

UNKNOWN = "019b8d2b-8c00-7010-8000-0000000000ff"
INPUT: JSON = {
    "name": "Films for teachers",
    "user_category": "teacher",
    "material_type": "video",
    "branch_id": "code:north",
    "period_unit": "days",
    "period_length": 7,
    "period_date": None,
    "closed_days": "previous_open_day",
    "renewals": 1,
    "renewable_days": 2,
    "max_loans": 5,
    "max_holds": 3,
    "max_overdue": 0,
    "max_debt": "5",
    "lends": True,
    "holds": True,
    "self_service": True,
    "hold_shelf_days": 3,
    "recall_days": 7,
    "fee_per_day": "1.5",
    "fee_cap": "20.00",
    "grace_days": 1,
    "lost_fee": "30",
}
AMOUNTS = {"max_debt": "5.00", "fee_per_day": "1.50", "fee_cap": "20.00", "lost_fee": "30.00"}
DEFAULTS: JSON = {
    "user_category": None,
    "material_type": None,
    "branch_id": None,
    "period_length": 28,
    "period_date": None,
    "closed_days": "next_open_day",
    "renewals": 0,
    "renewable_days": None,
    "max_loans": None,
    "max_holds": None,
    "max_overdue": None,
    "max_debt": None,
    "lends": True,
    "holds": True,
    "self_service": False,
    "hold_shelf_days": 7,
    "recall_days": None,
    "fee_per_day": {"amount": "0.00", "currency": "EUR"},
    "fee_cap": None,
    "grace_days": 0,
    "lost_fee": {"amount": "0.00", "currency": "EUR"},
}
LEAST: JSON = {"name": "Everything else", "period_unit": "days", "period_length": 28}
# Whatever is there is to be replaced.
ANY = {"If-Match": "*"}
LISTS = {"GET": "/api/loan-policies"}
OPERATIONS = [
    ("POST", "/api/loan-policies", LEAST),
    ("PUT", f"/api/loan-policies/{UNKNOWN}", LEAST),
    ("PATCH", f"/api/loan-policies/{UNKNOWN}", {}),
    ("DELETE", f"/api/loan-policies/{UNKNOWN}", None),
]


@pytest.fixture(autouse=True)
def north(library: Library) -> UUID:
    """A branch `north`."""
    return library.branch(code="north")


def shown(branch_id: UUID, policy: JSON) -> JSON:
    """What the answer to `INPUT` is."""
    amounts = {name: {"amount": text, "currency": "EUR"} for name, text in AMOUNTS.items()}
    own = {name: policy[name] for name in ("id", "created_at", "updated_at")}
    return INPUT | amounts | own | {"branch_id": str(branch_id)}


def add(librarian: httpx.Client, **changes: Any) -> JSON:
    response = librarian.post("/api/loan-policies", json=INPUT | changes)
    assert response.status_code == 201, response.text
    policy: JSON = response.json()
    return policy


def missing(problem: Expected, response: httpx.Response) -> JSON:
    return problem(response, "not_found", f"No loan policy has the id {UNKNOWN}.")


def taken(problem: Expected, response: httpx.Response, holder: JSON) -> JSON:
    message = "Another rule is for the same users, material and branch."
    fault = {"in": "body", "rule": "unique", "message": message}
    names = ("user_category", "material_type", "branch_id")
    return problem(
        response,
        "policy_scope_taken",
        message,
        details=[fault | {"pointer": f"/{name}"} for name in names],
        suggestions=[
            {
                "operation_id": "get_loan_policy",
                "parameters": {"policy_id": holder["id"]},
                "reason": "It is for the same.",
            }
        ],
    )


@pytest.mark.parametrize(("method", "path", "body"), OPERATIONS)
class TestAccess:
    def test_anonymous_callers_are_refused(
        self, client: httpx.Client, problem: Expected, method: str, path: str, body: JSON | None
    ) -> None:
        response = client.request(method, path, json=body)

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")

    def test_members_are_refused(
        self, member: httpx.Client, method: str, path: str, body: JSON | None
    ) -> None:
        response = member.request(method, path, json=body)

        assert response.status_code == 403
        assert response.json()["code"] == "scope_missing"


class TestListLoanPolicies:
    def test_all_are_there_the_oldest_first_for_members_too(
        self, member: httpx.Client, librarian: httpx.Client
    ) -> None:
        policies = [add(librarian), add(librarian, branch_id=None)]

        response = member.get("/api/loan-policies")

        assert response.status_code == 200
        assert response.json() == {
            "items": policies,
            "page": 1,
            "per_page": 20,
            "total": 2,
            "total_relation": "exact",
            "next_cursor": None,
            "links": {"self": "/api/loan-policies", "first": "/api/loan-policies"},
        }
        latest = member.get("/api/loan-policies?sort=-created_at").json()["items"]
        assert latest == policies[::-1]

    def test_it_costs_one_statement(self, librarian: httpx.Client, count_queries: Any) -> None:
        add(librarian)
        add(librarian, branch_id=None)

        with count_queries() as statements:
            librarian.get("/api/loan-policies").raise_for_status()

        assert len(statements) == 1, statements

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get("/api/loan-policies")

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestCreateLoanPolicy:
    def test_the_answer_is_the_policy_and_where_it_stands(
        self, librarian: httpx.Client, north: UUID, audit: Any
    ) -> None:
        response = librarian.post("/api/loan-policies", json=INPUT)

        assert response.status_code == 201
        policy = response.json()
        assert response.headers["Location"] == f"/api/loan-policies/{policy['id']}"
        assert UUID(policy["id"]).version == 7
        assert policy == shown(north, policy)
        assert librarian.get(response.headers["Location"]).json() == policy
        (entry,) = audit("loan_policy.create")
        assert (entry.actor_id, entry.target_id) == (LIBRARIAN_ID, UUID(policy["id"]))

    def test_what_is_left_out_has_its_default(self, librarian: httpx.Client) -> None:
        response = librarian.post("/api/loan-policies", json=LEAST)

        assert response.status_code == 201
        assert response.json() == response.json() | LEAST | DEFAULTS

    def test_a_period_may_end_on_a_date(self, librarian: httpx.Client) -> None:
        period = {"period_unit": "fixed_date", "period_length": None, "period_date": "2027-07-15"}

        assert add(librarian, **period) == add(librarian, branch_id=None, **period) | period | {
            name: value
            for name, value in librarian.get("/api/loan-policies").json()["items"][0].items()
            if name in {"id", "branch_id", "created_at", "updated_at"}
        }

    @pytest.mark.parametrize(
        ("period", "pointers", "message"),
        [
            pytest.param(
                {"period_unit": "days", "period_length": None},
                ["/period_length"],
                "A period of days needs period_length.",
                id="days without a number",
            ),
            pytest.param(
                {"period_unit": "hours", "period_date": "2027-07-15"},
                ["/period_date"],
                "A period of hours takes no period_date.",
                id="hours with a date",
            ),
            pytest.param(
                {"period_unit": "fixed_date"},
                ["/period_date", "/period_length"],
                "A period of fixed_date needs period_date and fixed_date takes no period_length.",
                id="a date without a date, and with a number",
            ),
        ],
    )
    def test_a_period_has_what_belongs_to_its_unit(
        self,
        librarian: httpx.Client,
        problem: Expected,
        period: JSON,
        pointers: list[str],
        message: str,
    ) -> None:
        response = librarian.post("/api/loan-policies", json=INPUT | period)

        assert response.status_code == 422
        details = response.json()["details"]
        assert [detail["pointer"] for detail in details] == pointers
        assert response.json() == problem(response, "loan_period_invalid", message, details=details)
        assert librarian.get("/api/loan-policies").json()["total"] == 0

    @pytest.mark.parametrize(
        "changes",
        [
            pytest.param({}, id="the same"),
            pytest.param({"branch_id": None}, id="for every branch"),
            pytest.param(
                {"branch_id": None, "user_category": None, "material_type": None}, id="for all"
            ),
        ],
    )
    def test_a_scope_that_is_taken_is_a_conflict_with_the_rule_that_has_it(
        self, librarian: httpx.Client, problem: Expected, changes: JSON
    ) -> None:
        holder = add(librarian, **changes)

        response = librarian.post("/api/loan-policies", json=INPUT | changes | {"name": "Another"})

        assert response.status_code == 409
        assert response.json() == taken(problem, response, holder)

    def test_of_two_at_once_one_gets_the_scope(self, librarian: httpx.Client) -> None:
        def post(_: int) -> int:
            return librarian.post("/api/loan-policies", json=INPUT).status_code

        with ThreadPoolExecutor(4) as pool:
            statuses = sorted(pool.map(post, range(4)))

        assert statuses == [201, 409, 409, 409]

    def test_the_branch_must_exist(self, librarian: httpx.Client, problem: Expected) -> None:
        response = librarian.post("/api/loan-policies", json=INPUT | {"branch_id": "code:nowhere"})

        assert response.status_code == 422
        message = "No branch has the key code:nowhere."
        detail = {"in": "body", "pointer": "/branch_id", "rule": "reference", "message": message}
        assert response.json() == problem(response, "reference_unknown", message, details=[detail])

    @pytest.mark.parametrize(
        ("changes", "pointer"),
        [
            pytest.param({"fee_per_day": "0.205"}, "/fee_per_day", id="tenths of a cent"),
            pytest.param({"fee_per_day": 0.2}, "/fee_per_day", id="a float"),
            pytest.param({"lost_fee": "-1.00"}, "/lost_fee", id="less than nothing"),
            pytest.param({"max_debt": "0.00"}, "/max_debt", id="no debt"),
            pytest.param({"user_category": "Über"}, "/user_category", id="no category"),
            pytest.param({"material_type": "stone"}, "/material_type", id="no such kind"),
            pytest.param({"period_length": 0}, "/period_length", id="no day"),
            pytest.param({"period_date": "9999-12-31"}, "/period_date", id="the end of time"),
            pytest.param({"closed_days": "never"}, "/closed_days", id="no such strategy"),
            pytest.param({"hold_shelf_days": 0}, "/hold_shelf_days", id="no shelf"),
            pytest.param({"colour": "red"}, "/colour", id="unknown"),
        ],
    )
    def test_a_body_that_breaks_the_contract_is_refused(
        self, librarian: httpx.Client, changes: JSON, pointer: str
    ) -> None:
        response = librarian.post("/api/loan-policies", json=INPUT | changes)

        assert response.status_code == 400
        assert [entry["pointer"] for entry in response.json()["details"]] == [pointer]


class TestGetLoanPolicy:
    def test_members_may_read_it(self, librarian: httpx.Client, member: httpx.Client) -> None:
        policy = add(librarian)

        response = member.get(f"/api/loan-policies/{policy['id']}")

        assert response.status_code == 200
        assert response.json() == policy

    def test_an_unknown_id_is_not_found(self, member: httpx.Client, problem: Expected) -> None:
        response = member.get(f"/api/loan-policies/{UNKNOWN}")

        assert response.status_code == 404
        assert response.json() == missing(problem, response)

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get(f"/api/loan-policies/{UNKNOWN}")

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestReplaceLoanPolicy:
    def test_everything_is_replaced(self, librarian: httpx.Client) -> None:
        policy = add(librarian)

        response = librarian.put(f"/api/loan-policies/{policy['id']}", json=LEAST, headers=ANY)

        assert response.status_code == 200
        replaced = response.json()
        assert replaced == policy | LEAST | DEFAULTS | {"updated_at": replaced["updated_at"]}
        assert replaced["updated_at"] > policy["updated_at"]

    def test_replacing_a_policy_by_itself_changes_nothing(
        self, librarian: httpx.Client, audit: Any
    ) -> None:
        policy = add(librarian)

        assert (
            librarian.put(f"/api/loan-policies/{policy['id']}", json=INPUT, headers=ANY).json()
            == policy
        )
        assert audit("loan_policy.update") == []

    def test_a_scope_that_is_taken_is_a_conflict(
        self, librarian: httpx.Client, problem: Expected
    ) -> None:
        holder = add(librarian, branch_id=None)
        policy = add(librarian)

        response = librarian.put(
            f"/api/loan-policies/{policy['id']}", json=INPUT | {"branch_id": None}, headers=ANY
        )

        assert response.status_code == 409
        assert response.json() == taken(problem, response, holder)
        assert librarian.get(f"/api/loan-policies/{policy['id']}").json() == policy

    def test_an_unknown_id_is_not_found(self, librarian: httpx.Client, problem: Expected) -> None:
        response = librarian.put(f"/api/loan-policies/{UNKNOWN}", json=LEAST, headers=ANY)

        assert response.status_code == 404
        assert response.json() == missing(problem, response)


class TestUpdateLoanPolicy:
    def test_what_is_not_named_stays(self, librarian: httpx.Client, audit: Any) -> None:
        policy = add(librarian)

        response = librarian.patch(
            f"/api/loan-policies/{policy['id']}",
            json={"fee_cap": None, "renewals": 3, "branch_id": None, "max_loans": 5},
            headers={"Content-Type": "application/merge-patch+json"},
        )

        assert response.status_code == 200
        assert response.json() == policy | {
            "fee_cap": None,
            "renewals": 3,
            "branch_id": None,
            "updated_at": response.json()["updated_at"],
        }
        (entry,) = audit("loan_policy.update")
        assert entry.details == {"fields": ["branch_id", "fee_cap", "renewals"]}

    def test_another_unit_takes_what_belongs_to_it(self, librarian: httpx.Client) -> None:
        policy = add(librarian)
        date = {"period_unit": "fixed_date", "period_date": "2027-07-15"}

        refused = librarian.patch(f"/api/loan-policies/{policy['id']}", json=date)
        taken = librarian.patch(
            f"/api/loan-policies/{policy['id']}", json=date | {"period_length": None}
        )

        assert (refused.status_code, refused.json()["code"]) == (422, "loan_period_invalid")
        assert taken.json()["period_date"] == "2027-07-15"

    def test_a_scope_that_is_taken_is_a_conflict(
        self, librarian: httpx.Client, problem: Expected
    ) -> None:
        holder = add(librarian, user_category=None)
        policy = add(librarian)

        response = librarian.patch(
            f"/api/loan-policies/{policy['id']}", json={"user_category": None}
        )

        assert response.status_code == 409
        assert response.json() == taken(problem, response, holder)

    def test_null_for_what_is_required_breaks_the_contract(self, librarian: httpx.Client) -> None:
        policy = add(librarian)

        response = librarian.patch(f"/api/loan-policies/{policy['id']}", json={"lost_fee": None})

        assert response.status_code == 400
        assert [entry["pointer"] for entry in response.json()["details"]] == ["/lost_fee"]

    def test_an_unknown_id_is_not_found(self, librarian: httpx.Client, problem: Expected) -> None:
        response = librarian.patch(f"/api/loan-policies/{UNKNOWN}", json={})

        assert response.status_code == 404
        assert response.json() == missing(problem, response)


class TestDeleteLoanPolicy:
    def test_the_policy_is_gone(self, librarian: httpx.Client, audit: Any) -> None:
        policy = add(librarian)

        response = librarian.delete(f"/api/loan-policies/{policy['id']}")

        assert response.status_code == 204
        assert response.content == b""
        assert librarian.get(f"/api/loan-policies/{policy['id']}").status_code == 404
        (entry,) = audit("loan_policy.delete")
        assert (entry.target_type, entry.target_id) == ("loan_policy", UUID(policy["id"]))

    def test_its_loans_stay_with_the_terms_that_it_gave_them(
        self, librarian: httpx.Client, library: Library, north: UUID, sessions: Sessions
    ) -> None:
        policy = library.policy()
        loan = library.loan(library.user(), library.copy(library.book(), north), policy_id=policy)

        assert librarian.delete(f"/api/loan-policies/{policy}").status_code == 204

        with unit_of_work(sessions, writing=False) as session:
            stored = session.get_one(Loan, loan)
            assert (stored.policy_id, stored.terms["fee_per_day"]) == (None, "0.20")

    def test_it_goes_with_its_branch(self, librarian: httpx.Client) -> None:
        policy = add(librarian)

        assert librarian.delete("/api/branches/code:north").status_code == 204

        assert librarian.get(f"/api/loan-policies/{policy['id']}").status_code == 404

    def test_an_unknown_id_is_not_found(self, librarian: httpx.Client, problem: Expected) -> None:
        response = librarian.delete(f"/api/loan-policies/{UNKNOWN}")

        assert response.status_code == 404
        assert response.json() == missing(problem, response)
