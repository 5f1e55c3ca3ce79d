"""Values that every reader brings to one form: ISBNs, years, languages, kinds of material."""

import re
from collections.abc import Iterable
from functools import lru_cache

from circdesk.catalog.identifiers import InvalidIsbnError, language_code, normalize_isbn
from circdesk.catalog.imports.reading.cleaning import MOST_ISBNS, MOST_NOTES

MATERIAL_TYPES = (
    "book",
    "ebook",
    "audiobook",
    "music",
    "video",
    "periodical",
    "map",
    "score",
    "game",
    "other",
)
FIRST_YEAR, LAST_YEAR = 1, 2999

# "Undetermined", "no linguistic content", "several", "no code yet": codes, but no language.
_NO_LANGUAGE = frozenset({"und", "zxx", "mul", "mis"})
_ISBN_LIKE = re.compile(r"\d[\d \-\u2010-\u2015]{8,16}[\dXx](?![\dXx])", re.ASCII)
_YEAR = re.compile(r"(?<!\d)\d{4}(?!\d)", re.ASCII)


def isbns_of(texts: Iterable[str]) -> tuple[tuple[str, ...], list[str]]:
    """Return the ISBN-13s that the texts hold, and a note on each text that holds a wrong one.

    Cataloguers write qualifiers such as "(pbk.)" behind the number, and sometimes before it.
    """
    found: dict[str, None] = {}
    notes: list[str] = []
    for text in texts:
        try:
            found[_isbn_in(text)] = None
        except InvalidIsbnError as wrong:
            if len(notes) < MOST_NOTES and any(character.isdigit() for character in text):
                notes.append(_isbn_note(text, wrong.suggestion))
    return tuple(found)[:MOST_ISBNS], notes


def _isbn_in(text: str) -> str:
    match = _ISBN_LIKE.search(text)
    if match is None:
        return normalize_isbn(text)
    try:
        return normalize_isbn(match[0])
    except InvalidIsbnError as wrong:
        # A blank may belong to the number or part it from the next one.
        first = match[0].split(maxsplit=1)[0]
        if first == match[0]:
            raise
        try:
            return normalize_isbn(first)
        except InvalidIsbnError:
            raise wrong from None


def _isbn_note(text: str, suggestion: str | None) -> str:
    shown = " ".join(text.split())[:60]
    if suggestion:
        return f'ISBN "{shown}" has a wrong check digit ({suggestion} would be right); left out.'
    return f'"{shown}" is not an ISBN; left out.'


def year_in(text: str) -> int | None:
    """Return the first number of four digits in the text that can be a year."""
    for match in _YEAR.findall(text):
        if FIRST_YEAR <= int(match) <= LAST_YEAR:
            return int(match)
    return None


@lru_cache(maxsize=4096)
def language_of(text: str) -> str | None:
    """Return the language's code, or None for what names no single language."""
    code = language_code(text)
    return None if code in _NO_LANGUAGE else code
