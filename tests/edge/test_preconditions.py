"""Conditional requests over HTTP, on both databases."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

from circdesk.contract.contract import Contract
from circdesk.contract.documents import load_bundle
from circdesk.contract.door import Call
from circdesk.contract.requests import InvalidRequest
from circdesk.db.errors import DatabaseBusy
from circdesk.db.unit_of_work import Sessions
from circdesk.db.versions import ChangedMeanwhile
from circdesk.edge.preconditions import preconditions
from circdesk.news import posts
from circdesk.resources import directory
from tests.circulation.conftest import Library
from tests.people import LIBRARIAN_ID, MEMBER_ID

JSON = dict[str, Any]
Expected = Callable[..., JSON]

CONTRACT = Contract(load_bundle(directory("openapi")))
OTHER = '"999-00000000.0000000000000000"'
TIME = "2027-01-31T12:00:00Z"
POLICY = {"name": "All", "period_unit": "days", "period_length": 28}
CLIENT = {
    "name": "Till",
    "type": "confidential",
    "grant_types": ["client_credentials"],
    "scopes": ["users:read"],
}


@pytest.fixture
def library(sessions: Sessions) -> Library:
    return Library(sessions)


Make = Callable[[httpx.Client, Library], str]


def created(path: str, body: JSON) -> Make:
    """Creates something over HTTP, and answers its path."""

    def create(admin: httpx.Client, _library: Library) -> str:
        response = admin.post(path, json=body).raise_for_status()
        return str(response.headers["Location"])

    return create


def a_copy(_admin: httpx.Client, library: Library) -> str:
    return f"/api/copies/{library.copy(library.book(), library.branch())}"


def a_loan(_admin: httpx.Client, library: Library) -> str:
    copy = library.copy(library.book(), library.branch(), status="on_loan")
    return f"/api/loans/{library.loan(MEMBER_ID, copy)}"


def a_hold(_admin: httpx.Client, library: Library) -> str:
    return f"/api/holds/{library.hold(MEMBER_ID, library.book(), library.branch())}"


# What makes one of each, a change of it, and what replaces all of it.
MADE: dict[str, tuple[Make, JSON | None, JSON | None]] = {
    "account": (lambda *_: "/api/me", {"contact": {"phone": "+49 30 1"}}, None),
    "api_key": (
        created("/api/api-keys", {"name": "A", "scopes": ["profile:read"]}),
        {"name": "B"},
        None,
    ),
    "author": (created("/api/authors", {"name": "Lem"}), {"name": "Stanisław"}, {"name": "S. Lem"}),
    "block": (created(f"/api/users/{MEMBER_ID}/blocks", {"reason": "Keeps all"}), None, None),
    "book": (created("/api/books", {"title": "Solaris"}), {"year": 1961}, {"title": "Eden"}),
    "branch": (
        created("/api/branches", {"code": "north", "name": "North", "time_zone": "UTC"}),
        {"name": "Northern"},
        {"code": "south", "name": "South", "time_zone": "UTC"},
    ),
    "client": (created("/api/admin/clients", CLIENT), {"name": "Desk"}, None),
    "copy": (a_copy, {"shelf_mark": "LEM"}, None),
    "hold": (a_hold, {"suspended_until": "2030-01-31"}, None),
    "loan": (a_loan, {"due_at": TIME}, None),
    "loan_policy": (
        created("/api/loan-policies", POLICY),
        {"name": "Any"},
        POLICY | {"period_length": 7},
    ),
    "post": (
        created("/api/posts", {"title": "Open", "body": "Again", "author": "Us"}),
        {"title": "Closed"},
        {"title": "Shut", "body": "Again", "author": "Us"},
    ),
    "subject": (created("/api/subjects", {"name": "Sea"}), {"name": "Ocean"}, {"name": "Water"}),
    "user": (created("/api/users", {"name": "Ada"}), {"name": "Grace"}, None),
}
# What stands still, which no other caller can change while a test looks.
NO_DELETION = frozenset(("account", "hold", "loan"))


def condition(tag: str) -> dict[str, str]:
    return {"If-Match": tag}


class TestReading:
    @pytest.mark.parametrize("noun", MADE)
    def test_one_resource_is_answered_once_for_each_tag(
        self, admin: httpx.Client, library: Library, noun: str
    ) -> None:
        path = MADE[noun][0](admin, library)
        first = admin.get(path)
        tag = first.headers["ETag"]
        assert "." in tag

        again = admin.get(path, headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == tag
        assert "Content-Type" not in again.headers
        assert admin.get(path, headers={"If-None-Match": OTHER}).json() == first.json()

    @pytest.mark.parametrize(
        "path", ["/api", "/api/posts?per_page=2", "/problems", "/problems/not_found", "/healthz"]
    )
    def test_lists_and_pages_have_a_tag_of_their_bytes(
        self, client: httpx.Client, path: str
    ) -> None:
        tag = client.get(path).headers["ETag"]
        assert "." not in tag
        for form in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            assert client.get(path, headers={"If-None-Match": form}).status_code == 304
        assert client.get(path, headers={"If-None-Match": "other"}).status_code == 200

    def test_a_list_has_another_tag_once_something_is_added(self, admin: httpx.Client) -> None:
        tag = admin.get("/api/posts").headers["ETag"]
        admin.post("/api/posts", json={"title": "A", "body": "B", "author": "C"})
        answer = admin.get("/api/posts", headers={"If-None-Match": tag})
        assert answer.status_code == 200
        assert answer.headers["ETag"] != tag

    def test_the_contract_keeps_the_tags_that_it_was_made_with(self, client: httpx.Client) -> None:
        tag = client.get("/openapi.json").headers["ETag"]
        again = client.get("/openapi.json", headers={"If-None-Match": tag})
        assert (again.status_code, again.headers["ETag"]) == (304, tag)
        assert again.headers["Cache-Control"] == "no-cache"

    def test_head_has_the_same_tag_and_conditions(self, admin: httpx.Client) -> None:
        path = created("/api/books", {"title": "Solaris"})(admin, None)  # type: ignore[arg-type]
        tag = admin.get(path).headers["ETag"]
        assert admin.head(path).headers["ETag"] == tag
        assert admin.head(path, headers={"If-None-Match": tag}).status_code == 304

    @pytest.mark.parametrize("tag", ["*", OTHER])
    def test_who_may_not_read_hears_that_first(self, client: httpx.Client, tag: str) -> None:
        headers = {"If-None-Match": tag}
        assert client.get("/api/users", headers=headers).status_code == 401
        assert client.get(f"/api/users/{MEMBER_ID}", headers=headers).status_code == 401

    def test_what_is_not_there_is_not_found(self, admin: httpx.Client) -> None:
        path = f"/api/posts/{UUID(int=1)}"
        assert admin.get(path, headers={"If-None-Match": "*"}).status_code == 404

    def test_two_callers_never_share_a_tag_of_what_differs(
        self, admin: httpx.Client, member: httpx.Client
    ) -> None:
        tag = admin.get("/api/me").headers["ETag"]
        assert member.get("/api/me", headers={"If-None-Match": tag}).status_code == 200

    def test_a_refusal_has_no_tag_and_is_always_told(self, client: httpx.Client) -> None:
        refused = client.get("/api/posts?per_page=0", headers={"If-None-Match": "*"})
        assert refused.status_code == 400
        assert "ETag" not in refused.headers

    def test_a_refusal_that_commits_has_none_either(
        self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Counted(InvalidRequest):
            commits = True

        def refuse(*_: object) -> None:
            raise Counted("No.")

        monkeypatch.setattr(posts, "list_posts", refuse)
        refused = client.get("/api/posts", headers={"If-None-Match": "*"})
        assert refused.status_code == 400
        assert "ETag" not in refused.headers

    def test_only_what_streams_has_no_tag(self) -> None:
        without = {
            operation.operation_id
            for operation in CONTRACT.operations.values()
            if operation.method == "GET" and "if_none_match" not in operation.edge
        }
        assert without == {"download_import_issues"}


class TestLastModified:
    def post(self, admin: httpx.Client) -> tuple[str, str]:
        body = {"title": "A", "body": "B", "author": "C"}
        path = str(admin.post("/api/posts", json=body).headers["Location"])
        return path, admin.get(path).headers["Last-Modified"]

    def test_it_is_when_the_resource_was_changed(self, admin: httpx.Client) -> None:
        path, moment = self.post(admin)
        answer = admin.get(path, headers={"If-Modified-Since": moment})
        assert (answer.status_code, answer.content) == (304, b"")
        earlier = {"If-Modified-Since": "Mon, 05 Jan 2026 12:00:00 GMT"}
        assert admin.get(path, headers=earlier).headers["Last-Modified"] == moment
        assert admin.get(path, headers={"If-Modified-Since": "now"}).status_code == 200

    def test_a_tag_counts_before_it(self, admin: httpx.Client) -> None:
        path, moment = self.post(admin)
        headers = {"If-Modified-Since": moment, "If-None-Match": OTHER}
        assert admin.get(path, headers=headers).status_code == 200

    def test_what_shows_more_than_its_record_does_not_go_by_it(self, admin: httpx.Client) -> None:
        path = str(admin.post("/api/books", json={"title": "A"}).headers["Location"])
        moment = admin.get(path).headers["Last-Modified"]
        assert admin.get(path, headers={"If-Modified-Since": moment}).status_code == 200

    def test_new_tags_of_a_post_are_a_change_of_it(self, admin: httpx.Client) -> None:
        path, _ = self.post(admin)
        before = admin.get(path)
        admin.patch(path, json={"tags": ["new"]}).raise_for_status()
        stale = admin.patch(path, json={"title": "D"}, headers=condition(before.headers["ETag"]))
        assert stale.status_code == 412
        assert admin.get(path).json()["updated_at"] > before.json()["updated_at"]


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
        assert 409 not in CONTRACT.operations["create_post"].responses
        with pytest.raises(DatabaseBusy) as caught:
            self.change(sessions, "create_post")
        assert caught.value.headers == {"Retry-After": "1"}
