"""Writing records into the catalogue, on both engines."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, delete, func, insert, select, update
from sqlalchemy.exc import DataError

from circdesk.catalog.imports.models import SourceLink
from circdesk.catalog.imports.reading.formats import Format, read_records
from circdesk.catalog.imports.reading.records import Refusal, SourceBook, SourceCopy, SourceRecord
from circdesk.catalog.imports.writing import writer
from circdesk.catalog.imports.writing.copying import plan_copies
from circdesk.catalog.imports.writing.matching import Known, titles_agree
from circdesk.catalog.imports.writing.tally import Outcome, Tally
from circdesk.catalog.imports.writing.writer import Options, Writer
from circdesk.catalog.models import (
    Author,
    Book,
    BookAuthor,
    BookISBN,
    BookSubject,
    BookText,
    Branch,
    Copy,
    Subject,
)
from circdesk.db.base import Base
from circdesk.db.engine import WRITING
from circdesk.db.text import sort_key
from circdesk.settings import Settings
from tests.people import SEEDED_TABLES

MARC = Path(__file__).parents[5] / "shared" / "data" / "marc"
ISBN = "9780441478125"
DARKNESS = SourceBook(
    title="The Left Hand of Darkness",
    authors=("Le Guin, Ursula K.",),
    isbns=(ISBN,),
    publisher="Ace",
    year=1969,
    language="eng",
    subjects=("Science fiction", "Gender"),
)


def record(
    number: str | None = "1",
    book: SourceBook = DARKNESS,
    *,
    agency: str | None = "AAA",
    **facts: Any,
) -> SourceRecord:
    book = replace(book, **facts)
    content_hash = sha256(repr(book).encode()).hexdigest()
    return SourceRecord(1, agency, number, content_hash, book)


def write(engine: Engine, items: Iterable[writer.Item], **options: bool) -> Outcome:
    total = Outcome(Tally(), ())
    for outcome in Writer(engine, Options(**options)).write(items):
        total += outcome
    return total


def counts(outcome: Outcome) -> tuple[int, int, int, int, int]:
    tally = outcome.tally
    return tally.read, tally.created, tally.updated, tally.unchanged, tally.refused


def reasons(outcome: Outcome) -> list[str]:
    return [issue.reason for issue in outcome.issues]


def column(engine: Engine, what: Any, *order: Any) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(what).order_by(*(order or (what,)))).scalars())


def change(engine: Engine, statement: Any) -> None:
    with engine.execution_options(**{WRITING: True}).begin() as connection:
        connection.execute(statement)


def add_branch(engine: Engine, code: str, name: str) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    named = {"id": uuid4(), "code": code, "name": name, "sort_name": sort_key(name)}
    hours: dict[str, Any] = {"time_zone": "UTC", "opening_hours": {}, "closed_days": []}
    change(engine, insert(Branch).values(**named, **hours, created_at=now, updated_at=now))


class TestNewRecords:
    def test_everything_that_a_record_says_is_stored(self, engine: Engine) -> None:
        copy = SourceCopy("Central", "30001", "SF LEG")
        outcome = write(engine, [record(copies=(copy,), variants=("闇の左手",))])

        assert counts(outcome) == (1, 1, 0, 0, 0)
        with engine.connect() as connection:
            book = connection.execute(select(Book.__table__)).one()
            assert (book.title, book.sort_title) == (DARKNESS.title, "the left hand of darkness")
            assert (book.year, book.sort_year, book.language) == (1969, 1969, "eng")
            assert (book.publisher, book.material_type) == ("Ace", "book")
            assert book.edited_fields == []
            text = connection.execute(select(BookText.__table__)).one()
            assert text.people == "le guin ursula k"
            assert text.variants == "闇の左手"
            link = connection.execute(select(SourceLink.__table__)).one()
            assert (link.agency, link.control_number, link.book_id) == ("AAA", "1", book.id)
            stored = connection.execute(select(Copy.__table__)).one()
            assert (stored.barcode, stored.shelf_mark, stored.status) == (
                "30001", "SF LEG", "available",
            )  # fmt: skip
            assert (stored.book_id, stored.material_type, stored.loanable) == (
                book.id, "book", True,
            )  # fmt: skip
        assert column(engine, BookISBN.isbn) == [ISBN]
        assert column(engine, Author.name) == ["Le Guin, Ursula K."]
        assert column(engine, Subject.name) == ["Gender", "Science fiction"]

    def test_names_that_fold_alike_are_one(self, engine: Engine) -> None:
        write(engine, [record("1", authors=("Böll, Heinrich",), isbns=())])
        twice = ("BOLL, HEINRICH", "Böll, Heinrich", "Böll Heinrich")
        write(engine, [record("2", authors=twice, isbns=())])

        assert column(engine, Author.name) == ["Böll, Heinrich"]
        assert column(engine, BookAuthor.position) == [0, 0]

    def test_lists_keep_their_order(self, engine: Engine) -> None:
        write(engine, [record(subjects=("b", "c", "a"))])

        query = select(Subject.name).join(BookSubject).order_by(BookSubject.position)
        with engine.connect() as connection:
            assert list(connection.execute(query).scalars()) == ["b", "c", "a"]

    def test_a_record_without_number_is_known_by_its_hash(self, engine: Engine) -> None:
        assert counts(write(engine, [record(None), record(None)])) == (2, 1, 0, 1, 0)
        assert counts(write(engine, [record(None)])) == (1, 0, 0, 1, 0)

    def test_the_same_number_of_another_agency_is_another_record(self, engine: Engine) -> None:
        records = [record("1", isbns=()), record("1", isbns=(), agency="BBB"),
                   record("1", isbns=(), agency=None)]  # fmt: skip
        assert counts(write(engine, records)) == (3, 3, 0, 0, 0)
        assert counts(write(engine, records)) == (3, 0, 0, 3, 0)

    def test_refusals_and_notes_are_reported(self, engine: Engine) -> None:
        noted = replace(record(), notes=("An ISBN was wrong.",), position=2)
        outcome = write(engine, [Refusal(1, "x", "title_missing", "No title."), noted])

        assert counts(outcome) == (2, 1, 0, 0, 1)
        told = [(i.position, i.severity, i.reason, i.message) for i in outcome.issues]
        assert told == [
            (1, "refused", "title_missing", "No title."),
            (2, "note", "left_out", "An ISBN was wrong."),
        ]

    def test_what_the_database_refuses_does_not_stop_the_rest(
        self, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def poisoned(connection: Any, plan: Any) -> Any:
            if any(draft.content.title == "poison" for draft in plan.drafts.values()):
                raise DataError("INSERT", None, Exception("no"))
            return plan_copies(connection, plan)

        monkeypatch.setattr(writer, "plan_copies", poisoned)
        records = [record(str(n), title=f"Book {n}", isbns=()) for n in range(5)]
        records.insert(3, record("9", title="poison", isbns=()))
        outcome = write(engine, records)

        assert counts(outcome) == (6, 5, 0, 0, 1)
        assert reasons(outcome) == ["not_storable"]
        assert len(column(engine, Book.title)) == 5

    @pytest.mark.parametrize("letter", ["\N{MATHEMATICAL FRAKTUR CAPITAL U}", "ﷺ", "€", "x"])
    def test_the_longest_texts_are_stored(self, engine: Engine, letter: str) -> None:
        long = SourceBook(
            title=letter * 1000,
            subtitle=letter * 1000,
            authors=(letter * 300,),
            subjects=(letter * 300,),
            summary=letter * 10_000,
            edition=letter * 200,
            variants=(letter * 1000,) * 100,
            copies=(SourceCopy(letter * 64, letter * 64, letter * 100),),
        )
        assert counts(write(engine, [record("1", long)])) == (1, 1, 0, 0, 0)


class TestRecordsThatComeAgain:
    def test_the_same_hash_is_unchanged(self, engine: Engine) -> None:
        write(engine, [record()])
        assert counts(write(engine, [record()])) == (1, 0, 0, 1, 0)

    def test_another_hash_changes_the_book(self, engine: Engine) -> None:
        write(engine, [record()])
        newer = record(
            title="Left Hand", authors=("Guin, U.",), year=None, isbns=("9780441007318",)
        )
        assert counts(write(engine, [newer])) == (1, 0, 1, 0, 0)
        assert counts(write(engine, [newer])) == (1, 0, 0, 1, 0)

        assert column(engine, Book.title) == ["Left Hand"]
        assert column(engine, Book.year) == [None]
        assert column(engine, BookISBN.isbn) == ["9780441007318"]
        assert column(engine, BookText.title) == ["left hand"]

    @pytest.mark.parametrize("together", [True, False])
    def test_a_number_that_comes_twice_is_a_change(self, engine: Engine, together: bool) -> None:  # noqa: FBT001
        records = [record(), record(year=1970), record(year=1970)]
        portions = [records] if together else [[one] for one in records]
        outcomes = [counts(write(engine, portion)) for portion in portions]

        assert tuple(map(sum, zip(*outcomes, strict=True))) == (3, 1, 1, 1, 0)
        assert column(engine, Book.year) == [1970]
        assert len(column(engine, SourceLink.content_hash)) == 1

    def test_fields_set_by_hand_stay(self, engine: Engine) -> None:
        write(engine, [record()])
        hand = {"title": "By hand", "edited_fields": ["title", "authors", "isbns"]}
        change(engine, update(Book).values(**hand))
        newer = record(title="Other", authors=("Else, S.",), isbns=("9780441007318",), year=2000)
        write(engine, [newer])

        assert column(engine, Book.title) == ["By hand"]
        assert column(engine, Book.year) == [2000]
        assert column(engine, BookISBN.isbn) == [ISBN]
        assert column(engine, BookText.people) == ["le guin ursula k"]
        write(engine, [record(title="Overwritten", isbns=())], overwrite=True)
        assert column(engine, Book.title) == ["Overwritten"]

    def test_a_book_that_was_deleted_is_created_again(self, engine: Engine) -> None:
        write(engine, [record()])
        change(engine, delete(Book))
        assert counts(write(engine, [record()])) == (1, 1, 0, 0, 0)


class TestJoiningByIsbn:
    @pytest.mark.parametrize("title", ["the left hand of darkness!", "The Left Hand"])
    @pytest.mark.parametrize("together", [True, False])
    def test_one_book_with_that_title_takes_the_record(
        self,
        engine: Engine,
        title: str,
        together: bool,  # noqa: FBT001
    ) -> None:
        other = record(
            "77", agency="BBB", title=title, publisher=None, isbns=(ISBN, "9780441007318")
        )
        records = [record(), other]
        outcomes = [
            counts(write(engine, p)) for p in ([records] if together else [[r] for r in records])
        ]

        assert tuple(map(sum, zip(*outcomes, strict=True))) == (2, 1, 1, 0, 0)
        assert column(engine, Book.title) == [title]
        assert column(engine, Book.publisher) == ["Ace"]
        assert column(engine, BookISBN.isbn) == ["9780441007318", ISBN]
        assert counts(write(engine, records)) == (2, 0, 0, 2, 0)

    def test_another_title_is_reported_and_a_book_of_its_own(self, engine: Engine) -> None:
        outcome = write(engine, [record(), record("2", title="Rocannon's World")])

        assert counts(outcome) == (2, 2, 0, 0, 0)
        assert reasons(outcome) == ["isbn_title_differs"]

    def test_an_isbn_of_several_books_is_reported(self, engine: Engine) -> None:
        write(engine, [record(), record("2", title="Rocannon's World")])
        outcome = write(engine, [record("3")])

        assert counts(outcome) == (1, 1, 0, 0, 0)
        assert reasons(outcome) == ["isbn_ambiguous"]

    def test_a_change_to_one_source_keeps_what_the_other_knows(self, engine: Engine) -> None:
        write(engine, [record(), record("2", agency="BBB", summary="Winter.")])
        write(engine, [record(year=1970)])

        assert column(engine, Book.year) == [1970]
        assert column(engine, Book.summary) == ["Winter."]

    @pytest.mark.parametrize(
        ("one", "other", "agree"),
        [("a b", "a b", True), ("a", "a b", True), ("a b", "a", True), ("a", "ab", False)],
    )
    def test_titles_agree_word_by_word(self, one: str, other: str, agree: bool) -> None:  # noqa: FBT001
        assert titles_agree(one, other) is agree


class TestCopies:
    def test_new_items_are_added_and_none_is_removed(self, engine: Engine) -> None:
        write(engine, [record(copies=(SourceCopy("a", "1", "old"), SourceCopy("a", "2")))])
        change(engine, update(Copy).where(Copy.barcode == "1").values(status="on_loan"))
        moved = (SourceCopy("b", "1", "new", loanable=False), SourceCopy("a", "3"))
        outcome = write(engine, [record(copies=moved)])

        assert outcome.tally.copies_created == 1
        assert column(engine, Copy.barcode) == ["1", "2", "3"]
        assert column(engine, Copy.shelf_mark, Copy.barcode)[0] == "new"
        assert column(engine, Copy.loanable, Copy.barcode) == [False, True, True]
        assert column(engine, Copy.status, Copy.barcode)[0] == "on_loan"

    def test_items_without_barcode_are_counted_by_place(self, engine: Engine) -> None:
        item = SourceCopy("a", None, "SF")
        write(engine, [record(copies=(item, item))])
        assert len(column(engine, Copy.id)) == 2
        write(engine, [record(copies=(item, item, item, replace(item, shelf_mark="XX")))])

        assert column(engine, Copy.shelf_mark) == ["SF", "SF", "SF", "XX"]

    def test_a_barcode_of_another_book_is_noted(self, engine: Engine) -> None:
        copies = (SourceCopy("a", "1"),)
        outcome = write(
            engine,
            [record("1", copies=copies), record("2", title="Other", isbns=(), copies=copies)],
        )
        assert counts(outcome) == (2, 2, 0, 0, 0)
        assert reasons(outcome) == ["branch_created", "barcode_taken"]
        assert outcome.tally.copies_created == 1

    @pytest.mark.parametrize("barcode", ["A/B 1", "Ä1", "1" * 65])
    def test_what_no_barcode_can_be_is_left_out_of_its_copy(
        self, engine: Engine, barcode: str
    ) -> None:
        outcome = write(engine, [record(copies=(SourceCopy("a", barcode, "SF"),))])

        assert reasons(outcome) == ["barcode_invalid", "branch_created"]
        assert column(engine, Copy.barcode) == [None]
        assert column(engine, Copy.shelf_mark) == ["SF"]

    @pytest.mark.parametrize(
        ("written", "code"),
        [("Main_2", "main_2"), ("Städtische Bücherei", "stadtische-bucherei"), ("A / B", "a-b")],
    )
    def test_an_unknown_branch_is_created_once(
        self, engine: Engine, written: str, code: str
    ) -> None:
        records = [
            record(str(n), isbns=(), copies=(SourceCopy(written, str(n)),)) for n in range(3)
        ]
        assert reasons(write(engine, records)) == ["branch_created"]
        assert reasons(write(engine, [record("9", isbns=(), copies=(SourceCopy(written),))])) == []
        with engine.connect() as connection:
            branch = connection.execute(select(Branch.__table__)).one()
        assert (branch.code, branch.name, branch.time_zone) == (code, written, "UTC")
        assert (branch.opening_hours, branch.closed_days) == ({}, [])

    @pytest.mark.parametrize(
        "written", ["-hq-", "HQ", "-HQ-", "stadtbücherei mitte", "Stadtbücherei  Mitte"]
    )
    def test_a_branch_is_found_by_its_code_or_its_name(self, engine: Engine, written: str) -> None:
        for code, name in (("-hq-", "Stadtbücherei Mitte"), ("hq", "STADTBUCHEREI MITTE")):
            add_branch(engine, code, name)
        outcome = write(engine, [record(copies=(SourceCopy(written, "1"),))])

        assert reasons(outcome) == []
        query = select(Branch.code).join(Copy)
        with engine.connect() as connection:
            found = connection.execute(query).scalar_one()
        assert found == ("hq" if written == "HQ" else "-hq-")

    def test_a_code_comes_before_a_name(self, engine: Engine) -> None:
        add_branch(engine, "a", "North")
        add_branch(engine, "north", "South")
        write(engine, [record(copies=(SourceCopy("North"), SourceCopy("south")))])

        with engine.connect() as connection:
            stored = connection.execute(select(Branch.code).join(Copy)).scalars()
            assert list(stored) == ["north", "north"]

    def test_a_branch_that_was_just_created_is_found_by_its_name(self, engine: Engine) -> None:
        copies = (SourceCopy("A-" * 40, "1"), SourceCopy("a " * 40, "2"))
        assert reasons(write(engine, [record(copies=copies)])) == ["branch_created"]
        assert len(column(engine, Branch.code)) == 1

    def test_a_branch_in_another_script_has_a_code_too(self, engine: Engine) -> None:
        write(engine, [record(copies=(SourceCopy("ספריה", "1"), SourceCopy("ספריה", "2")))])
        (code,) = column(engine, Branch.code)
        assert code.startswith("branch-")


class TestDryRun:
    def test_it_counts_as_a_real_run_and_leaves_nothing(
        self, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(writer, "BATCH", 2)
        items: list[writer.Item] = [
            record("1", copies=(SourceCopy("new", "1"),)),
            record("2", agency="BBB"),
            record("1", copies=(SourceCopy("new", "1"), SourceCopy("new", "2"))),
            record("3", title="Other", copies=(SourceCopy("new", "1"),)),
            record("3", title="Other", copies=(SourceCopy("new", "1"),)),
            Refusal(6, None, "title_missing", "No title."),
        ]
        dry = write(engine, items, dry_run=True)
        with engine.connect() as connection:
            for name in Base.metadata.tables.keys() - SEEDED_TABLES:
                table = Base.metadata.tables[name]
                assert connection.execute(select(func.count()).select_from(table)).scalar() == 0

        assert counts(dry) == (6, 2, 2, 1, 1)
        assert dry == write(engine, items)

    def test_it_knows_what_former_files_would_have_stored(self, engine: Engine) -> None:
        files = [
            [record("1", copies=(SourceCopy("new", "1"),))],
            [record("2", agency="BBB"), record("1", copies=(SourceCopy("new", "1"),))],
            [record("1", copies=(SourceCopy("New", "1"), SourceCopy("new", "2")))],
        ]
        dry = Writer(engine, Options(dry_run=True))
        counted = [outcome for items in files for outcome in dry.write(items)]

        assert [counts(one) for one in counted] == [
            (1, 1, 0, 0, 0), (2, 0, 1, 1, 0), (1, 0, 1, 0, 0),
        ]  # fmt: skip
        assert counted == [write(engine, items) for items in files]


class TestOthersAtTheSameTime:
    def test_a_name_that_was_known_and_deleted_is_created_again(self, engine: Engine) -> None:
        writer = Writer(engine, Options())
        list(writer.write([record("1")]))
        change(engine, delete(Book))
        change(engine, delete(Author))
        (outcome,) = writer.write([record("2")])

        assert counts(outcome) == (1, 1, 0, 0, 0)
        assert column(engine, Author.name) == ["Le Guin, Ursula K."]

    def test_a_record_that_another_process_stores_first_is_no_error(
        self, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(engine, [record("1")])
        blind = [True]
        load = Known.load

        def load_blindly(self: Any, connection: Any, records: Any) -> None:
            # As if the other process had committed just after this one looked.
            if not blind:
                load(self, connection, records)
            blind.clear()

        monkeypatch.setattr(Known, "load", load_blindly)
        assert counts(write(engine, [record("1")])) == (1, 0, 0, 1, 0)
        assert not blind


@pytest.fixture
def marc() -> Path:
    if not MARC.is_dir():
        pytest.skip(f"{MARC} is not there")
    return MARC


class TestRealRecords:
    @pytest.mark.parametrize(
        ("name", "fmt", "first"),
        [
            ("programming-20.mrc", Format.MARC21, (20, 20, 0, 0, 0)),
            # Its two good records are the same one.
            ("bad-records-9.mrc", Format.MARC21, (9, 1, 0, 1, 7)),
            ("batch-2.xml", Format.MARCXML, (2, 2, 0, 0, 0)),
            ("multi-isbn-1.mrc", Format.MARC21, (1, 1, 0, 0, 0)),
            ("mixed-30.mrc", Format.MARC21, (30, 30, 0, 0, 0)),
            ("mixed-30.xml", Format.MARCXML, (30, 30, 0, 0, 0)),
            ("hebrew-1.mrc", Format.MARC21, (1, 1, 0, 0, 0)),
        ],
    )
    def test_the_counts_are_those_of_sources_md(
        self, engine: Engine, marc: Path, name: str, fmt: Format, first: tuple[int, ...]
    ) -> None:
        def run() -> tuple[int, ...]:
            with (marc / name).open("rb") as stream:
                return counts(write(engine, read_records(stream, fmt)))

        assert run() == first
        read, *_, refused = first
        assert run() == (read, 0, 0, read - refused, refused)

    def test_both_formats_give_the_same_titles(self, engine: Engine, marc: Path) -> None:
        titles = []
        for name, fmt in (("mixed-30.mrc", Format.MARC21), ("mixed-30.xml", Format.MARCXML)):
            with (marc / name).open("rb") as stream:
                write(engine, read_records(stream, fmt))
            titles.append(column(engine, Book.title))
        assert titles[0] == titles[1]
        assert len(titles[0]) == 30


MANY = 8000
COMMAND = "from circdesk.cli import main; main()"


class TestKilledHalfWay:
    def test_a_second_run_completes_it(
        self, engine: Engine, settings: Settings, tmp_path: Path
    ) -> None:
        path = tmp_path / "many.csv"
        lines = (f"n{n},Title {n},Author {n % 100}\n" for n in range(MANY))
        path.write_text("control_number,title,authors\n" + "".join(lines))
        command = [sys.executable, "-c", COMMAND, "import", "--json", str(path)]
        environment = os.environ | {
            "DATABASE_URL": settings.database_url.get_secret_value(),
            "CIRCDESK_INSTANCE": str(tmp_path),
        }
        first = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while not column(engine, SourceLink.id):
            assert time.monotonic() < deadline
            assert first.poll() is None
            time.sleep(0.02)
        first.send_signal(signal.SIGKILL)
        first.communicate()
        stored = len(column(engine, SourceLink.id))
        assert 0 < stored < MANY

        second = subprocess.run(command, env=environment, capture_output=True, check=True)
        assert second.stdout.decode() == (
            f'{{"read": {MANY}, "created": {MANY - stored}, "updated": 0, '
            f'"unchanged": {stored}, "refused": 0}}\n'
        )
        assert len(column(engine, Book.id)) == MANY
        assert len(column(engine, BookText.id)) == MANY
