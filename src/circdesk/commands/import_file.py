"""One file, imported by the command that was called, which is its own worker."""

import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sqlalchemy import Engine

from circdesk.catalog.imports.formats import Format, detect_format, open_source, read_records
from circdesk.catalog.imports.leases import Lease, LeaseLostError, begin_in_place
from circdesk.catalog.imports.marc_items import ItemMapping
from circdesk.catalog.imports.openlibrary import collect_authors
from circdesk.catalog.imports.openlibrary_authors import AuthorNames
from circdesk.catalog.imports.records import NotThisFormatError
from circdesk.catalog.imports.tally import Outcome, Tally
from circdesk.catalog.imports.uploads import open_watched
from circdesk.catalog.imports.writing import Options, Writer

_INTERRUPTED = "The import was interrupted. Run it again to complete it."


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


@dataclass(frozen=True, slots=True)
class FileImport:
    """The import of one file; `names` are the authors of all Open Library files of the call."""

    engine: Engine
    path: Path
    format: Format
    plan: Plan
    names: AuthorNames | None

    def run(self, progress: Progress) -> Tally:
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
                tally = self._write(progress, lease)
        except FileNotReadError as error:
            lease.finish(str(error))
            raise
        except BaseException as error:
            if not isinstance(error, LeaseLostError):
                lease.finish(_INTERRUPTED)
            raise
        lease.finish()
        return tally

    def _job(self) -> dict[str, object]:
        return {
            "format": self.format.value,
            "source": self.plan.source,
            "items": self.plan.items,
            "overwrite": self.plan.overwrite,
            "dry_run": False,
            "bytes": self.path.stat().st_size,
        }

    def _write(self, progress: Progress, lease: Lease | None) -> Tally:
        total = Tally()
        options = Options(overwrite=self.plan.overwrite, dry_run=self.plan.dry_run)
        items = ItemMapping.parse(self.plan.items) if self.plan.items else ItemMapping.default
        writer = Writer(self.engine, options, lease.record if lease else None)

        def on_read(place: int) -> None:
            progress.at(place)
            if lease:
                lease.beat()

        with open_watched(self.path, on_read) as stream:
            records = read_records(
                stream, self.format, source=self.plan.source, items=items, authors=self.names
            )
            with closing(writer.write(records)) as outcomes:
                for outcome in outcomes:
                    total += outcome.tally
                    progress.add(outcome)
        return total


def format_of(path: Path) -> Format:
    """What the file looks like. Raises FileNotReadError."""
    with _told_by_reason(), open_source(path) as stream:
        return detect_format(stream, path.name)


def collect_names(paths: Iterable[Path], names: AuthorNames) -> None:
    """Remember the authors of Open Library files. What cannot be read is told later."""
    for path in paths:
        with suppress(OSError, EOFError, zlib.error), open_source(path) as stream:
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
