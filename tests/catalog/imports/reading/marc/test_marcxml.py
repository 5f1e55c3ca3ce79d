"""MARCXML: the same books as from the binary form, and nothing that a document could do to us."""

import io
from dataclasses import replace
from pathlib import Path

import pytest

from circdesk.catalog.imports.reading.marc.iso2709 import read_marc
from circdesk.catalog.imports.reading.marc.marcxml import read_marcxml
from circdesk.catalog.imports.reading.records import (
    NotThisFormatError,
    Refusal,
    SourceBook,
    SourceCopy,
    SourceRecord,
)

RECORD = """<record>
  <leader>00000cam a2200000 a 4500</leader>
  <controlfield tag="001"> 42 </controlfield>
  <datafield tag="245" ind1="1" ind2="0"><subfield code="a">T{n} &amp; more :</subfield>
    <subfield code="b">sub</subfield></datafield>
  <datafield tag="952" ind1=" " ind2=" "><subfield code="b">M</subfield></datafield>
</record>
"""
OPEN, CLOSE = '<collection xmlns="http://www.loc.gov/MARC21/slim">', "</collection>"


def read(text: str | bytes) -> list[SourceRecord | Refusal]:
    data = text.encode() if isinstance(text, str) else text
    return list(read_marcxml(io.BytesIO(data), source="here"))


def outline(text: str | bytes) -> list[str]:
    return [
        record.book.title if isinstance(record, SourceRecord) else record.reason
        for record in read(text)
    ]


def record(number: int) -> str:
    return RECORD.replace("{n}", str(number))


def test_a_record_is_read_whole() -> None:
    (found,) = read(OPEN + record(1) + CLOSE)
    assert isinstance(found, SourceRecord)
    assert found == SourceRecord(
        position=1,
        agency="here",
        control_number="42",
        content_hash=found.content_hash,
        book=SourceBook(title="T1 & more", subtitle="sub", copies=(SourceCopy("M"),)),
    )
    assert len(found.content_hash) == 64


def test_prefixes_and_blanks_change_nothing() -> None:
    plain = OPEN + record(1) + CLOSE
    prefixed = plain.replace("</", "</marc:").replace("<", "<marc:").replace("<marc:/marc:", "</m:")
    prefixed = prefixed.replace("</m:", "</marc:").replace("  <", "<").replace("\n", "")
    assert "marc:subfield" in prefixed
    assert read(prefixed) == read(plain)


def test_another_value_gives_another_hash() -> None:
    first, second = read(OPEN + record(1) + record(2) + CLOSE)
    assert isinstance(first, SourceRecord)
    assert isinstance(second, SourceRecord)
    assert first.content_hash != second.content_hash


@pytest.mark.parametrize(
    ("broken", "reason", "sentence"),
    [
        (
            record(2).replace("</datafield>", "</datafeld>", 1),
            "xml_malformed",
            "The record is not well-formed XML: mismatched tag, in line 5 of it.",
        ),
        (
            record(2).replace("&amp;", "&nbsp;"),
            "xml_malformed",
            "The record is not well-formed XML: undefined entity, in line 4 of it.",
        ),
        (record(2).replace("245", "246"), "title_missing", "The record has no title (field 245)."),
        (
            record(2).replace("</record>", ""),
            "record_truncated",
            "The record's element is not closed.",
        ),
        (
            record(2).replace(">T2", ">" + "x" * 1_100_000),
            "record_too_long",
            "No record may be longer than 1,048,576 bytes of XML.",
        ),
        ("<record/>", "title_missing", "The record has no title (field 245)."),
    ],
)
def test_a_broken_record_is_refused_and_the_rest_is_read(
    broken: str, reason: str, sentence: str
) -> None:
    found = read(OPEN + record(1) + broken + record(3) + CLOSE)
    number = "42" if reason in ("xml_malformed", "title_missing") and "001" in broken else None
    assert found[1] == Refusal(2, number, reason, sentence)
    assert found[0] == read(OPEN + record(1) + CLOSE)[0]
    third = read(OPEN + record(3) + CLOSE)[0]
    assert isinstance(third, SourceRecord)
    assert found[2:] == [replace(third, position=3)]


def test_bytes_that_are_not_utf8_cost_their_record_alone() -> None:
    data = (OPEN + record(1) + record(2) + CLOSE).encode().replace(b"T1", b"T\xff")
    assert outline(data) == ["xml_malformed", "T2 & more"]


@pytest.mark.parametrize(
    "declaration",
    [
        '<!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>',
        '<!DOCTYPE x SYSTEM "file:///etc/passwd">',
        '<!ENTITY x SYSTEM "file:///etc/passwd">',
    ],
)
def test_document_types_and_entities_are_refused(declaration: str) -> None:
    text = '<?xml version="1.0"?>' + declaration + OPEN + record(1) + CLOSE
    assert read(text) == [
        Refusal(
            1,
            None,
            "xml_dtd_refused",
            "The file declares a document type or entities, which are not read.",
        )
    ]


def test_a_document_type_within_a_record_is_malformed() -> None:
    text = OPEN + record(1).replace("<leader>", "<!DOCTYPE x []><leader>") + record(2) + CLOSE
    assert outline(text) == ["xml_malformed", "T2 & more"]


def test_records_in_comments_are_none() -> None:
    long = "<!-- " + record(1) * 500 + " -->"
    assert outline(OPEN + long + record(2) + "<!-- <record> -->" + CLOSE) == ["T2 & more"]


def test_envelopes_of_other_protocols_are_passed_over() -> None:
    wrapped = f"<record><header/><metadata>{record(1)}</metadata></record>"
    assert outline(f"<OAI-PMH><ListRecords>{wrapped * 2}</ListRecords></OAI-PMH>") == [
        "T1 & more",
        "T1 & more",
    ]


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ("UTF-8", "utf-8-sig"),
        ("utf-8", "utf-8"),
        ("us-ascii", "ascii"),
        ("ISO-8859-1", "latin-1"),
        ("UTF-16", "utf-16"),
        ("UTF-16", "utf-16-be"),
    ],
)
def test_the_declared_encoding_is_respected(declared: str, encoding: str) -> None:
    word = "Kase" if encoding == "ascii" else "Käse"
    text = f'<?xml version="1.0" encoding="{declared}"?>{OPEN}{record(1)}{CLOSE}'
    assert outline(text.replace("T1", word).encode(encoding)) == [f"{word} & more"]


def test_an_unknown_encoding_is_told() -> None:
    with pytest.raises(NotThisFormatError) as caught:
        read(f'<?xml version="1.0" encoding="KOI8-X"?>{OPEN}{CLOSE}')
    assert str(caught.value) == 'The XML is in the encoding "KOI8-X"; send it in UTF-8.'


def test_a_file_that_was_cut_off_says_so() -> None:
    assert outline(OPEN + record(1)) == ["T1 & more", "file_truncated"]
    assert outline(OPEN + record(1) + record(2)[:60]) == [
        "T1 & more",
        "record_truncated",
        "file_truncated",
    ]
    assert outline(OPEN + "<!-- never closed") == ["file_truncated"]


def test_other_xml_holds_no_records() -> None:
    assert outline("<rss><item/></rss>") == ["no_records"]
    assert outline(OPEN + CLOSE) == []


def test_tags_across_the_edge_of_a_block_are_found() -> None:
    for size in range(65_536 - 700, 65_536, 7):
        text = OPEN + " " * (size - len(OPEN)) + record(1) + record(2) + CLOSE
        assert outline(text) == ["T1 & more", "T2 & more"]


def test_both_forms_of_thirty_real_records_give_the_same_books(samples: Path) -> None:
    with (samples / "mixed-30.mrc").open("rb") as binary:
        expected = [item for item in read_marc(binary) if isinstance(item, SourceRecord)]
    with (samples / "mixed-30.xml").open("rb") as xml:
        found = [item for item in read_marcxml(xml) if isinstance(item, SourceRecord)]
    assert len(found) == 30
    assert [replace(item, content_hash="") for item in found] == [
        replace(item, content_hash="") for item in expected
    ]


def test_real_records_with_a_prefix_are_read(samples: Path) -> None:
    assert outline((samples / "batch-2.xml").read_bytes()) == [
        "The Great Ray Charles",
        "The White House",
    ]


def test_a_field_without_indicators_or_code_harms_nothing() -> None:
    text = OPEN + record(1).replace(' ind1="1" ind2="0"', "").replace(' code="b"', "") + CLOSE
    assert outline(text) == ["T1 & more"]
