"""The run itself: who is asked what, in which order, and what is recorded."""

import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from chart import OPERATIONS  # type: ignore[import-not-found]  # It lies beside this file.
from choosing import Asked  # type: ignore[import-not-found]
from contestants import (  # type: ignore[import-not-found]
    ALL,
    UNCACHED,
    Database,
    Running,
    issue_token,
    start,
)
from generators import closed_loop  # type: ignore[import-not-found]
from loads import Asking, Loans, Reads  # type: ignore[import-not-found]
from open_loops import ASKED, at_half  # type: ignore[import-not-found]
from sameness import (  # type: ignore[import-not-found]
    Different,
    count_faults,
    raise_unless_same_deeds,
    raise_unless_same_reads,
    tag_of,
)

from tokens import CORES  # type: ignore[import-not-found]

JSON = dict[str, Any]

FAULTY = "/api/books?per_page=0&year_from=late&sort=colour"
# Two workers can be held against one where PostgreSQL and who asks have four cores besides.
CORES_FOR_TWO = 6
CORES_MEASURED = 2 if len(CORES) >= CORES_FOR_TWO else 1

_SECONDS_TO_END = 0.3
# What a run leaves lent when it ends in the midst of loans.
_TIDY = (
    "UPDATE copies SET status = 'available' WHERE status = 'on_loan'",
    "UPDATE loans SET status = 'returned', returned_at = now() WHERE returned_at IS NULL",
)
# What PostgreSQL would do by itself in the midst of what is measured next.
_SETTLE = (b"VACUUM", b"CHECKPOINT")


class Run:
    """One run.

    Args:
        contestants: All that take part, running.
        database: Where they read and write.
        asked: What they are asked.
        seconds: How long each is asked at a time.
    """

    def __init__(
        self, contestants: Sequence[Running], database: Database, asked: Asked, seconds: int
    ) -> None:
        self._contestants, self._database = contestants, database
        self._asked, self._seconds = asked, seconds
        self._by_name = {each.contestant.name: each for each in contestants}
        self._tags: dict[str, list[str]] = {}
        self._wrong: dict[str, int] = defaultdict(int)
        self._busy: dict[str, dict[str, list[float]]] = defaultdict(dict)

    def measure(self, rounds: int) -> JSON:
        """Everything that is measured. Raises Different where two do not do the same."""
        faults = self._compare()
        rates = self._rounds(rounds)
        self._raise_unless_tags_are_good()
        worker = self._by_name[UNCACHED.name]
        ours = [each for each in self._contestants if each.contestant.kind == "circdesk"]
        return {
            "rates": rates,
            # Who has not used up its core has waited for the database, or for who asks.
            "share_of_core_used": {
                name: {operation: round(statistics.median(s), 2) for operation, s in each.items()}
                for name, each in self._busy.items()
            },
            "faults_told": faults,
            "wrong_answers": dict(self._wrong),
            "megabytes": round(worker.worker_megabytes(), 1),
            "megabytes_of_each": self._of_each(lambda each: each.worker_megabytes()),
            "seconds_to_first_answer": statistics.median(each.seconds for each in ours),
            "seconds_of_each": self._of_each(lambda each: each.seconds),
            "two_workers_to_one": self._two_workers(),
        }

    def ask_at_half(self, operation: str) -> JSON:
        """Latencies of the first at half of its top rate, after a rate that warms it up."""
        each = self._contestants[0]
        _, top = self._rate(each, operation), self._rate(each, operation)
        asking = self._asking(each, operation)
        load: JSON = at_half(each.address, operation, asking, top, 3 * self._seconds)
        if operation == "desk":
            self._tidy()
        return load

    def _compare(self) -> JSON:
        """Hold all against the first; answers how many faults each tells of three."""
        asked = self._asked
        raise_unless_same_reads(self._contestants, [*asked.book, *asked.page, *asked.search])
        lending = [each for each in self._contestants if "desk" not in each.contestant.skips]
        with_tokens = [(each, self._token(each)) for each in lending]
        copy, user = next(iter(asked.borrowers.items()))
        raise_unless_same_deeds(with_tokens, self._database.connection, user, copy)
        for name, each in self._by_name.items():
            self._tags[name] = [tag_of(each, path) for path in asked.book]
        tell("all answer and write the same")
        return {
            name: dict(zip(("status", "faults"), count_faults(each, FAULTY), strict=True))
            for name, each in self._by_name.items()
            if "400" not in each.contestant.skips
        }

    def _rounds(self, rounds: int) -> dict[str, dict[str, list[float]]]:
        """Requests in a second; of several rounds the first warms up, and is not counted."""
        rates: dict[str, dict[str, list[float]]] = {name: {} for name in self._by_name}
        for number in range(rounds + (rounds > 1)):
            for operation in OPERATIONS:
                for each in self._in_turn(number, operation):
                    rate = self._rate(each, operation)
                    if number or rounds == 1:
                        rates[each.contestant.name].setdefault(operation, []).append(rate)
            tell(f"round {number} is over")
        return rates

    def _in_turn(self, number: int, operation: str) -> list[Running]:
        """All who do this; each round begins with another, so that nobody is always the first."""
        first = number * 5 % len(self._contestants)
        ordered = [*self._contestants[first:], *self._contestants[:first]]
        return [each for each in ordered if operation not in each.contestant.skips]

    def _rate(self, each: Running, operation: str) -> float:
        """Requests in a second; of loans, those that were made and returned."""
        began, used = time.perf_counter(), each.processor_seconds()
        load = closed_loop(each.address, self._asking(each, operation), self._seconds)
        share = (each.processor_seconds() - used) / (time.perf_counter() - began)
        self._busy[each.contestant.name].setdefault(operation, []).append(share)
        if operation == "desk":
            self._tidy()
        # wrk counts every refusal as an error, also one that is asked for.
        if load.wrong and operation != "400":
            self._wrong[f"{each.contestant.name}: {operation}"] += load.wrong
        rate: float = round(load.rate / 2 if operation == "desk" else load.rate, 1)
        return rate

    def _asking(self, each: Running, operation: str) -> Asking:
        if operation == "desk":
            return Loans(self._asked.borrowers, self._token(each))
        if operation == "400":
            return Reads([(FAULTY, {})], (400, 422))
        if operation == "304":
            tags = self._tags[each.contestant.name]
            conditions = [{"If-None-Match": tag} for tag in tags]
            return Reads([*zip(self._asked.book, conditions, strict=True)], (304,))
        return Reads([(path, {}) for path in getattr(self._asked, operation)])

    def _token(self, each: Running) -> str:
        # They are good for ten minutes, which is less than a run takes.
        token: str = issue_token(each.settings, self._database.sessions)
        return token

    def _tidy(self) -> None:
        # What was on its way when nobody asked any more is carried out all the same.
        time.sleep(_SECONDS_TO_END)
        for statement in _TIDY:
            self._database.connection.execute(statement.encode())

    def _raise_unless_tags_are_good(self) -> None:
        """What was measured as 304 has been one to the end."""
        for name, each in self._by_name.items():
            for path, tag in zip(self._asked.book, self._tags[name], strict=True):
                if tag_of(each, path) != tag:
                    raise Different(f"{name} has another tag for {path} than at the beginning")

    def _two_workers(self) -> float | None:
        """How much more two workers answer, each on a core of its own; None with too few cores."""
        if CORES_MEASURED < 2:
            return None
        asked = self._asking(self._by_name[UNCACHED.name], "book")
        with ExitStack() as stack:
            workers = [
                start(stack, UNCACHED, self._database, self._asked.book[0], core)
                for core in range(2)
            ]
            alone = closed_loop(workers[0].address, asked, 3 * self._seconds).rate
            with ThreadPoolExecutor(2) as pool:
                loads = [
                    pool.submit(closed_loop, each.address, asked, 3 * self._seconds)
                    for each in workers
                ]
                gain: float = round(sum(load.result().rate for load in loads) / alone, 2)
            return gain

    def _of_each(self, value: Any) -> dict[str, float]:
        return {name: round(value(each), 2) for name, each in self._by_name.items()}


def measure_tails(database: Database, asked: Asked, seconds: int, rounds: int) -> JSON:
    """Latencies at half of the top rate, of all who are asked so; each has the machine to itself.

    Args:
        database: Where they read and write.
        asked: What they are asked.
        seconds: How long each is rated at a time.
        rounds: How often.
    """
    found: dict[str, dict[str, list[JSON]]] = {name: {} for name in ASKED}
    for number in range(rounds):
        for contestant in (each for each in ALL if each.name in ASKED):
            for statement in _SETTLE:
                database.connection.execute(statement)
            with ExitStack() as stack:
                alone = start(stack, contestant, database, asked.book[0])
                run = Run([alone], database, asked, seconds)
                for operation in ASKED[contestant.name]:
                    found[contestant.name].setdefault(operation, []).append(
                        run.ask_at_half(operation)
                    )
        tell(f"round {number} alone is over")
    return {"open_loop_generator": "tests/benchmark/generators.py", "open_loop": found}


def tell(progress: str) -> None:
    """Say how far it is, to whoever waits."""
    sys.stderr.write(f"{progress}\n")
    sys.stderr.flush()
