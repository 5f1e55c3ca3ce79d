"""Text as the catalogue stores it: composed, printable, single-spaced, and bounded."""

import re
import unicodedata
from collections.abc import Iterable

TITLE = SUBTITLE = VARIANT = 1000
AUTHOR = PUBLISHER = SUBJECT = 300
SUMMARY = 10_000
EDITION = 200
BARCODE = BRANCH = 64
SHELF_MARK = 100
CONTROL_NUMBER = AGENCY = 100
MOST_AUTHORS = MOST_SUBJECTS = MOST_VARIANTS = 100
MOST_ISBNS = 50
MOST_COPIES = 1000
MOST_NOTES = 20

# The separators of MARC (U+001E, U+001F) stay, because a whole record is cleaned at once, and
# so does white space, which `tidy` turns into single blanks.
_CONTROLS = "\x00-\x08\x0e-\x1d\x7f-\x84\x86-\x9f"
# Marks of writing direction are hints for one screen; in stored text they only hide things.
# Surrogates can come out of JSON, and no database takes them.
_INVISIBLE = "\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff\ufffe\uffff"
_DROPPED = re.compile(f"[{_CONTROLS}{_INVISIBLE}]")
_DROPPED_ASCII = bytes([*range(9), *range(0x0E, 0x1E), 0x7F])


def normalise(text: str) -> str:
    """Return the text in Unicode's form NFC without characters that nobody can see."""
    if text.isascii():
        # For bytes this is several times as fast.
        return text.encode().translate(None, _DROPPED_ASCII).decode()
    # No character is composed to one of these, so that they need to be dropped but once.
    return unicodedata.normalize("NFC", _DROPPED.sub("", text))


def tidy(text: str, limit: int) -> str:
    """Return normalised text with single blanks, at most `limit` characters long."""
    return " ".join(text.split())[:limit].rstrip()


def clean(text: str | None, limit: int) -> str | None:
    """Return any text normalised, tidy and bounded; None when nothing is left of it."""
    return (tidy(normalise(text).translate(_MARC_SEPARATORS), limit) or None) if text else None


def distinct(values: Iterable[str], most: int) -> tuple[str, ...]:
    """Return the first `most` values that differ in more than case; empty ones do not count."""
    kept: dict[str, str] = {}
    for value in values:
        if value and len(kept) < most:
            kept.setdefault(value.casefold(), value)
    return tuple(kept.values())


_MARC_SEPARATORS = dict.fromkeys([0x1E, 0x1F])
