"""Writes records into the catalogue, batch by batch, each batch whole or not at all."""

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import count, islice

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from circdesk import clock
from circdesk.catalog.imports.reading.records import Refusal, SourceRecord
from circdesk.catalog.imports.writing.copying import CopyPlan, plan_copies
from circdesk.catalog.imports.writing.editing import settled
from circdesk.catalog.imports.writing.matching import Known
from circdesk.catalog.imports.writing.planning import Plan
from circdesk.catalog.imports.writing.storing import Store, write_copies, write_links
from circdesk.catalog.imports.writing.tally import Outcome
from circdesk.catalog.models import CATALOG
from circdesk.db.engine import WRITING
from circdesk.db.errors import as_problem, as_unknown_outcome
from circdesk.db.touches import touch_whole

Item = SourceRecord | Refusal
# Called in the transaction of each batch with what it amounted to.
Progress = Callable[[Connection, Outcome], None]

BATCH = 1000
_ATTEMPTS = 6
_FIRST_PAUSE_SECONDS = 0.1
# A dry run remembers what it would have stored, as far as that many records back.
_MOST_REMEMBERED = 100_000


@dataclass(frozen=True, slots=True)
class Options:
    """How records are written.

    Args:
        overwrite: Fields that a person has set are replaced, too.
        dry_run: Everything is counted and reported, and nothing is stored.
    """

    overwrite: bool = False
    dry_run: bool = False


class Writer:
    """Writes the records of one import, or of several that come one after the other.

    A dry run decides as a real one does and skips the writing. What it would have stored it
    keeps in mind for the last 100,000 records; a record that repeats an earlier one is counted
    as a new one.
    """

    def __init__(self, engine: Engine, options: Options) -> None:
        self._engine = engine.execution_options(**{WRITING: True})
        self._options = options
        self._progress: Progress | None = None
        self._store = Store()
        self._known = Known()

    def write(
        self, items: Iterable[Item], progress: Progress | None = None
    ) -> Generator[Outcome, None, None]:
        """Write the items in batches; yield what each batch amounted to, once it is committed.

        Raises:
            DatabaseUnavailable: The database stays out of reach; former batches are stored.
        """
        self._progress = progress
        # Where a former call was broken off, it may remember names that were never committed.
        self._store.forget()
        with closing(_read_ahead(items)) as batches:
            for batch in batches:
                yield self._write(batch)

    def _write(self, batch: Sequence[Item]) -> Outcome:
        """Write a batch; where the database refuses it for good, all but the record at fault."""
        try:
            return self._write_persistently(batch)
        except DBAPIError:
            if len(batch) == 1:
                return self._write_persistently([_refused(batch[0])])
            middle = len(batch) // 2
            return self._write(batch[:middle]) + self._write(batch[middle:])

    def _write_persistently(self, batch: Sequence[Item]) -> Outcome:
        """Write a batch, again and again while others stand in the way."""
        for attempt in count(1):
            try:
                return self._write_once(batch)
            except (DBAPIError, PoolTimeoutError) as error:
                self._forget()
                problem = as_problem(error)
                # Another process may have stored the same record, name or barcode just now; what
                # breaks a constraint twice is at fault itself.
                most = _ATTEMPTS if problem else 2 if isinstance(error, IntegrityError) else 1
                if attempt == most:
                    raise (problem or error) from error
            time.sleep(_FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
        raise AssertionError("unreachable")

    def _write_once(self, batch: Sequence[Item]) -> Outcome:
        outcome = None
        try:
            with self._engine.begin() as connection:
                outcome = self._write_in(connection, batch)
        except DBAPIError as error:
            # Once there is an outcome only the COMMIT is left. A batch that it may have stored
            # must not be counted again; whoever resumes the job knows from its row.
            problem = as_unknown_outcome(error) if outcome else None
            if problem is None:
                raise
            raise problem from error
        finally:
            # A batch that may have been stored counts as stored here.
            if outcome is not None and not self._options.dry_run:
                touch_whole(self._engine, *CATALOG)
        self._store.keep()
        return outcome

    def _write_in(self, connection: Connection, batch: Sequence[Item]) -> Outcome:
        plan = self._plan(connection, batch)
        copies = plan_copies(connection, plan)
        if not self._options.dry_run:
            self._carry_out(connection, plan, copies)
        outcome = Outcome(plan.tally, tuple(plan.issues))
        if self._progress:
            self._progress(connection, outcome)
        return outcome

    def _carry_out(self, connection: Connection, plan: Plan, copies: CopyPlan) -> None:
        now = clock.now().isoformat(timespec="microseconds").replace("+00:00", "Z")
        drafts = plan.drafts.values()
        old = [draft for draft in drafts if not draft.new]
        if old:
            books = settled(connection, old, overwrite=self._options.overwrite)
            self._store.write_changed(connection, books, now)
        self._store.write_new(connection, [draft for draft in drafts if draft.new], now)
        write_links(connection, plan.links, now)
        write_copies(connection, copies, now)

    def _forget(self) -> None:
        """Know nothing: what was known may be why the batch failed."""
        self._store.forget()
        self._known = Known()

    def _plan(self, connection: Connection, batch: Sequence[Item]) -> Plan:
        if not self._options.dry_run or len(self._known.links) > _MOST_REMEMBERED:
            self._known = Known()
        plan = Plan(self._known)
        records = [item for item in batch if isinstance(item, SourceRecord)]
        self._known.load(connection, records)
        for item in batch:
            plan.add(item)
        return plan


def _read_ahead(items: Iterable[Item]) -> Generator[list[Item], None, None]:
    """Yield batches, and read the next one while the caller waits for the database.

    Either engine takes a batch in a few long statements, each without the interpreter's lock.
    """
    remaining = iter(items)

    def read() -> list[Item]:
        return list(islice(remaining, BATCH))

    with ThreadPoolExecutor(1, thread_name_prefix="circdesk-import") as thread:
        coming = thread.submit(read)
        while batch := coming.result():
            coming = thread.submit(read)
            yield batch


def _refused(item: Item) -> Refusal:
    """The refusal of a record that the database does not take, whatever the reason."""
    message = "The database does not take this record."
    return Refusal(item.position, item.control_number, "not_storable", message)
