"""Circdesk beside what people would write with other frameworks, on one database, in one run.

    python tests/benchmark/frameworks.py                  # about thirteen minutes
    python tests/benchmark/frameworks.py --rounds 1       # about two

PostgreSQL comes from the wheel that the tests use, keeps what it has committed, and has the cores
beside the first, with whoever asks. The first core has the contestants, of which one is asked at
a time: in each round, operation by operation, all of them in turn. Before that they are held
against each other: same items, same rows. The first of several rounds warms up and is not counted.
At last, some are started once more, each alone, and asked at half of the rate that they reach.

It needs `requirements-bench.txt`; `make bench` sees to that. It writes `benchmark.json`,
`benchmark.svg` and `benchmark.md`, and says which goals are met.
"""

import argparse
import compileall
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import psycopg
from chart import chart, table  # type: ignore[import-not-found]  # It lies beside this file.
from choosing import choose  # type: ignore[import-not-found]
from contestants import ALL, HERE, Database, running  # type: ignore[import-not-found]
from generators import CONNECTIONS, generator  # type: ignore[import-not-found]
from goals import judge, told, without_goal  # type: ignore[import-not-found]
from lent_books import add_people  # type: ignore[import-not-found]
from made_up_books import Library, fill  # type: ignore[import-not-found]
from measuring import CORES_MEASURED, Run, measure_tails, tell  # type: ignore[import-not-found]
from search import server  # type: ignore[import-not-found]
from sqlalchemy import make_url

import circdesk
from tokens import CORES, make_settings, migrated  # type: ignore[import-not-found]

JSON = dict[str, Any]

# Fourteen contestants with a pool each.
MAX_CONNECTIONS = 500
SETTINGS = (
    "server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_level",
    "shared_buffers", "work_mem", "max_connections", "jit",
)  # fmt: skip


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--books", type=int, default=50_000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=int, default=1, help="for each measurement")
    arguments.add_argument("--into", type=Path, default=Path("build/benchmark"))
    given = arguments.parse_args()
    # Nothing that starts here, PostgreSQL least of all, is to share a core with what is measured.
    os.sched_setaffinity(0, CORES[CORES_MEASURED:] or CORES)
    # pip compiles what it installs. A checkout is compiled at its first start, which is measured
    # here, or at every start where nothing may write bytecode.
    for place in (*circdesk.__path__, str(HERE)):
        compileall.compile_dir(place, quiet=1)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with server(directory, [0], MAX_CONNECTIONS) as (uri,):
            url = make_url(uri).set(drivername="postgresql+psycopg")
            settings = make_settings(directory, url.render_as_string(hide_password=False))
            with migrated(settings) as (_, sessions), psycopg.connect(uri) as connection:
                add_people(connection)
                fill(connection, Library(given.books))
                tell(f"{given.books:,} books are there")
                asked = choose(connection)
                database = Database(settings, uri, sessions, connection)
                with running(database, asked.book[0]) as contestants:
                    run = Run(contestants, database, asked, given.seconds)
                    report = facts_of(connection, given) | run.measure(given.rounds)
                report |= measure_tails(database, asked, given.seconds, given.rounds)
    write(report, given.into)


def facts_of(connection: psycopg.Connection[Any], given: argparse.Namespace) -> JSON:
    """What was measured where, and with what."""
    shown = {
        name: (connection.execute(f"SHOW {name}".encode()).fetchone() or ("",))[0]
        for name in SETTINGS
    }
    (copies,) = connection.execute("SELECT count(*) FROM copies").fetchone() or (0,)
    return {
        "machine": {"processors": os.cpu_count(), "python": platform.python_version()},
        "library": {"books": given.books, "copies": copies},
        "postgresql": shown,
        "closed_loop": {"generator": generator(), "connections": CONNECTIONS},
        "rounds": given.rounds,
        "seconds": given.seconds,
        "contestants": {each.name: {"kind": each.kind} for each in ALL},
    }


def write(report: JSON, directory: Path) -> None:
    """The report in three forms, and its verdicts on standard output."""
    kinds = {name: each["kind"] for name, each in report["contestants"].items()}
    report["goals"] = judge(report["rates"], kinds, report)
    report["without_goal"] = without_goal(kinds, report)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "benchmark.json").write_text(json.dumps(report, indent=2) + "\n")
    (directory / "benchmark.svg").write_text(chart(report["rates"], kinds, subtitle(report)))
    (directory / "benchmark.md").write_text(table(report["rates"]))
    shown = [*report["goals"], *report["without_goal"]]
    sys.stdout.write(f"{table(report['rates'])}\n{told(shown)}")


def subtitle(report: JSON) -> str:
    """What was measured where, in a line."""
    machine, shown = report["machine"], report["postgresql"]
    return (
        f"{report['library']['books']:,} books, PostgreSQL {shown['server_version']} with fsync "
        f"{shown['fsync']}, Python {machine['python']}, {report['closed_loop']['generator']} with "
        f"{CONNECTIONS} connections, median of {report['rounds']} rounds"
    )


if __name__ == "__main__":
    main()
