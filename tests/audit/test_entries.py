"""What an entry of the audit log says."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from circdesk import clock
from circdesk.audit.entries import record, record_all
from circdesk.audit.models import AuditEntry
from circdesk.visits import Caller, Visit, visiting

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
USER, CLIENT, TARGET = UUID(int=1), UUID(int=2), UUID(int=3)


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


def visit(caller: Caller | None) -> Visit:
    return Visit(caller=caller, request_id="request-1", address="192.0.2.1")


def caller(**more: Any) -> Caller:
    return Caller(frozenset(), "api_key", UUID(int=9), **more)


def only_entry(session: Session) -> dict[str, Any]:
    session.flush()
    session.expire_all()
    (entry,) = session.scalars(select(AuditEntry))
    names = [column.key for column in inspect(AuditEntry).columns]
    return {name: getattr(entry, name) for name in names if name != "id"}


def test_it_says_who_did_what_to_what_from_where_and_with_which_outcome(session: Session) -> None:
    with visiting(visit(caller(user_id=USER, role="admin"))):
        record(session, "api_key.revoke", "api_key", TARGET, scopes=["news:write"])
    assert only_entry(session) == {
        "occurred_at": NOW,
        "action": "api_key.revoke",
        "outcome": "success",
        "actor_type": "user",
        "actor_id": USER,
        "target_type": "api_key",
        "target_id": TARGET,
        "request_id": "request-1",
        "address": "192.0.2.1",
        "details": {"scopes": ["news:write"]},
    }


@pytest.mark.parametrize(
    ("caller", "actor"),
    [
        pytest.param(None, ("anonymous", None), id="nobody"),
        pytest.param(caller(user_id=USER), ("user", USER), id="a user"),
        pytest.param(caller(client_id=CLIENT), ("client", CLIENT), id="a client for itself"),
        pytest.param(
            caller(user_id=USER, client_id=CLIENT), ("user", USER), id="a client for a user"
        ),
    ],
)
def test_the_caller_is_the_actor(
    session: Session, caller: Caller | None, actor: tuple[str, UUID | None]
) -> None:
    with visiting(visit(caller)):
        record(session, "session.create", outcome="failure")
    entry = only_entry(session)
    assert (entry["actor_type"], entry["actor_id"], entry["outcome"]) == (*actor, "failure")
    assert (entry["target_type"], entry["target_id"], entry["details"]) == (None, None, {})


def test_who_signs_in_is_the_actor_although_the_visit_does_not_know_it_yet(
    session: Session,
) -> None:
    with visiting(visit(None)):
        record(session, "session.create", user_id=USER)
    entry = only_entry(session)
    assert (entry["actor_type"], entry["actor_id"]) == ("user", USER)


def test_a_client_that_has_proved_who_it_is_is_the_actor(session: Session) -> None:
    with visiting(visit(None)):
        record(session, "token.create", acting_client=CLIENT)
    entry = only_entry(session)
    assert (entry["actor_type"], entry["actor_id"]) == ("client", CLIENT)


def test_what_a_command_does_is_the_systems_doing(session: Session) -> None:
    record(session, "user.create", "user", TARGET)
    entry = only_entry(session)
    told = ("actor_type", "actor_id", "request_id", "address")
    assert [entry[name] for name in told] == ["system", None, None, None]


def test_many_entries_say_each_its_own(session: Session) -> None:
    with visiting(visit(caller(user_id=USER))):
        record_all(session, "loan.renew", "loan", {TARGET: {}, CLIENT: {"overridden": {"b", "a"}}})
    entries = session.scalars(select(AuditEntry)).all()
    assert {entry.target_id: entry.details for entry in entries} == {
        TARGET: {},
        CLIENT: {"overridden": ["a", "b"]},
    }
    assert {(entry.action, entry.actor_id, entry.request_id) for entry in entries} == {
        ("loan.renew", USER, "request-1")
    }
