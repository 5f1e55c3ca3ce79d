"""API keys over HTTP, on both databases."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from circdesk import clock
from circdesk.accounts.models import User
from circdesk.audit.models import AuditEntry
from circdesk.auth.memory import forget_after_commit
from circdesk.auth.models import ApiKey
from circdesk.auth.scopes import ROLE_SCOPES
from circdesk.auth.secrets import hash_secret
from circdesk.db.unit_of_work import Sessions, unit_of_work
from tests.people import LIBRARIAN_ID, MEMBER_ID, api_key

JSON = dict[str, Any]
Expected = Callable[..., JSON]
Answer = TypeVar("Answer")

UNKNOWN = "019b8d2b-8c00-700a-8000-0000000000ff"
INPUT: JSON = {"name": "Nightly report", "scopes": ["credentials:write", "profile:read"]}


def make(caller: httpx.Client, **changes: Any) -> JSON:
    response = caller.post("/api/api-keys", json=INPUT | changes)
    assert response.status_code == 201, response.text
    key: JSON = response.json()
    return key


def shown(key: JSON) -> JSON:
    """What is seen of a key once its secret was told."""
    return {name: value for name, value in key.items() if name != "secret"}


def missing(expected: Expected, response: httpx.Response) -> JSON:
    return expected(response, "not_found", f"No API key has the id {UNKNOWN}.")


def required(expected: Expected, response: httpx.Response) -> JSON:
    assert response.status_code == 401
    return expected(response, "credentials_required", "Send a credential.")


@pytest.fixture
def narrow(client: httpx.Client, member: httpx.Client) -> httpx.Client:
    """A caller by a key that may manage keys and nothing else."""
    client.headers["X-API-Key"] = make(member, scopes=["credentials:read", "credentials:write"])[
        "secret"
    ]
    return client


def works(base_url: str, secret: str) -> bool:
    """Whether this opens anything."""
    response = httpx.get(f"{base_url}/api/posts", headers={"X-API-Key": secret}, timeout=10)
    assert response.status_code in (200, 401), response.text
    return response.status_code == 200


def audited(sessions: Sessions) -> list[tuple[Any, ...]]:
    with unit_of_work(sessions, writing=False) as session:
        entries = session.scalars(select(AuditEntry).order_by(AuditEntry.occurred_at))
        return [
            (entry.action, entry.outcome, entry.actor_id, str(entry.target_id), entry.details)
            for entry in entries
        ]


@contextmanager
def stored(sessions: Sessions, key_id: str) -> Iterator[ApiKey]:
    """A key as it is stored, to be changed behind the service's back."""
    with unit_of_work(sessions, writing=True) as session:
        yield session.scalars(select(ApiKey).where(ApiKey.id == UUID(key_id))).one()


class TestListApiKeys:
    def test_only_ones_own_are_listed_the_latest_first(
        self, member: httpx.Client, librarian: httpx.Client
    ) -> None:
        keys = [make(member, name=f"Key {number}") for number in range(2)]
        make(librarian)

        body = member.get("/api/api-keys").json()

        assert body["total"] == 3
        assert body["items"][:2] == [shown(key) for key in reversed(keys)]
        assert body["items"][2]["name"] == "For tests"

    def test_a_cursor_walks_them(self, member: httpx.Client) -> None:
        for number in range(3):
            make(member, name=f"Key {number}")
        url, names = "/api/api-keys?sort=created_at&per_page=2&cursor=start", []
        while url:
            body = member.get(url).json()
            names += [key["name"] for key in body["items"]]
            url = body["links"].get("next")

        assert names == ["For tests", "Key 0", "Key 1", "Key 2"]

    def test_it_takes_two_statements_however_many_keys(
        self, member: httpx.Client, count_queries: Any
    ) -> None:
        for number in range(25):
            make(member, name=f"Key {number}")
        member.get("/api/api-keys")
        with count_queries() as statements:
            member.get("/api/api-keys")

        # The page, and the total.
        assert len(statements) == 2

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get("/api/api-keys")

        assert response.json() == required(problem, response)

    def test_the_scope_is_needed(self, client: httpx.Client, member: httpx.Client) -> None:
        secret = make(member, scopes=["profile:read"])["secret"]
        response = client.get("/api/api-keys", headers={"X-API-Key": secret})

        assert response.status_code == 403
        assert response.json()["details"][0]["allowed"] == ["credentials:read"]


class TestCreateApiKey:
    def test_the_answer_tells_the_secret_once(
        self, member: httpx.Client, base_url: str, sessions: Sessions
    ) -> None:
        response = member.post("/api/api-keys", json=INPUT)

        assert response.status_code == 201
        key = response.json()
        assert re.fullmatch(r"cdk_[A-Za-z0-9_-]{43}", key["secret"])
        assert key == INPUT | {
            "id": key["id"],
            "prefix": key["secret"][:12],
            "expires_at": None,
            "last_used_at": None,
            "old_secret_expires_at": None,
            "secret": key["secret"],
            "created_at": key["created_at"],
            "updated_at": key["created_at"],
        }
        assert response.headers["Location"] == f"/api/api-keys/{key['id']}"
        assert response.headers["Cache-Control"] == "no-store"
        assert member.get(response.headers["Location"]).json() == shown(key)
        with stored(sessions, key["id"]) as row:
            assert (row.user_id, row.secret_hash) == (MEMBER_ID, hash_secret(key["secret"]))
        assert works(base_url, key["secret"])

    def test_it_is_audited_without_the_secret(
        self, member: httpx.Client, sessions: Sessions
    ) -> None:
        key = make(member)

        assert audited(sessions) == [
            ("api_key.create", "success", MEMBER_ID, key["id"], {"scopes": INPUT["scopes"]})
        ]

    @pytest.mark.parametrize("scope", ["users:read", "profile:write", "nothing:read"])
    def test_a_narrow_key_cannot_make_a_wider_one(
        self, narrow: httpx.Client, problem: Expected, scope: str
    ) -> None:
        response = narrow.post(
            "/api/api-keys", json=INPUT | {"scopes": ["credentials:read", scope]}
        )

        assert response.status_code == 422
        message = f"The credential cannot give what it does not have: {scope}."
        assert response.json() == problem(
            response,
            "scope_not_granted",
            message,
            details=[
                {
                    "in": "body",
                    "pointer": "/scopes",
                    "rule": "scope",
                    "message": message,
                    "allowed": ["credentials:read", "credentials:write"],
                }
            ],
        )

    def test_it_may_expire_in_the_future(self, member: httpx.Client, base_url: str) -> None:
        moment = (clock.now() + timedelta(days=366, minutes=-1)).isoformat().replace("+00:00", "Z")

        key = make(member, expires_at=moment)

        assert key["expires_at"] == moment
        assert works(base_url, key["secret"])

    @pytest.mark.parametrize("ahead", [timedelta(0), timedelta(days=-1), timedelta(days=367)])
    def test_it_cannot_expire_in_the_past_or_too_late(
        self, member: httpx.Client, problem: Expected, ahead: timedelta
    ) -> None:
        moment = (clock.now() + ahead).isoformat()
        response = member.post("/api/api-keys", json=INPUT | {"expires_at": moment})

        assert response.status_code == 422
        message = "A key expires in the future, at most 366 days ahead, or never."
        details = [{"in": "body", "pointer": "/expires_at", "rule": "expiry", "message": message}]
        assert response.json() == problem(response, "expiry_impossible", message, details=details)

    def test_nobody_has_more_than_100(
        self, member: httpx.Client, sessions: Sessions, problem: Expected
    ) -> None:
        with unit_of_work(sessions, writing=True) as session:
            session.add_all(
                ApiKey(
                    user_id=MEMBER_ID,
                    name=f"Key {number}",
                    prefix="cdk_00000000",
                    secret_hash=f"{number}",
                    scopes=["profile:read"],
                )
                for number in range(99)
            )
        response = member.post("/api/api-keys", json=INPUT)

        assert response.status_code == 409
        assert response.json() == problem(
            response, "too_many_api_keys", "Nobody has more than 100 API keys."
        )

    @pytest.mark.parametrize(
        ("changes", "pointer", "rule"),
        [
            pytest.param({"name": "\x07"}, "/name", "pattern", id="a control character"),
            pytest.param({"scopes": []}, "/scopes", "minItems", id="no scope"),
            pytest.param({"scopes": ["ALL"]}, "/scopes/0", "pattern", id="no form of a scope"),
            pytest.param({"expires_at": "2027"}, "/expires_at", "format", id="no time"),
            pytest.param({"secret": "mine"}, "/secret", "additionalProperties", id="a secret"),
        ],
    )
    def test_a_body_that_breaks_the_contract_is_refused(
        self, member: httpx.Client, changes: JSON, pointer: str, rule: str
    ) -> None:
        response = member.post("/api/api-keys", json=INPUT | changes)

        assert response.status_code == 400
        faults = [(entry["pointer"], entry["rule"]) for entry in response.json()["details"]]
        assert (pointer, rule) in faults

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.post("/api/api-keys", json=INPUT)

        assert response.json() == required(problem, response)


class TestGetApiKey:
    def test_it_is_shown_without_its_secret(self, member: httpx.Client) -> None:
        key = make(member)

        response = member.get(f"/api/api-keys/{key['id']}")

        assert response.status_code == 200
        assert response.json() == shown(key)

    def test_an_unknown_id_is_not_found(self, member: httpx.Client, problem: Expected) -> None:
        response = member.get(f"/api/api-keys/{UNKNOWN}")

        assert response.status_code == 404
        assert response.json() == missing(problem, response)

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get(f"/api/api-keys/{UNKNOWN}")

        assert response.json() == required(problem, response)


class TestUpdateApiKey:
    def test_its_name_changes_and_the_rest_stays(
        self, member: httpx.Client, base_url: str, sessions: Sessions
    ) -> None:
        key = make(member)

        response = member.patch(f"/api/api-keys/{key['id']}", json={"name": "Weekly report"})

        assert response.status_code == 200
        changed = response.json()
        assert changed == shown(key) | {
            "name": "Weekly report",
            "updated_at": changed["updated_at"],
        }
        assert changed["updated_at"] > key["updated_at"]
        assert works(base_url, key["secret"])
        assert audited(sessions)[1:] == [
            ("api_key.update", "success", MEMBER_ID, key["id"], {"changed": ["name"]})
        ]

    def test_its_scopes_cannot_change(self, member: httpx.Client) -> None:
        key = make(member)
        response = member.patch(f"/api/api-keys/{key['id']}", json={"scopes": ["profile:write"]})

        assert response.status_code == 400

    def test_an_unknown_id_is_not_found(self, member: httpx.Client, problem: Expected) -> None:
        response = member.patch(f"/api/api-keys/{UNKNOWN}", json={"name": "Mine"})

        assert response.status_code == 404
        assert response.json() == missing(problem, response)

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.patch(f"/api/api-keys/{UNKNOWN}", json={})

        assert response.json() == required(problem, response)


class TestRevokeApiKey:
    def test_it_is_refused_from_the_next_request_on(
        self, member: httpx.Client, base_url: str, sessions: Sessions
    ) -> None:
        key = make(member)
        assert works(base_url, key["secret"])

        response = member.delete(f"/api/api-keys/{key['id']}")

        assert response.status_code == 204
        assert not works(base_url, key["secret"])
        assert member.get(f"/api/api-keys/{key['id']}").status_code == 404
        assert audited(sessions)[1:] == [("api_key.revoke", "success", MEMBER_ID, key["id"], {})]

    def test_who_has_its_secret_is_told_for_a_month(
        self,
        member: httpx.Client,
        client: httpx.Client,
        problem: Expected,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        key = make(member)
        assert member.delete(f"/api/api-keys/{key['id']}").status_code == 204

        for credential in (
            {"headers": {"X-API-Key": key["secret"]}},
            {"auth": (key["id"], key["secret"])},
        ):
            response = client.get("/api/posts", **credential)
            assert response.status_code == 401
            assert response.json() == problem(
                response, "credentials_revoked", "The API key was revoked."
            )
        other = client.get("/api/posts", headers={"X-API-Key": f"{key['secret'][:-1]}"})
        assert other.json()["code"] == "credentials_invalid"
        later = clock.now() + timedelta(days=31)
        monkeypatch.setattr(clock, "now", lambda: later)
        response = client.get("/api/posts", headers={"X-API-Key": key["secret"]})
        assert response.json()["code"] == "credentials_invalid"

    def test_an_unknown_id_is_not_found(self, member: httpx.Client, problem: Expected) -> None:
        response = member.delete(f"/api/api-keys/{UNKNOWN}")

        assert response.status_code == 404
        assert response.json() == missing(problem, response)

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.delete(f"/api/api-keys/{UNKNOWN}")

        assert response.json() == required(problem, response)


class TestRotateApiKey:
    def test_both_secrets_are_good_until_the_overlap_is_over(
        self, member: httpx.Client, base_url: str, sessions: Sessions
    ) -> None:
        key = make(member)

        response = member.post(f"/api/api-keys/{key['id']}/rotations", json={})

        assert response.status_code == 201
        assert response.headers["Location"] == f"/api/api-keys/{key['id']}"
        assert response.headers["Cache-Control"] == "no-store"
        rotated = response.json()
        assert rotated["secret"] != key["secret"]
        assert rotated == key | {
            "secret": rotated["secret"],
            "prefix": rotated["secret"][:12],
            "old_secret_expires_at": rotated["old_secret_expires_at"],
            "updated_at": rotated["updated_at"],
        }
        assert rotated["old_secret_expires_at"][:10] == (
            (clock.now() + timedelta(days=1)).date().isoformat()
        )
        assert works(base_url, key["secret"])
        assert works(base_url, rotated["secret"])
        assert audited(sessions)[1:] == [
            ("api_key.rotate", "success", MEMBER_ID, key["id"], {"overlap_seconds": 86400})
        ]

    def test_the_old_secret_expires(
        self, member: httpx.Client, client: httpx.Client, sessions: Sessions, problem: Expected
    ) -> None:
        key = make(member)
        rotated = member.post(f"/api/api-keys/{key['id']}/rotations", json={}).json()
        with stored(sessions, key["id"]) as row:
            row.previous_expires_at = clock.now()

        response = client.get("/api/posts", headers={"X-API-Key": key["secret"]})

        assert response.status_code == 401
        assert response.json() == problem(
            response, "credentials_expired", "The API key has expired."
        )
        again = member.get(f"/api/api-keys/{key['id']}", headers={"X-API-Key": rotated["secret"]})
        # The narrow key may not read keys, and is good all the same.
        assert again.status_code == 403
        assert member.get(f"/api/api-keys/{key['id']}").json()["old_secret_expires_at"] is None

    def test_without_an_overlap_the_old_secret_ends_at_once(
        self, member: httpx.Client, base_url: str
    ) -> None:
        key = make(member)
        assert works(base_url, key["secret"])

        rotated = member.post(
            f"/api/api-keys/{key['id']}/rotations", json={"overlap_seconds": 0}
        ).json()

        assert rotated["old_secret_expires_at"] is None
        assert not works(base_url, key["secret"])
        refused = httpx.get(f"{base_url}/api/posts", headers={"X-API-Key": key["secret"]})
        assert refused.json()["code"] == "credentials_revoked"
        assert works(base_url, rotated["secret"])

    def test_only_the_last_secret_but_one_is_kept(
        self, member: httpx.Client, base_url: str
    ) -> None:
        secrets = [make(member)]
        for _ in range(2):
            url = f"/api/api-keys/{secrets[0]['id']}/rotations"
            secrets.append(member.post(url, json={}).json())

        assert [works(base_url, key["secret"]) for key in secrets] == [False, True, True]

    def test_a_narrow_key_cannot_get_hold_of_a_wider_one(
        self, narrow: httpx.Client, member: httpx.Client, problem: Expected
    ) -> None:
        key = make(member)

        response = narrow.post(f"/api/api-keys/{key['id']}/rotations", json={})

        assert response.status_code == 403
        message = "The credential lacks the scope profile:read."
        details = [
            {
                "in": "header",
                "pointer": "/Authorization",
                "rule": "scope",
                "message": message,
                "allowed": ["profile:read"],
            }
        ]
        assert response.json() == problem(response, "scope_missing", message, details=details)
        assert response.headers["WWW-Authenticate"] == (
            'Bearer realm="circdesk", error="insufficient_scope", '
            f'error_description="{message}", scope="profile:read"'
        )

    @pytest.mark.parametrize("seconds", [-1, 604_801, 1.5])
    def test_an_overlap_out_of_bounds_is_refused(
        self, member: httpx.Client, seconds: float
    ) -> None:
        response = member.post(
            f"/api/api-keys/{UNKNOWN}/rotations", json={"overlap_seconds": seconds}
        )

        assert response.status_code == 400

    def test_an_unknown_id_is_not_found(self, member: httpx.Client, problem: Expected) -> None:
        response = member.post(f"/api/api-keys/{UNKNOWN}/rotations", json={})

        assert response.status_code == 404
        assert response.json() == missing(problem, response)

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.post(f"/api/api-keys/{UNKNOWN}/rotations", json={})

        assert response.json() == required(problem, response)


class TestKeysOfOthers:
    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("GET", "", None),
            ("PATCH", "", {"name": "Mine"}),
            ("DELETE", "", None),
            ("POST", "/rotations", {}),
        ],
    )
    @pytest.mark.parametrize("caller", ["member", "admin"])
    def test_they_are_not_found_as_if_they_were_not_there(
        self,
        librarian: httpx.Client,
        base_url: str,
        request: pytest.FixtureRequest,
        caller: str,
        method: str,
        path: str,
        body: JSON | None,
    ) -> None:
        key = make(librarian)
        other: httpx.Client = request.getfixturevalue(caller)

        answers = [
            other.request(method, f"/api/api-keys/{key_id}{path}", json=body)
            for key_id in (key["id"], UNKNOWN)
        ]

        assert [answer.status_code for answer in answers] == [404, 404]
        theirs, nobodys = (answer.json() for answer in answers)
        assert theirs["message"] == f"No API key has the id {key['id']}."
        own = {"instance", "request_id", "message"}
        assert {k: v for k, v in theirs.items() if k not in own} == {
            k: v for k, v in nobodys.items() if k not in own
        }
        assert works(base_url, key["secret"])


class TestOwner:
    def test_a_key_narrows_with_its_owners_role(
        self, client: httpx.Client, sessions: Sessions
    ) -> None:
        headers = {"X-API-Key": api_key("librarian")}
        body = {"title": "News", "body": "Text", "author": "Somebody"}
        assert client.post("/api/posts", json=body, headers=headers).status_code == 201
        with unit_of_work(sessions, writing=True) as session:
            session.get_one(User, LIBRARIAN_ID).role = "member"
            forget_after_commit(session)

        response = client.post("/api/posts", json=body, headers=headers)

        assert response.status_code == 403
        assert response.json()["details"][0]["allowed"] == ["news:write"]

    def test_the_keys_of_a_blocked_user_are_refused(
        self, client: httpx.Client, sessions: Sessions, problem: Expected
    ) -> None:
        with unit_of_work(sessions, writing=True) as session:
            session.get_one(User, LIBRARIAN_ID).status = "blocked"

        response = client.get("/api/posts", headers={"X-API-Key": api_key("librarian")})

        assert response.status_code == 401
        assert response.json() == problem(
            response, "credentials_invalid", "The API key is not valid."
        )

    def test_an_admins_key_may_have_all_scopes(self, admin: httpx.Client) -> None:
        key = make(admin, scopes=sorted(ROLE_SCOPES["admin"]))

        assert set(key["scopes"]) == ROLE_SCOPES["admin"]


class TestLastUse:
    def test_it_is_stored_after_the_request_and_changes_nothing_else(
        self, member: httpx.Client, client: httpx.Client
    ) -> None:
        key = make(member)
        assert client.get("/api/posts", headers={"X-API-Key": key["secret"]}).status_code == 200

        used = within(5, lambda: _used(member, key))

        assert used == shown(key) | {"last_used_at": used["last_used_at"]}
        assert used["last_used_at"] > key["created_at"]

    def test_by_basic_too(self, member: httpx.Client, client: httpx.Client) -> None:
        key = make(member)
        assert client.get("/api/posts", auth=(key["id"], key["secret"])).status_code == 200

        assert within(5, lambda: _used(member, key))

    def test_a_refused_secret_is_no_use(self, member: httpx.Client, client: httpx.Client) -> None:
        key, other = make(member), make(member)
        assert client.get("/api/posts", auth=(key["id"], other["secret"])).status_code == 401
        assert client.get("/api/posts", auth=(key["id"], key["secret"])).status_code == 200

        # Uses are stored one after the other, so that the first one would be there by now.
        within(5, lambda: _used(member, key))
        assert _used(member, other) == {}


class TestOtherProcesses:
    @pytest.mark.parametrize(
        "end",
        [
            pytest.param(lambda session, key: session.delete(key), id="revoked"),
            pytest.param(lambda _, key: setattr(key, "secret_hash", "new"), id="rotated"),
            pytest.param(lambda _, key: setattr(key.user, "status", "blocked"), id="blocked"),
        ],
    )
    def test_what_ends_in_another_process_ends_here_within_two_seconds(
        self,
        member: httpx.Client,
        base_url: str,
        sessions: Sessions,
        end: Callable[[Session, ApiKey], None],
    ) -> None:
        key = make(member)
        assert works(base_url, key["secret"])

        with unit_of_work(sessions, writing=True) as session:
            found = select(ApiKey).where(ApiKey.id == UUID(key["id"]))
            end(session, session.scalars(found.options(joinedload(ApiKey.user))).one())

        within(2, lambda: not works(base_url, key["secret"]))


def _used(member: httpx.Client, key: JSON) -> JSON:
    """The key, once its use is stored; nothing before."""
    found: JSON = member.get(f"/api/api-keys/{key['id']}").json()
    return found if found["last_used_at"] else {}


def within(seconds: float, ask: Callable[[], Answer]) -> Answer:
    """The first answer that is true; an answer that does not come in time is a failure."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return answer
