"""What is answered 304 after one look at a version, over HTTP on both databases."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine

from circdesk import clock
from circdesk.accounts.models import User
from circdesk.catalog.imports.writing.bulk import update_rows
from circdesk.catalog.models import Copy
from circdesk.db.engine import WRITING
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.settings import Settings
from tests.auth.serving import serving
from tests.circulation.conftest import Library
from tests.conftest import CountQueries
from tests.edge.resources import CONTRACT, MADE, OTHER, POLICY, created
from tests.people import LIBRARIAN_ID, MEMBER_ID, api_key

JSON = dict[str, Any]

# What shows its own row and nothing else.
ALONE = ("branch", "client", "copy", "loan_policy", "post", "user")
# Single resources whose 304 costs the reading, and why.
OTHERWISE = {
    "get_api_key": "when it was last used is not counted, and an old secret ends by the clock",
    "get_author": "the one statement that reads it counts its books",
    "get_subject": "the one statement that reads it counts its books",
    "get_book": "its copies and the names of its authors are other rows; generations cover these",
    "get_event": "it has no version: it never changes, and it is one row by its key",
    "get_fee": "it hashes its body: what is left of it follows from its ledger",
    "get_hold": "it hashes its body: its place in the queue follows from other holds",
    "get_import": "it has no version: it counts what it has read while it runs",
    "get_loan": "it hashes its body: it is overdue by the clock",
    "get_problem": "it asks no database",
    "get_user_block": "it expires by the clock of the desk",
}
STILL = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def path(noun: str, admin: httpx.Client, library: Library) -> str:
    """The path of one resource of the test's noun."""
    return MADE[noun][0](admin, library)


def columns(statement: str) -> list[str]:
    """The names of the columns that a statement reads."""
    selected = statement.partition("SELECT ")[2].partition("FROM")[0]
    return [name.split(" AS ")[0].strip().rpartition(".")[2] for name in selected.split(",")]


@pytest.mark.parametrize("noun", ALONE)
class TestOneStatement:
    @pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
    def test_a_304_reads_the_version_and_nothing_else(
        self, admin: httpx.Client, path: str, form: str, count_queries: CountQueries
    ) -> None:
        tag = admin.get(path).headers["ETag"]
        with count_queries() as statements:
            answer = admin.get(path, headers={"If-None-Match": form.format(tag)})

        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", tag)
        (statement,) = statements
        uncounted = ["branch_id"] if "/users/" in path else []
        assert columns(statement) == ["id", "version", "updated_at", *uncounted]

    @pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
    def test_so_it_does_for_a_compressed_variant_and_for_the_head(
        self, admin: httpx.Client, path: str, coding: str, count_queries: CountQueries
    ) -> None:
        variant = admin.get(path).headers["ETag"].removesuffix('"') + f'-{coding}"'
        headers = {"Accept-Encoding": coding, "If-None-Match": variant}
        for ask in (admin.get, admin.head):
            with count_queries() as statements:
                answer = ask(path, headers=headers)
            assert (answer.status_code, answer.headers["ETag"]) == (304, variant)
            assert len(statements) == 1

    def test_the_304_has_the_headers_of_one_whose_body_was_made(
        self, admin: httpx.Client, library: Library, path: str
    ) -> None:
        def told(path: str) -> dict[str, str]:
            tag = admin.get(path).headers["ETag"]
            answer = admin.get(path, headers={"If-None-Match": tag})
            assert (answer.status_code, answer.headers.pop("ETag")) == (304, tag)
            each = {"date", "x-request-id", "ratelimit"}
            return {name: value for name, value in answer.headers.items() if name not in each}

        assert told(path) == told(MADE["api_key"][0](admin, library))

    def test_another_tag_is_answered_with_the_whole(self, admin: httpx.Client, path: str) -> None:
        whole = admin.get(path)
        tag = whole.headers["ETag"]
        version, _, _ = tag.partition(".")
        for known in (OTHER, f'{version}.0000000000000000"', f'"{tag.partition(".")[2]}', "x"):
            answer = admin.get(path, headers={"If-None-Match": known})
            assert (answer.status_code, answer.json()) == (200, whole.json())
            assert answer.headers["ETag"] == tag
            assert answer.headers["Last-Modified"] == whole.headers["Last-Modified"]

    def test_who_names_nothing_is_asked_nothing_more(
        self, admin: httpx.Client, path: str, count_queries: CountQueries
    ) -> None:
        with count_queries() as statements:
            admin.get(path).raise_for_status()
        assert len(statements) == 1

    def test_what_is_gone_is_not_found(self, admin: httpx.Client, path: str) -> None:
        tag = admin.get(path).headers["ETag"]
        admin.delete(path, headers={"If-Match": "*"}).raise_for_status()
        for known in (tag, "*"):
            assert admin.get(path, headers={"If-None-Match": known}).status_code == 404

    def test_a_time_will_do_where_it_is_heard(
        self, admin: httpx.Client, path: str, noun: str, count_queries: CountQueries
    ) -> None:
        moment = admin.get(path).headers["Last-Modified"]
        with count_queries() as statements:
            answer = admin.get(path, headers={"If-Modified-Since": moment})
        heard = "if_modified_since" in CONTRACT.operations[f"get_{noun}"].edge
        assert (answer.status_code, len(statements)) == ((304 if heard else 200), 1)


def test_every_single_resource_is_looked_up_or_has_its_reason_not_to_be() -> None:
    single = {
        operation.operation_id
        for operation in CONTRACT.operations.values()
        if operation.method == "GET" and operation.path.endswith("}")
    }
    assert single == {f"get_{noun}" for noun in ALONE} | OTHERWISE.keys()


@pytest.mark.parametrize("noun", ["api_key", "author", "block", "book", "hold", "loan", "subject"])
def test_what_shows_more_is_asked_for_no_version(
    admin: httpx.Client, path: str, count_queries: CountQueries
) -> None:
    admin.get(path).raise_for_status()
    with count_queries() as plainly:
        tag = admin.get(path).headers["ETag"]
    with count_queries() as conditionally:
        assert admin.get(path, headers={"If-None-Match": tag}).status_code == 304
    assert conditionally == plainly


def test_what_is_made_of_several_is_not_answered_by_one_of_them(
    admin: httpx.Client, library: Library
) -> None:
    branch = library.branch()
    copy = library.copy(library.book(), branch)
    path = f"/api/loan-policies/effective?copy={copy}&branch={branch}"
    before = admin.get(path)
    library.policy()
    tags = [
        admin.get(one).headers["ETag"] for one in (f"/api/copies/{copy}", f"/api/branches/{branch}")
    ]
    for tag in (*tags, before.headers["ETag"]):
        answer = admin.get(path, headers={"If-None-Match": tag})
        assert answer.status_code == 200
        assert len(answer.json()["items"]) == 1


class TestAuthorisation:
    def test_who_may_not_see_a_user_is_told_of_none_whatever_the_condition(
        self, admin: httpx.Client, member: httpx.Client
    ) -> None:
        for user, status in ((LIBRARIAN_ID, 404), (MEMBER_ID, 304)):
            tag = admin.get(f"/api/users/{user}").headers["ETag"]
            for known in (tag, "*"):
                answer = member.get(f"/api/users/{user}", headers={"If-None-Match": known})
                assert answer.status_code == status
                assert ("ETag" in answer.headers) == (status == 304)

    @pytest.mark.parametrize("noun", ["client", "loan_policy", "user"])
    def test_who_lacks_the_scope_or_the_credential_hears_that_first(
        self, admin: httpx.Client, library: Library, base_url: str, path: str
    ) -> None:
        tag = admin.get(path).headers["ETag"]
        lacking = library.key(LIBRARIAN_ID, scopes=["catalog:write"])
        for credential, status in ((lacking, 403), ({}, 401)):
            headers = {"If-None-Match": f"{tag}, *", **credential}
            answer = httpx.get(f"{base_url}{path}", headers=headers)
            assert answer.status_code == status
            assert "ETag" not in answer.headers


def test_another_release_makes_other_tags(
    admin: httpx.Client, library: Library, settings: Settings
) -> None:
    path = created("/api/loan-policies", POLICY)(admin, library)
    tag = admin.get(path).headers["ETag"]
    headers = {"X-API-Key": api_key("admin"), "If-None-Match": tag}
    with serving(settings) as same, serving(settings, currency="CHF") as other:
        assert httpx.get(f"{same}{path}", headers=headers).status_code == 304
        answer = httpx.get(f"{other}{path}", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["ETag"].partition(".")[0] == tag.partition(".")[0]
    assert answer.json()["fee_per_day"]["currency"] == "CHF"


@dataclass
class Watched:
    """A resource with each tag that it ever had, and what was shown under it."""

    path: str
    shown: dict[str, JSON] = field(default_factory=dict)

    def look(self, admin: httpx.Client) -> None:
        """Who has the present tag hears 304, and who has any other the present content."""
        present = admin.get(self.path)
        tag = present.headers["ETag"]
        assert self.shown.setdefault(tag, present.json()) == present.json(), self.path
        others = ", ".join(self.shown.keys() - {tag}) or OTHER
        for known, status in ((tag, 304), (others, 200)):
            answer = admin.get(self.path, headers={"If-None-Match": known})
            assert (answer.status_code, answer.headers["ETag"]) == (status, tag), self.path


class World:
    """One of each resource, connected, and what happens to them."""

    def __init__(self, admin: httpx.Client, library: Library, sessions: Sessions) -> None:
        self.admin, self.library, self.sessions = admin, library, sessions
        self.home, self.branch, self.book = library.branch(), library.branch(), library.book()
        self.copy = library.copy(self.book, self.branch)
        self.user = library.user(branch_id=self.home)
        self.paths = {
            **{noun: MADE[noun][0](admin, library) for noun in ("client", "post")},
            "branch": f"/api/branches/{self.branch}",
            "copy": f"/api/copies/{self.copy}",
            "loan_policy": f"/api/loan-policies/{library.policy()}",
            "user": f"/api/users/{self.user}",
        }

    def events(self, engine: Engine) -> list[Callable[[], object]]:
        """What happens, in this order; most of it changes one of them, some of it none."""
        changes = [self._changing(noun, body) for noun in ALONE for body in self._bodies(noun)]
        return [
            *changes,
            lambda: self._ask("post", self.paths["post"], {"tags": ["b", "a"]}, "patch"),
            lambda: self._ask("post", self.paths["post"], {"tags": ["a", "b"]}, "patch"),
            lambda: self._ask("client", f"{self.paths['client']}/secrets", {}, "post"),
            self._lend,
            self._take_back,
            self._set_password,
            self._connect,
            lambda: self._import(engine),
            lambda: self.admin.delete(f"/api/branches/{self.home}").raise_for_status(),
        ]

    def _bodies(self, noun: str) -> list[tuple[str, JSON]]:
        """A change, the way back, and where there is one a replacement."""
        change, whole = MADE[noun][1:]
        assert change is not None
        before = self.admin.get(self.paths[noun]).json()
        back = {name: before[name] for name in change}
        bodies = [("patch", change), ("patch", back), ("patch", change)]
        return [*bodies, ("put", whole)] if whole is not None else bodies

    def _changing(self, noun: str, change: tuple[str, JSON]) -> Callable[[], object]:
        return lambda: self._ask(noun, self.paths[noun], change[1], change[0])

    def _ask(self, noun: str, path: str, body: JSON, method: str) -> httpx.Response:
        headers = {"If-Match": "*"} if method != "post" else {}
        answer = self.admin.request(method.upper(), path, json=body, headers=headers)
        assert answer.is_success, (noun, answer.text)
        return answer

    def _lend(self) -> None:
        body = {"user": str(self.user), "copy": str(self.copy)}
        self.lent = self._ask("loan", "/api/loans", body, "post").json()

    def _take_back(self) -> None:
        event = self.lent["compensation"]["parameters"]["event_id"]
        self._ask("event", f"/api/events/{event}/reversals", {}, "post")

    def _set_password(self) -> None:
        with unit_of_work(self.sessions, writing=True) as session:
            session.get_one(User, self.user).password_hash = "a hash"

    def _connect(self) -> None:
        """Rows of other tables, as many as there are nouns that might have counted them."""
        self.library.copy(self.book, self.branch)
        self.library.hold(self.user, self.book, self.branch)
        self.library.key(self.user)
        self.library.policy(branch_id=self.branch)

    def _import(self, engine: Engine) -> None:
        with engine.execution_options(**{WRITING: True}).begin() as connection:
            update_rows(connection, Copy, ("shelf_mark", "id"), [("X", UUID(str(self.copy)).hex)])


@pytest.mark.parametrize("still", [False, True])
def test_whatever_happens_a_304_is_only_told_of_what_would_be_shown_again(
    admin: httpx.Client,
    library: Library,
    sessions: Sessions,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    *,
    still: bool,
) -> None:
    if still:
        # So that nothing but the count of changes tells them apart.
        monkeypatch.setattr(clock, "now", lambda: STILL)
    world = World(admin, library, sessions)
    watched = {noun: Watched(path) for noun, path in world.paths.items()}
    for happens in (lambda: None, *world.events(engine)):
        happens()
        for one in watched.values():
            one.look(admin)
    assert all(len(one.shown) > 3 for one in watched.values())
