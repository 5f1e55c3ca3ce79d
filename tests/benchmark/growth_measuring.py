"""The run on one database: libraries of all sizes, each behind a service of its own, in turn."""

import http.client
import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from contestants import UNCACHED, issue_token  # type: ignore[import-not-found]  # Beside this.
from generators import closed_loop  # type: ignore[import-not-found]
from growing_library import GrowingLibrary  # type: ignore[import-not-found]
from growth_operations import (  # type: ignore[import-not-found]
    AUTHORS_PAGE,
    IN_TURN,
    Asked,
)
from growth_verdicts import summary  # type: ignore[import-not-found]
from importing import run, write_records  # type: ignore[import-not-found]
from loads import Loans, Reads  # type: ignore[import-not-found]
from measuring import tell  # type: ignore[import-not-found]
from sqlalchemy import select

from circdesk.catalog.imports.models import ImportJob
from circdesk.catalog.models import Copy
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.settings import Settings
from tokens import migrated, service, wait_for  # type: ignore[import-not-found]

JSON = dict[str, Any]

# The first calls fill caches.
WARM_UP = 20
# Words of so many matches are searched, if there are any, each so often.
MATCHES = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000)
SEARCHED = 15
# Books that no library has.
FIRST_RECORD = 100_000_000
_TIMEOUT = 60


@contextmanager
def asked(library: GrowingLibrary, settings: Settings) -> Iterator[Asked]:
    """The library behind a service of its own: one worker, in production, without its cache."""
    _, port = (settings.public_url or "").rsplit(":", 1)
    command = [sys.executable, *UNCACHED.command, "--port", port]
    log = str(settings.instance / "access.log")
    host = (settings.public_url or "").removeprefix("http://")
    with (
        (settings.instance / "errors.txt").open("wb") as errors,
        service(settings, command, errors=errors, CIRCDESK_LOG_FILE=log),
    ):
        wait_for(host)
        with closing(http.client.HTTPConnection(host, timeout=_TIMEOUT)) as connection:
            yield Asked(library, connection, settings.database_timeout_seconds * 1000)


class Run:
    """One run on one database.

    Args:
        libraries: What is in the databases, by size.
        settings: Where they are, by size.
    """

    def __init__(
        self, libraries: Mapping[int, GrowingLibrary], settings: Mapping[int, Settings]
    ) -> None:
        self._libraries, self._settings = libraries, settings

    def measure(self, rounds: int, seconds: int, imports: int) -> JSON:
        """Everything that is asked of the services, and then the imports.

        Args:
            rounds: How often each operation is asked for.
            seconds: How long the top rates are measured, each.
            imports: How many records are imported at a time.
        """
        with ExitStack() as stack:
            all_asked = {
                size: stack.enter_context(asked(library, self._settings[size]))
                for size, library in self._libraries.items()
            }
            walks = {size: self._walk(each) for size, each in all_asked.items()}
            report = {
                "walks": walks,
                "operations": self._operations(all_asked, rounds),
                "search": {size: searches(each) for size, each in all_asked.items()},
                "rates": self._rates(all_asked[max(all_asked)], seconds),
            }
        return report | {"imports": self._imports(imports)}

    def _walk(self, each: Asked) -> JSON:
        count, times = each.walk()
        assert count == each.library.size, f"{count} books on a walk through {each.library.size}"
        tell(f"walked through {count:,} books")
        return {"pages": len(times), "seconds": round(sum(times) / 1000, 1), **summary(times)}

    def _operations(self, all_asked: Mapping[int, Asked], rounds: int) -> dict[int, JSON]:
        times: dict[int, dict[str, list[float]]] = {size: defaultdict(list) for size in all_asked}
        for turn in range(-WARM_UP, rounds):
            for asks in IN_TURN:
                for size, each in all_asked.items():
                    for found in asks(each, turn + WARM_UP):
                        for operation, taken in found.items():
                            if turn >= 0:
                                times[size][operation].append(taken)
        tell(f"{rounds} rounds are over")
        return {
            size: {operation: summary(taken) for operation, taken in by_operation.items()}
            for size, by_operation in times.items()
        }

    def _rates(self, each: Asked, seconds: int) -> JSON:
        """Requests in a second of one worker on one core, in the largest library."""
        settings = self._settings[each.library.size]
        sample = each.library.sample
        reads = {
            "book": [f"/api/books/{book}" for book in sample.books],
            "page": [AUTHORS_PAGE.format(author) for author in sample.authors],
            "search_few": [f"/api/books?q={word}" for word in each.words["search_few"]],
        }
        rates = {
            name: closed_loop(settings.public_url, Reads([(path, {}) for path in paths]), seconds)
            for name, paths in reads.items()
        }
        with migrated(settings) as (_, sessions):
            loans = Loans(borrowers(sessions, each), issue_token(settings, sessions))
        rates["desk"] = closed_loop(settings.public_url, loans, seconds)
        wrong = {name: load.wrong for name, load in rates.items() if load.wrong}
        if wrong:
            tell(f"not answered, or not as they should be: {wrong}")
        return {name: round(load.rate, 1) for name, load in rates.items()}

    def _imports(self, count: int, times: int = 3) -> dict[int, JSON]:
        """Records in a second by size; the sizes in turn, and the median of it."""
        rates: dict[int, list[float]] = defaultdict(list)
        for turn in range(times):
            for size, settings in self._settings.items():
                rates[size].append(imported(settings, count, FIRST_RECORD + turn * count))
        tell("imports are over")
        return {
            size: {"median": sorted(each)[times // 2], "all": each} for size, each in rates.items()
        }


def searches(each: Asked) -> Sequence[JSON]:
    """Words by their matches, with the median of what it takes to find these."""
    sample = each.library.sample
    found, words = sample.words, dict.fromkeys(sample.finding(n, 1)[0] for n in MATCHES)
    shown = []
    for word in sorted(words, key=lambda each: found[each]):
        times = [each.search(word) for _ in range(SEARCHED)]
        shown.append({"matches": found[word], **summary(times)})
    return shown


def borrowers(sessions: Sessions, each: Asked) -> dict[Any, Any]:
    """Copies on the shelves, each with somebody who borrows it."""
    free = Copy.barcode.in_(each.library.sample.free)
    with unit_of_work(sessions, writing=False) as session:
        copies = session.scalars(select(Copy.id).where(free, Copy.status == "available")).all()
    return {copy: each.library.person(number) for number, copy in enumerate(copies)}


def imported(settings: Settings, count: int, first: int) -> float:
    """Records in a second, by what the job itself says of when it began and ended."""
    path = Path(settings.instance) / "records.mrc"
    write_records(path, count, first)
    url = settings.database_url.get_secret_value()
    own = {"DATABASE_URL": url, "CIRCDESK_INSTANCE": str(settings.instance)}
    answer = run(["import", "--json", str(path)], os.environ | own)
    assert answer["counts"]["created"] == count, answer
    with migrated(settings) as (_, sessions), unit_of_work(sessions, writing=False) as session:
        newest = select(ImportJob).order_by(ImportJob.created_at.desc()).limit(1)
        job = session.scalars(newest).one()
        assert job.started_at is not None
        assert job.finished_at is not None
        return round(count / (job.finished_at - job.started_at).total_seconds(), 1)
