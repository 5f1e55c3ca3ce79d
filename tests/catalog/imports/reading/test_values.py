"""ISBNs, years, languages and texts as every reader brings them to one form."""

import pytest

from circdesk.catalog.imports.reading.cleaning import clean, distinct
from circdesk.catalog.imports.reading.values import isbns_of, language_of, year_in


@pytest.mark.parametrize(
    ("text", "isbn"),
    [
        ("0441478123", "9780441478125"),
        ("0-441-47812-3 (pbk.) : $2.50", "9780441478125"),
        ("978 0 441 47812 5", "9780441478125"),
        ("020161622X", "9780201616224"),
        ("ISBN 0441478123", "9780441478125"),
        ("0441478123 9780441478125", "9780441478125"),
        ("v. 1: 9780441478125", "9780441478125"),
        ("0441478123 1999 5", "9780441478125"),
    ],
)
def test_the_isbn_is_found_among_what_surrounds_it(text: str, isbn: str) -> None:
    assert isbns_of([text]) == ((isbn,), [])


def test_texts_without_digits_are_no_isbns_and_need_no_note() -> None:
    assert isbns_of(["(pbk.)", "", "pbk. 2"]) == ((), ['"pbk. 2" is not an ISBN; left out.'])


def test_at_most_fifty_isbns_and_twenty_notes_are_kept() -> None:
    bodies = [f"978{n:09}" for n in range(60)]
    right = [
        body + str(-sum(int(d) * (3 if i % 2 else 1) for i, d in enumerate(body)) % 10)
        for body in bodies
    ]
    isbns, notes = isbns_of(right + ["1234"] * 30)
    assert isbns == tuple(right[:50])
    assert notes == ['"1234" is not an ISBN; left out.'] * 20


@pytest.mark.parametrize(
    ("text", "year"),
    [("[1998?]", 1998), ("c2011.", 2011), ("0000, 1987", 1987), ("19991", None), ("", None)],
)
def test_a_year_is_four_digits_alone(text: str, year: int | None) -> None:
    assert year_in(text) == year


@pytest.mark.parametrize(
    ("text", "code"), [("de", "ger"), ("deu", "ger"), ("German", "ger"), ("und", None), ("", None)]
)
def test_languages_have_marcs_codes(text: str, code: str | None) -> None:
    assert language_of(text) == code


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  a \t\n b\u3000c  ", "a b c"),
        ("a\x00b\x07c\x1f", "abc"),
        ("e\u0301", "é"),
        ("\ud800x\ufeff\u202e", "x"),
        ("\x00", None),
        ("", None),
        (None, None),
        ("x" * 20, "x" * 10),
        ("nine char s", "nine char"),
    ],
)
def test_text_is_composed_single_spaced_and_bounded(text: str | None, expected: str | None) -> None:
    assert clean(text, 10) == expected


def test_the_first_of_equal_values_stays() -> None:
    assert distinct(["Python", "PYTHON", "", "C", "D"], 2) == ("Python", "C")
