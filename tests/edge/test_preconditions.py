"""Conditional changes over HTTP, on both databases."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

from circdesk.contract.door import Call
from circdesk.db.errors import DatabaseBusy
from circdesk.db.unit_of_work import Sessions
from circdesk.db.versions import ChangedMeanwhile
from circdesk.edge.preconditions import preconditions
from tests.circulation.conftest import Library
from tests.edge.resources import CONTRACT, MADE, NO_DELETION, OTHER, POLICY, condition, created
from tests.people import LIBRARIAN_ID

Expected = Callable[..., dict[str, Any]]


class TestWriting:
    @pytest.mark.parametrize("noun", [noun for noun in MADE if MADE[noun][1]])
    def test_a_change_of_another_version_is_refused(
        self, admin: httpx.Client, library: Library, noun: str
    ) -> None:
        make, change, _ = MADE[noun]
        path = make(admin, library)
        tag = admin.get(path).headers["ETag"]
        first = admin.patch(path, json=change, headers=condition(tag))
        assert first.status_code == 200, first.text
        after = admin.get(path)
        assert after.headers["ETag"].partition(".")[0] != tag.partition(".")[0]

        second = admin.patch(path, json=change, headers=condition(tag))
        assert (second.status_code, second.json()["code"]) == (412, "precondition_failed")
        assert second.headers["ETag"] == after.headers["ETag"]
        assert admin.get(path).json() == after.json()
        assert admin.patch(path, json=change, headers=condition(second.headers["ETag"])).is_success

    @pytest.mark.parametrize("noun", [noun for noun in MADE if MADE[noun][2]])
    def test_a_replacement_of_another_version_is_refused(
        self, admin: httpx.Client, library: Library, noun: str
    ) -> None:
        make, _, whole = MADE[noun]
        path = make(admin, library)
        before = admin.get(path)

        refused = admin.put(path, json=whole, headers=condition(OTHER))
        assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed")
        assert refused.headers["ETag"] == before.headers["ETag"]
        assert admin.get(path).json() == before.json()
        answer = admin.put(path, json=whole, headers=condition(before.headers["ETag"]))
        assert answer.status_code == 200, answer.text

    @pytest.mark.parametrize("noun", [noun for noun in MADE if noun not in NO_DELETION])
    def test_a_deletion_of_another_version_is_refused(
        self, admin: httpx.Client, library: Library, noun: str
    ) -> None:
        path = MADE[noun][0](admin, library)
        before = admin.get(path)

        refused = admin.delete(path, headers=condition(OTHER))
        assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed")
        assert admin.get(path).json() == before.json()
        answer = admin.delete(path, headers=condition(before.headers["ETag"]))
        assert answer.status_code == 204, answer.text

    def test_all_that_take_the_condition_are_tried_here(self) -> None:
        tried = {
            *(f"update_{noun}" for noun in MADE if MADE[noun][1]),
            *(f"replace_{noun}" for noun in MADE if MADE[noun][2]),
            *(f"delete_{noun}" for noun in MADE if noun not in NO_DELETION),
            "replace_copy",  # By the same function as `update_copy`.
        }
        names = {"update_account": "update_my_account", "update_loan": "change_due_date"}
        names |= {"delete_api_key": "revoke_api_key", "delete_block": "lift_user_block"}
        takes = {
            operation.operation_id
            for operation in CONTRACT.operations.values()
            if "if_match" in operation.edge
        }
        assert takes == {names.get(name, name) for name in tried}

    def test_a_star_changes_whatever_is_there(self, admin: httpx.Client) -> None:
        path = str(admin.post("/api/books", json={"title": "A"}).headers["Location"])
        for title in ("B", "C"):
            answer = admin.put(path, json={"title": title}, headers=condition("*"))
            assert answer.json()["title"] == title

    def test_one_of_several_tags_is_enough_and_a_weak_one_is_none(
        self, admin: httpx.Client
    ) -> None:
        path = str(admin.post("/api/books", json={"title": "A"}).headers["Location"])
        tag = admin.get(path).headers["ETag"]
        weak = admin.patch(path, json={"year": 1961}, headers=condition(f"W/{tag}"))
        assert weak.status_code == 412
        several = admin.patch(path, json={"year": 1961}, headers=condition(f"{OTHER}, {tag}"))
        assert several.status_code == 200

    def test_what_is_counted_elsewhere_spoils_no_change(
        self, admin: httpx.Client, library: Library
    ) -> None:
        book = library.book()
        path = f"/api/books/{book}"
        tag = admin.get(path).headers["ETag"]
        library.copy(book, library.branch())

        assert admin.get(path, headers={"If-None-Match": tag}).status_code == 200
        answer = admin.patch(path, json={"year": 1961}, headers=condition(tag))
        assert (answer.status_code, answer.json()["copies_total"]) == (200, 1)

    def test_another_one_under_the_same_key_is_another_version(self, admin: httpx.Client) -> None:
        body = {"code": "north", "name": "North", "time_zone": "UTC"}
        path = "/api/branches/code:north"
        admin.post("/api/branches", json=body)
        tag = admin.get(path).headers["ETag"]
        admin.delete(path)
        admin.post("/api/branches", json=body)
        assert admin.put(path, json=body, headers=condition(tag)).status_code == 412

    def test_the_same_again_changes_no_version(self, admin: httpx.Client) -> None:
        path = str(admin.post("/api/books", json={"title": "A"}).headers["Location"])
        # From now on all of it was entered by hand, which imports heed.
        admin.put(path, json={"title": "A"}, headers=condition("*")).raise_for_status()
        tag = admin.get(path).headers["ETag"]
        for _ in range(2):
            assert admin.put(path, json={"title": "A"}, headers=condition(tag)).is_success

    def test_what_is_not_there_is_not_found(self, admin: httpx.Client) -> None:
        path = f"/api/books/{UUID(int=1)}"
        for tag in ("*", OTHER):
            assert admin.patch(path, json={}, headers=condition(tag)).status_code == 404

    def test_who_may_not_change_it_hears_that_first(
        self, client: httpx.Client, member: httpx.Client
    ) -> None:
        path = f"/api/users/{LIBRARIAN_ID}"
        assert client.patch(path, json={}, headers=condition(OTHER)).status_code == 401
        assert member.patch(path, json={}, headers=condition(OTHER)).status_code == 403

    def test_who_may_not_read_it_is_not_told_its_tag(
        self, client: httpx.Client, admin: httpx.Client, library: Library
    ) -> None:
        path = created("/api/loan-policies", POLICY)(admin, library)
        client.headers.update(library.key(LIBRARIAN_ID, scopes=["policies:write"]))
        refused = client.patch(path, json={"name": "B"}, headers=condition(OTHER))
        assert refused.status_code == 412
        assert "ETag" not in refused.headers


class TestDemanded:
    @pytest.mark.parametrize("noun", ["book", "branch", "loan_policy"])
    def test_what_overwrites_all_must_say_which_version(
        self, admin: httpx.Client, library: Library, problem: Expected, noun: str
    ) -> None:
        make, _, whole = MADE[noun]
        path = make(admin, library)
        before = admin.get(path).json()

        response = admin.put(path, json=whole)

        message = "Send the ETag of what this replaces as If-Match."
        key = "policy_id" if noun == "loan_policy" else f"{noun}_id"
        detail = {"in": "header", "pointer": "/If-Match", "rule": "required", "message": message}
        suggestion = {
            "operation_id": f"get_{noun}",
            "parameters": {key: path.rpartition("/")[2]},
            "reason": "It answers what is there now, and its ETag.",
        }
        expected = {"details": [detail], "suggestions": [suggestion]}
        assert response.status_code == 428
        assert response.json() == problem(response, "precondition_required", message, **expected)
        assert admin.get(path).json() == before

    def test_who_may_not_hears_that_first(self, client: httpx.Client) -> None:
        assert client.put("/api/branches/code:north", json={}).status_code == 401


class TestSameMoment:
    """What remains where two change a row at once, although both should have locked it."""

    def change(self, sessions: Sessions, operation_id: str) -> None:
        operation = CONTRACT.operations[operation_id]
        call = Call(operation, {}, None, edge=dict.fromkeys(operation.edge))
        with preconditions(operation, call, sessions):
            raise ChangedMeanwhile("Another request changed the same at this moment.")

    def test_it_is_a_conflict(self, sessions: Sessions) -> None:
        with pytest.raises(ChangedMeanwhile):
            self.change(sessions, "update_book")

    def test_where_none_is_declared_it_is_to_be_sent_again(self, sessions: Sessions) -> None:
        assert 409 not in CONTRACT.operations["delete_my_session"].responses
        with pytest.raises(DatabaseBusy) as caught:
            self.change(sessions, "delete_my_session")
        assert caught.value.headers == {"Retry-After": "1"}
