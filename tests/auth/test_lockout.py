"""Lock-out after failures: gradual, by account and by address, and never for good."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from circdesk import clock
from circdesk.accounts.models import User
from circdesk.audit.models import AuditEntry
from circdesk.auth import passwords
from circdesk.auth.lockout import (
    Attempt,
    TooManyAttempts,
    count_attempt,
    forget_failures,
    take_back,
)
from circdesk.auth.models import SignInFailure, WebSession
from circdesk.auth.passwords import hash_password
from circdesk.db.unit_of_work import Sessions, unit_of_work
from tests.people import MEMBER_ID

Expected = Callable[..., dict[str, Any]]

EMAIL = "member@example.org"
PASSWORD = "a quiet evening by the harbour"
HASH = hash_password(PASSWORD)
HERE, ELSEWHERE = "192.0.2.1", "198.51.100.2"


class Clock:
    """The service's clock, moved by hand."""

    def __init__(self) -> None:
        self.time = datetime.now(UTC)

    def now(self) -> datetime:
        return self.time

    def pass_by(self, **duration: float) -> None:
        self.time += timedelta(**duration)


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Clock:
    moved = Clock()
    monkeypatch.setattr(clock, "now", moved.now)
    return moved


@pytest.fixture
def member_with_password(sessions: Sessions) -> User:
    with unit_of_work(sessions, writing=True) as session:
        user = session.get_one(User, MEMBER_ID)
        user.password_hash = HASH
    return user


class Door:
    """Counts attempts, each in a unit of work of its own, as a sign-in does."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def fail(
        self, times: int = 1, email: str = EMAIL, address: str = HERE, user: User | None = None
    ) -> Attempt:
        with unit_of_work(self._sessions, writing=True) as session:
            for _ in range(times):
                attempt = count_attempt(session, email, user, address)
        return attempt

    def fail_from_everywhere(self, user: User | None = None) -> None:
        """Fail a hundred times, each from another address."""
        with unit_of_work(self._sessions, writing=True) as session:
            for number in range(100):
                count_attempt(session, EMAIL, user, f"203.0.113.{number}")

    def succeed(self, email: str = EMAIL, address: str = HERE, user: User | None = None) -> None:
        attempt = self.fail(1, email, address, user)
        with unit_of_work(self._sessions, writing=True) as session:
            take_back(session, attempt)

    def wait(self, email: str = EMAIL, address: str = HERE, user: User | None = None) -> int:
        """The seconds that an attempt has to wait; 0 where it need not. It does not count."""
        with unit_of_work(self._sessions, writing=True) as session:
            try:
                count_attempt(session, email, user, address)
            except TooManyAttempts as refusal:
                return int(refusal.headers["Retry-After"])
            finally:
                session.rollback()
        return 0


@pytest.fixture
def door(sessions: Sessions) -> Door:
    return Door(sessions)


@pytest.mark.usefixtures("hand")
class TestPair:
    def test_five_failures_are_free_and_then_the_wait_doubles(
        self, door: Door, hand: Clock
    ) -> None:
        door.fail(4)
        assert door.wait() == 0
        waits = []
        for _ in range(12):
            door.fail()
            waits.append(door.wait())
            hand.pass_by(seconds=waits[-1])
            assert door.wait() == 0

        assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]

    def test_a_clock_that_is_set_back_locks_nobody_out(self, door: Door, hand: Clock) -> None:
        door.fail(5)
        assert door.wait() == 1
        hand.pass_by(days=-1)
        assert door.wait() == 0
        door.fail()
        assert door.wait() == 2

    def test_a_clock_that_is_a_little_behind_waits_as_long(self, door: Door, hand: Clock) -> None:
        door.fail(5)
        hand.pass_by(seconds=-30)
        assert door.wait() == 31

    def test_too_early_an_attempt_does_not_count(self, door: Door, hand: Clock) -> None:
        door.fail(5)
        for _ in range(20):
            assert door.wait() == 1
        hand.pass_by(seconds=1)

        assert door.wait() == 0

    def test_an_hour_without_failure_forgets_all(self, door: Door, hand: Clock) -> None:
        door.fail(5)
        hand.pass_by(hours=1)
        door.fail(4)

        assert door.wait() == 0

    def test_success_clears_the_pair(self, door: Door, hand: Clock) -> None:
        door.fail(5)
        hand.pass_by(seconds=1)
        door.succeed()
        door.fail(4)

        assert door.wait() == 0

    def test_another_address_does_not_wait(self, door: Door) -> None:
        door.fail(5)

        assert door.wait(address=ELSEWHERE) == 0

    def test_another_account_does_not_wait(self, door: Door) -> None:
        door.fail(5)

        assert door.wait("librarian@example.org") == 0

    def test_the_case_of_the_email_makes_no_other_account(self, door: Door) -> None:
        door.fail(3)
        door.fail(2, email=EMAIL.upper())

        assert door.wait() == 1

    def test_a_reset_lets_the_account_start_afresh_here(
        self, door: Door, sessions: Sessions, member_with_password: User
    ) -> None:
        door.fail(5)
        with unit_of_work(sessions, writing=True) as session:
            forget_failures(session, member_with_password, HERE)

        assert door.wait() == 0


@pytest.mark.usefixtures("hand")
class TestAddress:
    def test_fifty_failures_with_whatever_account_make_the_address_wait(self, door: Door) -> None:
        for number in range(10):
            assert door.wait(f"user{number}@example.org") == 0
            door.fail(5, email=f"user{number}@example.org")

        assert door.wait("another@example.org") == 1
        assert door.wait("another@example.org", ELSEWHERE) == 0

    def test_successes_do_not_count(self, door: Door) -> None:
        for number in range(60):
            door.succeed(f"user{number}@example.org")

        assert door.wait() == 0

    def test_successes_do_not_prolong_the_wait_of_the_others(self, door: Door, hand: Clock) -> None:
        for number in range(59):
            door.fail(email=f"user{number}@example.org")
            hand.pass_by(seconds=600)
            door.succeed()
            assert door.wait("another@example.org") == 0

    def test_an_ipv6_address_counts_as_its_network(self, door: Door) -> None:
        for number in range(5):
            door.fail(address=f"2001:db8:1:2::{number}")

        assert door.wait(address="2001:db8:1:2:ffff::1") == 1
        assert door.wait(address="2001:db8:1:3::1") == 0


class TestAccount:
    def test_a_hundred_failures_make_new_addresses_wait_for_half_a_minute_at_most(
        self, door: Door, hand: Clock
    ) -> None:
        door.fail_from_everywhere()
        waits = []
        for number in range(8):
            waits.append(door.wait(address=ELSEWHERE))
            hand.pass_by(seconds=waits[-1])
            door.fail(address=f"2001:db8:{number}::1")

        assert waits == [1, 2, 4, 8, 16, 30, 30, 30]

    @pytest.mark.parametrize("trace", ["session", "audit"])
    def test_nobody_waits_where_the_account_has_signed_in_before(
        self,
        door: Door,
        hand: Clock,
        sessions: Sessions,
        member_with_password: User,
        trace: str,
    ) -> None:
        user, now = member_with_password, hand.now()
        door.fail_from_everywhere(user)
        assert door.wait(address=HERE, user=user) == 1
        with unit_of_work(sessions, writing=True) as session:
            if trace == "session":
                web_session = WebSession(
                    user_id=user.id, token_hash="x", last_used_at=now, expires_at=now, address=HERE
                )
                session.add(web_session)
            else:
                entry = AuditEntry(
                    occurred_at=now,
                    action="session.create",
                    outcome="success",
                    actor_type="user",
                    actor_id=user.id,
                    address=HERE,
                    details={},
                )
                session.add(entry)

        assert door.wait(address=HERE, user=user) == 0
        assert door.wait(address=ELSEWHERE, user=user) == 1


class TestRows:
    def test_neither_email_nor_address_is_stored(self, door: Door, sessions: Sessions) -> None:
        door.fail()
        with unit_of_work(sessions, writing=False) as session:
            subjects = session.scalars(select(SignInFailure.subject)).all()

        assert len(subjects) == 3
        assert all(len(subject) == 64 for subject in subjects)

    def test_many_at_once_are_all_counted(self, door: Door) -> None:
        with ThreadPoolExecutor(4) as pool:
            outcomes = Counter(pool.map(lambda _: _outcome(door), range(24)))

        assert outcomes == {"counted": 5, "refused": 19}

    def test_a_failure_at_the_same_time_is_not_taken_back(
        self, door: Door, hand: Clock, sessions: Sessions
    ) -> None:
        attempt = door.fail(email="user0@example.org")
        hand.pass_by(seconds=1)
        for number in range(1, 51):
            hand.pass_by(seconds=1)
            door.fail(email=f"user{number}@example.org")
        with unit_of_work(sessions, writing=True) as session:
            take_back(session, attempt)

        assert door.wait("another@example.org") == 1


def _outcome(door: Door) -> str:
    try:
        door.fail()
    except TooManyAttempts:
        return "refused"
    return "counted"


@pytest.mark.usefixtures("member_with_password", "hand")
class TestSignIn:
    def attempt(self, client: httpx.Client, password: str) -> httpx.Response:
        return client.post("/api/session", json={"email": EMAIL, "password": password})

    def test_while_it_waits_the_right_password_is_not_looked_at(
        self,
        client: httpx.Client,
        hand: Clock,
        problem: Expected,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for _ in range(5):
            assert self.attempt(client, "another evening elsewhere").status_code == 401
        # Without a hasher a look at the password would be a 500.
        with monkeypatch.context() as patch:
            patch.setattr(passwords, "_argon2", None)
            response = self.attempt(client, PASSWORD)

        assert response.status_code == 429
        assert response.headers["Retry-After"] == "1"
        assert response.json() == problem(
            response, "too_many_attempts", "Wait 1 s before the next attempt."
        )
        hand.pass_by(seconds=1)
        assert self.attempt(client, PASSWORD).status_code == 201
        assert self.attempt(client, "another evening elsewhere").status_code == 401
        assert self.attempt(client, PASSWORD).status_code == 201

    def test_an_unknown_email_waits_in_the_same_way(self, client: httpx.Client) -> None:
        body = {"email": "nobody@example.org", "password": PASSWORD}
        for _ in range(5):
            assert client.post("/api/session", json=body).status_code == 401

        assert client.post("/api/session", json=body).status_code == 429

    @pytest.mark.usefixtures("real_hashes")
    def test_guesses_at_the_same_time_get_no_more_looks_than_one_by_one(
        self, client: httpx.Client
    ) -> None:
        with ThreadPoolExecutor(8) as pool:
            statuses = Counter(
                pool.map(
                    lambda n: self.attempt(client, f"another evening {n}").status_code, range(20)
                )
            )

        assert statuses[401] == 5
        assert statuses[401] + statuses[429] + statuses[503] == 20
