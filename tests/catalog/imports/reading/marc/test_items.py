"""Items in MARC records as copies."""

import pytest

from circdesk.catalog.imports.reading.marc.fields import marc_record
from circdesk.catalog.imports.reading.marc.items import ItemField, ItemMapping, copies_of
from circdesk.catalog.imports.reading.records import SourceCopy


def copies(*fields: tuple[str, str], mapping: ItemMapping = ItemMapping.default) -> object:
    marked = [(tag, "  \x1f" + text.replace("$", "\x1f")) for tag, text in fields]
    return copies_of(marc_record("", marked), mapping)


def test_kohas_items_become_copies_at_their_home_branch() -> None:
    assert copies(
        ("952", "70$aCPL$bMPL$p30001$o823 LEG$yBK"),
        ("952", "71$aCPL$p30002$yDVD"),
        ("952", "7-1$bMPL$yUNHEARD-OF"),
    ) == (
        (
            SourceCopy("CPL", "30001", "823 LEG", "book", loanable=True),
            SourceCopy("CPL", "30002", None, "video", loanable=False),
            SourceCopy("MPL", None, None, None, loanable=False),
        ),
        [],
    )


def test_holdings_in_852_become_copies_with_class_and_item_as_shelf_mark() -> None:
    assert copies(("852", "bMain$hPS3562$i.E42$p30001")) == (
        (SourceCopy("Main", "30001", "PS3562 .E42"),),
        [],
    )


def test_852_is_not_read_where_952_lists_the_same_items() -> None:
    assert copies(("852", "bMain$p1"), ("952", "bMPL$p1")) == ((SourceCopy("MPL", "1"),), [])


def test_items_that_cannot_be_copies_are_noted() -> None:
    assert copies(("952", "p1"), ("952", "bM$p2"), ("952", "bM$p2")) == (
        (SourceCopy("M", "2"),),
        [
            "An item without a branch was left out.",
            'Barcode "2" is there twice; the second item was left out.',
        ],
    )


def test_the_mapping_can_be_written_by_a_person() -> None:
    mapping = ItemMapping.parse("949:branch=lm,barcode=i,shelf_mark=a; 952:branch=b,not_for_loan=7")
    assert mapping == ItemMapping(
        (
            ItemField("949", branch="lm", barcode="i", shelf_mark="a"),
            ItemField("952", branch="b", not_for_loan="7"),
        )
    )
    assert mapping.tags == {"949", "952"}
    assert copies(("949", "mNorth$i7$aX"), mapping=mapping) == (
        (SourceCopy("North", "7", "X"),),
        [],
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", '"" must begin with a tag from 010 to 999 and a colon.'),
        ("952", '"952" must begin with a tag from 010 to 999 and a colon.'),
        ("001:branch=b", '"001:branch=b" must begin with a tag from 010 to 999 and a colon.'),
        (
            "952:barcode=p",
            '"952:barcode=p" must say which subfield holds the branch, as in "branch=b".',
        ),
        (
            "952:branch=b,colour=c",
            '"colour" is none of branch, barcode, shelf_mark, material_type, not_for_loan.',
        ),
        (
            "952:branch=",
            '"branch=" must name a subfield by letter or digit, as in "branch=p".',
        ),
    ],
)
def test_a_mapping_that_cannot_be_read_is_explained(text: str, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:
        ItemMapping.parse(text)
    assert str(caught.value) == sentence
