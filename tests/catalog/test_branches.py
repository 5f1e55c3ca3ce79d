"""Branches: what the business rules say, and each operation over HTTP, on both databases."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy.orm import Session

from circdesk.catalog import branches
from circdesk.catalog.branches import BranchCodeTaken, BranchInUse
from circdesk.catalog.models import NO_YEAR, Book, Copy
from circdesk.catalog.opening_hours import OpeningHoursInvalid
from circdesk.contract.requests import NotFound

JSON = dict[str, Any]
Expected = Callable[..., JSON]

UNKNOWN = "019b8d2b-8c00-7002-8000-0000000000ff"
# Whatever is there is to be replaced.
ANY = {"If-Match": "*"}
CLOSED: JSON = {
    day: []
    for day in ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
}
TUESDAY = {"opens": "09:30", "closes": "13:00"}, {"opens": "14:00", "closes": "18:00"}
INPUT: JSON = {
    "code": "north",
    "name": "North Branch",
    "address": "Nordstraße 3, 20099 Hamburg",
    "time_zone": "Europe/Berlin",
    "opening_hours": {"tuesday": [*TUESDAY]},
    "closed_days": ["2026-12-25", "2026-12-26"],
}


def made(**changes: Any) -> JSON:
    return {"address": None, "opening_hours": {}, "closed_days": []} | INPUT | changes


def open_branch(admin: httpx.Client, **changes: Any) -> JSON:
    response = admin.post("/api/branches", json=INPUT | changes)
    assert response.status_code == 201, response.text
    branch: JSON = response.json()
    return branch


def put_copies(admin: httpx.Client, branch: JSON, barcodes: list[str]) -> None:
    book = admin.post("/api/books", json={"title": "A book"}).json()
    for barcode in barcodes:
        body = {"book_id": book["id"], "branch_id": branch["id"], "barcode": barcode}
        assert admin.post("/api/copies", json=body).status_code == 201


def missing(problem: Expected, response: httpx.Response, key: str = UNKNOWN) -> JSON:
    return problem(response, "not_found", f"No branch has the key {key}.")


def taken(problem: Expected, response: httpx.Response) -> JSON:
    message = "Another branch has the code north."
    return problem(
        response,
        "branch_code_taken",
        message,
        details=[{"in": "body", "pointer": "/code", "rule": "unique", "message": message}],
        suggestions=[
            {
                "operation_id": "get_branch",
                "parameters": {"branch_id": "code:north"},
                "reason": "It has this code.",
            }
        ],
    )


class TestRules:
    def test_a_branch_is_found_by_id_and_by_code(self, session: Session) -> None:
        branch = branches.create_branch(session, made())

        assert branches.read_branch(session, branch["id"]) == branch
        assert branches.read_branch(session, str(branch["id"])) == branch
        assert branches.read_branch(session, "code:north") == branch

    def test_every_day_is_shown_with_its_periods_in_order(self, session: Session) -> None:
        hours = {"tuesday": [*reversed(TUESDAY)], "friday": []}

        branch = branches.create_branch(session, made(opening_hours=hours))

        assert branch["opening_hours"] == CLOSED | {"tuesday": [*TUESDAY]}

    def test_closed_days_are_sorted_and_each_is_there_once(self, session: Session) -> None:
        days = ["2027-01-01", "2026-12-25", "2027-01-01"]

        branch = branches.create_branch(session, made(closed_days=days))

        assert branch["closed_days"] == ["2026-12-25", "2027-01-01"]

    @pytest.mark.parametrize(
        ("periods", "pointers"),
        [
            pytest.param([("10:00", "10:00")], ["0/closes"], id="no time at all"),
            pytest.param([("18:00", "10:00")], ["0/closes"], id="backwards"),
            pytest.param([("10:00", "14:00"), ("13:59", "18:00")], ["1/opens"], id="overlap"),
            pytest.param([("13:59", "18:00"), ("10:00", "14:00")], ["0/opens"], id="not in order"),
            pytest.param(
                [("09:00", "18:00"), ("10:00", "11:00"), ("12:00", "13:00")],
                ["1/opens", "2/opens"],
                id="two within another",
            ),
            pytest.param([("10:00", "14:00"), ("14:00", "24:00")], [], id="one after the other"),
        ],
    )
    def test_impossible_periods_are_named_where_they_stand(
        self, session: Session, periods: list[tuple[str, str]], pointers: list[str]
    ) -> None:
        hours = {"monday": [{"opens": opens, "closes": closes} for opens, closes in periods]}
        found = []
        try:
            branches.create_branch(session, made(opening_hours=hours))
        except OpeningHoursInvalid as problem:
            found = [detail["pointer"] for detail in problem.details]

        assert found == [f"/opening_hours/monday/{pointer}" for pointer in pointers]

    def test_the_faults_of_all_days_are_reported_together(self, session: Session) -> None:
        wrong = [{"opens": "10:00", "closes": "09:00"}]
        with pytest.raises(OpeningHoursInvalid, match="have 2 faults"):
            branches.create_branch(
                session, made(opening_hours={"monday": wrong, "friday": [*wrong]})
            )

    def test_a_patch_changes_single_days(self, session: Session) -> None:
        hours = {"tuesday": [*TUESDAY], "friday": [*TUESDAY]}
        branches.create_branch(session, made(opening_hours=hours))
        changes = {"opening_hours": {"tuesday": None, "monday": [TUESDAY[0]]}}

        branch = branches.patch_branch(session, "code:north", changes)

        assert branch["opening_hours"] == CLOSED | {"monday": [TUESDAY[0]], "friday": [*TUESDAY]}

    def test_a_branch_may_keep_its_own_code_and_may_not_take_anothers(
        self, session: Session
    ) -> None:
        branches.create_branch(session, made())
        branches.create_branch(session, made(code="south"))
        branches.replace_branch(session, "code:north", made(name="Renamed"))

        with pytest.raises(BranchCodeTaken):
            branches.patch_branch(session, "code:south", {"code": "north"})

    def test_a_code_that_two_take_at_once_is_refused_by_the_database(
        self, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        branches.create_branch(session, made())
        # As if the other one had been stored just after the look-up.
        monkeypatch.setattr(session, "scalar", lambda _statement: None)

        with pytest.raises(BranchCodeTaken):
            branches.create_branch(session, made())

    def test_many_copies_are_counted_and_twenty_are_named(self, session: Session) -> None:
        branch = branches.create_branch(session, made())
        book = Book(title="A", sort_title="a", sort_year=NO_YEAR, material_type="book")
        session.add(book)
        session.flush()
        for number in range(21):
            session.add(
                Copy(
                    book_id=book.id,
                    branch_id=branch["id"],
                    barcode=None if number == 0 else f"b{number}",
                    status="available",
                    material_type="book",
                    loanable=True,
                )
            )
            session.flush()

        with pytest.raises(BranchInUse, match=r"^The branch has 21 copies\.$") as refused:
            branches.delete_branch(session, branch["id"])

        named = [detail["allowed"] for detail in refused.value.details]
        assert UUID(named[0]).version == 7
        assert named[1:] == [f"barcode:b{number}" for number in range(1, 20)]

    @pytest.mark.parametrize("key", [UNKNOWN, "code:nowhere"])
    def test_what_is_not_there_is_not_found(self, session: Session, key: str) -> None:
        with pytest.raises(NotFound, match=key):
            branches.delete_branch(session, key)


class TestListBranches:
    def test_branches_stand_by_name_whatever_its_case_and_accents(
        self, admin: httpx.Client
    ) -> None:
        names = ["Évora", "zentral", "Berlin", "Ostsee"]
        stored = {
            name: open_branch(admin, code=f"b{place}", name=name)
            for place, name in enumerate(names)
        }

        response = admin.get("/api/branches")

        assert response.status_code == 200
        assert response.json() == {
            "items": [stored[name] for name in ("Berlin", "Évora", "Ostsee", "zentral")],
            "page": 1,
            "per_page": 20,
            "total": 4,
            "total_relation": "exact",
            "next_cursor": None,
            "links": {"self": "/api/branches", "first": "/api/branches"},
        }

    def test_codes_stand_by_their_characters_on_both_engines(self, admin: httpx.Client) -> None:
        for code in ("a_b", "a-b", "ab", "a0"):
            open_branch(admin, code=code)

        items = admin.get("/api/branches?sort=-code").json()["items"]

        assert [branch["code"] for branch in items] == ["ab", "a_b", "a0", "a-b"]

    def test_a_page_in_the_middle_costs_two_statements(
        self, admin: httpx.Client, count_queries: Any
    ) -> None:
        for number in range(5):
            open_branch(admin, code=f"b{number}")
        with count_queries() as statements:
            body = admin.get("/api/branches?sort=code&page=2&per_page=2").json()

        assert len(statements) == 2
        assert [branch["code"] for branch in body["items"]] == ["b2", "b3"]

    def test_cursors_walk_the_whole_list_once(self, admin: httpx.Client) -> None:
        for number in range(5):
            open_branch(admin, code=f"b{number}", name="The same")
        url: str | None = "/api/branches?per_page=2&cursor=start"
        seen = []
        while url:
            body = admin.get(url).json()
            seen += [branch["code"] for branch in body["items"]]
            url = body["links"].get("next")

        assert sorted(seen) == ["b0", "b1", "b2", "b3", "b4"]

    def test_a_bad_key_is_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get("/api/branches", headers={"X-API-Key": "wrong"})

        assert response.status_code == 401
        assert response.json() == problem(
            response, "credentials_invalid", "The API key is not valid."
        )


class TestCreateBranch:
    def test_the_answer_is_the_branch_and_where_it_stands(self, admin: httpx.Client) -> None:
        response = admin.post("/api/branches", json=INPUT)

        assert response.status_code == 201
        branch = response.json()
        assert response.headers["Location"] == f"/api/branches/{branch['id']}"
        assert UUID(branch["id"]).version == 7
        assert branch == INPUT | {
            "id": branch["id"],
            "opening_hours": CLOSED | INPUT["opening_hours"],
            "created_at": branch["created_at"],
            "updated_at": branch["updated_at"],
        }
        assert admin.get(response.headers["Location"]).json() == branch

    def test_what_is_left_out_has_its_default(self, admin: httpx.Client) -> None:
        minimal = {name: INPUT[name] for name in ("code", "name", "time_zone")}

        branch = admin.post("/api/branches", json=minimal).json()

        assert branch["address"] is None
        assert branch["opening_hours"] == CLOSED
        assert branch["closed_days"] == []

    def test_a_code_that_is_taken_is_a_conflict_with_the_branch_that_has_it(
        self, admin: httpx.Client, problem: Expected
    ) -> None:
        open_branch(admin)

        response = admin.post("/api/branches", json=INPUT)

        assert response.status_code == 409
        assert response.json() == taken(problem, response)

    def test_hours_that_overlap_are_refused_and_nothing_is_stored(
        self, admin: httpx.Client, problem: Expected
    ) -> None:
        periods = [{"opens": "10:00", "closes": "14:00"}, {"opens": "13:00", "closes": "12:00"}]
        periods.append({"opens": "12:30", "closes": "15:00"})

        response = admin.post("/api/branches", json=INPUT | {"opening_hours": {"sunday": periods}})

        assert response.status_code == 422
        assert response.json() == problem(
            response,
            "opening_hours_invalid",
            "The opening hours have 2 faults.",
            details=[
                {
                    "in": "body",
                    "pointer": "/opening_hours/sunday/2/opens",
                    "rule": "overlap",
                    "message": "12:30 is before 14:00, when the period before it closes",
                },
                {
                    "in": "body",
                    "pointer": "/opening_hours/sunday/1/closes",
                    "rule": "after_opening",
                    "message": "12:00 is not after 13:00",
                },
            ],
        )
        assert admin.get("/api/branches").json()["total"] == 0

    @pytest.mark.parametrize(
        ("changes", "pointer", "rule"),
        [
            pytest.param({"code": "Not a code"}, "/code", "pattern", id="bad code"),
            pytest.param({"name": " "}, "/name", "pattern", id="blank name"),
            pytest.param({"time_zone": "Mars/Olympus"}, "/time_zone", "format", id="no such zone"),
            pytest.param({"closed_days": ["2026-02-30"]}, "/closed_days/0", "format", id="no day"),
            pytest.param(
                {"opening_hours": {"monday": [{"opens": "9", "closes": "12:00"}]}},
                "/opening_hours/monday/0/opens",
                "pattern",
                id="no time of day",
            ),
            pytest.param({"colour": "red"}, "/colour", "additionalProperties", id="unknown"),
        ],
    )
    def test_a_body_that_breaks_the_contract_is_refused(
        self, admin: httpx.Client, changes: JSON, pointer: str, rule: str
    ) -> None:
        response = admin.post("/api/branches", json=INPUT | changes)

        assert response.status_code == 400
        (entry,) = response.json()["details"]
        assert (entry["in"], entry["pointer"], entry["rule"]) == ("body", pointer, rule)

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.post("/api/branches", json=INPUT)

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestGetBranch:
    @pytest.mark.parametrize("key", ["{id}", "code:{code}", "code%3A{code}"])
    def test_it_is_found_by_id_and_by_code(self, admin: httpx.Client, key: str) -> None:
        branch = open_branch(admin)

        response = admin.get(f"/api/branches/{key.format(**branch)}")

        assert response.status_code == 200
        assert response.json() == branch

    @pytest.mark.parametrize("key", [UNKNOWN, "code:nowhere"])
    def test_an_unknown_key_is_not_found(
        self, client: httpx.Client, problem: Expected, key: str
    ) -> None:
        response = client.get(f"/api/branches/{key}")

        assert response.status_code == 404
        assert response.json() == missing(problem, response, key)

    @pytest.mark.parametrize("key", ["north", "code:", "barcode:30001", "code:a%2Fb"])
    def test_what_is_no_key_breaks_the_contract(self, client: httpx.Client, key: str) -> None:
        response = client.get(f"/api/branches/{key}")

        assert response.status_code == 400
        assert {entry["pointer"] for entry in response.json()["details"]} == {"/branch_id"}


class TestReplaceBranch:
    def test_everything_is_replaced(self, admin: httpx.Client) -> None:
        branch = open_branch(admin)
        body = {"code": "south", "name": "South Branch", "time_zone": "Europe/Lisbon"}

        response = admin.put("/api/branches/code:north", json=body, headers=ANY)

        assert response.status_code == 200
        replaced = response.json()
        assert replaced == branch | body | {
            "address": None,
            "opening_hours": CLOSED,
            "closed_days": [],
            "updated_at": replaced["updated_at"],
        }
        assert replaced["updated_at"] > branch["updated_at"]
        assert admin.get("/api/branches/code:south").json() == replaced

    def test_replacing_a_branch_by_itself_changes_nothing(self, admin: httpx.Client) -> None:
        branch = open_branch(admin)

        assert branch["updated_at"] == branch["created_at"]
        assert admin.put("/api/branches/code:north", json=INPUT, headers=ANY).json() == branch
        assert admin.patch("/api/branches/code:north", json=INPUT).json() == branch

    def test_a_code_that_is_taken_is_a_conflict(
        self, admin: httpx.Client, problem: Expected
    ) -> None:
        open_branch(admin)
        open_branch(admin, code="south")

        response = admin.put("/api/branches/code:south", json=INPUT, headers=ANY)

        assert response.status_code == 409
        assert response.json() == taken(problem, response)

    def test_an_unknown_key_is_not_found(self, admin: httpx.Client, problem: Expected) -> None:
        response = admin.put(f"/api/branches/{UNKNOWN}", json=INPUT, headers=ANY)

        assert response.status_code == 404
        assert response.json() == missing(problem, response)

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.put(f"/api/branches/{UNKNOWN}", json=INPUT)

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestUpdateBranch:
    def test_what_is_not_named_stays(self, admin: httpx.Client) -> None:
        branch = open_branch(admin)

        response = admin.patch(
            "/api/branches/code:north",
            json={"address": None, "opening_hours": {"sunday": [TUESDAY[0]]}},
            headers={"Content-Type": "application/merge-patch+json"},
        )

        assert response.status_code == 200
        assert response.json() == branch | {
            "address": None,
            "opening_hours": CLOSED | {"tuesday": [*TUESDAY], "sunday": [TUESDAY[0]]},
            "updated_at": response.json()["updated_at"],
        }

    def test_null_closes_a_day_and_empties_the_closed_days(self, admin: httpx.Client) -> None:
        open_branch(admin)

        changes = {"opening_hours": {"tuesday": None}, "closed_days": None}
        branch = admin.patch("/api/branches/code:north", json=changes).json()

        assert branch["opening_hours"] == CLOSED
        assert branch["closed_days"] == []

    def test_null_for_what_is_required_breaks_the_contract(self, admin: httpx.Client) -> None:
        open_branch(admin)

        response = admin.patch("/api/branches/code:north", json={"name": None})

        assert response.status_code == 400
        assert [entry["pointer"] for entry in response.json()["details"]] == ["/name"]

    def test_an_unknown_key_is_not_found(self, admin: httpx.Client, problem: Expected) -> None:
        response = admin.patch(f"/api/branches/{UNKNOWN}", json={})

        assert response.status_code == 404
        assert response.json() == missing(problem, response)

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.patch(f"/api/branches/{UNKNOWN}", json={})

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestDeleteBranch:
    def test_the_branch_is_gone(self, admin: httpx.Client) -> None:
        open_branch(admin)

        response = admin.delete("/api/branches/code:north")

        assert response.status_code == 204
        assert response.content == b""
        assert admin.get("/api/branches/code:north").status_code == 404

    def test_copies_that_stand_there_forbid_it(
        self, admin: httpx.Client, problem: Expected
    ) -> None:
        branch = open_branch(admin)
        put_copies(admin, branch, ["30001", "30002"])

        response = admin.delete(f"/api/branches/{branch['id']}")

        assert response.status_code == 409
        assert response.json() == problem(
            response,
            "branch_in_use",
            "The branch has 2 copies.",
            details=[
                {
                    "in": "path",
                    "pointer": "/branch_id",
                    "rule": "in_use",
                    "message": f"the copy {key} belongs to this branch",
                    "allowed": key,
                }
                for key in ("barcode:30001", "barcode:30002")
            ],
            suggestions=[
                {
                    "operation_id": "list_copies",
                    "parameters": {"branch": "code:north"},
                    "reason": "These are the copies of the branch.",
                }
            ],
        )
        assert admin.get("/api/branches/code:north").json() == branch

    def test_an_unknown_key_is_not_found(self, admin: httpx.Client, problem: Expected) -> None:
        response = admin.delete(f"/api/branches/{UNKNOWN}")

        assert response.status_code == 404
        assert response.json() == missing(problem, response)

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.delete(f"/api/branches/{UNKNOWN}")

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")
