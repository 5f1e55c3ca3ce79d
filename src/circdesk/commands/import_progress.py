"""How far an import has come: a bar on a terminal, lines where somebody keeps them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from circdesk.catalog.imports.writing.tally import Outcome

_SECONDS_BETWEEN_LINES = 5.0
_MOST_NOTES = 20


@contextmanager
def shown_progress(path: Path) -> Iterator["FileProgress"]:
    """Show the progress of one file on standard error for as long as the block lasts."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    size = path.stat().st_size if path.is_file() else 0
    if not console.is_terminal:
        yield FileProgress(path.name, size, console)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        yield _Bar(path.name, size, console, bar)


class FileProgress:
    """Progress in plain lines, and every record that was refused."""

    def __init__(self, name: str, size: int, console: Console) -> None:
        self._name, self._size, self._console = name, size, console
        self._began = self._told = time.monotonic()
        self._place = self._records = self._notes = 0

    def at(self, place: int) -> None:
        """So many bytes of the file are read."""
        self._place = place
        if time.monotonic() - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = time.monotonic()
            self._tell()

    def add(self, outcome: Outcome) -> None:
        """A batch is stored."""
        self._records += outcome.tally.read
        for issue in outcome.issues:
            self._notes += issue.severity == "note"
            # A note on each of a million records would hide what was refused.
            if issue.severity == "refused" or self._notes <= _MOST_NOTES:
                number = f" ({issue.control_number})" if issue.control_number else ""
                line = f"{self._name}: record {issue.position}{number}: {issue.severity}: "
                self._console.print(line + issue.message, markup=False)

    def _tell(self) -> None:
        done = self._place / self._size if self._size else 1
        left = (time.monotonic() - self._began) * (1 - done) / done if done else 0
        self._console.print(
            f"{self._name}: {done:.0%}, {self._rate()}, {left:.0f} s left", markup=False
        )

    def _rate(self) -> str:
        seconds = max(time.monotonic() - self._began, 0.001)
        return f"{self._records:,} records, {self._records / seconds:,.0f}/s"


class _Bar(FileProgress):
    """Progress as a bar that moves with the bytes of the file."""

    def __init__(self, name: str, size: int, console: Console, bar: Progress) -> None:
        super().__init__(name, size, console)
        self._bar = bar
        self._task = bar.add_task(name, total=size, told=self._rate())

    def at(self, place: int) -> None:
        """So many bytes of the file are read."""
        self._place = place
        self._bar.update(self._task, completed=place, told=self._rate())

    def add(self, outcome: Outcome) -> None:
        """A batch is stored."""
        super().add(outcome)
        self._bar.update(self._task, completed=self._place, told=self._rate())
