"""Files as they lie there: packed ones are read to the last byte before they break off."""

import gzip
import json
import random
import zlib
from pathlib import Path

import pytest

from circdesk.catalog.imports.reading.formats import Format, read_records
from circdesk.catalog.imports.reading.records import SourceRecord
from circdesk.catalog.imports.reading.sources import DAMAGE, open_source

# Noise does not pack well, so that the break is far from what a block holds.
NOISE = random.Random(1)
RECORDS = 4000


def noise() -> str:
    return NOISE.randbytes(100).hex()


def csv_text() -> str:
    return "title\n" + "".join(f"{noise()}\n" for _ in range(RECORDS))


def dump_text() -> str:
    return "".join(
        f"/type/edition\t/books/OL{number}M\t1\t2020\t{json.dumps({'title': noise()})}\n"
        for number in range(RECORDS)
    )


def xml_text() -> str:
    record = (
        "<record><leader>00000cam a2200000 a 4500</leader>"
        '<datafield tag="245"><subfield code="a">{}</subfield></datafield></record>'
    )
    records = (record.format(noise()) for _ in range(RECORDS))
    return f"<collection>{''.join(records)}</collection>"


def cut(path: Path, text: str) -> str:
    """Write two thirds of the packed text; return what they hold."""
    packed = gzip.compress(text.encode())
    packed = packed[: len(packed) * 2 // 3]
    path.write_bytes(packed)
    return zlib.decompressobj(31).decompress(packed).decode()


@pytest.mark.parametrize(
    ("fmt", "text", "end"),
    [
        (Format.CSV, csv_text(), "\n"),
        (Format.OPENLIBRARY, dump_text(), "\n"),
        (Format.MARCXML, xml_text(), "</record>"),
    ],
)
def test_every_whole_record_before_the_break_is_read(
    tmp_path: Path, fmt: Format, text: str, end: str
) -> None:
    whole = cut(tmp_path / "a.gz", text).count(end) - (fmt is Format.CSV)
    with open_source(tmp_path / "a.gz") as stream:
        *read, last = read_records(stream, fmt)

    assert RECORDS // 2 < whole < RECORDS
    assert len(read) == whole
    assert all(isinstance(record, SourceRecord) for record in read)
    assert (last.position, getattr(last, "reason", None)) == (whole + 1, "file_damaged")


def test_what_stands_before_the_break_is_there_and_then_the_error(tmp_path: Path) -> None:
    held = cut(tmp_path / "a.gz", csv_text()).encode()
    with open_source(tmp_path / "a.gz") as stream:
        for _ in range(2):
            assert stream.read(10) == held[:10]
            assert stream.read() == held[10:]
            for _ in range(2):
                with pytest.raises(DAMAGE):
                    stream.read()
            assert stream.read(0) == b""
            stream.seek(0)


@pytest.mark.parametrize("tail", [b"no gzip", b"xx"])
def test_what_is_wrong_behind_a_good_part_stays_wrong(tmp_path: Path, tail: bytes) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"title\nDune\n") + tail)
    with open_source(tmp_path / "a.gz") as stream:
        assert stream.read() == b"title\nDune\n"
        for _ in range(2):
            with pytest.raises(DAMAGE):
                stream.read()


def test_parts_packed_one_by_one_are_one_file(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"ti") + gzip.compress(b"tle\nDune\n"))
    places: list[int] = []
    with open_source(tmp_path / "a.gz", places.append) as stream:
        assert stream.read(4) == b"titl"
        assert stream.read() == b"e\nDune\n"
    assert places[-1] == (tmp_path / "a.gz").stat().st_size
