"""CSV: rows as books, and rows that are refused without taking others along."""

import io
from hashlib import sha256

import pytest

from circdesk.catalog.imports.reading.csv_table import CSV_COLUMNS, csv_template, read_csv
from circdesk.catalog.imports.reading.records import (
    NotThisFormatError,
    Refusal,
    SourceBook,
    SourceCopy,
    SourceRecord,
)
from circdesk.catalog.imports.reading.values import MATERIAL_TYPES


def read(text: str | bytes) -> list[SourceRecord | Refusal]:
    data = text.encode() if isinstance(text, str) else text
    return list(read_csv(io.BytesIO(data), source="here"))


def outline(text: str | bytes) -> list[str]:
    found = []
    for position, record in enumerate(read(text), 1):
        assert record.position == position
        found.append(record.book.title if isinstance(record, SourceRecord) else record.reason)
    return found


def test_the_template_is_a_file_that_can_be_read() -> None:
    assert csv_template().splitlines()[0].split(",") == list(CSV_COLUMNS)
    (record,) = read(csv_template())
    assert isinstance(record, SourceRecord)
    assert record == SourceRecord(
        position=1,
        agency="here",
        control_number="b1042",
        content_hash=record.content_hash,
        book=SourceBook(
            title="The left hand of darkness",
            authors=("Le Guin, Ursula K.",),
            isbns=("9780441478125",),
            publisher="Ace",
            year=1969,
            language="eng",
            subjects=("Science fiction", "Gender"),
            summary="An envoy visits a world without fixed sexes.",
            copies=(SourceCopy("main", "30001", "SF LEG"), SourceCopy("north", "30002")),
        ),
    )


def test_every_column_has_a_sentence() -> None:
    assert all(len(sentence) > 20 for sentence in CSV_COLUMNS.values())


def test_the_title_alone_is_enough() -> None:
    assert read("title\nDune\n") == [
        SourceRecord(1, "here", None, sha256(b"title=Dune").hexdigest(), SourceBook("Dune"))
    ]


@pytest.mark.parametrize("text", ["Year,TITLE\r\n1965,Dune\r\n", "\ufefftitle, year \n Dune,1965"])
def test_order_case_line_ends_and_byte_order_mark_change_nothing(text: str) -> None:
    assert read(text) == read('"title","year"\nDune,1965\n')


def test_blank_lines_are_no_rows() -> None:
    assert outline("title,year\n\nDune,\n,\n\nEmma,\n") == ["Dune", "Emma"]


def test_quoted_cells_hold_commas_quotes_and_line_ends() -> None:
    assert outline('title\n"A ""B"",\r\nC"\nD\n') == ['A "B", C', "D"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "The first row of a CSV file must name its columns."),
        ('"title\n', "The first row of a CSV file must name its columns."),
        ("year\n", 'The header must have the column "title", and no column twice.'),
        ("title,title\n", 'The header must have the column "title", and no column twice.'),
        (
            "title,colour\n",
            f"Unknown columns: 'colour'. Known are {', '.join(CSV_COLUMNS)}.",
        ),
    ],
)
def test_a_wrong_header_is_explained_before_any_row(text: str, sentence: str) -> None:
    with pytest.raises(NotThisFormatError) as caught:
        read(text)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("header", "row", "reason", "sentence"),
    [
        ("title,year", ",1999", "title_missing", "The row has no title."),
        ("title,year", "T,MCM", "year_invalid", '"MCM" is not a year of four digits.'),
        ("title,year", "T,0000", "year_invalid", '"0000" is not a year of four digits.'),
        ("title,year", "T", "cell_count_wrong", "The row has 1 cells, the header 2."),
        ("title,year", "T,1,2", "cell_count_wrong", "The row has 3 cells, the header 2."),
        (
            "title,material_type",
            "T,scroll",
            "material_type_unknown",
            f'"scroll" is none of {", ".join(MATERIAL_TYPES)}.',
        ),
        ("title,copies", "T,|1", "copies_invalid", '"|1" is not "branch|barcode|shelf mark".'),
        ("title,copies", "T,a|1;b|1", "copies_invalid", "Two copies have the same barcode."),
        (
            "title,year",
            '"T" x,1999',
            "csv_malformed",
            "The row is not valid CSV; look for a quotation mark that is not closed.",
        ),
    ],
)
def test_a_bad_row_is_refused_and_the_rest_is_read(
    header: str, row: str, reason: str, sentence: str
) -> None:
    found = read(f"{header}\nBefore,\n{row}\nAfter,\n")
    assert found[1] == Refusal(2, None, reason, sentence)
    assert outline(f"{header}\nBefore,\n{row}\nAfter,\n") == ["Before", reason, "After"]


def test_a_refused_row_is_named_by_its_control_number() -> None:
    assert read("control_number,title\n7,\n") == [
        Refusal(1, "7", "title_missing", "The row has no title.")
    ]


def test_bytes_that_are_not_utf8_cost_their_row_alone() -> None:
    assert outline(b"title\nCaf\xe9\nTea\n") == ["text_undecodable", "Tea"]


def test_what_is_doubtful_is_left_out_with_a_note() -> None:
    (record,) = read("title,isbn,language\nT,0441478124; 978-0-441-47812-5,Gobbledygook\n")
    assert isinstance(record, SourceRecord)
    assert record.book == SourceBook("T", isbns=("9780441478125",))
    assert record.notes == (
        'ISBN "0441478124" has a wrong check digit (9780441478125 would be right); left out.',
        'Language "Gobbledygook" is not known; left out.',
    )


def test_a_quotation_mark_that_never_closes_costs_its_row_alone() -> None:
    rows = "".join(f"Title {n}\n" for n in range(20_000))
    found = outline(f'title\nFirst\n"Open\n{rows}')
    assert found[:3] == ["First", "csv_malformed", "Title 0"]
    assert len(found) == 20_002


def test_a_quoted_cell_cannot_outgrow_a_row() -> None:
    rows = ("x" * 100_000 + '"","" ' + "\n") * 20
    found = outline(f'title\n"{rows}\nLast\n')
    assert found[0] == "csv_malformed"
    assert found[-1] == "Last"


def test_a_line_that_is_too_long_is_refused() -> None:
    assert outline("title\n" + "x" * 3_000_000 + "\nLast\n") == ["row_too_long", "Last"]


def test_a_row_of_many_lines_is_bounded() -> None:
    cell = '"' + ("x" * 99 + "\n") * 800 + '"'
    header = (
        "title,subtitle,summary,edition,publisher,authors,subjects,isbn,language,control_number"
    )
    columns = header + ",year,copies,material_type"
    found = outline(f"{columns}\n" + ",".join([cell] * 14) + "\nLast" + "," * 12 + "\n")
    assert found[0] == "row_too_long"
    assert found[-1] == "Last"
