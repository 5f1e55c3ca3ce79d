"""Users over HTTP, on both databases."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from circdesk.accounts.models import User
from circdesk.auth.models import (
    ApiKey,
    Consent,
    Grant,
    PasswordReset,
    Revocation,
    WebSession,
)
from circdesk.db.unit_of_work import Sessions, unit_of_work
from tests.accounts.belongings import give_credentials
from tests.people import ADMIN_ID, LIBRARIAN_ID, MEMBER_ID

Expected = Callable[..., dict[str, Any]]

UNKNOWN = "019b8d2b-8c00-7009-8000-0000000000ff"
INPUT: dict[str, Any] = {
    "name": "Grace Hopper",
    "email": "grace@example.org",
    "card_number": "30001",
    "role": "member",
    "category": "standard",
    "branch_id": None,
    "status": "active",
    "expires_on": "2030-12-31",
    "contact": {"phone": "+49 30 1234-56", "postal_address": "Harbour Street 1\n20457 Hamburg"},
    "privacy": {"keeps_history": True, "receives_news": False, "unwanted_notices": ["fee"]},
}
EVERYBODY = ["The admin", "The librarian", "The member"]


def create(staff: httpx.Client, **changes: Any) -> dict[str, Any]:
    response = staff.post("/api/users", json=INPUT | changes)
    assert response.status_code == 201, response.text
    user: dict[str, Any] = response.json()
    return user


def create_branch(admin: httpx.Client) -> dict[str, Any]:
    response = admin.post(
        "/api/branches", json={"code": "central", "name": "Central", "time_zone": "UTC"}
    )
    assert response.status_code == 201, response.text
    branch: dict[str, Any] = response.json()
    return branch


def names(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [user["name"] for user in response.json()["items"]]


def assert_scope_missing(response: httpx.Response, problem: Expected, scope: str) -> None:
    message = f"The credential lacks the scope {scope}."
    assert response.status_code == 403
    assert response.headers["WWW-Authenticate"] == (
        f'Bearer realm="circdesk", error="insufficient_scope", '
        f'error_description="{message}", scope="{scope}"'
    )
    assert response.json() == problem(
        response,
        "scope_missing",
        message,
        details=[
            {
                "in": "header",
                "pointer": "/Authorization",
                "rule": "scope",
                "message": message,
                "allowed": [scope],
            }
        ],
    )


class TestListUsers:
    def test_everybody_is_listed_by_name(self, librarian: httpx.Client) -> None:
        response = librarian.get("/api/users")

        assert names(response) == EVERYBODY
        body = response.json()
        assert body["total"] == 3
        assert body["items"][2] == {
            "id": str(MEMBER_ID),
            "name": "The member",
            "email": "member@example.org",
            "card_number": "20001",
            "role": "member",
            "category": "standard",
            "branch_id": None,
            "status": "active",
            "expires_on": None,
            "contact": {"phone": None, "postal_address": None},
            "privacy": {
                "keeps_history": False,
                "receives_news": False,
                "unwanted_notices": [],
            },
            "has_password": False,
            "created_at": body["items"][2]["created_at"],
            "updated_at": body["items"][2]["updated_at"],
        }

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            pytest.param({"q": "GRACE hop"}, ["Grace Hopper"], id="parts of words"),
            pytest.param({"q": "hopper gráce"}, ["Grace Hopper"], id="any order, other accents"),
            pytest.param({"q": "Grace member"}, [], id="all words must be there"),
            pytest.param({"q": "Grace@Example.org"}, ["Grace Hopper"], id="an email address"),
            pytest.param({"q": "@example.org"}, ["Grace Hopper", *EVERYBODY], id="a part of one"),
            pytest.param({"q": " 30001 "}, ["Grace Hopper"], id="a card"),
            pytest.param({"q": "3000"}, [], id="a part of a card"),
            pytest.param({"q": "%"}, [], id="a sign"),
            pytest.param({"role": "librarian"}, ["The librarian"], id="a role"),
            pytest.param({"status": "blocked"}, ["Grace Hopper"], id="a status"),
            pytest.param({"branch": "code:central"}, ["Grace Hopper"], id="a branch"),
            pytest.param({"branch": "code:nowhere"}, [], id="an unknown branch"),
            pytest.param(
                {"sort": "-name", "role": "member"}, ["The member", "Grace Hopper"], id="z-a"
            ),
            pytest.param({"sort": "-created_at", "per_page": 1}, ["Grace Hopper"], id="the newest"),
            pytest.param(
                {"q": "e", "role": "member", "status": "active"}, ["The member"], id="combined"
            ),
        ],
    )
    def test_filters_and_sorts(
        self, admin: httpx.Client, query: dict[str, Any], found: list[str]
    ) -> None:
        create_branch(admin)
        create(admin, status="blocked", branch_id="code:central")

        assert names(admin.get("/api/users", params=query)) == found

    def test_cursors_walk_the_whole_list_once(self, librarian: httpx.Client) -> None:
        url: str | None = "/api/users?sort=-name&per_page=2&cursor=start"
        seen = []
        while url:
            response = librarian.get(url)
            seen += names(response)
            url = response.json()["links"].get("next")

        assert seen == EVERYBODY[::-1]

    def test_it_takes_two_statements_however_many_users(
        self, admin: httpx.Client, count_queries: Any
    ) -> None:
        for number in range(25):
            create(admin, email=f"user-{number}@example.org", card_number=None)
        admin.get("/api/me")
        with count_queries() as statements:
            admin.get("/api/users?q=e")

        # The page, and the total.
        assert len(statements) == 2

    def test_members_are_refused(self, member: httpx.Client, problem: Expected) -> None:
        assert_scope_missing(member.get("/api/users"), problem, "users:read")

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get("/api/users")

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestCreateUser:
    def test_the_answer_is_the_user_and_where_it_stands(
        self, librarian: httpx.Client, audit: Any
    ) -> None:
        response = librarian.post("/api/users", json=INPUT)

        assert response.status_code == 201
        user = response.json()
        assert response.headers["Location"] == f"/api/users/{user['id']}"
        assert UUID(user["id"]).version == 7
        own = {name: user[name] for name in ("id", "created_at", "updated_at")}
        assert user == INPUT | own | {"has_password": False}
        assert librarian.get(response.headers["Location"]).json() == user
        (entry,) = audit("user.create")
        assert (entry.actor_id, entry.target_id) == (LIBRARIAN_ID, UUID(user["id"]))
        assert (entry.outcome, entry.details) == ("success", {"role": "member"})

    def test_the_category_of_a_borrower_is_a_word_of_the_librarys_own(
        self, librarian: httpx.Client
    ) -> None:
        user = create(librarian, category="teacher")

        assert librarian.get(f"/api/users/{user['id']}").json()["category"] == "teacher"
        for word in ("Teacher", "two words", "", None):
            response = librarian.post("/api/users", json=INPUT | {"category": word})
            assert response.status_code == 400
            assert [entry["pointer"] for entry in response.json()["details"]] == ["/category"]

    def test_a_name_is_enough(self, librarian: httpx.Client) -> None:
        user = librarian.post("/api/users", json={"name": "Nobody Special"}).json()

        assert user["email"] is None
        assert user["card_number"].isdigit()
        assert len(user["card_number"]) == 8
        assert user["role"] == "member"
        assert user["category"] == "standard"
        assert user["status"] == "active"
        assert user["contact"] == {"phone": None, "postal_address": None}
        assert user["privacy"] == {
            "keeps_history": False,
            "receives_news": False,
            "unwanted_notices": [],
        }

    def test_names_are_trimmed_and_composed(self, librarian: httpx.Client) -> None:
        user = create(librarian, name="  \N{NO-BREAK SPACE}Andre\N{COMBINING ACUTE ACCENT} Gide ")

        assert user["name"] == "André Gide"
        assert names(librarian.get("/api/users?q=andre")) == ["André Gide"]

    def test_a_name_may_grow_when_it_is_composed(self, librarian: httpx.Client) -> None:
        letter = "\N{HEBREW LETTER SHIN WITH DAGESH AND SHIN DOT}"

        assert len(create(librarian, name=letter * 200)["name"]) == 600

    def test_email_addresses_are_kept_in_lower_case(self, librarian: httpx.Client) -> None:
        assert create(librarian, email="Grace.HOPPER@Example.ORG")["email"] == (
            "grace.hopper@example.org"
        )

    def test_the_branch_is_named_by_its_code(self, admin: httpx.Client) -> None:
        branch = create_branch(admin)

        assert create(admin, branch_id="code:central")["branch_id"] == branch["id"]

    def test_two_members_may_have_no_email_address(self, librarian: httpx.Client) -> None:
        first = create(librarian, email=None, card_number=None)
        second = create(librarian, email=None, card_number=None)

        assert first["card_number"] != second["card_number"]

    def test_a_taken_email_address_is_a_conflict_in_any_case(
        self, librarian: httpx.Client, problem: Expected
    ) -> None:
        response = librarian.post("/api/users", json=INPUT | {"email": "Member@EXAMPLE.org"})

        assert response.status_code == 409
        message = "Another user has this email address."
        assert response.json() == problem(
            response,
            "email_taken",
            message,
            details=[
                {"in": "body", "pointer": "/email", "rule": "unique", "message": message},
            ],
            suggestions=[
                {
                    "operation_id": "get_user",
                    "parameters": {"user_id": str(MEMBER_ID)},
                    "reason": "It has this address.",
                }
            ],
        )

    def test_a_taken_card_number_is_a_conflict(
        self, librarian: httpx.Client, problem: Expected
    ) -> None:
        response = librarian.post("/api/users", json=INPUT | {"card_number": "20001"})

        assert response.status_code == 409
        message = "Another user has the card number 20001."
        assert response.json() == problem(
            response,
            "card_number_taken",
            message,
            details=[
                {"in": "body", "pointer": "/card_number", "rule": "unique", "message": message},
            ],
            suggestions=[
                {
                    "operation_id": "get_user",
                    "parameters": {"user_id": "card:20001"},
                    "reason": "It has this card number.",
                }
            ],
        )

    def test_an_unknown_branch_is_impossible(
        self, librarian: httpx.Client, problem: Expected
    ) -> None:
        response = librarian.post("/api/users", json=INPUT | {"branch_id": "code:nowhere"})

        assert response.status_code == 422
        message = "No branch has the key code:nowhere."
        assert response.json() == problem(
            response,
            "reference_unknown",
            message,
            details=[
                {"in": "body", "pointer": "/branch_id", "rule": "reference", "message": message},
            ],
        )

    @pytest.mark.parametrize(
        ("changes", "pointer", "rule"),
        [
            # The first letter is Cyrillic; then all of them are full-width.
            pytest.param({"email": "\u0430da@example.org"}, "/email", "pattern", id="Cyrillic"),
            pytest.param({"email": "grace@ex\u0430mple.org"}, "/email", "pattern", id="its domain"),
            pytest.param(
                {"email": "".join(chr(ord(letter) + 0xFEE0) for letter in "ada@example.org")},
                "/email",
                "pattern",
                id="full-width",
            ),
            pytest.param({"email": "gr\u0131ce@example.org"}, "/email", "pattern", id="dotless i"),
            pytest.param({"email": "grace@\u212aelvin.org"}, "/email", "pattern", id="Kelvin sign"),
            pytest.param({"email": "grace"}, "/email", "pattern", id="no domain"),
            pytest.param({"email": "grace@example.org\n"}, "/email", "pattern", id="a line end"),
            pytest.param({"email": f"{'g' * 250}@example.org"}, "/email", "maxLength", id="long"),
            pytest.param({"name": " \t"}, "/name", "pattern", id="blank name"),
            pytest.param({"name": "\x85"}, "/name", "pattern", id="a control character as name"),
            pytest.param({"card_number": "2 0"}, "/card_number", "pattern", id="card with a blank"),
            pytest.param({"role": "owner"}, "/role", "enum", id="unknown role"),
            pytest.param({"status": "deleted"}, "/status", "enum", id="status by hand"),
            pytest.param({"expires_on": "2026-02-30"}, "/expires_on", "format", id="30 February"),
            pytest.param(
                {"contact": {"fax": "1"}}, "/contact/fax", "additionalProperties", id="fax"
            ),
            pytest.param(
                {"contact": {"phone": "call me"}}, "/contact/phone", "pattern", id="phone"
            ),
            pytest.param({"password": "x"}, "/password", "additionalProperties", id="a password"),
        ],
    )
    def test_a_body_that_breaks_the_contract_is_refused(
        self, librarian: httpx.Client, changes: dict[str, Any], pointer: str, rule: str
    ) -> None:
        response = librarian.post("/api/users", json=INPUT | changes)

        assert response.status_code == 400
        found = [(entry["pointer"], entry["rule"]) for entry in response.json()["details"]]
        assert (pointer, rule) in found
        assert names(librarian.get("/api/users")) == EVERYBODY

    @pytest.mark.parametrize("role", ["librarian", "admin"])
    def test_librarians_create_members_only(
        self, librarian: httpx.Client, problem: Expected, role: str
    ) -> None:
        response = librarian.post("/api/users", json=INPUT | {"role": role})

        assert_scope_missing(response, problem, "roles:write")

    def test_admins_create_every_role(self, admin: httpx.Client) -> None:
        assert create(admin, role="admin")["role"] == "admin"

    def test_members_are_refused(self, member: httpx.Client, problem: Expected) -> None:
        assert_scope_missing(member.post("/api/users", json=INPUT), problem, "users:write")

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.post("/api/users", json=INPUT)

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestGetUser:
    @pytest.mark.parametrize("key", [str(MEMBER_ID), "card:20001"])
    def test_staff_see_everybody(self, librarian: httpx.Client, key: str) -> None:
        response = librarian.get(f"/api/users/{key}")

        assert response.status_code == 200
        assert response.json()["name"] == "The member"

    @pytest.mark.parametrize("key", [str(MEMBER_ID), "card:20001"])
    def test_members_see_themselves(self, member: httpx.Client, key: str) -> None:
        response = member.get(f"/api/users/{key}")

        assert response.status_code == 200
        assert response.json()["id"] == str(MEMBER_ID)

    @pytest.mark.parametrize(
        "key", [str(LIBRARIAN_ID), "card:20002", UNKNOWN, "card:99999", str(LIBRARIAN_ID).upper()]
    )
    def test_members_do_not_learn_whether_somebody_else_exists(
        self, member: httpx.Client, problem: Expected, key: str
    ) -> None:
        response = member.get(f"/api/users/{key}")

        assert response.status_code == 404
        assert response.json() == problem(response, "not_found", f"No user has the key {key}.")

    def test_a_librarian_with_a_narrow_key_sees_the_own_account_alone(
        self, caller: Any, problem: Expected
    ) -> None:
        narrow = caller(LIBRARIAN_ID, "profile:read")

        assert narrow.get("/api/users/card:20002").status_code == 200
        response = narrow.get("/api/users/card:20001")
        assert response.json() == problem(response, "not_found", "No user has the key card:20001.")

    def test_a_key_without_either_scope_is_refused(self, caller: Any, problem: Expected) -> None:
        response = caller(LIBRARIAN_ID, "news:write").get("/api/users/card:20002")

        assert_scope_missing(response, problem, "users:read")

    def test_an_unknown_key_is_not_found(self, librarian: httpx.Client, problem: Expected) -> None:
        response = librarian.get(f"/api/users/{UNKNOWN}")

        assert response.status_code == 404
        assert response.json() == problem(response, "not_found", f"No user has the key {UNKNOWN}.")

    def test_a_key_of_no_form_is_refused(self, librarian: httpx.Client) -> None:
        response = librarian.get("/api/users/email:member@example.org")

        assert response.status_code == 400

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get("/api/users/card:20001")

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestUpdateUser:
    def test_what_is_not_named_stays(self, librarian: httpx.Client, audit: Any) -> None:
        user = create(librarian)

        response = librarian.patch(
            "/api/users/card:30001",
            json={"name": "Rear Admiral Hopper", "contact": {"phone": None}, "email": None},
            headers={"Content-Type": "application/merge-patch+json"},
        )

        assert response.status_code == 200
        assert response.json() == user | {
            "name": "Rear Admiral Hopper",
            "email": None,
            "contact": user["contact"] | {"phone": None},
            "updated_at": response.json()["updated_at"],
        }
        assert librarian.get("/api/users/card:30001").json() == response.json()
        (entry,) = audit("user.update")
        assert (entry.actor_id, entry.target_id) == (LIBRARIAN_ID, UUID(user["id"]))
        assert entry.details == {"fields": ["contact", "email", "name"]}

    def test_a_patch_that_changes_nothing_leaves_no_trace(
        self, librarian: httpx.Client, audit: Any
    ) -> None:
        user = create(librarian)

        assert librarian.patch("/api/users/card:30001", json=INPUT).json() == user
        assert audit("user.update") == audit("user.role_change") == audit("user.block") == []

    def test_staff_change_the_category_of_a_borrower_and_nothing_else_ends(
        self, librarian: httpx.Client, audit: Any
    ) -> None:
        user = create(librarian)

        changed = librarian.patch("/api/users/card:30001", json={"category": "teacher"}).json()

        assert changed == user | {"category": "teacher", "updated_at": changed["updated_at"]}
        (entry,) = audit("user.update")
        assert entry.details == {"fields": ["category"]}

    def test_a_new_card_replaces_the_old_one(self, librarian: httpx.Client) -> None:
        create(librarian)

        librarian.patch("/api/users/card:30001", json={"card_number": "30002"})

        assert librarian.get("/api/users/card:30002").status_code == 200
        assert librarian.get("/api/users/card:30001").status_code == 404

    def test_a_taken_email_address_is_a_conflict(self, librarian: httpx.Client) -> None:
        create(librarian)

        response = librarian.patch("/api/users/card:30001", json={"email": "admin@example.org"})

        assert response.status_code == 409
        assert response.json()["code"] == "email_taken"
        assert response.json()["suggestions"][0]["parameters"] == {"user_id": str(ADMIN_ID)}

    def test_a_new_email_address_ends_what_was_sent_to_the_old_one(
        self, librarian: httpx.Client, sessions: Sessions
    ) -> None:
        user_id = UUID(create(librarian)["id"])
        give_credentials(sessions, user_id)

        librarian.patch(f"/api/users/{user_id}", json={"email": "hopper@example.org"})

        with unit_of_work(sessions, writing=False) as session:
            for table, left in ((PasswordReset, 0), (WebSession, 1), (Consent, 1)):
                kept = session.scalars(select(table).where(table.user_id == user_id)).all()
                assert len(kept) == left, table

    @pytest.mark.parametrize("changes", [{"role": "librarian"}, {"status": "blocked"}])
    def test_a_new_role_or_status_ends_sessions_and_grants(
        self, admin: httpx.Client, sessions: Sessions, changes: dict[str, Any]
    ) -> None:
        user_id = UUID(create(admin)["id"])
        give_credentials(sessions, user_id)

        admin.patch(f"/api/users/{user_id}", json=changes)

        with unit_of_work(sessions, writing=False) as session:
            for table in (PasswordReset, WebSession):
                assert not session.scalars(select(table).where(table.user_id == user_id)).all()
            (grant,) = session.scalars(select(Grant).where(Grant.user_id == user_id))
            assert grant.revoked_at is not None

    def test_who_is_blocked_is_out_at_once_and_may_come_back(
        self, librarian: httpx.Client, caller: Any, audit: Any
    ) -> None:
        user = create(librarian)
        other = caller(user["id"], "profile:read")
        assert other.get("/api/me").status_code == 200

        blocked = librarian.patch("/api/users/card:30001", json={"status": "blocked"})

        assert blocked.json()["status"] == "blocked"
        assert other.get("/api/me").status_code == 401
        librarian.patch("/api/users/card:30001", json={"status": "active"})
        assert other.get("/api/me").status_code == 200
        assert [entry.target_id for entry in audit("user.block")] == [UUID(user["id"])]
        assert [entry.target_id for entry in audit("user.unblock")] == [UUID(user["id"])]

    def test_a_role_that_is_taken_takes_its_scopes_along(
        self, admin: httpx.Client, librarian: httpx.Client, audit: Any
    ) -> None:
        assert librarian.get("/api/users").status_code == 200

        response = admin.patch("/api/users/card:20002", json={"role": "member"})

        assert response.status_code == 200
        assert librarian.get("/api/users").status_code == 403
        (entry,) = audit("user.role_change")
        assert (entry.actor_id, entry.target_id) == (ADMIN_ID, LIBRARIAN_ID)
        assert entry.details == {"before": "librarian", "after": "member"}

    @pytest.mark.parametrize(
        ("key", "changes"),
        [
            pytest.param("card:20001", {"role": "librarian"}, id="give a role"),
            pytest.param("card:20002", {"role": "admin"}, id="promote themselves"),
            pytest.param("card:20002", {"name": "Me"}, id="change themselves"),
            pytest.param("card:20003", {"status": "blocked"}, id="block an administrator"),
            pytest.param("card:20003", {"email": "mine@example.org"}, id="take an account over"),
        ],
    )
    def test_librarians_change_members_only(
        self, librarian: httpx.Client, problem: Expected, key: str, changes: dict[str, Any]
    ) -> None:
        before = librarian.get(f"/api/users/{key}").json()

        response = librarian.patch(f"/api/users/{key}", json=changes)

        assert_scope_missing(response, problem, "roles:write")
        assert librarian.get(f"/api/users/{key}").json() == before

    @pytest.mark.parametrize(
        "changes", [{"role": "librarian"}, {"status": "blocked"}, {"role": "member", "name": "X"}]
    )
    def test_the_last_active_admin_stays(
        self, admin: httpx.Client, problem: Expected, changes: dict[str, Any]
    ) -> None:
        create(admin, role="admin", status="blocked")

        response = admin.patch("/api/users/card:20003", json=changes)

        assert response.status_code == 409
        assert response.json() == problem(
            response, "last_admin", "No other active administrator would be left."
        )
        assert admin.get("/api/me").json()["user"]["role"] == "admin"

    def test_the_last_admin_may_be_changed_otherwise(self, admin: httpx.Client) -> None:
        changes = {"name": "Root", "role": "admin", "status": "active"}

        response = admin.patch("/api/users/card:20003", json=changes)

        assert response.status_code == 200
        assert response.json()["name"] == "Root"

    def test_one_of_two_admins_may_go(self, admin: httpx.Client) -> None:
        create(admin, role="admin")

        assert admin.patch("/api/users/card:30001", json={"role": "member"}).status_code == 200

    def test_an_unknown_key_is_not_found(self, librarian: httpx.Client, problem: Expected) -> None:
        response = librarian.patch("/api/users/card:99999", json={})

        assert response.status_code == 404
        assert response.json() == problem(response, "not_found", "No user has the key card:99999.")

    def test_members_are_refused(self, member: httpx.Client, problem: Expected) -> None:
        response = member.patch("/api/users/card:20001", json={"name": "Me"})

        assert_scope_missing(response, problem, "users:write")

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.patch("/api/users/card:20001", json={})

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestDeleteUser:
    def test_the_person_is_gone_and_the_row_stays(
        self, admin: httpx.Client, audit: Any, sessions: Sessions
    ) -> None:
        branch = create_branch(admin)
        user = create(admin, branch_id=branch["id"])

        response = admin.delete("/api/users/card:30001")

        assert response.status_code == 204
        assert response.content == b""
        with unit_of_work(sessions, writing=False) as session:
            row = session.get_one(User, UUID(user["id"]))
            stored = {column.name: getattr(row, column.name) for column in User.__table__.columns}
        assert stored == {
            "id": UUID(user["id"]),
            "name": None,
            "sort_name": "",
            "email": None,
            "card_number": None,
            "role": "member",
            "category": "standard",
            "status": "deleted",
            "branch_id": UUID(branch["id"]),
            "expires_on": None,
            "phone": None,
            "postal_address": None,
            "keeps_history": False,
            "receives_news": False,
            "unwanted_notices": [],
            "password_hash": None,
            "password_changed_at": None,
            "anonymised_at": stored["anonymised_at"],
            "created_at": stored["created_at"],
            "updated_at": stored["updated_at"],
            "version": 2,
        }
        assert stored["created_at"] < stored["anonymised_at"] <= stored["updated_at"]
        (entry,) = audit("user.delete")
        assert (entry.actor_id, entry.target_id) == (ADMIN_ID, UUID(user["id"]))
        assert entry.details == {}

    @pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
    def test_nobody_finds_the_deleted_one(
        self, librarian: httpx.Client, problem: Expected, method: str
    ) -> None:
        key = create(librarian)["id"]
        librarian.delete(f"/api/users/{key}")

        response = librarian.request(
            method, f"/api/users/{key}", json={} if method == "PATCH" else None
        )

        assert response.status_code == 404
        assert response.json() == problem(response, "not_found", f"No user has the key {key}.")
        assert names(librarian.get("/api/users")) == EVERYBODY

    def test_every_credential_ends(
        self, librarian: httpx.Client, caller: Any, sessions: Sessions
    ) -> None:
        user_id = UUID(create(librarian)["id"])
        key = caller(user_id, "profile:read")
        assert key.get("/api/me").status_code == 200
        give_credentials(sessions, user_id)

        librarian.delete(f"/api/users/{user_id}")

        assert key.get("/api/me").status_code == 401
        with unit_of_work(sessions, writing=False) as session:
            for table in (ApiKey, Consent, WebSession, PasswordReset):
                assert not session.scalars(select(table).where(table.user_id == user_id)).all()
            (grant,) = session.scalars(select(Grant).where(Grant.user_id == user_id))
            assert grant.revoked_at is not None
            assert session.get(Revocation, str(grant.id)) is not None

    def test_email_address_and_card_are_free_again(self, librarian: httpx.Client) -> None:
        user = create(librarian)
        librarian.delete("/api/users/card:30001")

        assert create(librarian)["id"] != user["id"]

    def test_librarians_delete_members_only(
        self, librarian: httpx.Client, problem: Expected
    ) -> None:
        assert_scope_missing(librarian.delete("/api/users/card:20003"), problem, "roles:write")

    def test_the_last_active_admin_stays(self, admin: httpx.Client, problem: Expected) -> None:
        response = admin.delete("/api/users/card:20003")

        assert response.status_code == 409
        assert response.json() == problem(
            response, "last_admin", "No other active administrator would be left."
        )
        assert admin.get("/api/me").status_code == 200

    def test_one_of_two_admins_may_go(self, admin: httpx.Client) -> None:
        create(admin, role="admin")

        assert admin.delete("/api/users/card:20003").status_code == 204
        assert admin.get("/api/me").status_code == 401

    def test_an_unknown_key_is_not_found(self, librarian: httpx.Client, problem: Expected) -> None:
        response = librarian.delete(f"/api/users/{UNKNOWN}")

        assert response.status_code == 404
        assert response.json() == problem(response, "not_found", f"No user has the key {UNKNOWN}.")

    def test_members_are_refused(self, member: httpx.Client, problem: Expected) -> None:
        assert_scope_missing(member.delete("/api/users/card:20001"), problem, "users:write")

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.delete("/api/users/card:20001")

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")
