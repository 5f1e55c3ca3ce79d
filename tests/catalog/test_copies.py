"""Copies: what the business rules say, and each operation over HTTP, on both databases."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from circdesk.catalog import branches, copies
from circdesk.catalog.books import IsbnAmbiguous
from circdesk.catalog.copy_problems import (
    BarcodeTaken,
    CopyInUse,
    CopyStatusManaged,
    ReferenceUnknown,
)
from circdesk.catalog.models import NO_YEAR, Book, BookISBN, Copy
from circdesk.db.unit_of_work import Sessions, unit_of_work

JSON = dict[str, Any]
Expected = Callable[..., JSON]

UNKNOWN = "019b8d2b-8c00-7006-8000-0000000000ff"
ISBN = "9780441478125"
BY_HAND = ["available", "on_order", "in_repair", "missing", "lost", "withdrawn"]
MANAGED = ["on_loan", "on_hold_shelf", "in_transit"]
INPUT: JSON = {
    "book_id": f"isbn:{ISBN}",
    "branch_id": "code:north",
    "barcode": "30001",
    "status": "in_repair",
    "shelf_mark": "SF LEG",
    "material_type": "audiobook",
    "loanable": False,
}
DEFAULTS: JSON = {
    "barcode": None,
    "status": "available",
    "shelf_mark": None,
    "material_type": None,
    "loanable": True,
}


def add_book(session: Session, *isbns: str, material_type: str = "book") -> UUID:
    book = Book(title="A", sort_title="a", sort_year=NO_YEAR, material_type=material_type)
    book.isbns = [BookISBN(isbn=isbn, position=place) for place, isbn in enumerate(isbns)]
    session.add(book)
    session.flush()
    return book.id


def add_branch(session: Session, code: str) -> UUID:
    content = {"code": code, "name": code, "address": None, "time_zone": "UTC"}
    branch = branches.create_branch(session, content | {"opening_hours": {}, "closed_days": []})
    identity: UUID = branch["id"]
    return identity


def add_copy(session: Session, book: UUID, **changes: Any) -> JSON:
    content = DEFAULTS | {"book_id": str(book), "branch_id": "code:north"} | changes
    return copies.create_copy(session, content)


def set_status(session: Session, copy: JSON, status: str) -> None:
    """Do what the desk does."""
    session.execute(update(Copy).where(Copy.id == copy["id"]).values(status=status))


class TestRules:
    @pytest.fixture
    def book(self, session: Session) -> UUID:
        add_branch(session, "north")
        return add_book(session, ISBN, material_type="map")

    def test_a_copy_is_found_by_id_and_by_barcode(self, session: Session, book: UUID) -> None:
        copy = add_copy(session, book, barcode="30001")

        assert copies.read_copy(session, str(copy["id"])) == copy
        assert copies.read_copy(session, "barcode:30001") == copy

    def test_it_is_of_the_kind_of_its_book_unless_it_says_another(
        self, session: Session, book: UUID
    ) -> None:
        assert add_copy(session, book)["material_type"] == "map"
        copy = add_copy(session, book, material_type="game")
        assert copy["material_type"] == "game"
        patched = copies.patch_copy(session, str(copy["id"]), {"material_type": None})
        assert patched["material_type"] == "map"

    def test_any_number_of_copies_may_have_no_barcode(self, session: Session, book: UUID) -> None:
        assert [add_copy(session, book)["barcode"] for _ in range(2)] == [None, None]

    def test_a_copy_may_keep_its_barcode_and_may_not_take_anothers(
        self, session: Session, book: UUID
    ) -> None:
        add_copy(session, book, barcode="30001")
        add_copy(session, book, barcode="30002")
        copies.patch_copy(session, "barcode:30001", {"barcode": "30001", "loanable": False})

        with pytest.raises(BarcodeTaken):
            copies.patch_copy(session, "barcode:30002", {"barcode": "30001"})

    def test_a_barcode_that_two_take_at_once_is_refused_by_the_database(
        self, session: Session, book: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add_copy(session, book, barcode="30001")
        # As if the other one had been stored just after the look-up.
        monkeypatch.setattr(copies, "_raise_if_taken", lambda *_: None)

        with pytest.raises(BarcodeTaken):
            add_copy(session, book, barcode="30001")

    @pytest.mark.parametrize("after", BY_HAND)
    def test_a_person_sets_these_states(self, session: Session, book: UUID, after: str) -> None:
        copy = add_copy(session, book, status="in_repair")

        assert copies.patch_copy(session, str(copy["id"]), {"status": after})["status"] == after

    @pytest.mark.parametrize("status", MANAGED)
    def test_only_the_desk_begins_and_ends_these_states(
        self, session: Session, book: UUID, status: str
    ) -> None:
        with pytest.raises(CopyStatusManaged):
            add_copy(session, book, status=status)
        copy = add_copy(session, book)
        with pytest.raises(CopyStatusManaged):
            copies.patch_copy(session, str(copy["id"]), {"status": status})
        set_status(session, copy, status)
        with pytest.raises(CopyStatusManaged):
            copies.patch_copy(session, str(copy["id"]), {"status": "available"})
        with pytest.raises(CopyInUse):
            copies.delete_copy(session, str(copy["id"]))

    def test_the_rest_of_a_copy_can_change_while_it_is_on_loan(
        self, session: Session, book: UUID
    ) -> None:
        copy = add_copy(session, book)
        set_status(session, copy, "on_loan")

        changed = copies.patch_copy(
            session, str(copy["id"]), {"status": "on_loan", "shelf_mark": "X"}
        )

        assert (changed["status"], changed["shelf_mark"]) == ("on_loan", "X")

    @pytest.mark.parametrize(
        "changes",
        [
            {"book_id": str(uuid4())},
            {"book_id": "isbn:9780306406157"},
            {"branch_id": str(uuid4())},
            {"branch_id": "code:nowhere"},
        ],
    )
    def test_what_a_body_names_must_exist(
        self, session: Session, book: UUID, changes: JSON
    ) -> None:
        with pytest.raises(ReferenceUnknown) as refused:
            add_copy(session, book, **changes)

        (pointer,) = changes
        assert [detail["pointer"] for detail in refused.value.details] == [f"/{pointer}"]

    def test_an_isbn_of_several_books_names_none_of_them(
        self, session: Session, book: UUID
    ) -> None:
        other = add_book(session, ISBN)

        with pytest.raises(IsbnAmbiguous) as refused:
            add_copy(session, book, book_id=f"isbn:{ISBN}")

        named = {
            (detail["in"], detail["pointer"], detail["allowed"]) for detail in refused.value.details
        }
        assert named == {("body", "/book_id", str(identity)) for identity in (book, other)}


@pytest.fixture
def book(client: httpx.Client, admin_headers: dict[str, str]) -> JSON:
    """A book, and a branch `north` where copies of it can stand."""
    branch = {"code": "north", "name": "North", "time_zone": "UTC"}
    client.post("/api/branches", json=branch, headers=admin_headers).raise_for_status()
    content = {"title": "The Left Hand of Darkness", "isbns": [ISBN]}
    response = client.post("/api/books", json=content, headers=admin_headers)
    created: JSON = response.raise_for_status().json()
    return created


def branch_id(admin: httpx.Client) -> str:
    return str(admin.get("/api/branches/code:north").json()["id"])


def add(admin: httpx.Client, **changes: Any) -> JSON:
    response = admin.post("/api/copies", json=INPUT | changes)
    assert response.status_code == 201, response.text
    copy: JSON = response.json()
    return copy


def lend(sessions: Sessions, copy: JSON) -> None:
    with unit_of_work(sessions, writing=True) as session:
        values = {"status": "on_loan"}
        session.execute(update(Copy).where(Copy.id == UUID(copy["id"])).values(values))


def missing(problem: Expected, response: httpx.Response) -> JSON:
    return problem(response, "not_found", f"No copy has the key {UNKNOWN}.")


def anonymous(problem: Expected, response: httpx.Response) -> JSON:
    return problem(response, "credentials_required", "Send a credential.")


def taken(problem: Expected, response: httpx.Response) -> JSON:
    message = "Another copy has the barcode 30001."
    return problem(
        response,
        "barcode_taken",
        message,
        details=[{"in": "body", "pointer": "/barcode", "rule": "unique", "message": message}],
        suggestions=[
            {
                "operation_id": "get_copy",
                "parameters": {"copy_id": "barcode:30001"},
                "reason": "It has this barcode.",
            }
        ],
    )


def managed(problem: Expected, response: httpx.Response, message: str, allowed: list[str]) -> JSON:
    detail = {"in": "body", "pointer": "/status", "rule": "managed", "message": message}
    return problem(
        response, "copy_status_managed", message, details=[detail | {"allowed": allowed}]
    )


class TestCreateCopy:
    def test_the_answer_is_the_copy_and_where_it_stands(
        self, admin: httpx.Client, book: JSON
    ) -> None:
        response = admin.post("/api/copies", json=INPUT)

        assert response.status_code == 201
        copy = response.json()
        assert response.headers["Location"] == f"/api/copies/{copy['id']}"
        assert UUID(copy["id"]).version == 7
        assert copy == INPUT | {
            "id": copy["id"],
            "book_id": book["id"],
            "branch_id": branch_id(admin),
            "created_at": copy["created_at"],
            "updated_at": copy["updated_at"],
        }
        assert admin.get(response.headers["Location"]).json() == copy

    def test_what_is_left_out_has_its_default_and_the_book_counts_it(
        self, admin: httpx.Client, book: JSON
    ) -> None:
        minimal = {"book_id": book["id"], "branch_id": branch_id(admin)}

        copy = admin.post("/api/copies", json=minimal).json()

        assert copy == copy | DEFAULTS | {"material_type": "book"}
        shown = admin.get(f"/api/books/{book['id']}").json()
        assert (shown["copies_total"], shown["copies_available"]) == (1, 1)

    @pytest.mark.usefixtures("book")
    def test_a_barcode_that_is_taken_is_a_conflict_with_the_copy_that_has_it(
        self, admin: httpx.Client, problem: Expected
    ) -> None:
        add(admin)

        response = admin.post("/api/copies", json=INPUT)

        assert response.status_code == 409
        assert response.json() == taken(problem, response)

    @pytest.mark.usefixtures("book")
    def test_a_state_of_the_desk_is_a_conflict(
        self, admin: httpx.Client, problem: Expected
    ) -> None:
        response = admin.post("/api/copies", json=INPUT | {"status": "on_hold_shelf"})

        assert response.status_code == 409
        message = "Only the desk can make a copy on the hold shelf."
        assert response.json() == managed(problem, response, message, BY_HAND)

    @pytest.mark.usefixtures("book")
    @pytest.mark.parametrize(
        ("noun", "key"),
        [("book", UNKNOWN), ("book", "isbn:9780306406157"), ("branch", "code:nowhere")],
    )
    def test_what_the_body_names_must_exist(
        self, admin: httpx.Client, problem: Expected, noun: str, key: str
    ) -> None:
        response = admin.post("/api/copies", json=INPUT | {f"{noun}_id": key})

        assert response.status_code == 422
        message = f"No {noun} has the key {key}."
        detail = {"in": "body", "pointer": f"/{noun}_id", "rule": "reference", "message": message}
        assert response.json() == problem(response, "reference_unknown", message, details=[detail])
        assert admin.get("/api/copies").json()["total"] == 0

    @pytest.mark.parametrize(
        ("changes", "pointer"),
        [
            pytest.param({"barcode": "a b"}, "/barcode", id="blank in the barcode"),
            pytest.param({"status": "eaten"}, "/status", id="no such state"),
            pytest.param({"material_type": "stone"}, "/material_type", id="no such kind"),
            pytest.param({"branch_id": "north"}, "/branch_id", id="no key"),
            pytest.param({"loanable": None}, "/loanable", id="null"),
            pytest.param({"colour": "red"}, "/colour", id="unknown"),
        ],
    )
    def test_a_body_that_breaks_the_contract_is_refused(
        self, admin: httpx.Client, changes: JSON, pointer: str
    ) -> None:
        response = admin.post("/api/copies", json=INPUT | changes)

        assert response.status_code == 400
        assert [entry["pointer"] for entry in response.json()["details"]] == [pointer]

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.post("/api/copies", json=INPUT)

        assert response.status_code == 401
        assert response.json() == anonymous(problem, response)


UNDER_BOOK: JSON = {name: value for name, value in INPUT.items() if name != "book_id"}


class TestCreateBookCopy:
    def test_the_copy_is_one_of_the_book(self, admin: httpx.Client, book: JSON) -> None:
        response = admin.post(f"/api/books/isbn:{ISBN}/copies", json=UNDER_BOOK)

        assert response.status_code == 201
        copy = response.json()
        assert copy["book_id"] == book["id"]
        assert response.headers["Location"] == f"/api/copies/{copy['id']}"
        assert admin.get("/api/copies/barcode:30001").json() == copy

    @pytest.mark.parametrize(
        ("key", "named"),
        [(UNKNOWN, f"id {UNKNOWN}"), ("isbn:9780306406157", "ISBN 9780306406157")],
    )
    @pytest.mark.usefixtures("book")
    def test_an_unknown_book_is_not_found(
        self, admin: httpx.Client, problem: Expected, key: str, named: str
    ) -> None:
        response = admin.post(f"/api/books/{key}/copies", json=UNDER_BOOK)

        assert response.status_code == 404
        assert response.json() == problem(response, "not_found", f"No book has the {named}.")

    @pytest.mark.usefixtures("book")
    def test_a_barcode_that_is_taken_is_a_conflict(
        self, admin: httpx.Client, problem: Expected
    ) -> None:
        add(admin)

        response = admin.post(f"/api/books/isbn:{ISBN}/copies", json=UNDER_BOOK)

        assert response.status_code == 409
        assert response.json() == taken(problem, response)

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.post(f"/api/books/{UNKNOWN}/copies", json=UNDER_BOOK)

        assert response.status_code == 401
        assert response.json() == anonymous(problem, response)


@pytest.mark.usefixtures("book")
class TestGetCopy:
    @pytest.mark.parametrize("key", ["{id}", "barcode:{barcode}"])
    def test_it_is_found_by_id_and_by_barcode(self, admin: httpx.Client, key: str) -> None:
        copy = add(admin, barcode="A-1.b_2")

        response = admin.get(f"/api/copies/{key.format(**copy)}")

        assert response.status_code == 200
        assert response.json() == copy

    def test_an_unknown_key_is_not_found(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get(f"/api/copies/{UNKNOWN}")

        assert response.status_code == 404
        assert response.json() == missing(problem, response)

    @pytest.mark.parametrize("key", ["30001", "barcode:", "code:north", "barcode:a%2Fb"])
    def test_what_is_no_key_breaks_the_contract(self, client: httpx.Client, key: str) -> None:
        response = client.get(f"/api/copies/{key}")

        assert response.status_code == 400
        assert {entry["pointer"] for entry in response.json()["details"]} == {"/copy_id"}


@pytest.mark.usefixtures("book")
class TestReplaceCopy:
    def test_everything_is_replaced(self, admin: httpx.Client) -> None:
        copy = add(admin)
        other = admin.post("/api/books", json={"title": "Map", "material_type": "map"}).json()
        body = {"book_id": other["id"], "branch_id": "code:north"}

        response = admin.put("/api/copies/barcode:30001", json=body)

        assert response.status_code == 200
        replaced = response.json()
        assert replaced == copy | DEFAULTS | {
            "book_id": other["id"],
            "material_type": "map",
            "updated_at": replaced["updated_at"],
        }
        assert replaced["updated_at"] > copy["updated_at"]

    def test_replacing_a_copy_by_itself_changes_nothing(self, admin: httpx.Client) -> None:
        copy = add(admin)

        assert copy["updated_at"] == copy["created_at"]
        assert admin.put("/api/copies/barcode:30001", json=INPUT).json() == copy
        assert admin.patch("/api/copies/barcode:30001", json=INPUT).json() == copy

    def test_what_the_desk_manages_is_a_conflict(
        self, admin: httpx.Client, problem: Expected, sessions: Sessions
    ) -> None:
        copy = add(admin)
        lend(sessions, copy)

        response = admin.put("/api/copies/barcode:30001", json=INPUT)

        assert response.status_code == 409
        message = "The copy is on loan; only the desk can end that."
        assert response.json() == managed(problem, response, message, ["on_loan"])

    def test_an_unknown_key_is_not_found(self, admin: httpx.Client, problem: Expected) -> None:
        response = admin.put(f"/api/copies/{UNKNOWN}", json=INPUT)

        assert response.status_code == 404
        assert response.json() == missing(problem, response)

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.put(f"/api/copies/{UNKNOWN}", json=INPUT)

        assert response.status_code == 401
        assert response.json() == anonymous(problem, response)


@pytest.mark.usefixtures("book")
class TestUpdateCopy:
    def test_what_is_not_named_stays(self, admin: httpx.Client) -> None:
        copy = add(admin)

        response = admin.patch(
            "/api/copies/barcode:30001",
            json={"status": "missing", "shelf_mark": None},
            headers={"Content-Type": "application/merge-patch+json"},
        )

        assert response.status_code == 200
        assert response.json() == copy | {
            "status": "missing",
            "shelf_mark": None,
            "updated_at": response.json()["updated_at"],
        }

    def test_it_may_move_to_another_branch(self, admin: httpx.Client) -> None:
        add(admin)
        south = {"code": "south", "name": "South", "time_zone": "UTC"}
        branch = admin.post("/api/branches", json=south).json()

        changes = {"branch_id": "code:south"}
        copy = admin.patch("/api/copies/barcode:30001", json=changes).json()

        assert copy["branch_id"] == branch["id"]

    def test_what_the_desk_manages_is_a_conflict(
        self, admin: httpx.Client, problem: Expected
    ) -> None:
        copy = add(admin)

        response = admin.patch(f"/api/copies/{copy['id']}", json={"status": "in_transit"})

        assert response.status_code == 409
        message = "Only the desk can make a copy in transit."
        assert response.json() == managed(problem, response, message, BY_HAND)
        assert admin.get(f"/api/copies/{copy['id']}").json() == copy

    def test_null_for_what_is_required_breaks_the_contract(self, admin: httpx.Client) -> None:
        add(admin)

        response = admin.patch("/api/copies/barcode:30001", json={"loanable": None})

        assert response.status_code == 400
        assert [entry["pointer"] for entry in response.json()["details"]] == ["/loanable"]

    def test_an_unknown_key_is_not_found(self, admin: httpx.Client, problem: Expected) -> None:
        response = admin.patch(f"/api/copies/{UNKNOWN}", json={})

        assert response.status_code == 404
        assert response.json() == missing(problem, response)

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.patch(f"/api/copies/{UNKNOWN}", json={})

        assert response.status_code == 401
        assert response.json() == anonymous(problem, response)


@pytest.mark.usefixtures("book")
class TestDeleteCopy:
    def test_the_copy_is_gone(self, admin: httpx.Client) -> None:
        add(admin)

        response = admin.delete("/api/copies/barcode:30001")

        assert response.status_code == 204
        assert response.content == b""
        assert admin.get("/api/copies/barcode:30001").status_code == 404

    def test_a_copy_that_somebody_has_stays(
        self, admin: httpx.Client, problem: Expected, sessions: Sessions
    ) -> None:
        lend(sessions, add(admin))

        response = admin.delete("/api/copies/barcode:30001")

        assert response.status_code == 409
        message = "The copy is on loan."
        detail = {"in": "path", "pointer": "/copy_id", "rule": "in_use", "message": message}
        assert response.json() == problem(response, "copy_in_use", message, details=[detail])

    def test_an_unknown_key_is_not_found(self, admin: httpx.Client, problem: Expected) -> None:
        response = admin.delete(f"/api/copies/{UNKNOWN}")

        assert response.status_code == 404
        assert response.json() == missing(problem, response)

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.delete(f"/api/copies/{UNKNOWN}")

        assert response.status_code == 401
        assert response.json() == anonymous(problem, response)
