"""Answers in memory: each for a time of its own, and longer while nobody commits anything."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flask
import pytest

from circdesk.db.generations import MemoryGenerations
from circdesk.edge import kept
from circdesk.edge.extensions import cache
from circdesk.edge.kept import Kept, KeptAnswers, Ready, memory_seconds
from circdesk.settings import Settings

ANY_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

MADE = 1_767_225_600.9


BEGAN = 5000.0


@dataclass
class Commits:
    """What is known of commits, as `circdesk.db.commits` tells it.

    Attributes:
        since: From then on nothing was committed.
        until: Until then; a time of `time.monotonic`, too.
    """

    since: float = math.inf
    until: float = -math.inf

    def unchanged_until(self, began: float) -> float:
        return self.until if began >= self.since else -math.inf


@pytest.fixture
def commits() -> Commits:
    """Nothing is known."""
    return Commits()


@pytest.fixture
def answers(settings: Settings, commits: Commits) -> KeptAnswers:
    known: Any = commits
    found = KeptAnswers(cache, MemoryGenerations(), shared=False, commits=known)
    found.bind(flask.Flask("test"), settings)
    return found


Pass = Callable[[float], None]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Pass:
    """Sets both clocks to so many seconds after the answer was made."""

    def pass_(seconds: float) -> None:
        monkeypatch.setattr(kept, "time", lambda: MADE + seconds)
        monkeypatch.setattr(kept, "monotonic", lambda: BEGAN + seconds)

    return pass_


def ready(seconds: float, body: bytes = b"{}", *, longest: float = 8.0) -> Ready:
    made = Kept(MADE, "0", "application/json", {}, body)
    return Ready(made, BEGAN, seconds, longest, ("books",), [], [])


@ANY_DATABASE
@pytest.mark.parametrize("seconds", [0.0, 1.5], ids=["at once", "before its end"])
def test_an_answer_is_found_until_its_own_end(
    answers: KeptAnswers, later: Pass, seconds: float
) -> None:
    entry = ready(1.6)
    answers.keep_ready("key", entry)
    later(seconds)

    assert answers.find_ready("key") is entry
    assert answers.age_of(entry) == pytest.approx(seconds)
    assert answers.find("key", "0", 600) is entry.kept


@ANY_DATABASE
@pytest.mark.parametrize("seconds", [1.7, -0.1], ids=["after its end", "a clock that was set back"])
def test_an_answer_is_not_found_at_any_other_time(
    answers: KeptAnswers, later: Pass, seconds: float
) -> None:
    entry = ready(1.6)
    answers.keep_ready("key", entry)
    later(seconds)

    assert answers.age_of(entry) is None
    # Whoever makes answers looks once more, and must not find what is over for the event loop.
    assert answers.find("key", "0", 600) is None


@ANY_DATABASE
@pytest.mark.parametrize("seconds", [1.7, 3.5, 7.9])
def test_while_nothing_is_committed_it_is_found_for_longer(
    answers: KeptAnswers, commits: Commits, later: Pass, seconds: float
) -> None:
    entry = ready(1.6)
    answers.keep_ready("key", entry)
    commits.since, commits.until = BEGAN - 0.1, BEGAN + seconds - 1.5
    later(seconds)

    assert answers.age_of(entry) == pytest.approx(seconds)
    assert answers.find_ready("key") is entry
    assert answers.find("key", "0", 600) is entry.kept


@ANY_DATABASE
@pytest.mark.parametrize(
    ("since", "until", "seconds"),
    [
        (BEGAN + 0.1, BEGAN + 5.0, 5.1),
        (BEGAN - 0.1, BEGAN + 3.0, 4.7),
        (BEGAN - 0.1, BEGAN + 8.0, 8.1),
        (BEGAN - 0.1, BEGAN + 1.0, -0.1),
    ],
    ids=[
        "it began before that is known",
        "it was known for the last time too long ago",
        "its lifetime is over",
        "a clock that was set back",
    ],
)
def test_and_not_for_longer_than_that(
    answers: KeptAnswers,
    commits: Commits,
    later: Pass,
    since: float,
    until: float,
    seconds: float,
) -> None:
    entry = ready(1.6)
    answers.keep_ready("key", entry)
    commits.since, commits.until = since, until
    later(seconds)

    assert answers.age_of(entry) is None
    assert answers.find("key", "0", 600) is None


@ANY_DATABASE
def test_an_answer_of_other_generations_is_not_found_by_who_would_make_it(
    answers: KeptAnswers, later: Pass
) -> None:
    answers.keep_ready("key", ready(1.6))
    later(0)

    assert answers.find("key", "1", 600) is None


@ANY_DATABASE
def test_a_long_answer_is_not_kept(answers: KeptAnswers, later: Pass) -> None:
    later(0)
    answers.keep_ready("long", ready(1.6, b"x" * (256 * 1024 + 1)))
    answers.keep_ready("longest", ready(1.6, b"x" * 256 * 1024))

    assert answers.find_ready("long") is None
    assert answers.find_ready("longest") is not None


@ANY_DATABASE
def test_where_there_is_no_room_the_oldest_gives_way(answers: KeptAnswers, later: Pass) -> None:
    later(0)
    for number in range(300):
        answers.keep_ready(f"{number}", ready(1.6, longest=8.0 if number % 2 else 300.0))

    found = [number for number in range(300) if answers.find_ready(f"{number}") is not None]
    assert 250 < len(found) < 260
    assert found == [*range(300 - len(found), 300)]


@pytest.mark.parametrize(("lifetime", "most"), [(1, 1.0), (10, 2.0), (300, 2.0)])
def test_answers_that_are_made_together_end_apart_and_in_time(lifetime: int, most: float) -> None:
    ends = sorted(memory_seconds(lifetime) for _ in range(50))

    for place, longest in enumerate((most, lifetime)):
        assert 0.75 * longest <= ends[0][place]
        assert ends[-1][place] <= longest
        assert ends[-1][place] - ends[0][place] > 0.1 * longest
        assert len({end[place] for end in ends}) == 50
