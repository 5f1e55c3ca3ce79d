"""Blocks: each operation over HTTP, on both databases."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select, update

from circdesk.audit.models import AuditEntry
from circdesk.circulation.models import Block
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.events.models import Event
from tests.people import LIBRARIAN_ID, MEMBER_ID

JSON = dict[str, Any]
Expected = Callable[..., JSON]

PATH = "/api/users/card:20001/blocks"
UNKNOWN = "019b8d2b-8c00-7016-8000-0000000000ff"
INPUT: JSON = {"reason": "Two atlases came back wet.", "expires_at": "2100-01-01T00:00:00Z"}


def block(librarian: httpx.Client, **changes: Any) -> JSON:
    response = librarian.post(PATH, json=INPUT | changes)
    assert response.status_code == 201, response.text
    created: JSON = response.json()
    return created


def unknown_block(problem: Expected, response: httpx.Response, block_id: str = UNKNOWN) -> JSON:
    return problem(response, "not_found", f"The user has no block with the id {block_id}.")


def unknown_user(problem: Expected, response: httpx.Response) -> JSON:
    return problem(response, "not_found", "No user has the key card:99999.")


def lacks(problem: Expected, response: httpx.Response, scope: str) -> JSON:
    message = f"The credential lacks the scope {scope}."
    detail = {"in": "header", "pointer": "/Authorization", "rule": "scope", "message": message}
    return problem(response, "scope_missing", message, details=[detail | {"allowed": [scope]}])


def anonymous(problem: Expected, response: httpx.Response) -> JSON:
    return problem(response, "credentials_required", "Send a credential.")


class TestCreateUserBlock:
    def test_the_answer_is_the_block_and_where_it_stands(self, librarian: httpx.Client) -> None:
        response = librarian.post(PATH, json=INPUT)

        assert response.status_code == 201
        created = response.json()
        location = f"/api/users/{MEMBER_ID}/blocks/{created['id']}"
        assert response.headers["Location"] == location
        assert created == INPUT | {
            "id": created["id"],
            "user_id": str(MEMBER_ID),
            "status": "active",
            "created_by": str(LIBRARIAN_ID),
            "lifted_at": None,
            "created_at": created["created_at"],
            "updated_at": created["created_at"],
        }
        assert librarian.get(location).json() == created

    def test_it_may_have_no_end(self, librarian: httpx.Client) -> None:
        response = librarian.post(PATH, json={"reason": "Lost in the snow."})

        assert response.json()["expires_at"] is None

    def test_it_is_an_event_and_an_entry_of_the_audit_log_without_the_reason(
        self, librarian: httpx.Client, sessions: Sessions
    ) -> None:
        created = block(librarian)

        with unit_of_work(sessions, writing=False) as session:
            happened = session.scalars(select(Event)).one()
            audited = session.scalars(select(AuditEntry)).one()
        assert (happened.kind, happened.subject_type) == ("block.create", "block")
        assert (str(happened.subject_id), happened.user_id) == (created["id"], MEMBER_ID)
        assert (happened.data, happened.undo) == ({}, None)
        assert (audited.action, audited.target_id) == ("block.create", MEMBER_ID)
        assert audited.details == {"block_id": created["id"]}

    def test_one_that_would_be_over_is_refused(
        self, librarian: httpx.Client, problem: Expected
    ) -> None:
        response = librarian.post(PATH, json=INPUT | {"expires_at": "2020-01-01T01:00:00+01:00"})

        assert response.status_code == 422
        message = "The block would have expired before it began."
        detail = {"in": "body", "pointer": "/expires_at", "rule": "future", "message": message}
        assert response.json() == problem(response, "block_expired", message, details=[detail])

    def test_an_unknown_user_is_not_found(self, librarian: httpx.Client, problem: Expected) -> None:
        response = librarian.post("/api/users/card:99999/blocks", json=INPUT)

        assert response.status_code == 404
        assert response.json() == unknown_user(problem, response)

    def test_members_may_not(self, member: httpx.Client, problem: Expected) -> None:
        response = member.post(PATH, json=INPUT)

        assert response.status_code == 403
        assert response.json() == lacks(problem, response, "circulation:write")

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.post(PATH, json=INPUT)

        assert response.status_code == 401
        assert response.json() == anonymous(problem, response)


class TestListUserBlocks:
    @pytest.fixture
    def blocks(self, librarian: httpx.Client, sessions: Sessions) -> list[JSON]:
        """One that is lifted, one that has expired, one that counts."""
        created = [block(librarian) for _ in range(3)]
        librarian.delete(f"{PATH}/{created[0]['id']}").raise_for_status()
        with unit_of_work(sessions, writing=True) as session:
            past = datetime.now(UTC) - timedelta(minutes=1)
            expired = update(Block).where(Block.id == UUID(created[1]["id"]))
            session.execute(expired.values(expires_at=past))
        return [librarian.get(f"{PATH}/{each['id']}").json() for each in created]

    def test_the_newest_comes_first(self, librarian: httpx.Client, blocks: list[JSON]) -> None:
        response = librarian.get(PATH)

        assert response.status_code == 200
        assert response.json()["items"] == blocks[::-1]
        assert [each["status"] for each in blocks] == ["lifted", "expired", "active"]
        assert librarian.get(f"{PATH}?sort=created_at").json()["items"] == blocks

    @pytest.mark.parametrize(("active", "places"), [("true", [2]), ("false", [1, 0])])
    def test_those_that_count_and_those_that_do_not(
        self, librarian: httpx.Client, blocks: list[JSON], active: str, places: list[int]
    ) -> None:
        found = librarian.get(f"{PATH}?active={active}").json()["items"]

        assert found == [blocks[place] for place in places]

    @pytest.mark.usefixtures("blocks")
    def test_they_are_one_users(self, librarian: httpx.Client) -> None:
        assert librarian.get("/api/users/card:20003/blocks").json()["items"] == []

    def test_an_unknown_user_is_not_found(self, librarian: httpx.Client, problem: Expected) -> None:
        response = librarian.get("/api/users/card:99999/blocks")

        assert response.status_code == 404
        assert response.json() == unknown_user(problem, response)

    def test_members_may_not(self, member: httpx.Client, problem: Expected) -> None:
        response = member.get(PATH)

        assert response.status_code == 403
        assert response.json() == lacks(problem, response, "circulation:read")

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get(PATH)

        assert response.status_code == 401
        assert response.json() == anonymous(problem, response)


class TestGetUserBlock:
    def test_it_belongs_to_its_user(self, librarian: httpx.Client, problem: Expected) -> None:
        created = block(librarian)

        assert librarian.get(f"{PATH}/{created['id']}").json() == created
        response = librarian.get(f"/api/users/card:20003/blocks/{created['id']}")
        assert response.status_code == 404
        assert response.json() == unknown_block(problem, response, created["id"])

    def test_members_may_not(self, member: httpx.Client, problem: Expected) -> None:
        response = member.get(f"{PATH}/{UNKNOWN}")

        assert response.status_code == 403
        assert response.json() == lacks(problem, response, "circulation:read")

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get(f"{PATH}/{UNKNOWN}")

        assert response.status_code == 401
        assert response.json() == anonymous(problem, response)


class TestLiftUserBlock:
    def test_it_ends_at_once_and_only_once(
        self, librarian: httpx.Client, sessions: Sessions
    ) -> None:
        created = block(librarian)

        assert librarian.delete(f"{PATH}/{created['id']}").status_code == 204
        lifted = librarian.get(f"{PATH}/{created['id']}").json()
        assert librarian.delete(f"{PATH}/{created['id']}").status_code == 204

        assert librarian.get(f"{PATH}/{created['id']}").json() == lifted
        assert lifted == created | {
            "status": "lifted",
            "lifted_at": lifted["updated_at"],
            "updated_at": lifted["updated_at"],
        }
        with unit_of_work(sessions, writing=False) as session:
            kinds = session.scalars(select(Event.kind).order_by(Event.id)).all()
        assert kinds == ["block.create", "block.lift"]

    def test_an_unknown_block_is_not_found(
        self, librarian: httpx.Client, problem: Expected
    ) -> None:
        response = librarian.delete(f"{PATH}/{UNKNOWN}")

        assert response.status_code == 404
        assert response.json() == unknown_block(problem, response)

    def test_members_may_not(self, member: httpx.Client, problem: Expected) -> None:
        response = member.delete(f"{PATH}/{UNKNOWN}")

        assert response.status_code == 403
        assert response.json() == lacks(problem, response, "circulation:write")

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.delete(f"{PATH}/{UNKNOWN}")

        assert response.status_code == 401
        assert response.json() == anonymous(problem, response)
