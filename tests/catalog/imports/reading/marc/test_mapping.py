"""What a MARC record says about a book."""

import io
from collections.abc import Callable

import pytest

from circdesk.catalog.imports.reading.marc.iso2709 import read_marc
from circdesk.catalog.imports.reading.records import SourceBook, SourceRecord

MarcMaker = Callable[..., bytes]
Field = tuple[str, ...]
TITLE = ("245", "10", "aTitle")


@pytest.fixture
def record_of(marc: MarcMaker) -> Callable[..., SourceRecord]:
    def read(*fields: Field, leader: str = "00000cam a2200000 a 4500") -> SourceRecord:
        (record,) = read_marc(io.BytesIO(marc(*fields, leader=leader)))
        assert isinstance(record, SourceRecord)
        return record

    return read


@pytest.fixture
def book_of(record_of: Callable[..., SourceRecord]) -> Callable[..., SourceBook]:
    return lambda *fields, **leader: record_of(*fields, **leader).book


BookOf = Callable[..., SourceBook]


def test_a_full_record_gives_a_full_book(book_of: BookOf) -> None:
    book = book_of(
        ("001", "42"),
        ("008", "000417s1969    nyu           000 1 eng d"),
        ("020", "  ", "a0-441-47812-3 (pbk.)"),
        ("020", "  ", "a9780441478125"),
        ("020", "  ", "z9780000000000"),
        ("100", "1 ", "aLe Guin, Ursula K.,$d1929-2018,$eauthor."),
        ("245", "14", "aThe left hand of darkness /$cUrsula K. Le Guin."),
        ("250", "  ", "a1st ed."),
        ("260", "  ", "aNew York :$bAce Books,$c[1969]"),
        ("520", "  ", "aAn envoy visits  a world."),
        ("650", " 0", "aGender identity$vFiction."),
        ("650", " 0", "aGENDER IDENTITY$vFiction."),
        ("651", " 0", "aGethen (Imaginary place)$xPolitics$y20th century."),
        ("655", " 7", "aScience fiction.$2gsafd"),
        ("700", "1 ", "aMiéville, China,$ewriter of introduction."),
        ("700", "12", "aLe Guin, Ursula K.$tWinter's king."),
        ("710", "2 ", "aScience Fiction Book Club."),
    )
    assert book == SourceBook(
        title="The left hand of darkness",
        authors=("Le Guin, Ursula K.", "Miéville, China", "Science Fiction Book Club"),
        isbns=("9780441478125",),
        publisher="Ace Books",
        year=1969,
        language="eng",
        subjects=(
            "Gender identity -- Fiction",
            "Gethen (Imaginary place) -- Politics -- 20th century",
            "Science fiction",
        ),
        summary="An envoy visits a world.",
        edition="1st ed.",
    )


@pytest.mark.parametrize(
    ("field", "title", "subtitle"),
    [
        ("aPlain /$cby nobody.", "Plain", None),
        ("aMain :$bsub title /$cby nobody.", "Main", "sub title"),
        ("aSymphonies.$nNo. 5,$pAllegro /$cL. v. B.", "Symphonies. No. 5, Allegro", None),
        ("aTitle$h[electronic resource] :$bsub.", "Title", "sub"),
        ("aWhat now ...", "What now ...", None),
        ("aMonsters, Inc.", "Monsters, Inc.", None),
        ("aThe works of A. B.", "The works of A. B.", None),
        ("kLetters,$f1900-1910.", "Letters", None),
        ("a" + "x" * 2000 + "$b" + "y" * 2000, "x" * 1000, "y" * 1000),
    ],
)
def test_titles_lose_the_punctuation_of_the_card(
    book_of: BookOf, field: str, title: str, subtitle: str | None
) -> None:
    book = book_of(("245", "10", field))
    assert (book.title, book.subtitle) == (title, subtitle)


@pytest.mark.parametrize(
    ("tag", "indicators", "field", "author"),
    [
        ("100", "1 ", "aLutz, Mark.", "Lutz, Mark"),
        ("100", "1 ", "aLi, Bo.", "Li, Bo"),
        ("100", "1 ", "aKing, Martin Luther,$cJr.,$d1929-1968.", "King, Martin Luther"),
        ("100", "0 ", "aJohn Paul$bII,$cPope,$d1920-2005.", "John Paul II, Pope"),
        ("110", "1 ", "aUnited States.$bCongress.", "United States. Congress"),
        ("111", "2 ", "aPyCon$d(2004 :$cWashington)", "PyCon"),
        ("700", "1 ", "a" + "n" * 400, "n" * 300),
    ],
)
def test_names_are_surname_and_forename_without_dates_and_roles(
    book_of: BookOf, tag: str, indicators: str, field: str, author: str
) -> None:
    assert book_of((tag, indicators, field), TITLE).authors == (author,)


def test_the_first_hundred_different_authors_count(book_of: BookOf) -> None:
    fields = [("700", "1 ", f"aNumber {n}") for n in range(150)]
    assert book_of(TITLE, *fields).authors == tuple(f"Number {n}" for n in range(100))


def test_a_wrong_isbn_is_left_out_with_a_note(record_of: Callable[..., SourceRecord]) -> None:
    record = record_of(("020", "  ", "a0441478124 (pbk.)"), ("020", "  ", "cRs 10"), TITLE)
    assert record.book.isbns == ()
    (note,) = record.notes
    assert note == (
        'ISBN "0441478124 (pbk.)" has a wrong check digit (9780441478125 would be right); left out.'
    )


@pytest.mark.parametrize(
    ("fields", "year", "publisher"),
    [
        ([("008", "000417s2004    ")], 2004, None),
        ([("008", "000417s19uu    "), ("260", "  ", "bP,$cc1987.")], 1987, "P"),
        ([("260", "  ", "a[S.l. :$bs.n.],$c12 May 1850")], 1850, None),
        ([("264", " 4", "c©1999"), ("264", " 1", "bReal,$c[1998?]")], 1998, "Real"),
        ([("264", " 3", "bPrinter,$c1998")], None, None),
        ([("008", "000417s0000    ")], None, None),
    ],
)
def test_year_and_publisher_come_from_fixed_field_or_imprint(
    book_of: BookOf, fields: list[Field], year: int | None, publisher: str | None
) -> None:
    book = book_of(TITLE, *fields)
    assert (book.year, book.publisher) == (year, publisher)


@pytest.mark.parametrize(
    ("coded", "field", "language"),
    [
        ("ger", "aeng", "ger"),
        ("   ", "afreeng", "fre"),
        ("zxx", "afre", "fre"),
        ("|||", "", None),
        ("und", "axyz", None),
    ],
)
def test_the_language_is_the_coded_one_or_the_first_in_041(
    book_of: BookOf, coded: str, field: str, language: str | None
) -> None:
    fixed = ("008", "000417s1969    nyu           000 1 " + coded)
    assert book_of(fixed, ("041", "  ", field), TITLE).language == language


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        ("am", [], "book"),
        ("am", [("008", "000417s1969    nyu     o     000 1 eng")], "ebook"),
        ("am", [("338", "  ", "aonline resource$bcr")], "ebook"),
        ("am", [("007", "cr un")], "ebook"),
        ("am", [("007", "ta"), ("007", "cr un")], "book"),
        ("am", [("856", "40", "uhttps://example.org")], "book"),
        ("as", [], "periodical"),
        ("ab", [], "periodical"),
        ("tm", [], "book"),
        ("cm", [], "score"),
        ("em", [], "map"),
        ("gm", [], "video"),
        ("im", [], "audiobook"),
        ("jm", [], "music"),
        ("mm", [("008", "000417s1969    nyu           g   0 eng")], "other"),
        ("mm", [("008", "000417s1969    nyu        g      0 eng")], "game"),
        ("rm", [("008", "000417s1969    nyu               g eng")], "game"),
        ("om", [], "other"),
        ("  ", [], "book"),
    ],
)
def test_the_material_type_follows_leader_and_fixed_fields(
    book_of: BookOf, kind: str, fields: list[Field], expected: str
) -> None:
    assert book_of(*fields, TITLE, leader=f"00000c{kind} a2200000 a 4500").material_type == expected


def test_the_old_medium_in_the_title_makes_an_ebook(book_of: BookOf) -> None:
    assert book_of(("245", "10", "aT$h[electronic resource]")).material_type == "ebook"


def test_original_script_becomes_variants(book_of: BookOf) -> None:
    book = book_of(
        ("100", "1 ", "6880-01$aYoshida, Hajime,$d1934-"),
        ("245", "10", "6880-02$aKazanbaichi o yomu :$bx /$cYoshida Hajime cho."),
        ("880", "1 ", "6100-01/$1$a吉田一,$d1934-"),
        ("880", "10", "6245-02/$1$a火山灰地を読む :$b副題 /$c吉田一著."),
        ("880", "  ", "6260-03/$1$a東京"),
    )
    assert book == SourceBook(
        title="Kazanbaichi o yomu",
        subtitle="x",
        authors=("Yoshida, Hajime",),
        variants=("火山灰地を読む : 副題", "吉田一"),
    )


def test_a_title_in_original_script_alone_is_the_title(book_of: BookOf) -> None:
    assert book_of(("880", "10", "6245-00/$1$a火山灰地を読む")).title == "火山灰地を読む"
