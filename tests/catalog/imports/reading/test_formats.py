"""Formats: how they are told apart, and the one door to their readers."""

import gzip
import io
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from circdesk.catalog.imports.reading.formats import (
    Format,
    detect_format,
    read_records,
)
from circdesk.catalog.imports.reading.marc.items import ItemField, ItemMapping
from circdesk.catalog.imports.reading.openlibrary_authors import AuthorNames
from circdesk.catalog.imports.reading.records import NotThisFormatError, SourceCopy, SourceRecord
from circdesk.catalog.imports.reading.sources import open_source

MarcMaker = Callable[..., bytes]

XML = b"<collection><record><leader>00000cam a2200000 a 4500</leader></record></collection>"
CSV = b"title,year\nDune,1965\n"
DUMP = b'/type/edition\t/books/OL1M\t1\t2020\t{"title": "T"}\n'


def refused(data: bytes, fmt: Format) -> str:
    with pytest.raises(NotThisFormatError) as caught:
        read_records(io.BytesIO(data), fmt)
    return str(caught.value)


def test_the_first_bytes_show_the_format(marc: MarcMaker) -> None:
    samples = {
        Format.MARC21: [
            marc(("245", "10", "aT")),
            b"\n00127     2200037   4500",
            b"x127 cam\x1e10\x1faT",
        ],
        Format.MARCXML: [XML, b"\xef\xbb\xbf \n" + XML, XML.decode().encode("utf-16")],
        Format.CSV: [CSV, b'\xef\xbb\xbf"Title","isbn"\r\n'],
        Format.OPENLIBRARY: [DUMP, b"\n/type/author\t/authors/OL1A"],
    }
    for fmt, files in samples.items():
        for data in files:
            stream = io.BytesIO(data)
            assert detect_format(stream, "whatever.bin") == fmt
            assert stream.tell() == 0


def test_the_name_decides_where_the_bytes_do_not() -> None:
    assert detect_format(io.BytesIO(b"name,writer\n"), "books.CSV.gz") == Format.CSV
    with pytest.raises(NotThisFormatError) as caught:
        detect_format(io.BytesIO(b"name,writer\n"), "books.txt")
    assert str(caught.value) == "The file is neither MARC 21, MARCXML, CSV nor Open Library's."


@pytest.mark.parametrize(
    ("data", "fmt", "sentence"),
    [
        (b"", Format.CSV, "The file is empty."),
        (b"\x89PNG\r\n\x1a\n", Format.MARC21, "The file is a PNG image."),
        (b"PK\x03\x04", Format.CSV, "The file is a ZIP archive or an office document."),
        (b"\x1f\x8b\x08", Format.MARC21, "The file is packed with gzip."),
        (XML, Format.MARC21, "The file is said to be MARC 21, but is MARCXML."),
        (CSV, Format.MARC21, "The file is said to be MARC 21, but is CSV."),
        (DUMP, Format.CSV, "The file is said to be CSV, but is an Open Library dump."),
        (b"hello", Format.MARC21, "The file is said to be MARC 21, but is not."),
        (b"hello", Format.MARCXML, "The file is said to be MARCXML, but is not."),
        (b"{}", Format.OPENLIBRARY, "The file is said to be an Open Library dump, but is not."),
        (b"a\x00b", Format.CSV, "The file is neither text nor MARC 21."),
        (b"<!DOCTYPE html><html>", Format.MARCXML, "The file is a web page."),
        (
            "title\nDune".encode("utf-16"),
            Format.CSV,
            "The file is text in UTF-16; send it in UTF-8.",
        ),
    ],
)
def test_a_file_that_is_not_what_it_says_is_told_before_any_record(
    data: bytes, fmt: Format, sentence: str
) -> None:
    assert refused(data, fmt) == sentence


def test_one_door_leads_to_every_reader(marc: MarcMaker) -> None:
    item = ("949", "  ", "lNorth")
    mapping = ItemMapping((ItemField("949", branch="l"),))
    binary = marc(("245", "10", "aT"), item)
    xml = XML.replace(
        b"</leader>",
        b'</leader><datafield tag="245"><subfield code="a">T</subfield></datafield>'
        b'<datafield tag="949"><subfield code="l">North</subfield></datafield>',
    )
    files = {
        Format.MARC21: (binary, "here", (SourceCopy("North"),)),
        Format.MARCXML: (xml, "here", (SourceCopy("North"),)),
        Format.CSV: (b"title,copies\nT,North\n", "here", (SourceCopy("North"),)),
        Format.OPENLIBRARY: (DUMP, "openlibrary", ()),
    }
    with AuthorNames() as authors:
        for fmt, (data, agency, copies) in files.items():
            (record,) = read_records(
                io.BytesIO(data), fmt, source="here", items=mapping, authors=authors
            )
            assert isinstance(record, SourceRecord)
            assert (record.agency, record.book.title, record.book.copies) == (agency, "T", copies)


def test_packed_files_are_unpacked(tmp_path: Path, marc: MarcMaker) -> None:
    data = marc(("245", "10", "aT")) * 3
    (tmp_path / "a.mrc.gz").write_bytes(gzip.compress(data))
    (tmp_path / "a.mrc").write_bytes(data)
    for name in ("a.mrc.gz", "a.mrc"):
        with open_source(tmp_path / name) as stream:
            assert len(list(read_records(stream, detect_format(stream, name)))) == 3


def test_a_packed_file_without_content_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.mrc.gz").write_bytes(gzip.compress(b"x" * 99)[:10])
    with open_source(tmp_path / "a.mrc.gz") as stream, pytest.raises(NotThisFormatError) as caught:
        detect_format(stream)
    assert str(caught.value) == "The file is packed, and damaged or cut off."


def test_a_packed_file_that_was_cut_off_ends_in_a_refusal(tmp_path: Path, marc: MarcMaker) -> None:
    data = b"".join(marc(("001", str(n)), ("245", "10", f"a{n}" * 99)) for n in range(3_000))
    packed = gzip.compress(data)
    (tmp_path / "a.mrc.gz").write_bytes(packed[: len(packed) // 2])
    unpacked = zlib.decompressobj(31).decompress(packed[: len(packed) // 2])
    with open_source(tmp_path / "a.mrc.gz") as stream:
        *read, last = read_records(stream, Format.MARC21)
    assert len(read) == unpacked.count(b"\x1d") > 100
    assert last.position == len(read) + 1
    assert getattr(last, "reason", None) == "file_damaged"
