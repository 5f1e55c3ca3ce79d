"""What is kept of a run: the report on each database, its chart, its verdicts, and the page."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from growth_chart import chart  # type: ignore[import-not-found]  # It lies beside this file.
from growth_verdicts import told  # type: ignore[import-not-found]
from paper import fill_in  # type: ignore[import-not-found]

JSON = dict[str, Any]

NAME = "growth.json"
DOCS = Path("docs/benchmark")
PAPER = Path("docs/growth.md")


def write(engine: str, found: JSON, sizes: Sequence[int], directory: Path) -> None:
    """Keep what was found on one database; told on standard output, and with others on the page.

    What the report already says of other databases stays there, if it is of the same sizes.
    """
    directory.mkdir(parents=True, exist_ok=True)
    report = joined(earlier(directory), engine, found, sizes)
    (directory / NAME).write_text(json.dumps(report, indent=2) + "\n")
    (directory / f"growth-{engine}.svg").write_text(chart(engine, report))
    sys.stdout.write(f"{engine}\n{told(found['verdicts'])}\n")
    if directory == DOCS:
        PAPER.write_text(fill_in(PAPER.read_text(), report))


def earlier(directory: Path) -> JSON:
    """The report that is there, if any."""
    path = directory / NAME
    report: JSON = json.loads(path.read_text()) if path.exists() else {}
    return report


def joined(report: JSON, engine: str, found: JSON, sizes: Sequence[int]) -> JSON:
    """The report with what was found on one database, all keys being texts as in JSON."""
    kept = report if report.get("sizes") == [*sizes] else {"sizes": [*sizes]}
    read: JSON = json.loads(json.dumps(found))
    return {**kept, engine: read}
