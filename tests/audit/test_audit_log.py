"""The audit log over HTTP, and what the database itself refuses, on both databases."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from circdesk import clock
from circdesk.audit.entries import record
from circdesk.audit.models import AuditEntry
from circdesk.db.engine import WRITING
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.visits import Caller, Visit, visiting

Expected = Callable[..., dict[str, Any]]
CountQueries = Callable[[], AbstractContextManager[list[str]]]

PATH = "/api/admin/audit-log"
START = datetime(2026, 5, 1, 12, tzinfo=UTC)
USER, CLIENT, TARGET = UUID(int=1), UUID(int=2), UUID(int=3)
BY_USER = Visit(Caller(frozenset(), "session", UUID(int=9), user_id=USER), "request-1", "192.0.2.1")
BY_CLIENT = Visit(Caller(frozenset(), "bearer", UUID(int=9), client_id=CLIENT), "request-2")


@pytest.fixture
def entries(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """One entry each hour: a failed sign-in, a key by a user, a client, and a command."""
    hours = iter(range(10))
    monkeypatch.setattr(clock, "now", lambda: START + timedelta(hours=next(hours)))
    with unit_of_work(sessions, writing=True) as session:
        with visiting(Visit(None, "request-0", "192.0.2.9")):
            record(session, "session.create", outcome="failure")
        with visiting(BY_USER):
            record(session, "api_key.create", "api_key", TARGET, scopes=frozenset({"b:x", "a:x"}))
        with visiting(BY_CLIENT):
            record(session, "client.update", "client", CLIENT, owner=USER, count=2)
        record(session, "user.create", "user", TARGET, role="admin")


def told(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [item["action"] for item in response.json()["items"]]


class TestListAuditEntries:
    @pytest.mark.usefixtures("entries")
    def test_it_tells_who_did_what_the_latest_first(
        self, admin: httpx.Client, session: Session
    ) -> None:
        response = admin.get(PATH)

        assert response.status_code == 200
        ids = session.scalars(select(AuditEntry.id).order_by(AuditEntry.occurred_at.desc()))
        entries: list[dict[str, Any]] = [
            {
                "occurred_at": "2026-05-01T15:00:00Z",
                "action": "user.create",
                "outcome": "success",
                "actor": {"type": "system", "id": None},
                "target": {"type": "user", "id": str(TARGET)},
                "request_id": None,
                "address": None,
                "details": {"role": "admin"},
            },
            {
                "occurred_at": "2026-05-01T14:00:00Z",
                "action": "client.update",
                "outcome": "success",
                "actor": {"type": "client", "id": str(CLIENT)},
                "target": {"type": "client", "id": str(CLIENT)},
                "request_id": "request-2",
                "address": None,
                "details": {"owner": str(USER), "count": 2},
            },
            {
                "occurred_at": "2026-05-01T13:00:00Z",
                "action": "api_key.create",
                "outcome": "success",
                "actor": {"type": "user", "id": str(USER)},
                "target": {"type": "api_key", "id": str(TARGET)},
                "request_id": "request-1",
                "address": "192.0.2.1",
                "details": {"scopes": ["a:x", "b:x"]},
            },
            {
                "occurred_at": "2026-05-01T12:00:00Z",
                "action": "session.create",
                "outcome": "failure",
                "actor": {"type": "anonymous", "id": None},
                "target": None,
                "request_id": "request-0",
                "address": "192.0.2.9",
                "details": {},
            },
        ]
        assert response.json() == {
            "items": [{"id": str(key), **entry} for key, entry in zip(ids, entries, strict=True)],
            "page": 1,
            "per_page": 20,
            "total": 4,
            "total_relation": "exact",
            "next_cursor": None,
            "links": {"self": PATH, "first": PATH},
        }

    @pytest.mark.usefixtures("entries")
    @pytest.mark.parametrize(
        ("query", "actions"),
        [
            pytest.param({"action": "user.create"}, ["user.create"], id="action"),
            pytest.param({"action": "user.delete"}, [], id="an action that never was"),
            pytest.param({"outcome": "failure"}, ["session.create"], id="outcome"),
            pytest.param({"actor": USER}, ["api_key.create"], id="a user"),
            pytest.param({"actor": CLIENT}, ["client.update"], id="a client"),
            pytest.param({"target": TARGET}, ["user.create", "api_key.create"], id="target"),
            pytest.param(
                {"target": TARGET, "actor": USER}, ["api_key.create"], id="several together"
            ),
            pytest.param(
                {
                    "occurred_after": "2026-05-01T13:00:00Z",
                    "occurred_before": "2026-05-01T15:00:00Z",
                },
                ["client.update", "api_key.create"],
                id="from a time up to another",
            ),
            pytest.param(
                {"sort": "occurred_at", "per_page": 2},
                ["session.create", "api_key.create"],
                id="the oldest first",
            ),
        ],
    )
    def test_it_can_be_narrowed_and_turned_round(
        self, admin: httpx.Client, query: dict[str, Any], actions: list[str]
    ) -> None:
        assert told(admin.get(PATH, params=query)) == actions

    @pytest.mark.usefixtures("entries")
    def test_it_is_walked_by_cursor(self, admin: httpx.Client) -> None:
        seen: list[str] = []
        cursor: str | None = "start"
        while cursor is not None:
            response = admin.get(PATH, params={"cursor": cursor, "per_page": 3})
            seen += told(response)
            cursor = response.json()["next_cursor"]
        assert seen == ["user.create", "client.update", "api_key.create", "session.create"]

    @pytest.mark.usefixtures("entries")
    def test_a_page_takes_two_statements_at_most(
        self, admin: httpx.Client, count_queries: CountQueries
    ) -> None:
        # The first request looks up the key, which is then remembered.
        admin.get(PATH)
        with count_queries() as statements:
            told(admin.get(PATH, params={"per_page": 1, "target": str(TARGET)}))
        assert len(statements) == 2

    def test_whoever_does_not_say_who_it_is_hears_nothing(
        self, client: httpx.Client, problem: Expected
    ) -> None:
        response = client.get(PATH)
        assert response.json() == problem(response, "credentials_required", "Send a credential.")

    def test_a_librarian_may_not_read_it(self, librarian: httpx.Client, problem: Expected) -> None:
        response = librarian.get(PATH)
        message = "The credential lacks the scope audit:read."
        detail = {
            "in": "header",
            "pointer": "/Authorization",
            "rule": "scope",
            "message": message,
            "allowed": ["audit:read"],
        }
        assert response.json() == problem(response, "scope_missing", message, details=[detail])

    def test_what_is_no_filter_is_refused(self, admin: httpx.Client) -> None:
        response = admin.get(PATH, params={"action": "User", "actor": "me", "name": "x"})
        assert response.status_code == 400
        assert sorted(fault["pointer"] for fault in response.json()["details"]) == [
            "/action",
            "/actor",
            "/name",
        ]


@pytest.fixture
def write(engine: Engine, entries: None) -> Callable[..., None]:
    """Carries out a statement in a transaction of its own."""
    del entries

    def carry_out(statement: Any) -> None:
        with engine.execution_options(**{WRITING: True}).begin() as connection:
            connection.execute(statement)

    return carry_out


COLUMNS = [column for column in AuditEntry.__table__.columns if column.name != "address"]
OTHER_VALUES = {
    "id": UUID(int=7),
    "occurred_at": START - timedelta(days=1),
    "actor_id": UUID(int=7),
    "target_id": UUID(int=7),
    "details": {"other": 1},
}


class TestTheTable:
    @pytest.fixture(autouse=True)
    def unchanged(self, engine: Engine, entries: None) -> Iterator[None]:
        """Whatever a test tries, what the log says stays the same, addresses apart."""
        del entries

        def rows() -> list[Any]:
            with engine.connect() as connection:
                return [*connection.execute(select(*COLUMNS).order_by(COLUMNS[0]))]

        before = rows()
        yield
        assert rows() == before

    def test_no_entry_can_be_deleted(self, write: Callable[..., None]) -> None:
        with pytest.raises(IntegrityError, match="the audit log is append-only"):
            write(delete(AuditEntry).where(AuditEntry.action == "user.create"))

    @pytest.mark.parametrize("column", COLUMNS, ids=[column.name for column in COLUMNS])
    @pytest.mark.parametrize("dropping", [[], ["address"]], ids=["alone", "with the address"])
    def test_no_value_can_be_changed(
        self, write: Callable[..., None], column: Any, dropping: list[str]
    ) -> None:
        other = OTHER_VALUES.get(column.name, "other")
        values = {column.name: other, **dict.fromkeys(dropping)}
        change = update(AuditEntry).where(AuditEntry.action == "api_key.create").values(values)
        with pytest.raises(IntegrityError, match="the audit log is append-only"):
            write(change)

    @pytest.mark.parametrize("value", ["192.0.2.77", AuditEntry.address])
    def test_an_address_cannot_be_set(self, write: Callable[..., None], value: Any) -> None:
        with pytest.raises(IntegrityError, match="the audit log is append-only"):
            write(update(AuditEntry).values(address=value))

    def test_an_address_can_be_dropped(self, engine: Engine, write: Callable[..., None]) -> None:
        write(update(AuditEntry).values(address=None))
        with engine.connect() as connection:
            assert {*connection.execute(select(AuditEntry.address)).scalars()} == {None}

    def test_no_entry_can_be_written_over(self, engine: Engine, write: Callable[..., None]) -> None:
        with engine.connect() as connection:
            row = connection.execute(select(AuditEntry.__table__)).mappings().first()
        assert row is not None
        statement = insert(AuditEntry).values({**row, "action": "other.deed"})
        if engine.dialect.name == "sqlite":
            statement = statement.prefix_with("OR REPLACE")
        with pytest.raises(IntegrityError):
            write(statement)
