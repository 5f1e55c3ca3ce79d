"""Text folded for search and for sorting, by one function for both engines."""

import re
import unicodedata

# Letters that Unicode does not decompose, although people leave their marks out.
_SPECIAL = str.maketrans(
    {
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "ħ": "h",
        "ŧ": "t",
        "\N{LATIN SMALL LETTER DOTLESS I}": "i",
        "ŋ": "n",
        "æ": "ae",
        "œ": "oe",
    }
)

# Apostrophes, and the marks that romanised Arabic, Hebrew and Cyrillic write between letters: a
# word stays one word without them, however they were typed.
_APOSTROPHES = frozenset(
    "'`\u00b4\u2018\u2019\u201b\u02b9\u02ba\u02bb\u02bc\u02bd\u02be\u02bf\u2032"
)

# Those of them that join two words into one, as in French and Italian.
_JOINING = re.compile("['\u00b4\u2018\u2019\u02bc]")

# A key is indexed, and PostgreSQL takes no more than 2,704 bytes of it.
_LONGEST_KEY = 500


def _fold_character(character: str) -> str:
    if character in _APOSTROPHES:
        return ""
    # Decomposing may leave case (as in the letters of a trade mark sign), and folding case may
    # leave marks (as on a dotted capital I), so each comes after the other.
    lowered = unicodedata.normalize("NFKD", character).casefold()
    letters = unicodedata.normalize("NFKD", lowered).translate(_SPECIAL)
    return "".join(map(_fold_part, letters))


def _fold_part(part: str) -> str:
    category = unicodedata.category(part)
    # Format characters are invisible: soft hyphens, joiners, marks of direction.
    if unicodedata.combining(part) or category == "Cf" or part in _APOSTROPHES:
        return ""
    # Marks that take a place of their own are vowels, as in Devanagari; words need them.
    return part if category[0] in "LNM" else " "


class _Folding(dict[int, str]):
    """The folded form of each character, worked out when the character is first met."""

    def __missing__(self, codepoint: int) -> str:
        folded = _fold_character(chr(codepoint))
        # Nothing is written beyond the planes of letters; what is sent there is not kept.
        if codepoint < 0x40000:
            self[codepoint] = folded
        return folded


_FOLDING = _Folding()
_ASCII = b"".join((_FOLDING[code] or "'").encode() for code in range(128)).ljust(256)


def fold(text: str) -> str:
    """Return the letters and digits of a text, without case and marks, one space between words.

    Two texts that a reader would call the same, "L'Été à Łódź" and "lete a lodz", fold alike.
    Folding what is folded changes nothing.
    """
    if text.isascii():
        # Most titles are ASCII, and for bytes this is several times as fast.
        return " ".join(text.encode().translate(_ASCII, b"'`").decode().split())
    return " ".join(text.translate(_FOLDING).split())


def fold_for_search(text: str) -> str:
    """Fold a text, and add the parts of what an apostrophe joins: "l'été" is "lete l ete"."""
    folded = fold(text)
    if not _JOINING.search(text):
        return folded
    whole = folded.split()
    known = {*whole}
    parts = dict.fromkeys(word for word in words(_JOINING.sub(" ", text)) if word not in known)
    return " ".join([*whole, *parts])


def sort_key(text: str) -> str:
    """What a title or name is sorted and matched by; a text of signs alone is its own key."""
    return (fold(text) or text.casefold())[:_LONGEST_KEY]


def words(text: str) -> list[str]:
    """The words of a text, folded, in their order."""
    return fold(text).split()
