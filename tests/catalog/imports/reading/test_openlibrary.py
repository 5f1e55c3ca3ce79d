"""Lines of an Open Library dump: editions as books, names from author lines."""

import io
import json
from hashlib import sha256
from typing import Any

import pytest

from circdesk.catalog.imports.reading.openlibrary import collect_authors, read_openlibrary
from circdesk.catalog.imports.reading.openlibrary_authors import AuthorNames
from circdesk.catalog.imports.reading.records import Refusal, SourceBook, SourceRecord

AUTHOR = '/type/author\t/authors/OL1A\t1\t2020-01-01T00:00:00\t{"name": "Ursula K. Le Guin"}\n'


def edition(number: int = 1, **facts: object) -> str:
    body = json.dumps({"title": "Title", **facts})
    return f"/type/edition\t/books/OL{number}M\t3\t2020-01-01T00:00:00\t{body}\n"


def read(text: str) -> list[SourceRecord | Refusal]:
    return list(read_openlibrary(io.BytesIO(text.encode())))


def book(**facts: object) -> SourceBook:
    (record,) = read(edition(**{"title": "Title"} | facts))  # type: ignore[arg-type]
    assert isinstance(record, SourceRecord)
    return record.book


def test_an_edition_is_read_whole() -> None:
    facts: dict[str, Any] = {
        "title": "left hand of darkness",
        "title_prefix": "The",
        "subtitle": "a novel",
        "authors": [{"key": "/authors/OL1A"}],
        "isbn_10": ["0441478123"],
        "isbn_13": ["9780441478125"],
        "publishers": ["Ace Books", "Other"],
        "publish_date": "March 1, 1969",
        "languages": [{"key": "/languages/eng"}],
        "subjects": ["Gender", "gender", "Ice"],
        "description": {"type": "/type/text", "value": "An envoy\nvisits."},
        "physical_format": "Paperback",
        "edition_name": "1st ed.",
    }
    body = json.dumps(facts)
    assert read(edition(**facts) + AUTHOR) == [
        SourceRecord(
            position=1,
            agency="openlibrary",
            control_number="/books/OL1M",
            content_hash=sha256(f"{body}\nUrsula K. Le Guin".encode()).hexdigest(),
            book=SourceBook(
                title="The left hand of darkness",
                subtitle="a novel",
                authors=("Ursula K. Le Guin",),
                isbns=("9780441478125",),
                publisher="Ace Books",
                year=1969,
                language="eng",
                subjects=("Gender", "Ice"),
                summary="An envoy visits.",
                edition="1st ed.",
            ),
        )
    ]


def test_things_that_are_no_editions_are_no_records() -> None:
    other = "/type/work\t/works/OL1W\t1\t2020\t{}\n/type/redirect\tbroken\n\n"
    found = read(other + AUTHOR + edition() + other)
    assert [record.position for record in found] == [1]


@pytest.mark.parametrize("order", [0, 1])
def test_author_lines_count_before_and_behind_the_editions(order: int) -> None:
    parts = [AUTHOR, edition(authors=[{"key": "/authors/OL1A"}])]
    (record,) = read("".join(parts if order else parts[::-1]))
    assert isinstance(record, SourceRecord)
    assert record.book.authors == ("Ursula K. Le Guin",)


def test_a_stream_that_cannot_be_read_twice_gives_the_names_that_came_before() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    linked = edition(authors=[{"key": "/authors/OL1A"}])
    first, second = read_openlibrary(Pipe((linked + AUTHOR + linked).encode()))
    assert isinstance(first, SourceRecord)
    assert isinstance(second, SourceRecord)
    assert (first.book.authors, first.notes) == (
        (),
        ("No name for author /authors/OL1A; left out.",),
    )
    assert second.book.authors == ("Ursula K. Le Guin",)


def test_names_can_come_from_other_files_of_the_run() -> None:
    with AuthorNames() as names:
        collect_authors(io.BytesIO(AUTHOR.encode()), names)
        editions = io.BytesIO(edition(authors=["/authors/OL1A"]).encode())
        (record,) = read_openlibrary(editions, authors=names)
    assert isinstance(record, SourceRecord)
    assert record.book.authors == ("Ursula K. Le Guin",)


def test_more_names_than_are_kept_in_memory_are_found() -> None:
    lines = "".join(
        f'/type/author\t/authors/OL{n}A\t1\t2020\t{{"name": "Author {n}"}}\n' for n in range(20_500)
    )
    keys = [{"key": f"/authors/OL{n}A"} for n in (0, 10_000, 20_499)]
    (record,) = read(edition(authors=keys) + lines)
    assert isinstance(record, SourceRecord)
    assert record.book.authors == ("Author 0", "Author 10000", "Author 20499")


def test_a_name_that_arrives_later_changes_the_hash() -> None:
    linked = edition(authors=[{"key": "/authors/OL1A"}])
    without, with_name = read(linked)[0], read(AUTHOR + linked)[0]
    assert isinstance(without, SourceRecord)
    assert isinstance(with_name, SourceRecord)
    assert without.content_hash != with_name.content_hash


def test_broken_author_lines_cost_their_names_alone() -> None:
    broken = (
        '/type/author\t/authors/OL2A\n/type/author\ta\tb\tc\t{\n/type/author\ta\tb\tc\t{"n":1}\n'
    )
    assert [type(record) for record in read(broken + edition())] == [SourceRecord]


@pytest.mark.parametrize(
    ("line", "number", "reason", "sentence"),
    [
        (
            "nonsense\n",
            None,
            "columns_wrong",
            "The line is not type, key, revision, time and JSON, parted by tabs.",
        ),
        (
            "/type/edition\t/books/OL2M\t{}\n",
            None,
            "columns_wrong",
            "The line is not type, key, revision, time and JSON, parted by tabs.",
        ),
        (
            "/type/edition\tOL2M\t1\t2020\t{}\n",
            None,
            "key_invalid",
            "The edition's key is not /books/ and a number.",
        ),
        (
            "/type/edition\t/books/OL2M\t1\t2020\t{\n",
            "/books/OL2M",
            "json_malformed",
            "The last column is not JSON.",
        ),
        (
            "/type/edition\t/books/OL2M\t1\t2020\t[]\n",
            "/books/OL2M",
            "json_malformed",
            "The last column is not a JSON object.",
        ),
        (edition(2, title=""), "/books/OL2M", "title_missing", "The edition has no title."),
        (edition(2, title=["x"]), "/books/OL2M", "title_missing", "The edition has no title."),
        (
            edition(2, notes="x" * 1_100_000),
            None,
            "line_too_long",
            "The line is longer than 1,048,576 bytes.",
        ),
    ],
)
def test_a_broken_line_is_refused_and_the_rest_is_read(
    line: str, number: str | None, reason: str, sentence: str
) -> None:
    first, refusal, third = read(edition(1) + line + edition(3))
    assert refusal == Refusal(2, number, reason, sentence)
    assert [type(first), type(third)] == [SourceRecord, SourceRecord]
    assert third.position == 3


def test_values_of_the_wrong_type_are_left_out() -> None:
    wrong = dict.fromkeys(
        ("subtitle", "authors", "isbn_13", "publishers", "languages", "description"), 7
    )
    assert book(**wrong, publish_date=["1969"], subjects=[1, None, {}]) == SourceBook("Title")


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Hardcover", "book"),
        ("Audio CD", "audiobook"),
        ("Kindle edition", "ebook"),
        ("DVD-ROM", "video"),
        ("Folded map", "map"),
        ("Sheet music", "score"),
    ],
)
def test_the_material_type_follows_the_physical_format(words: str, kind: str) -> None:
    assert book(physical_format=words).material_type == kind
