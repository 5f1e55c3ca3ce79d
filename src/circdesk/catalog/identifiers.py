"""ISBNs and language codes: what people write, brought to the one form that is stored."""

from collections.abc import Iterator
from functools import cache
from itertools import chain

import pycountry
from stdnum import ean, isbn

# Catalogues and word processors part the groups with many kinds of blanks and dashes, and what
# is copied from a web page brings invisible marks along. None of them says anything.
_SEPARATORS = dict.fromkeys(
    map(
        ord,
        " \t\r\n\N{NO-BREAK SPACE}\N{THIN SPACE}\N{NARROW NO-BREAK SPACE}\N{ZERO WIDTH SPACE}"
        "\N{ZERO WIDTH NO-BREAK SPACE}\N{LEFT-TO-RIGHT MARK}\N{RIGHT-TO-LEFT MARK}\N{SOFT HYPHEN}"
        "-\N{HYPHEN}\N{NON-BREAKING HYPHEN}\N{FIGURE DASH}\N{EN DASH}\N{EM DASH}\N{MINUS SIGN}",
    )
)

# MARC withdrew these codes and older records still carry them; ISO 639 knows them no more.
_WITHDRAWN_LANGUAGES = {"mol": "rum", "scc": "srp", "scr": "hrv"}


class InvalidIsbnError(ValueError):
    """The text is no ISBN; `suggestion` is the right ISBN-13 if only the check digit is wrong."""

    def __init__(self, text: str, suggestion: str | None = None) -> None:
        reason = "has a wrong check digit" if suggestion else "is not an ISBN"
        super().__init__(f"{text!r} {reason}")
        self.suggestion = suggestion


def normalize_isbn(text: str) -> str:
    """Return the 13 digits of an ISBN-10 or ISBN-13 written with or without separators.

    Raises `InvalidIsbnError` for anything else (ISO 2108: ISBN-13 begin with 978 or 979).
    """
    compact = text.translate(_SEPARATORS).upper()
    body, check = compact[:-1], compact[-1:]
    if not (body.isascii() and body.isdigit() and check in "0123456789X"):
        raise InvalidIsbnError(text)
    if len(body) == 12 and body.startswith(("978", "979")):
        # Imports ask this millions of times, and isbn.validate() takes three times as long.
        right = body + ean.calc_check_digit(body)
        return _accept(text, right, valid=right == compact)
    if len(body) == 9:
        right = "978" + body + ean.calc_check_digit("978" + body)
        return _accept(text, right, valid=isbn.is_valid(compact))
    raise InvalidIsbnError(text)


def language_code(text: str) -> str | None:
    """Return MARC's code (ISO 639-2/B, three letters) for any ISO 639 code or English name.

    Codes and names are taken in any case; languages that ISO 639-2 does not list keep their
    ISO 639-3 code. Returns None for what is no language.
    """
    return _language_codes().get(text.strip().casefold())


def _accept(text: str, right: str, *, valid: bool) -> str:
    if not valid:
        raise InvalidIsbnError(text, suggestion=right)
    return right


@cache
def _language_codes() -> dict[str, str]:
    """Map every code and name to MARC's code; where two languages claim a word, the first has it.

    pycountry's own lookup reads its whole table for a word that it does not know, which a
    search for nonsense could make a habit of.
    """
    # Languages with a two-letter code come first, so that "Greek" is the modern one. Families
    # (ISO 639-5) come last: MARC uses their codes for languages that have none of their own.
    everything = chain(pycountry.languages, pycountry.language_families)
    known: list[dict[str, str]] = [dict(language) for language in everything]
    known.sort(key=lambda words: "alpha_2" not in words)
    codes = dict(_WITHDRAWN_LANGUAGES)
    for kind in (_codes, _names, _short_names):
        for words in known:
            for word in kind(words):
                codes.setdefault(word.casefold(), words.get("bibliographic", words["alpha_3"]))
    return codes


def _codes(words: dict[str, str]) -> Iterator[str]:
    return (words[key] for key in ("alpha_3", "bibliographic", "alpha_2") if key in words)


def _names(words: dict[str, str]) -> Iterator[str]:
    return (words[key] for key in ("name", "common_name", "inverted_name") if key in words)


def _short_names(words: dict[str, str]) -> Iterator[str]:
    """Yield "Greek" for "Greek, Modern (1453-)", as people say it."""
    return (name.partition(" (")[0].partition(",")[0] for name in _names(words))
