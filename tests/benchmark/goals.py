"""What the benchmark is to show: ratios of one run, each held against its goal."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

JSON = dict[str, Any]
# Requests in a second, by contestant and operation, one for each round.
Rates = Mapping[str, Mapping[str, Sequence[float]]]


@dataclass(frozen=True)
class Goal:
    """Circdesk's rate as a multiple of another's, which is to be at least so much.

    Attributes:
        operation: What is asked.
        ours: The variant of Circdesk.
        kind: Against whom: the best of all `orm`, or of all `sql`, or the `floor`.
        at_least: The least ratio.
    """

    operation: str
    ours: str
    kind: str
    at_least: float


_OFF, _ON = "circdesk", "circdesk, cache on"
GOALS = [
    *(Goal("book", _OFF, kind, goal) for kind, goal in (("orm", 1.5), ("sql", 1), ("floor", 0.3))),
    *(Goal("page", _OFF, kind, goal) for kind, goal in (("orm", 2), ("sql", 1), ("floor", 0.4))),
    *(
        Goal("search", _OFF, kind, goal)
        for kind, goal in (("orm", 1.5), ("sql", 1), ("floor", 0.5))
    ),
    *(Goal("desk", _OFF, kind, goal) for kind, goal in (("orm", 1.2), ("sql", 1), ("floor", 0.4))),
    *(Goal(read, _ON, "orm", 4) for read in ("book", "page", "search", "304")),
    *(Goal(read, _ON, "sql", 3) for read in ("book", "page", "search", "304")),
]
_MOST_BY_CHECKS = 1.15
_MOST_P99 = 3
_MOST_MEGABYTES = 200
_MOST_SECONDS = 2.5
_LEAST_BY_TWO = 1.8


def judge(rates: Rates, kinds: Mapping[str, str], measured: JSON) -> list[JSON]:
    """Each goal with what was measured, and whether it is met; None for what was not measured.

    Args:
        rates: What was measured in all rounds.
        kinds: The kind of each contestant, by its name.
        measured: `open_loop` by contestant and operation, of each round; `megabytes`,
            `seconds_to_first_answer` and `two_workers_to_one` of Circdesk, the last one None
            where there are too few cores.
    """
    verdicts = [_judge(goal, rates, kinds) for goal in GOALS]
    for operation, unchecked in rates["circdesk, no checks"].items():
        ratio = _median_ratio(unchecked, [rates[_OFF][operation]])
        verdicts.append(_most(f"{operation}: contract checks off", ratio, _MOST_BY_CHECKS))
    for name, what, ratio in _tails(measured):
        if kinds[name] == "circdesk":
            verdicts.append(_most(what, ratio, _MOST_P99))
    verdicts.append(_most("memory of one worker, MB", measured["megabytes"], _MOST_MEGABYTES))
    seconds = measured["seconds_to_first_answer"]
    verdicts.append(_most("start to first answer, s", seconds, _MOST_SECONDS))
    gain = measured["two_workers_to_one"]
    met = None if gain is None else gain >= _LEAST_BY_TWO
    what = "two workers to one"
    return [*verdicts, {"what": what, "at_least": _LEAST_BY_TWO, "value": gain, "met": met}]


def without_goal(kinds: Mapping[str, str], measured: JSON) -> list[JSON]:
    """What others do where Circdesk has a goal that is held against nobody; see `judge`.

    It tells how much of a long tail is the machine's, whoever answers.
    """
    return [
        {"what": what, "value": round(ratio, 2)}
        for name, what, ratio in _tails(measured)
        if kinds[name] != "circdesk"
    ]


def _tails(measured: JSON) -> Iterator[tuple[str, str, float]]:
    """Who was asked, what is told of it, and the median over the rounds of p99 to p50."""
    for name, by_operation in measured["open_loop"].items():
        for operation, of_rounds in by_operation.items():
            ratio = statistics.median(load["p99"] / load["p50"] for load in of_rounds)
            yield name, f"{operation}, {name}: p99 to median at half the top rate", ratio


def _judge(goal: Goal, rates: Rates, kinds: Mapping[str, str]) -> JSON:
    others = [
        by_operation[goal.operation]
        for name, by_operation in rates.items()
        if kinds[name] == goal.kind
    ]
    ratio = _median_ratio(rates[goal.ours][goal.operation], others)
    return {**asdict(goal), "ratio": round(ratio, 2), "met": ratio >= goal.at_least}


def _median_ratio(ours: Sequence[float], others: Sequence[Sequence[float]]) -> float:
    """The median over the rounds of our rate divided by that of whoever was best in the round."""
    best = [max(of_round) for of_round in zip(*others, strict=True)]
    ratios = [mine / theirs for mine, theirs in zip(ours, best, strict=True)]
    return float(statistics.median(ratios))


def _most(what: str, value: float, at_most: float) -> JSON:
    return {"what": what, "at_most": at_most, "value": round(value, 2), "met": value <= at_most}


def told(verdicts: Sequence[JSON]) -> str:
    """The verdicts, or what is told beside them without a goal, as lines of text."""
    return "".join(f"{_told(verdict)}\n" for verdict in verdicts)


def _told(verdict: JSON) -> str:
    words = {True: "pass", False: "FAIL", None: "not measured"}
    word = words[verdict["met"]] if "met" in verdict else "no goal"
    if "operation" in verdict:
        what, value = "{operation}: {ours} against {kind}".format(**verdict), verdict["ratio"]
    else:
        what, value = verdict["what"], verdict["value"]
    shown = "" if value is None else f"{value:.2f}"
    limits = {"at_least": ">=", "at_most": "<="}
    limit = "".join(f" {sign} {verdict[key]}" for key, sign in limits.items() if key in verdict)
    return f"{word:13}{what:62}{shown:>8}{limit}"
