"""What people type into a search, as terms."""

import pytest

from circdesk.catalog.text_queries import Term, parse
from circdesk.db.text import fold


class TestParse:
    def test_words_are_folded_and_the_last_may_be_a_beginning(self) -> None:
        query = parse(("L'Été à  Łódź", None))

        assert query is not None
        assert query.terms == (Term("lete"), Term("a"), Term("lodz"))
        assert query.looser == (Term("lete"), Term("a"), Term("lodz", is_beginning=True))

    def test_a_star_makes_a_beginning(self) -> None:
        query = parse(("dark* wat*er", None))

        assert query is not None
        assert query.terms == (Term("dark", is_beginning=True), Term("wat"), Term("er"))

    @pytest.mark.parametrize("last", ["ab", "1984"])
    def test_two_letters_and_numbers_are_no_beginning(self, last: str) -> None:
        query = parse((last, None))

        assert query is not None
        assert query.terms == query.looser == (Term(last),)

    @pytest.mark.parametrize(
        "typed",
        [
            "0-441-47812-3",
            "0441478123",
            "978-0-441-47812-5",
            "978 0 441 47812 5",
            "isbn:9780441478125",
            "ISBN-13: 978 0 441 47812 5",
        ],
    )
    def test_an_isbn_becomes_its_thirteen_digits(self, typed: str) -> None:
        query = parse((typed, None))

        assert query is not None
        assert query.terms == query.looser == (Term("9780441478125"),)

    @pytest.mark.parametrize("last", ["源", "源氏", "ไทย", "かな"])
    def test_scripts_without_blanks_have_short_beginnings(self, last: str) -> None:
        query = parse((last, None))

        assert query is not None
        assert query.looser == (Term(fold(last), is_beginning=True),)

    @pytest.mark.parametrize("isbn", ["0-441-47812-3", "isbn:9780441478125"])
    def test_an_isbn_stands_among_words(self, isbn: str) -> None:
        query = parse((f"darkness {isbn}", None))

        assert query is not None
        assert query.terms == (Term("darkness"), Term("9780441478125"))

    def test_parts_are_searched_together(self) -> None:
        query = parse(("dark", None), (None, "title"), ("guin", "people"))

        assert query is not None
        assert query.terms == (Term("dark"), Term("guin", part="people"))

    def test_without_texts_there_is_nothing_to_search(self) -> None:
        assert parse((None, None), (None, "title")) is None

    def test_without_words_nothing_is_found(self) -> None:
        query = parse(("***", None), ("dark", "title"))

        assert query is not None
        assert not query.terms

    def test_an_endless_word_is_cut_to_a_beginning(self) -> None:
        query = parse(("a" * 3000, None))

        assert query is not None
        assert query.terms == (Term("a" * 100, is_beginning=True),)
