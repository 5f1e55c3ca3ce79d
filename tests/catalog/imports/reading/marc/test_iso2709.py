"""MARC 21 in its transmission format: what is read, what is refused, and why."""

import io
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from circdesk.catalog.imports.reading.marc.iso2709 import read_marc
from circdesk.catalog.imports.reading.records import Refusal, SourceBook, SourceRecord

MarcMaker = Callable[..., bytes]


def read(data: bytes, source: str | None = None) -> list[SourceRecord | Refusal]:
    return list(read_marc(io.BytesIO(data), source=source))


def outline(data: bytes) -> list[str]:
    """Titles of what was read and reasons of what was refused, in order."""
    found = []
    for position, record in enumerate(read(data), 1):
        assert record.position == position
        found.append(record.book.title if isinstance(record, SourceRecord) else record.reason)
    return found


@pytest.fixture
def three(marc: MarcMaker) -> list[bytes]:
    return [marc(("001", f"n{n}"), ("245", "10", f"aTitle number {n} /")) for n in (1, 2, 3)]


class TestOneRecord:
    def test_is_read_whole(self, marc: MarcMaker) -> None:
        data = marc(
            ("001", " 42 "), ("003", "DLC"), ("020", "  ", "a0441478123"), ("245", "10", "aA title")
        )
        assert read(data) == [
            SourceRecord(
                position=1,
                agency="DLC",
                control_number="42",
                content_hash=sha256(data).hexdigest(),
                book=SourceBook(title="A title", isbns=("9780441478125",)),
            )
        ]

    @pytest.mark.parametrize(
        ("own", "given", "expected"),
        [("DLC", "here", "DLC"), ("", "here", "here"), ("", None, None)],
    )
    def test_has_the_callers_agency_where_it_names_none(
        self, marc: MarcMaker, own: str, given: str | None, expected: str | None
    ) -> None:
        fields = [("003", own)] if own else []
        (record,) = read(marc(*fields, ("245", "10", "aT")), source=given)
        assert isinstance(record, SourceRecord)
        assert record.agency == expected

    def test_may_list_its_fields_in_another_order_than_they_stand(self) -> None:
        directory = b"245001000005001000500000\x1e"
        body = b"n123\x1e" + b"10\x1faTitle\x1e" + b"\x1d"
        head = f"{24 + 25 + len(body):05}cam a22{24 + 25:05} a 4500".encode()
        (record,) = read(head + directory + body)
        assert isinstance(record, SourceRecord)
        assert (record.control_number, record.book.title) == ("n123", "Title")


class TestEncodings:
    def test_marc8_is_converted(self, marc: MarcMaker) -> None:
        data = marc(("245", "10", b"aCaf\xe2e"), leader="00000cam  2200000 a 4500")
        assert outline(data) == ["Café"]

    def test_marc8_escapes_to_other_scripts_end_with_their_subfield(self, marc: MarcMaker) -> None:
        field = b"a\x1b(NmIR :$bmIR"
        (record,) = read(marc(("245", "10", field), leader="00000cam  2200000 a 4500"))
        assert isinstance(record, SourceRecord)
        assert (record.book.title, record.book.subtitle) == ("\u041c\u0438\u0440", "mIR")

    def test_utf8_under_a_leader_that_says_marc8_is_read_and_noted(self, marc: MarcMaker) -> None:
        (record,) = read(marc(("245", "10", "aKäse"), leader="00000cam  2200000 a 4500"))
        assert isinstance(record, SourceRecord)
        assert record.book.title == "Käse"
        assert record.notes == ("The leader says MARC-8, but the text is UTF-8.",)

    def test_bytes_that_are_not_the_utf8_they_claim_are_refused(self, marc: MarcMaker) -> None:
        assert read(marc(("001", "7"), ("245", "10", b"aCaf\xe9"))) == [
            Refusal(1, "7", "text_undecodable", "The leader says UTF-8; the text is not.")
        ]

    def test_bytes_that_are_not_marc8_are_refused(self, marc: MarcMaker) -> None:
        data = marc(("245", "10", b"a\x1b$1\xff"), leader="00000cam  2200000 a 4500")
        assert outline(data) == ["text_undecodable"]

    def test_text_is_composed_and_loses_controls(self, marc: MarcMaker) -> None:
        assert outline(marc(("245", "10", "aCafe\u0301\x00 \u200fau\x98 lait"))) == ["Café au lait"]


class TestDamage:
    @pytest.mark.parametrize(
        ("start", "put", "reason"),
        [
            (0, b"0000x", "length_not_a_number"),
            (0, b"00010", "record_overlong"),
            (0, b"99999", "record_truncated"),
            (6, b"\xff", "leader_invalid"),
            (12, b"000x0", "base_address_not_a_number"),
            (12, b"00000", "base_address_missing"),
            (12, b"00030", "directory_length_wrong"),
            (12, b"00037", "directory_unterminated"),
            (12, b"90000", "base_address_beyond_record"),
            (24, b"\xff", "directory_not_ascii"),
            (27, b"9999", "directory_wrong"),
            (27, b"000x", "directory_wrong"),
            (36, b"246", "title_missing"),
        ],
    )
    def test_is_refused_with_its_reason_and_the_rest_is_read(
        self, three: list[bytes], start: int, put: bytes, reason: str
    ) -> None:
        second = three[1]
        broken = second[:start] + put + second[start + len(put) :]
        first, refusal, third = read(three[0] + broken + three[2])
        assert isinstance(refusal, Refusal)
        assert (refusal.position, refusal.reason) == (2, reason)
        assert refusal.message.endswith(".")
        assert [first, third] == [read(three[0])[0], replace(read(three[2])[0], position=3)]

    def test_names_the_control_number_of_a_broken_record(self, three: list[bytes]) -> None:
        broken = b"99999" + three[1][5:]
        refusal = read(three[0] + broken)[1]
        assert isinstance(refusal, Refusal)
        assert refusal.control_number == "n2"

    @pytest.mark.parametrize("value", [0xFF, 0x1D, 0x1E, 0x1F, 0x00, 0x39])
    def test_of_any_byte_harms_no_neighbour(self, three: list[bytes], value: int) -> None:
        for place in range(len(three[1])):
            broken = bytearray(three[1])
            broken[place] = value
            titles = outline(three[0] + bytes(broken) + three[2])
            assert (titles[0], titles[-1]) == ("Title number 1", "Title number 3"), place

    def test_by_a_cut_anywhere_costs_the_last_record_alone(self, three: list[bytes]) -> None:
        data = b"".join(three)
        for end in range(len(three[0]) + len(three[1]) + 1, len(data)):
            titles = outline(data[:end])
            assert titles[:2] == ["Title number 1", "Title number 2"]
            assert len(titles) == 3

    def test_by_a_record_that_lost_its_end_spares_the_next(self, three: list[bytes]) -> None:
        assert outline(three[0][:50] + three[1]) == ["record_truncated", "Title number 2"]

    def test_by_junk_between_records_is_one_refusal(self, three: list[bytes]) -> None:
        data = three[0] + b"some junk 123" + three[1]
        assert outline(data) == ["Title number 1", "not_a_record", "Title number 2"]


class TestFiller:
    @pytest.mark.parametrize("between", [b"\n", b"\r\n", b"\n\n  "])
    def test_between_all_records_is_passed_over(self, three: list[bytes], between: bytes) -> None:
        data = between.join(three) + between
        assert outline(data) == ["Title number 1", "Title number 2", "Title number 3"]

    @pytest.mark.parametrize("padding", [b"\x00" * 500, b"\x1a", b"\r\n\x1a"])
    def test_of_old_media_at_the_end_is_passed_over(
        self, three: list[bytes], padding: bytes
    ) -> None:
        assert len(outline(b"".join(three) + padding)) == 3

    def test_at_the_end_alone_is_the_rest_of_a_lost_record(self, three: list[bytes]) -> None:
        assert outline(b"".join(three) + b"\n")[3:] == ["record_truncated"]


class TestBounds:
    def test_a_stream_without_terminators_is_one_refusal(self) -> None:
        assert outline(b"00099" + b"x" * 5_000_000) == ["record_too_long"]

    def test_a_record_behind_too_long_a_piece_is_read(self, three: list[bytes]) -> None:
        data = b"x" * 1_000_000 + b"\x1d" + three[0] + three[1]
        assert outline(data) == ["record_too_long", "Title number 1", "Title number 2"]

    def test_a_record_of_the_greatest_length_is_read(self, marc: MarcMaker) -> None:
        notes = [("500", "  ", "a" + "n" * 9_000)] * 10
        data = marc(("245", "10", "aLong"), *notes)
        data = marc(("245", "10", "aLong"), *notes, ("500", "  ", "n" * (99_999 - len(data) - 16)))
        assert len(data) == 99_999
        assert outline(data) == ["Long"]

    def test_reads_blocks_and_never_the_whole(self, three: list[bytes]) -> None:
        asked = set()

        class Watched(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                asked.add(size)
                return super().read(size)

        assert sum(1 for _ in read_marc(Watched(b"".join(three) * 2_000))) == 6_000
        assert asked == {1 << 18}


class TestRealRecords:
    def test_of_nine_bad_ones_two_are_kept_and_seven_named(self, samples: Path) -> None:
        assert outline((samples / "bad-records-9.mrc").read_bytes()) == [
            "The pragmatic programmer",
            "base_address_beyond_record",
            "base_address_missing",
            "directory_length_wrong",
            "directory_not_ascii",
            "base_address_not_a_number",
            "no_fields",
            "The pragmatic programmer",
            "record_truncated",
        ]

    @pytest.mark.parametrize(
        ("name", "count"),
        [("programming-20", 20), ("mixed-30", 30), ("multi-isbn-1", 1), ("hebrew-1", 1)],
    )
    def test_are_all_read(self, samples: Path, name: str, count: int) -> None:
        records = read((samples / f"{name}.mrc").read_bytes())
        assert [type(record) for record in records] == [SourceRecord] * count

    def test_with_original_script_keep_it_as_variants(self, samples: Path) -> None:
        (record,) = read((samples / "hebrew-1.mrc").read_bytes())
        assert isinstance(record, SourceRecord)
        assert record.control_number == "4083985"
        assert record.book == SourceBook(
            title='Anarkhizm be-"Tsiyon"',
            subtitle="ben Marṭin Buber le-Aharon Daṿid Gordon",
            authors=("Ratsabi, Shalom",),
            isbns=("9789651321337",),
            publisher="\u02bbAm \u02bboved",
            year=2011,
            language="heb",
            subjects=(
                "Zionism and Judaism",
                "Religious Zionism",
                "Zionism -- Historiography",
                "Zionism -- Philosophy",
                "Buber, Martin -- Religion",
                "Gordon, Aaron David -- Religion",
            ),
            variants=("אנרכיזם ב״ציון״ : בין מרטין בובר לאהרן דוד גורדון", "רצבי, שלום"),
        )
