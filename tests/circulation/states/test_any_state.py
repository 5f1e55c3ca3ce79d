"""The property that decides: in any state, a decision says what the live call does.

In CI the steps are the same ones each time; `TEST_LONG=1` takes ten times as many, and others each
time. A failure tells the steps that lead to it, each with what came of it before it.
"""

import os
from collections.abc import Callable

import httpx
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from circdesk.db.unit_of_work import Sessions
from circdesk.visits import Caller
from tests.circulation.conftest import Library
from tests.circulation.states.desk import Desk, Inside, Outside
from tests.circulation.states.ground import Clock, Ground
from tests.circulation.states.machine import AnyState
from tests.circulation.states.town import Town

LONG = bool(os.environ.get("TEST_LONG"))
STEPS = 40


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What time it is, for the desk and for all else."""
    clock = Clock()
    monkeypatch.setattr("circdesk.clock.now", lambda: clock.now)
    return clock


def run(ground: Ground, times: int) -> None:
    """Let a machine run so often, and ten times as often in a long run; each time from anew."""

    def begin() -> AnyState:
        return AnyState(ground)

    run_state_machine_as_test(
        begin,  # type: ignore[arg-type]  # A function will do, says its documentation.
        settings=settings(
            max_examples=times * 10 if LONG else times,
            stateful_step_count=STEPS,
            derandomize=not LONG,
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=[*HealthCheck],
        ),
    )


class TestAnyState:
    def test_the_live_call_does_what_the_decision_says(
        self, sessions: Sessions, restore: Callable[[], None], clock: Clock
    ) -> None:
        ground = Ground(sessions, restore, clock, lambda _library, _town: Inside(sessions))

        run(ground, 6)

        assert ground.steps >= (2000 if LONG else 200)
        if LONG:
            # Nothing is shown by steps that all end in the same refusal.
            for action in ("check_out", "return", "renew", "place_hold", "cancel_hold"):
                assert ground.counts[f"{action} done"], sorted(ground.counts.items())
            assert ground.counts["undone"], sorted(ground.counts.items())
            assert ground.counts["outdated"], sorted(ground.counts.items())

    def test_so_does_the_call_over_http(
        self,
        sessions: Sessions,
        restore: Callable[[], None],
        clock: Clock,
        client: httpx.Client,
    ) -> None:
        def outside(library: Library, _town: Town) -> Desk:
            keys: dict[Caller, dict[str, str]] = {}

            def key(caller: Caller) -> dict[str, str]:
                assert caller.user_id is not None
                assert caller.role is not None
                if caller not in keys:
                    keys[caller] = library.key(caller.user_id, caller.role, scopes=caller.scopes)
                return keys[caller]

            return Outside(client, key)

        run(Ground(sessions, restore, clock, outside), 2)
