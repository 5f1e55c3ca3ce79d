import csv
import io
import re
from datetime import date, time
from zoneinfo import ZoneInfo

import pytest

from circdesk.catalog.demo import BRANCHES, POSTS, DemoBranch, books_csv
from circdesk.catalog.identifiers import language_code, normalize_isbn

COLUMNS = (
    "control_number,title,subtitle,authors,isbn,publisher,year,language,subjects,summary,"
    "material_type,edition,copies"
)
MATERIAL_TYPES = {
    *("book", "ebook", "audiobook", "video", "music", "map", "game", "periodical"),
}
WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]

Row = dict[str, str]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return list(csv.DictReader(io.StringIO(books_csv().read_text(encoding="utf-8"), newline="")))


def copies_of(rows: list[Row]) -> list[list[str]]:
    return [copy.split("|") for row in rows for copy in row["copies"].split(";")]


class TestBooks:
    def test_the_columns_are_those_of_every_csv_import(self) -> None:
        assert books_csv().read_text(encoding="utf-8").partition("\n")[0] == COLUMNS

    def test_there_are_at_least_240_books_numbered_in_order(self, rows: list[Row]) -> None:
        assert len(rows) >= 240
        numbers = [f"demo-{number:04}" for number in range(1, len(rows) + 1)]
        assert [row["control_number"] for row in rows] == numbers

    def test_every_isbn_is_right_canonical_and_used_once(self, rows: list[Row]) -> None:
        isbns = [row["isbn"] for row in rows]
        assert [normalize_isbn(isbn) for isbn in isbns] == isbns
        assert len(set(isbns)) == len(isbns)

    def test_the_book_that_the_documentation_names_comes_first(self, rows: list[Row]) -> None:
        found = [row["title"] for row in rows if row["isbn"] == "9780441478125"]
        assert found == [rows[0]["title"]] == ["The Left Hand of Darkness"]

    def test_every_language_is_canonical_and_there_are_many(self, rows: list[Row]) -> None:
        languages = {row["language"] for row in rows}
        assert {language_code(language) for language in languages} == languages
        assert len(languages) >= 8

    def test_every_book_has_a_title_an_author_subjects_and_a_year(self, rows: list[Row]) -> None:
        assert all(row["title"] and row["authors"] and row["year"].isdigit() for row in rows)
        assert all(1 <= len(row["subjects"].split(";")) <= 4 for row in rows)

    def test_every_material_type_is_on_the_shelves(self, rows: list[Row]) -> None:
        assert {row["material_type"] for row in rows} == MATERIAL_TYPES

    def test_facts_only(self, rows: list[Row]) -> None:
        assert {row["summary"] for row in rows} == {""}

    def test_nothing_is_padded_or_has_an_empty_part(self, rows: list[Row]) -> None:
        parts = [
            part for row in rows for value in row.values() if value for part in value.split(";")
        ]
        assert all(part and part == part.strip() for part in parts)
        assert not any(re.search(r"[\x00-\x1f\ufffd]", part) for part in parts)


class TestCopies:
    def test_barcodes_count_up_from_30001(self, rows: list[Row]) -> None:
        barcodes = [barcode for _, barcode, _ in copies_of(rows)]
        assert barcodes == [str(30001 + offset) for offset in range(len(barcodes))]

    def test_both_branches_hold_some_and_no_other_branch_does(self, rows: list[Row]) -> None:
        assert {branch for branch, _, _ in copies_of(rows)} == {"central", "harbour"}

    def test_every_book_has_one_to_four_and_each_stands_somewhere(self, rows: list[Row]) -> None:
        assert all(1 <= len(row["copies"].split(";")) <= 4 for row in rows)
        assert all(shelf_mark for _, _, shelf_mark in copies_of(rows))


class TestBranches:
    def test_they_are_the_two_that_hold_the_copies(self) -> None:
        assert [branch.code for branch in BRANCHES] == ["central", "harbour"]

    @pytest.mark.parametrize("branch", BRANCHES, ids=lambda branch: branch.code)
    def test_hours_days_and_time_zones_are_real(self, branch: DemoBranch) -> None:
        assert ZoneInfo(branch.time_zone).key == branch.time_zone
        assert list(branch.opening_hours) == WEEKDAYS
        for intervals in branch.opening_hours.values():
            moments = [time.fromisoformat(moment) for pair in intervals for moment in pair]
            assert moments == sorted(set(moments))
            assert all(len(pair) == 2 for pair in intervals)
        assert [date.fromisoformat(day).isoformat() for day in branch.closed_days]


class TestPosts:
    def test_every_post_is_complete_and_its_title_is_its_own(self) -> None:
        assert all(post.title and post.body and post.author and post.tags for post in POSTS)
        assert len({post.title for post in POSTS}) == len(POSTS) >= 3
