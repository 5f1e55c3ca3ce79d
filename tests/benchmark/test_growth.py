"""What the benchmark of growth makes of its numbers; the run itself is `make bench-growth`."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import UUID, uuid4
from xml.etree import ElementTree

import growth_verdicts as plain  # type: ignore[import-not-found]
import pytest

from tests.benchmark.growing_library import TABLES, GrowingLibrary, Sample
from tests.benchmark.growth_chart import chart
from tests.benchmark.growth_operations import Asked, Refused
from tests.benchmark.growth_report import write
from tests.benchmark.growth_verdicts import OPERATIONS, SEARCHES, judge, limit, summary, told
from tests.benchmark.paper import BEGINNING, END, fill_in

JSON = dict[str, Any]

SMALL, LARGE = 10_000, 1_000_000
POLICY = uuid4()
PAGE = Path(__file__).parents[2] / "docs" / "growth.md"


def make_times(**larger: float) -> dict[int, dict[str, dict[str, float]]]:
    """Two milliseconds for everything, but for what is named in the large library."""
    return {
        size: {
            name: {"p50": value / 2, "p95": value}
            for name in OPERATIONS
            for value in [larger.get(name, 2.0) if size == LARGE else 2.0]
        }
        for size in (SMALL, LARGE)
    }


def make_report() -> JSON:
    times = make_times()
    searches = [{"matches": 10, "p50": 2.0}, {"matches": 10_000, "p50": 12.0}]
    of_engine = {
        "operations": times,
        "search": dict.fromkeys(times, searches),
        "imports": {size: {"median": 1_000.0} for size in times},
        "verdicts": judge(times, dict.fromkeys(times, 1_000.0)),
        "rates": {"book": 1_000.0, "page": 500.0, "search_few": 500.0, "desk": 100.0},
        "bytes": {
            size: {"all": size * 2_000, "indexes": size * 1_000, "index_of_search": size * 100}
            for size in times
        },
    }
    of_engine |= {"rounds": 3, "machine": {"python": "3.11"}}
    # As it is read from its file, in which sizes are texts.
    report: JSON = json.loads(json.dumps({"postgresql": of_engine, "sqlite": of_engine}))
    return {"sizes": [*times], **report}


def make_overrun() -> JSON:
    """A report in which some searches among many books were given up on SQLite."""
    report = make_report()
    found = report["sqlite"]
    found["operations"][str(LARGE)]["search_many"] |= {"over_deadline": 3, "count": 50}
    found["search"][str(LARGE)][-1]["over_deadline"] = 2
    return report


@contextmanager
def asked_of(code: str, deadline: float) -> Iterator[Asked]:
    """A library behind a service that refuses everything with this code, after 60 ms."""

    class Busy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(0.06)
            body = json.dumps({"code": code}).encode()
            self.send_response(503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """It is not of interest."""

    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        with closing(HTTPConnection("127.0.0.1", server.server_port, timeout=10)) as connection:
            yield Asked(GrowingLibrary(10, POLICY), connection, deadline)
        server.shutdown()
        thread.join()


def verdict_of(verdicts: list[JSON], beginning: str) -> JSON:
    return next(each for each in verdicts if each["what"].startswith(beginning))


class TestVerdicts:
    def test_the_95th_percentile_is_between_the_two_values_beside_it(self) -> None:
        assert summary([float(n) for n in range(101)]) == {"count": 101, "p50": 50, "p95": 95}
        assert summary([1.0]) == {"count": 1}

    def test_the_logarithm_half_as_much_again_and_a_millisecond_are_allowed(self) -> None:
        assert limit(2.0, SMALL, LARGE) == pytest.approx(2 * 6 / 4 * 1.5 + 1)

    @pytest.mark.parametrize(("p95", "met"), [(5.4, True), (5.6, False)])
    def test_an_operation_that_grows_faster_is_told(self, p95: float, *, met: bool) -> None:
        verdicts = judge(make_times(book=p95), {SMALL: 100.0, LARGE: 100.0})
        verdict = verdict_of(verdicts, "book at 1,000,000")
        assert verdict == verdict | {"value": p95, "at_most": 5.5, "met": met}
        assert ("FAIL book at" in told(verdicts)) is not met

    def test_a_search_may_grow_as_its_matches_do(self) -> None:
        times = make_times(**dict.fromkeys(SEARCHES, 900.0))
        verdicts = judge(times, {SMALL: 100.0, LARGE: 100.0})
        assert all(verdict["met"] for verdict in verdicts)
        assert len(verdicts) == len(OPERATIONS) - len(SEARCHES) + 2

    def test_the_end_of_a_walk_costs_what_its_start_does(self) -> None:
        verdicts = judge(make_times(walk_end=3.0), {SMALL: 100.0, LARGE: 100.0})
        verdict = verdict_of(verdicts, "walk at 1,000,000")
        assert verdict == verdict | {"value": 1.5, "at_most": 1.2, "met": False}

    def test_an_import_that_slows_down_is_told(self) -> None:
        verdicts = judge(make_times(), {SMALL: 100.0, LARGE: 80.0})
        verdict = verdict_of(verdicts, "import")
        assert verdict == verdict | {"value": 0.8, "at_least": 0.85, "met": False}
        assert "FAIL import at 1,000,000" in told(verdicts)


class TestChart:
    @pytest.mark.parametrize("engine", ["postgresql", "sqlite"])
    def test_each_operation_has_a_panel_with_its_p95_at_each_size(self, engine: str) -> None:
        texts = self.texts(chart(engine, make_report()))
        assert {texts[title] for title in OPERATIONS.values()} == {1}
        assert texts["2"] == 2 * len(OPERATIONS)
        assert texts["among 1M books"] == 1

    def test_what_was_given_up_is_told_and_is_no_measured_value(self) -> None:
        drawn = chart("sqlite", make_overrun())
        assert self.texts(drawn)["≥ 2"] == 1
        assert any(text.startswith("≥ and a ring") for text in self.texts(drawn))
        assert drawn.count('fill="#ffffff" stroke=') == 2
        assert "≥" not in chart("postgresql", make_overrun())

    def texts(self, drawn: str) -> Counter[str]:
        svg = ElementTree.fromstring(drawn)
        return Counter(text.text or "" for text in svg.iter("{http://www.w3.org/2000/svg}text"))


class TestPaper:
    def test_what_stands_between_the_marks_is_written_anew(self) -> None:
        report = make_report()
        page = fill_in(f"Before.\n\n{BEGINNING}\nstale\n{END}\n\nAfter.\n", report)
        assert page == fill_in(page, report)
        assert page.startswith(f"Before.\n\n{BEGINNING}\n")
        assert page.endswith(f"{END}\n\nAfter.\n")
        assert "stale" not in page
        assert "2,000 B, times 100,000,000 | 200 GB |" in page
        assert "500 / 1,000 + 250 / 500 + 200 / 500 + 50 / 100 | 1.9 |" in page
        assert "| 1.9 / 0.5 | 4 |" in page
        assert "| 100,000,000 / 1,000 records/s / 3,600 | 28 h |" in page

    def test_a_page_without_marks_is_refused(self) -> None:
        with pytest.raises(ValueError, match="the page lacks"):
            fill_in("No marks.", make_report())

    def test_the_page_has_its_marks(self) -> None:
        assert BEGINNING in fill_in(PAGE.read_text(), make_report())

    def test_a_search_that_was_given_up_has_no_value_but_a_least_one(self) -> None:
        page = fill_in(f"{BEGINNING}\n{END}\n", make_overrun())
        assert "| search_many | 2.0 | ≥ 2.0 (3 of 50 over the deadline) |" in page
        assert page.count("≥") == 1

    def test_a_database_that_was_not_measured_is_left_out(self) -> None:
        report = make_report()
        del report["postgresql"]
        page = fill_in(f"{BEGINNING}\n{END}\n", report)
        assert "SQLite" in page
        assert "PostgreSQL" not in page


class TestReport:
    @pytest.fixture
    def into(self, tmp_path: Path) -> Path:
        write("postgresql", make_report()["postgresql"], [SMALL, LARGE], tmp_path)
        return tmp_path

    def test_what_was_found_on_the_other_database_stays(self, into: Path) -> None:
        overrun = make_overrun()
        write("sqlite", overrun["sqlite"], [SMALL, LARGE], into)
        assert json.loads((into / "growth.json").read_text()) == overrun
        assert {each.name for each in into.glob("*.svg")} == {
            "growth-postgresql.svg",
            "growth-sqlite.svg",
        }

    def test_what_was_found_at_other_sizes_does_not(self, into: Path) -> None:
        write("sqlite", make_report()["sqlite"], [SMALL, LARGE, 10 * LARGE], into)
        report = json.loads((into / "growth.json").read_text())
        assert [*report] == ["sizes", "sqlite"]

    def test_a_second_run_takes_the_place_of_the_first(self, into: Path) -> None:
        found = make_report()["postgresql"] | {"rounds": 4}
        write("postgresql", found, [SMALL, LARGE], into)
        assert json.loads((into / "growth.json").read_text())["postgresql"]["rounds"] == 4


class TestSearch:
    """What is measured of a search, against a service that answers each with the same problem."""

    @pytest.fixture
    def make_asked(self) -> Iterator[Callable[..., Any]]:
        with ExitStack() as stack:
            yield lambda code, deadline: stack.enter_context(asked_of(code, deadline))

    def test_what_is_given_up_at_the_deadline_is_counted(
        self, make_asked: Callable[..., Any]
    ) -> None:
        asked = make_asked("database_busy", deadline=50)
        # What the scripts import is not the module that a test imports by its full name.
        found = plain.summary([1.0, asked.search("word"), asked.search("word")])
        assert found == found | {"count": 3, "over_deadline": 2}
        assert 50 <= found["p50"] < 5_000

    @pytest.mark.parametrize(("code", "deadline"), [("database_busy", 5_000), ("other", 50)])
    def test_another_refusal_ends_the_run(
        self, make_asked: Callable[..., Any], code: str, deadline: int
    ) -> None:
        asked = make_asked(code, deadline=deadline)
        with pytest.raises(Refused, match=f"503 .*{code}"):
            asked.search("word")


class TestLibrary:
    def test_rows_have_a_value_for_each_column_and_refer_to_what_is_there(self) -> None:
        library = GrowingLibrary(200, POLICY)
        ids: set[UUID] = {POLICY}
        lent, open_loans = set(), set()
        for batch in library.rows():
            for table, rows in batch.items():
                assert all(len(row) == len(TABLES[table]) for row in rows)
                ids |= {row[0] for row in rows}
            assert {row[place] for row in batch.get("loans", ()) for place in (1, 2, 3, 4)} <= ids
            assert {row[place] for row in batch.get("holds", ()) for place in (1, 2, 3)} <= ids
            lent |= {row[0] for row in batch.get("copies", ()) if row[4] == "on_loan"}
            open_loans |= {row[2] for row in batch.get("loans", ()) if row[7] == "open"}
        assert lent
        assert lent == open_loans

    def test_of_the_sample_whoever_may_wait_for_a_book_has_not_borrowed_it(self) -> None:
        library = GrowingLibrary(1_000, POLICY)
        loans = {row[3]: row[1] for batch in library.rows() for row in batch.get("loans", ())}
        assert library.sample.lent
        assert all(loans[book] != user for book, user in library.sample.lent)

    def test_the_words_are_those_that_find_nearest_to_so_many(self) -> None:
        sample = Sample(words=Counter({"a": 1, "b": 9, "c": 12, "d": 90}))
        assert sample.finding(10, 2) == ["b", "c"]
