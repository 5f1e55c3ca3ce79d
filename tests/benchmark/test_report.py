"""What the benchmark makes of its numbers, and what it asks for; the run itself is `make bench`."""

import json
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID
from xml.etree import ElementTree

import pytest

from tests.benchmark.chart import OPERATIONS, chart, table
from tests.benchmark.frameworks import write
from tests.benchmark.goals import judge, told, without_goal
from tests.benchmark.loads import Loans, Reads

JSON = dict[str, Any]


def make_round(p50: float, p99: float) -> JSON:
    return {"rate": 100.0, "p50": p50, "p99": p99, "wrong": 0}


KINDS = {
    "circdesk": "circdesk",
    "circdesk, cache on": "circdesk",
    "circdesk, no checks": "circdesk",
    "one, ORM": "orm",
    "two, ORM": "orm",
    "one, SQL": "sql",
    "floor": "floor",
}
MEASURED: JSON = {
    "open_loop": {
        "circdesk": {"book": [make_round(2.0, 5.0), make_round(1.0, 9.0), make_round(4.0, 8.0)]},
        "floor": {"book": [make_round(1.0, 7.0), make_round(1.0, 40.0), make_round(1.0, 6.0)]},
    },
    "megabytes": 150.0,
    "seconds_to_first_answer": 3.0,
    "two_workers_to_one": None,
}
COPY, OTHER_COPY, USER = UUID(int=1), UUID(int=2), UUID(int=3)


def make_rates(**of_book: list[float]) -> dict[str, dict[str, list[float]]]:
    """The same for all, three rounds each, but for one book."""
    rates = {name: {key: [100.0] * 3 for key in OPERATIONS} for name in KINDS}
    return {name: each | {"book": of_book.get(name, each["book"])} for name, each in rates.items()}


def make_report() -> JSON:
    return MEASURED | {
        "machine": {"python": "3.11"},
        "library": {"books": 3000},
        "postgresql": {"server_version": "16", "fsync": "on"},
        "closed_loop": {"generator": "wrk"},
        "rounds": 3,
        "contestants": {name: {"kind": kind} for name, kind in KINDS.items()},
        "rates": make_rates(),
    }


def verdict_of(verdicts: list[JSON], **named: str) -> JSON:
    return next(each for each in verdicts if named.items() <= each.items())


class TestGoals:
    def test_a_ratio_is_the_median_over_rounds_each_against_its_best(self) -> None:
        rates = make_rates(
            **{
                "circdesk": [100.0, 150.0, 200.0],
                "one, ORM": [100.0, 50.0, 50.0],
                "two, ORM": [50.0, 75.0, 50.0],
            }
        )
        verdict = verdict_of(judge(rates, KINDS, MEASURED), operation="book", kind="orm")
        assert verdict["ratio"] == 2
        assert verdict["met"]

    def test_a_goal_that_is_missed_is_told(self) -> None:
        verdicts = judge(make_rates(), KINDS, MEASURED)
        assert not verdict_of(verdicts, operation="page", kind="orm")["met"]
        assert not verdict_of(verdicts, what="start to first answer, s")["met"]
        assert "FAIL         page: circdesk against orm" in told(verdicts)

    def test_what_was_not_measured_is_neither_met_nor_missed(self) -> None:
        verdicts = judge(make_rates(), KINDS, MEASURED)
        assert verdict_of(verdicts, what="two workers to one")["met"] is None
        assert "not measured two workers to one" in told(verdicts)

    def test_a_tail_is_the_median_over_rounds_each_against_its_own_median(self) -> None:
        verdict = verdict_of(
            judge(make_rates(), KINDS, MEASURED),
            what="book, circdesk: p99 to median at half the top rate",
        )
        assert verdict == verdict | {"value": 2.5, "at_most": 3, "met": True}

    def test_tails_of_others_are_told_and_have_no_goal(self) -> None:
        what = "book, floor: p99 to median at half the top rate"
        assert what not in told(judge(make_rates(), KINDS, MEASURED))
        assert without_goal(KINDS, MEASURED) == [{"what": what, "value": 7.0}]
        assert told(without_goal(KINDS, MEASURED)) == f"no goal      {what:62}    7.00\n"


class TestReport:
    def test_the_chart_has_a_bar_for_each_contestant_in_each_operation(self) -> None:
        drawn = ElementTree.fromstring(chart(make_rates(), KINDS, "a < b"))
        texts = Counter(text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text"))
        assert {texts[name] for name in KINDS if name != "circdesk"} == {len(OPERATIONS)}
        assert texts["a < b"] == 1

    def test_the_table_leaves_out_what_was_not_measured(self) -> None:
        rates = {"one": {"book": [90.0, 100.0, 120.0]}}
        assert table(rates).splitlines()[2] == "| one | 100 ± 15 |  |  |  |  |  |"

    def test_what_has_no_goal_is_told_beneath_the_goals_and_kept(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write(make_report(), tmp_path)
        assert capsys.readouterr().out.splitlines()[-1].startswith("no goal      book, floor: p99")
        kept = json.loads((tmp_path / "benchmark.json").read_text())
        assert kept["without_goal"] == without_goal(KINDS, MEASURED)
        assert kept["open_loop"] == MEASURED["open_loop"]


class TestLoads:
    def test_a_copy_is_returned_when_it_was_lent_and_lent_again_after_all_others(self) -> None:
        loans = Loans({COPY: USER, OTHER_COPY: USER}, "a token")
        sent = []
        for status in (201, 200, 201):
            request = loans.next()
            body = json.loads(request.partition(b"\r\n\r\n")[2])
            sent.append((request.split()[1].decode(), body["copy"]))
            answer = {"copy_id": body["copy"]}
            assert loans.answered(status, json.dumps(answer).encode())
        assert sent == [
            ("/api/loans", str(COPY)),
            ("/api/returns", str(COPY)),
            ("/api/loans", str(OTHER_COPY)),
        ]

    def test_a_refusal_is_no_right_answer(self) -> None:
        loans = Loans({COPY: USER}, "a token")
        loans.next()
        assert not loans.answered(409, b'{"copy_id": "1"}')

    def test_reads_go_round(self) -> None:
        reads = Reads([("/a", {"If-None-Match": '"1"'}), ("/b", {})], (304,))
        paths = [reads.next().split()[1] for _ in range(3)]
        assert paths == [b"/a", b"/b", b"/a"]
        assert reads.answered(304, b"")
        assert not reads.answered(200, b"")
        assert '{"/a", {["If-None-Match"] = "\\"1\\""}}' in reads.script()
