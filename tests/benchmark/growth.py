"""What each operation costs as a library grows, on PostgreSQL and on SQLite.

    python tests/benchmark/growth.py --into docs/benchmark    # 10,000 to a million books
    python tests/benchmark/growth.py --sizes 1000,10000       # into build/benchmark

Each library has a service of its own on the first core: one worker, production settings, limits
that are not reached, no cache. One caller asks the services in turn, over HTTP and one request
after the other, so that what is measured is the operation and no queue, and what slows the machine
down meanwhile slows all sizes down. PostgreSQL has the other cores, and keeps what it has
committed; SQLite is a part of the service.

It writes `growth.json` and a chart for each database, says which goals are met, and fills in the
numbers of `docs/growth.md` where it writes to `docs/benchmark`.
"""

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from filling import POLICY, bytes_in, fill, plain, prepare  # type: ignore[import-not-found]
from frameworks import SETTINGS  # type: ignore[import-not-found]  # It lies beside this file.
from growing_library import GrowingLibrary  # type: ignore[import-not-found]
from growth_chart import chart  # type: ignore[import-not-found]
from growth_measuring import Run  # type: ignore[import-not-found]
from growth_verdicts import judge, told  # type: ignore[import-not-found]
from measuring import tell  # type: ignore[import-not-found]
from paper import fill_in  # type: ignore[import-not-found]
from search import server  # type: ignore[import-not-found]

from circdesk.settings import Settings
from tokens import CORES, make_settings, migrated  # type: ignore[import-not-found]

JSON = dict[str, Any]

ENGINES = ("postgresql", "sqlite")
DOCS = Path("docs/benchmark")
PAPER = Path("docs/growth.md")
# Seconds after which the run has failed, whatever it waits for.
LONGEST = 3600


def main() -> None:
    given = arguments()
    # Also who is told to end leaves no service and no server behind.
    for number in (signal.SIGALRM, signal.SIGTERM):
        signal.signal(number, _give_up)
    signal.alarm(LONGEST)
    with tempfile.TemporaryDirectory() as name:
        report = measure(Path(name), given)
    signal.alarm(0)
    write(report, given.into)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=_sizes, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--engine", choices=ENGINES, action="append")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seconds", type=int, default=3, help="for each top rate")
    parser.add_argument("--records", type=int, default=4_000, help="for each import")
    parser.add_argument("--into", type=Path, default=Path("build/benchmark"))
    return parser.parse_args()


def _sizes(given: str) -> list[int]:
    return sorted(map(int, given.split(",")))


def _give_up(number: int, _frame: object) -> None:
    raise TimeoutError(f"{signal.Signals(number).name}: the run has at most {LONGEST} seconds")


def measure(directory: Path, given: argparse.Namespace) -> JSON:
    """The report on all engines."""
    engines = given.engine or ENGINES
    with databases(directory, engines, given.sizes) as settings:
        libraries, report = load(given.sizes, settings)
        for engine in engines:
            tell(f"{engine} is measured")
            run = Run(libraries, settings[engine])
            found = run.measure(given.rounds, given.seconds, given.records)
            rates = {size: each["median"] for size, each in found["imports"].items()}
            found["verdicts"] = judge(found["operations"], rates)
            report[engine] |= found
    return facts(given) | report


@contextmanager
def databases(
    directory: Path, engines: Sequence[str], sizes: Sequence[int]
) -> Iterator[dict[str, dict[int, Settings]]]:
    """Empty databases: settings by engine and size."""
    urls = {size: f"sqlite:///{directory / f'{size}.db'}" for size in sizes}
    found = {"sqlite": _settings(directory / "sqlite", urls)}
    if "postgresql" not in engines:
        yield found
        return
    # PostgreSQL is not to share a core with what it is asked by.
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, CORES[1:] or CORES)
    with server(directory, list(sizes)) as given:
        os.sched_setaffinity(0, before)
        urls = dict(zip(sizes, given, strict=True))
        found = {"postgresql": _settings(directory / "postgresql", urls), **found}
        yield {engine: found[engine] for engine in engines}


def _settings(directory: Path, urls: Mapping[int, str]) -> dict[int, Settings]:
    settings = {}
    for size, url in urls.items():
        instance = directory / str(size)
        instance.mkdir(parents=True)
        settings[size] = make_settings(instance, url)
    return settings


def load(
    sizes: Sequence[int], settings: Mapping[str, Mapping[int, Settings]]
) -> tuple[dict[int, GrowingLibrary], JSON]:
    """Fill the databases; the libraries, and by engine what that took and takes."""
    libraries = {size: GrowingLibrary(size, POLICY) for size in sizes}
    report: JSON = {engine: {"fill_seconds": {}, "bytes": {}} for engine in settings}
    for size, library in libraries.items():
        urls = {}
        for engine, by_size in settings.items():
            with migrated(by_size[size]) as (_, sessions):
                prepare(sessions)
            urls[engine] = by_size[size].database_url.get_secret_value()
        for engine, seconds in fill(library, urls).items():
            report[engine]["fill_seconds"][size] = seconds
            report[engine]["bytes"][size] = bytes_in(engine, urls[engine])
        tell(f"{size:,} books are there")
    if "postgresql" in settings:
        report["postgresql"]["settings"] = shown(urls["postgresql"])
    return libraries, report


def shown(url: str) -> dict[str, str]:
    """The settings of PostgreSQL that matter."""
    with psycopg.connect(plain(url)) as connection:
        return {
            name: (connection.execute(f"SHOW {name}".encode()).fetchone() or ("",))[0]
            for name in SETTINGS
        }


def facts(given: argparse.Namespace) -> JSON:
    """What was measured, and where."""
    machine = {"processors": os.cpu_count(), "python": platform.python_version()}
    asked = {name: getattr(given, name) for name in ("sizes", "rounds", "seconds", "records")}
    return {"machine": machine, **asked}


def write(report: JSON, directory: Path) -> None:
    """The report, its charts, and its verdicts on standard output."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "growth.json").write_text(json.dumps(report, indent=2) + "\n")
    for engine in ENGINES:
        if engine in report:
            (directory / f"growth-{engine}.svg").write_text(chart(engine, report))
            sys.stdout.write(f"{engine}\n{told(report[engine]['verdicts'])}\n")
    if directory == DOCS:
        read: JSON = json.loads((directory / "growth.json").read_text())
        PAPER.write_text(fill_in(PAPER.read_text(), read))


if __name__ == "__main__":
    main()
