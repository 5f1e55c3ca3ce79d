"""What each operation costs as a library grows, on PostgreSQL and on SQLite.

    python tests/benchmark/growth.py --into docs/benchmark    # 10,000 to a million books
    python tests/benchmark/growth.py --sizes 1000,10000       # into build/benchmark

One database after the other: each library has a service of its own on the first core, with one
worker, production settings, limits that are not reached, and no cache. One caller asks the services
in turn, over HTTP and one request after the other, so that what is measured is the operation and no
queue, and what slows the machine down meanwhile slows all sizes down. PostgreSQL has the other
cores, and keeps what it has committed; SQLite is a part of the service.

When a database is done it writes `growth.json`, in which what it says of the other one stays if it
is of the same sizes, and a chart; says which goals are met; and fills in the numbers of
`docs/growth.md` where it writes to `docs/benchmark`. A search that takes longer than a service
allows a statement is counted as such, and does not end the run.
"""

import argparse
import os
import platform
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from filling import POLICY, bytes_in, fill, plain, prepare  # type: ignore[import-not-found]
from frameworks import SETTINGS  # type: ignore[import-not-found]  # It lies beside this file.
from growing_library import GrowingLibrary  # type: ignore[import-not-found]
from growth_measuring import Run  # type: ignore[import-not-found]
from growth_report import write  # type: ignore[import-not-found]
from growth_verdicts import judge  # type: ignore[import-not-found]
from measuring import tell  # type: ignore[import-not-found]
from search import server  # type: ignore[import-not-found]

from circdesk.settings import Settings
from tokens import CORES, make_settings, migrated  # type: ignore[import-not-found]

JSON = dict[str, Any]

ENGINES = ("postgresql", "sqlite")
ASKED = ("rounds", "seconds", "records")
# Seconds after which the run on a database has failed, whatever it waits for.
LONGEST = 3600


def main() -> None:
    given = arguments()
    # Also who is told to end leaves no service and no server behind.
    for number in (signal.SIGALRM, signal.SIGTERM):
        signal.signal(number, _give_up)
    for engine in given.engine or ENGINES:
        signal.alarm(LONGEST)
        with tempfile.TemporaryDirectory() as name:
            found = measure(Path(name), engine, given)
        write(engine, found, given.sizes, given.into)
    signal.alarm(0)


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


def measure(directory: Path, engine: str, given: argparse.Namespace) -> JSON:
    """The report on one database."""
    with databases(directory, engine, given.sizes) as settings:
        libraries, report = load(engine, settings)
        tell(f"{engine} is measured")
        found = Run(libraries, settings).measure(given.rounds, given.seconds, given.records)
    rates = {size: each["median"] for size, each in found["imports"].items()}
    return {**facts(given), **report, **found, "verdicts": judge(found["operations"], rates)}


@contextmanager
def databases(directory: Path, engine: str, sizes: Sequence[int]) -> Iterator[dict[int, Settings]]:
    """Empty databases: settings by size."""
    if engine == "sqlite":
        yield _settings(
            directory, {size: f"sqlite:///{directory / f'{size}.db'}" for size in sizes}
        )
        return
    # PostgreSQL is not to share a core with what it is asked by.
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, CORES[1:] or CORES)
    with server(directory, list(sizes)) as urls:
        os.sched_setaffinity(0, before)
        yield _settings(directory, dict(zip(sizes, urls, strict=True)))


def _settings(directory: Path, urls: Mapping[int, str]) -> dict[int, Settings]:
    settings = {}
    for size, url in urls.items():
        instance = directory / str(size)
        instance.mkdir(parents=True)
        settings[size] = make_settings(instance, url)
    return settings


def load(engine: str, settings: Mapping[int, Settings]) -> tuple[dict[int, GrowingLibrary], JSON]:
    """Fill the databases; the libraries, and what that took and takes."""
    libraries = {size: GrowingLibrary(size, POLICY) for size in settings}
    report: JSON = {"fill_seconds": {}, "bytes": {}}
    for size, library in libraries.items():
        with migrated(settings[size]) as (_, sessions):
            prepare(sessions)
        url = settings[size].database_url.get_secret_value()
        report["fill_seconds"] |= {size: fill(library, {engine: url})[engine]}
        report["bytes"] |= {size: bytes_in(engine, url)}
        tell(f"{size:,} books are there")
    if engine == "postgresql":
        report["settings"] = shown(url)
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
    return {"machine": machine, **{name: getattr(given, name) for name in ASKED}}


if __name__ == "__main__":
    main()
