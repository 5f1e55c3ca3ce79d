"""Headings of a MARC record: titles, names of people and bodies, subjects, links to 880."""

from functools import lru_cache

from circdesk.catalog.imports.reading.cleaning import (
    AUTHOR,
    SUBJECT,
    SUBTITLE,
    TITLE,
    VARIANT,
    tidy,
)
from circdesk.catalog.imports.reading.marc.fields import first, subfields, trimmed

# A catalogue has the same headings again and again, and taking one apart is most of the work.
_HEADINGS = 20_000


@lru_cache(_HEADINGS)
def author_of(tag: str, field: str) -> str:
    """Return the name in a field 1XX or 7XX; nothing for a name-title entry.

    Dates and roles are left out. "John Paul II, Pope" keeps the number, and the title where the
    name is a forename alone (first indicator 0), since it would not be told apart without.
    """
    parts = subfields(field)
    if any(code == "t" for code, _ in parts):
        return ""
    if tag.endswith("00"):
        return _person(field[:1], parts)
    codes = "ab" if tag.endswith("10") else "a"
    return tidy(". ".join(trimmed(value) for code, value in parts if code in codes), AUTHOR)


@lru_cache(_HEADINGS)
def subject_of(field: str) -> str:
    """Return heading and subdivisions, "Zionism -- History"; a work's title follows its author."""
    heading = ""
    for code, value in subfields(field):
        if code in "abtvxyz" and (part := trimmed(value)):
            heading += _SUBJECT_JOINTS[code] + part if heading else part
    return tidy(heading, SUBJECT)


_SUBJECT_JOINTS = dict.fromkeys("vxyz", " -- ") | dict.fromkeys("abt", ". ")


def title_parts(field: str) -> tuple[str, str | None]:
    """Return title and subtitle; number and name of a part belong to the title.

    "Symphonies. No. 5, Allegro" is how cataloguing rules join title, number and name.
    """
    title = subtitle = before = ""
    for code, value in subfields(field):
        if code == "b":
            subtitle = f"{subtitle} {value}"
        elif code in "anpk" and (part := trimmed(value)):
            joint = ", " if (before, code) == ("n", "p") else ". "
            title = f"{title}{joint}{part}" if title else part
            before = code
    return tidy(title, TITLE), tidy(trimmed(subtitle), SUBTITLE) or None


def whole_title(field: str) -> str:
    """Return title and subtitle as one text."""
    title, subtitle = title_parts(field)
    return tidy(f"{title} : {subtitle}" if subtitle else title, VARIANT)


def link_of(field: str) -> str:
    """Return the tag that a field 880 is linked to ("245" of `$6 245-02/(2/r`)."""
    return first(field, "6")[:3]


def _person(indicator: str, parts: list[tuple[str, str]]) -> str:
    codes = "abc" if indicator == "0" else "ab"
    name = ""
    for code, value in parts:
        if code in codes and (part := trimmed(value)):
            name += (", " if code == "c" else " ") + part if name else part
    return tidy(name, AUTHOR)
