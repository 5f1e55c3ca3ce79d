"""One file, imported by the command that was called, which is its own worker."""

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sqlalchemy import Engine

from circdesk.catalog.imports.jobs.leases import Lease, LeaseLostError, begin_in_place
from circdesk.catalog.imports.reading.formats import (
    FILE_DAMAGED,
    Format,
    detect_format,
    read_records,
)
from circdesk.catalog.imports.reading.marc.items import ItemMapping
from circdesk.catalog.imports.reading.openlibrary import collect_authors
from circdesk.catalog.imports.reading.openlibrary_authors import AuthorNames
from circdesk.catalog.imports.reading.records import NotThisFormatError
from circdesk.catalog.imports.reading.sources import open_source
from circdesk.catalog.imports.writing.tally import Outcome, Tally
from circdesk.catalog.imports.writing.writer import Options, Writer

_INTERRUPTED = "The import was interrupted. Run it again to complete it."
_BROKEN = "The packed file is damaged or cut off. What stands before that is imported."


class FileNotReadError(Exception):
    """The file cannot be read at all; the sentence says why."""


class Progress(Protocol):
    """What is told how far an import has come."""

    def at(self, place: int) -> None:
        """So many bytes of the file are read."""

    def add(self, outcome: Outcome) -> None:
        """A batch is stored."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How all files of one call are imported."""

    source: str | None
    items: str | None
    overwrite: bool
    dry_run: bool

    def writer(self, engine: Engine) -> Writer:
        """One that writes all files, so that a dry run knows what former ones would have stored."""
        return Writer(engine, Options(overwrite=self.overwrite, dry_run=self.dry_run))


@dataclass(slots=True)
class Result:
    """What became of a file: the counts, and why it was not read to its end if it was not."""

    tally: Tally = field(default_factory=Tally)
    error: str | None = None

    def add(self, outcome: Outcome) -> None:
        """Count a batch."""
        self.tally += outcome.tally
        if any(issue.reason == FILE_DAMAGED for issue in outcome.issues):
            self.error = _BROKEN


@dataclass(frozen=True, slots=True)
class FileImport:
    """The import of one file; `names` are the authors of all Open Library files of the call."""

    engine: Engine
    writer: Writer
    path: Path
    format: Format
    plan: Plan
    names: AuthorNames | None

    def run(self, progress: Progress) -> Result:
        """Import the file.

        Raises:
            FileNotReadError: It cannot be read, or is not of this format.
            DatabaseUnavailable: What was stored before stays.
        """
        # A dry run leaves nothing behind, not even the trace that it was made.
        if self.plan.dry_run:
            with _told_by_reason():
                return self._write(progress, None)
        lease = begin_in_place(self.engine, self._job())
        try:
            with _told_by_reason():
                result = self._write(progress, lease)
        except FileNotReadError as error:
            lease.finish(str(error))
            raise
        except BaseException as error:
            if not isinstance(error, LeaseLostError):
                lease.finish(_INTERRUPTED)
            raise
        lease.finish(result.error)
        return result

    def _job(self) -> dict[str, object]:
        return {
            "format": self.format.value,
            "source": self.plan.source,
            "items": self.plan.items,
            "overwrite": self.plan.overwrite,
            "dry_run": False,
            "bytes": self.path.stat().st_size,
        }

    def _write(self, progress: Progress, lease: Lease | None) -> Result:
        result = Result()
        items = ItemMapping.parse(self.plan.items) if self.plan.items else ItemMapping.default

        def on_read(place: int) -> None:
            progress.at(place)
            if lease:
                lease.beat()

        with open_source(self.path, on_read) as stream:
            records = read_records(
                stream, self.format, source=self.plan.source, items=items, authors=self.names
            )
            stored = self.writer.write(records, lease.record if lease else None)
            with closing(stored) as outcomes:
                for outcome in outcomes:
                    result.add(outcome)
                    progress.add(outcome)
        return result


def format_of(path: Path) -> Format:
    """What the file looks like. Raises FileNotReadError."""
    with _told_by_reason(), open_source(path) as stream:
        return detect_format(stream, path.name)


def collect_names(paths: Iterable[Path], names: AuthorNames) -> None:
    """Remember the authors of Open Library files. What cannot be read is told later."""
    for path in paths:
        with suppress(OSError), open_source(path) as stream:
            collect_authors(stream, names)


@contextmanager
def _told_by_reason() -> Iterator[None]:
    try:
        yield
    except NotThisFormatError as error:
        raise FileNotReadError(str(error)) from None
    except OSError as error:
        raise FileNotReadError(error.strerror or "It cannot be read.") from None
    except LeaseLostError:
        raise FileNotReadError("It was silent for too long and is taken for interrupted.") from None
