"""Items in a MARC record (field 952 of Koha, 852 of MARC 21 holdings) as copies."""

from dataclasses import dataclass
from typing import ClassVar, Self

from circdesk.catalog.imports.reading.cleaning import (
    BARCODE,
    BRANCH,
    MOST_COPIES,
    MOST_NOTES,
    SHELF_MARK,
    tidy,
)
from circdesk.catalog.imports.reading.marc.fields import MarcRecord, first
from circdesk.catalog.imports.reading.marc.types import item_type_of
from circdesk.catalog.imports.reading.records import SourceCopy

_PARTS = ("branch", "barcode", "shelf_mark", "material_type", "not_for_loan")


@dataclass(frozen=True, slots=True)
class ItemField:
    """Which subfields of a tag say what; of several codes the first that is there counts.

    The shelf mark alone joins its codes, because 852 parts it into class and item.
    """

    tag: str
    branch: str
    barcode: str = ""
    shelf_mark: str = ""
    material_type: str = ""
    not_for_loan: str = ""


@dataclass(frozen=True, slots=True)
class ItemMapping:
    """The fields that hold items; the first tag that a record has is the one that is read."""

    fields: tuple[ItemField, ...]
    default: ClassVar["ItemMapping"]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the mapping that a person wrote, such as `952:branch=b,barcode=p;852:branch=b`.

        Raises ValueError with a sentence that says what is wrong.
        """
        return cls(tuple(_parse_field(part.strip()) for part in text.split(";")))

    @property
    def tags(self) -> frozenset[str]:
        """The tags that a reader has to keep for this mapping."""
        return frozenset(field.tag for field in self.fields)


ItemMapping.default = ItemMapping(
    (
        ItemField("952", "ab", "p", "o", "y", "7"),
        ItemField("852", "b", "p", "hi"),
    )
)


def copies_of(record: MarcRecord, mapping: ItemMapping) -> tuple[tuple[SourceCopy, ...], list[str]]:
    """Return the record's copies, and a note on each item that cannot be one."""
    place = next((place for place in mapping.fields if place.tag in record.fields), None)
    copies: list[SourceCopy] = []
    notes: list[str] = []
    barcodes: set[str] = set()
    for field in record.fields[place.tag] if place else ():
        copy = _copy_of(field, place) if place else None
        if copy is None:
            notes.append("An item without a branch was left out.")
        elif copy.barcode in barcodes:
            notes.append(f'Barcode "{copy.barcode}" is there twice; the second item was left out.')
        else:
            copies.append(copy)
            barcodes.update([copy.barcode] if copy.barcode else [])
    return tuple(copies[:MOST_COPIES]), notes[:MOST_NOTES]


def _copy_of(field: str, place: ItemField) -> SourceCopy | None:
    branch = tidy(_first_of(field, place.branch), BRANCH)
    if not branch:
        return None
    marks = " ".join(first(field, code) for code in place.shelf_mark)
    return SourceCopy(
        branch=branch,
        barcode=tidy(_first_of(field, place.barcode), BARCODE) or None,
        shelf_mark=tidy(marks, SHELF_MARK) or None,
        material_type=item_type_of(_first_of(field, place.material_type)),
        # Koha counts from 0, "for loan"; what stands above or below it keeps an item in the house.
        loanable=_first_of(field, place.not_for_loan).strip() in ("", "0"),
    )


def _first_of(field: str, codes: str) -> str:
    return next((value for code in codes if (value := first(field, code).strip())), "")


def _parse_field(text: str) -> ItemField:
    tag, colon, rest = text.partition(":")
    if not (colon and len(tag) == 3 and tag.isascii() and tag.isdigit() and tag >= "010"):
        raise ValueError(f'"{text}" must begin with a tag from 010 to 999 and a colon.')
    codes = dict(_parse_code(part.strip()) for part in rest.split(","))
    if "branch" not in codes:
        raise ValueError(f'"{text}" must say which subfield holds the branch, as in "branch=b".')
    return ItemField(tag, **codes)


def _parse_code(text: str) -> tuple[str, str]:
    name, _, codes = text.partition("=")
    if name not in _PARTS:
        raise ValueError(f'"{name}" is none of {", ".join(_PARTS)}.')
    if not (codes.isascii() and codes.isalnum()):
        raise ValueError(f'"{text}" must name a subfield by letter or digit, as in "{name}=p".')
    return name, codes
