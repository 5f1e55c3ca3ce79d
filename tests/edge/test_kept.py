"""Answers in memory: each for a time of its own, which ends when it says."""

import flask
import pytest

from circdesk.db.generations import MemoryGenerations
from circdesk.edge import kept
from circdesk.edge.extensions import cache
from circdesk.edge.kept import Kept, KeptAnswers, Ready, memory_seconds
from circdesk.settings import Settings

ANY_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

MADE = 1_767_225_600.9


@pytest.fixture
def answers(settings: Settings) -> KeptAnswers:
    found = KeptAnswers(cache, MemoryGenerations(), shared=False)
    found.bind(flask.Flask("test"), settings)
    return found


def ready(seconds: float, body: bytes = b"{}") -> Ready:
    return Ready(Kept(MADE, "0", "application/json", {}, body), seconds, ("books",), [], [])


@ANY_DATABASE
@pytest.mark.parametrize("later", [0.0, 1.5], ids=["at once", "before its end"])
def test_an_answer_is_found_until_its_own_end(
    answers: KeptAnswers, monkeypatch: pytest.MonkeyPatch, later: float
) -> None:
    entry = ready(1.6)
    answers.keep_ready("key", entry)
    monkeypatch.setattr(kept, "time", lambda: MADE + later)

    assert answers.find_ready("key") is entry
    assert answers.age_of(entry) == pytest.approx(later)
    assert answers.find("key", "0", 600) is entry.kept


@ANY_DATABASE
@pytest.mark.parametrize("later", [1.7, -0.1], ids=["after its end", "a clock that was set back"])
def test_an_answer_is_not_found_at_any_other_time(
    answers: KeptAnswers, monkeypatch: pytest.MonkeyPatch, later: float
) -> None:
    entry = ready(1.6)
    answers.keep_ready("key", entry)
    monkeypatch.setattr(kept, "time", lambda: MADE + later)

    assert answers.age_of(entry) is None
    # Whoever makes answers looks once more, and must not find what is over for the event loop.
    assert answers.find("key", "0", 600) is None


@ANY_DATABASE
def test_an_answer_of_other_generations_is_not_found_by_who_would_make_it(
    answers: KeptAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers.keep_ready("key", ready(1.6))
    monkeypatch.setattr(kept, "time", lambda: MADE)

    assert answers.find("key", "1", 600) is None


@ANY_DATABASE
def test_a_long_answer_is_not_kept(answers: KeptAnswers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "time", lambda: MADE)
    answers.keep_ready("long", ready(1.6, b"x" * (256 * 1024 + 1)))
    answers.keep_ready("longest", ready(1.6, b"x" * 256 * 1024))

    assert answers.find_ready("long") is None
    assert answers.find_ready("longest") is not None


@pytest.mark.parametrize(("lifetime", "most"), [(1, 1.0), (10, 2.0), (300, 2.0)])
def test_answers_that_are_made_together_end_apart_and_in_time(lifetime: int, most: float) -> None:
    ends = sorted(memory_seconds(lifetime) for _ in range(50))

    assert 0.75 * most <= ends[0]
    assert ends[-1] <= most
    assert ends[-1] - ends[0] > 0.1 * most
    assert len({*ends}) == 50
