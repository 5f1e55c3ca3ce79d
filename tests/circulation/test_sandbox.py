"""The clock of a sandbox: circulation's time alone, moved forward alone, on both databases."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from circdesk import clock
from circdesk.audit.models import AuditEntry
from circdesk.circulation import periodic
from circdesk.circulation.chores import Chore
from circdesk.circulation.time import now as desk_now
from circdesk.db.engine import make_engine
from circdesk.db.unit_of_work import Sessions, make_sessions, unit_of_work
from circdesk.events.models import Event
from circdesk.settings import Settings
from tests.auth.serving import serving
from tests.people import LIBRARIAN_ID, api_key

JSON = dict[str, Any]
Expected = Callable[..., JSON]

URL = "/api/sandbox/clock"


@pytest.fixture(scope="module")
def sandbox_url(settings: Settings, migrated_engine: object) -> Iterator[str]:
    """The address of a service that is a sandbox."""
    with serving(settings, env="sandbox") as url:
        yield url


@pytest.fixture
def sandbox(sandbox_url: str, librarian: httpx.Client) -> Iterator[httpx.Client]:
    """The librarian, in a sandbox."""
    headers = {"X-API-Key": api_key("librarian")}
    with httpx.Client(base_url=sandbox_url, headers=headers, timeout=10) as client:
        yield client


@pytest.fixture
def sandbox_sessions(settings: Settings, sessions: Sessions) -> Iterator[Sessions]:
    """The sessions of another process of the same sandbox."""
    engine = make_engine(settings.model_copy(update={"env": "sandbox"}))
    yield make_sessions(engine)
    engine.dispose()


def ahead(sessions: Sessions) -> timedelta:
    with unit_of_work(sessions, writing=False) as session:
        return desk_now(session) - clock.now()


def moment(value: str) -> datetime:
    return datetime.fromisoformat(value)


class TestGetSandboxClock:
    def test_it_is_real_time_until_it_is_moved(self, sandbox: httpx.Client) -> None:
        response = sandbox.get(URL)

        assert response.status_code == 200
        body = response.json()
        assert abs(moment(body.pop("now")) - clock.now()) < timedelta(seconds=30)
        assert body == {"offset_seconds": 0}

    def test_outside_a_sandbox_there_is_none(
        self, librarian: httpx.Client, problem: Expected
    ) -> None:
        response = librarian.get(URL)

        assert response.status_code == 404
        message = "There is no clock to move, for this is no sandbox."
        assert response.json() == problem(response, "not_found", message)

    def test_it_takes_a_credential(self, client: httpx.Client) -> None:
        assert client.get(URL).status_code == 401

    def test_members_do_not_read_it(self, member: httpx.Client) -> None:
        assert member.get(URL).status_code == 403


class TestMoveSandboxClock:
    def test_days_and_hours_add_up(self, sandbox: httpx.Client, sandbox_sessions: Sessions) -> None:
        sandbox.post(URL, json={"days": 2}).raise_for_status()
        response = sandbox.post(URL, json={"days": 1, "hours": 5})

        assert response.status_code == 200
        body = response.json()
        offset = timedelta(days=3, hours=5)
        assert abs(moment(body.pop("now")) - clock.now() - offset) < timedelta(seconds=30)
        assert body == {"offset_seconds": offset.total_seconds(), "done": {}, "complete": True}
        assert sandbox.get(URL).json()["offset_seconds"] == offset.total_seconds()
        # The offset is in the database, and every process goes by it.
        assert abs(ahead(sandbox_sessions) - offset) < timedelta(seconds=1)

    def test_one_that_is_repeated_with_its_key_moves_it_once(self, sandbox: httpx.Client) -> None:
        headers = {"Idempotency-Key": "a-day"}
        first, again = (sandbox.post(URL, json={"days": 1}, headers=headers) for _ in range(2))

        assert first.status_code == 200
        assert (again.content, again.headers["Idempotent-Replayed"]) == (first.content, "true")
        assert sandbox.get(URL).json()["offset_seconds"] == first.json()["offset_seconds"]

    def test_it_goes_to_a_moment(self, sandbox: httpx.Client) -> None:
        to = clock.now() + timedelta(days=29, microseconds=1)

        body = sandbox.post(URL, json={"to": to.isoformat()}).raise_for_status().json()

        assert timedelta() <= moment(body["now"]) - to < timedelta(seconds=30)

    def test_only_circulation_goes_by_it(
        self, sandbox: httpx.Client, sessions: Sessions, sandbox_sessions: Sessions
    ) -> None:
        sandbox.post(URL, json={"days": 400}).raise_for_status()

        # The key of the caller is still good, and real time is what is written beside events.
        assert sandbox.get(URL).status_code == 200
        assert ahead(sessions) < timedelta(seconds=1)
        with unit_of_work(sandbox_sessions, writing=False) as session:
            (event,) = session.scalars(select(Event)).all()
            (entry,) = session.scalars(select(AuditEntry)).all()
        assert event.occurred_at - entry.occurred_at > timedelta(days=399)

    def test_it_is_an_event_and_an_entry(self, sandbox: httpx.Client, sessions: Sessions) -> None:
        sandbox.post(URL, json={"hours": 1}).raise_for_status()

        with unit_of_work(sessions, writing=False) as session:
            (event,) = session.scalars(select(Event)).all()
            (entry,) = session.scalars(select(AuditEntry)).all()
        assert (event.kind, event.subject_type, event.subject_id) == ("clock.move", "clock", None)
        assert (event.actor_id, event.data) == (LIBRARIAN_ID, {"seconds": 3600})
        assert (entry.action, entry.details) == ("clock.move", {"seconds": 3600})

    def test_what_falls_due_is_done_at_the_new_time(
        self, sandbox: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        moments = []

        def find(_session: Session, now: datetime) -> Sequence[UUID]:
            moments.append(now)
            return [UUID(int=number) for number in range(3)]

        def do(_session: Session, _now: datetime, ids: Sequence[UUID]) -> int:
            return len(ids)

        monkeypatch.setattr(periodic, "CHORES", (Chore("do_this", find, do),))

        body = sandbox.post(URL, json={"days": 29}).raise_for_status().json()

        assert (body["done"], body["complete"]) == ({"do_this": 3}, True)
        assert abs(moments[0] - clock.now() - timedelta(days=29)) < timedelta(seconds=30)

    def test_it_never_goes_back(self, sandbox: httpx.Client, problem: Expected) -> None:
        sandbox.post(URL, json={"days": 2}).raise_for_status()
        to = clock.now() + timedelta(days=1)

        response = sandbox.post(URL, json={"to": to.isoformat()})

        assert response.status_code == 422
        body = response.json()
        detail = {"in": "body", "pointer": "/to", "rule": "range", "message": body["message"]}
        assert body == problem(response, "clock_out_of_range", body["message"], details=[detail])
        assert sandbox.get(URL).json()["offset_seconds"] == 2 * 86400

    @pytest.mark.parametrize(
        "move", [{"to": "2200-01-01T00:00:00Z"}, {"to": "8999-12-31T23:59:59Z"}]
    )
    def test_time_has_an_end(self, sandbox: httpx.Client, move: JSON) -> None:
        response = sandbox.post(URL, json=move)

        assert (response.status_code, response.json()["code"]) == (422, "clock_out_of_range")

    def test_many_small_steps_lead_no_further(self, sandbox: httpx.Client) -> None:
        to = datetime(2199, 12, 31, tzinfo=UTC)
        sandbox.post(URL, json={"to": to.isoformat()}).raise_for_status()

        assert sandbox.post(URL, json={"days": 3660}).status_code == 422

    @pytest.mark.parametrize(
        "move",
        [
            {},
            {"days": -1},
            {"days": 3661},
            {"hours": 1.5},
            {"to": "2026-02-03T08:00:00Z", "days": 1},
            {"to": "tomorrow"},
            {"minutes": 1},
        ],
    )
    def test_a_body_that_breaks_the_contract_is_refused(
        self, sandbox: httpx.Client, move: JSON
    ) -> None:
        assert sandbox.post(URL, json=move).status_code == 400

    def test_outside_a_sandbox_there_is_none(
        self, librarian: httpx.Client, problem: Expected
    ) -> None:
        response = librarian.post(URL, json={"days": 1})

        assert response.status_code == 404
        message = "There is no clock to move, for this is no sandbox."
        assert response.json() == problem(response, "not_found", message)

    def test_it_takes_a_credential(self, client: httpx.Client) -> None:
        assert client.post(URL, json={"days": 1}).status_code == 401

    def test_members_do_not_move_it(self, member: httpx.Client) -> None:
        assert member.post(URL, json={"days": 1}).status_code == 403
