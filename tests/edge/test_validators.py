"""ETag, Last-Modified, and what is answered 304 by them, over HTTP on both databases."""

from uuid import UUID

import httpx
import pytest

from circdesk.contract.requests import InvalidRequest
from circdesk.news import posts
from tests.circulation.conftest import Library
from tests.edge.resources import CONTRACT, MADE, OTHER, condition, created
from tests.people import MEMBER_ID


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
        "path",
        ["/api", "/api/posts?per_page=2", "/problems", "/problems/not_found"],
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

    def test_only_streams_and_probes_have_no_tag(self) -> None:
        without = {
            operation.operation_id
            for operation in CONTRACT.operations.values()
            if operation.method == "GET" and "if_none_match" not in operation.edge
        }
        probes = {"get_health", "get_liveness", "get_readiness"}
        assert without == {"download_import_issues", *probes}


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
