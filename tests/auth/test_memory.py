"""What is remembered of credentials, and for how long."""

import time

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from circdesk.auth import memory
from circdesk.auth.memory import (
    Memory,
    forget_after_commit,
    forget_all,
    remember_after_commit,
)
from circdesk.db.unit_of_work import Sessions, unit_of_work


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of `time.monotonic`, as the only entry, to be set."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


class TestMemory:
    def test_a_value_is_good_for_less_than_two_seconds_from_when_it_was_asked_for(
        self, clock: list[float]
    ) -> None:
        remembered: Memory[str] = Memory()
        remembered.put("key", "value", asked_at=99.9)
        clock[0] = 101.3
        assert remembered.get("key") == "value"
        clock[0] = 101.5
        assert remembered.get("key") is None

    def test_what_took_longer_than_that_to_find_is_not_remembered(self, clock: list[float]) -> None:
        remembered: Memory[str] = Memory()
        remembered.put("key", "value", asked_at=clock[0] - 1.5)
        assert remembered.get("key") is None

    def test_what_was_never_put_is_not_known(self) -> None:
        assert Memory[str]().get("key") is None

    def test_how_long_it_is_good_can_be_said(self, clock: list[float]) -> None:
        remembered: Memory[str] = Memory(0.5)
        remembered.put("key", "value", asked_at=100.0)
        clock[0] = 100.4
        assert remembered.get("key") == "value"
        clock[0] = 100.5
        assert remembered.get("key") is None

    def test_it_never_holds_more_than_it_has_room_for(
        self, monkeypatch: pytest.MonkeyPatch, clock: list[float]
    ) -> None:
        monkeypatch.setattr(memory, "_MOST", 3)
        remembered: Memory[int] = Memory()
        for number in range(10):
            remembered.put(number, number, asked_at=clock[0])
            assert len(remembered._values) <= 3
        assert remembered.get(9) == 9


class TestForgetting:
    @pytest.fixture
    def remembered(self, clock: list[float]) -> Memory[str]:
        remembered: Memory[str] = Memory()
        remembered.put("key", "value", asked_at=clock[0])
        return remembered

    def test_everything_can_be_forgotten_at_once(self, remembered: Memory[str]) -> None:
        forget_all()
        assert remembered.get("key") is None

    def test_what_was_asked_before_is_not_remembered_after(
        self, remembered: Memory[str], clock: list[float]
    ) -> None:
        forget_all()
        clock[0] += 0.1
        remembered.put("key", "value", asked_at=clock[0] - 0.2)
        assert remembered.get("key") is None
        remembered.put("key", "value", asked_at=clock[0])
        assert remembered.get("key") == "value"

    def test_it_is_forgotten_once_the_change_is_committed(
        self, sessions: Sessions, remembered: Memory[str]
    ) -> None:
        with unit_of_work(sessions, writing=True) as session:
            forget_after_commit(session)
            session.execute(select(1))
            assert remembered.get("key") == "value"
        assert remembered.get("key") is None

    def test_what_is_rolled_back_changes_nothing(
        self, sessions: Sessions, remembered: Memory[str]
    ) -> None:
        def fail() -> None:
            with unit_of_work(sessions, writing=True) as session:
                forget_after_commit(session)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert remembered.get("key") == "value"

    def test_the_change_of_one_session_is_no_matter_of_another(
        self, sessions: Sessions, session: Session, remembered: Memory[str]
    ) -> None:
        forget_after_commit(session)
        with unit_of_work(sessions, writing=False):
            assert remembered.get("key") == "value"


class TestRemembering:
    def test_what_is_committed_is_remembered(self, sessions: Sessions) -> None:
        remembered: Memory[str] = Memory()
        with unit_of_work(sessions, writing=True) as session:
            asked_at = time.monotonic()
            session.execute(select(1))
            remember_after_commit(session, remembered, "key", "value", asked_at=asked_at)
            assert remembered.get("key") is None
        assert remembered.get("key") == "value"

    def test_what_is_rolled_back_is_not(self, session: Session) -> None:
        remembered: Memory[str] = Memory()
        session.execute(select(1))
        remember_after_commit(session, remembered, "key", "value", asked_at=time.monotonic())
        session.rollback()
        assert remembered.get("key") is None
