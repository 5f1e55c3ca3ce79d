"""What people type into a search, read as terms: words, beginnings of words, and ISBNs."""

import re
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from circdesk.catalog.identifiers import InvalidIsbnError, normalize_isbn
from circdesk.db.text import words

# The last word may still be on its way: from three letters on it is also tried as a beginning.
_LETTERS_OF_A_BEGINNING = 3
# In scripts that put no blanks between words, a single letter is: Thai, Lao, Burmese, Khmer,
# Japanese and Chinese.
_WITHOUT_BLANKS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u312f\u3400-\u9fff"
    "\U00020000-\U0003ffff]"
)
# How people say that what follows is an ISBN.
_ISBN_SIGN = re.compile(r"\s*isbn(-1[03])?:?\s*", re.IGNORECASE)
# Most words have none, and so are no ISBN.
_DIGIT = re.compile(r"[0-9]")
# PostgreSQL refuses words of 2 kB. Longer words than this are told apart by their beginning.
_LONGEST_WORD = 100

Part = Literal["title", "people"]

# PostgreSQL calls the parts of a document A to D.
_LABELS: dict[Part, str] = {"title": "A", "people": "B"}


class Term(NamedTuple):
    """A word that must be found, or its beginning; anywhere, or in one part of the text."""

    word: str
    is_beginning: bool = False
    part: Part | None = None

    def postgresql(self) -> str:
        """The term for `to_tsquery`, which reads the word with the parser of documents."""
        beginning = "*" if self.is_beginning else ""
        options = beginning + (_LABELS[self.part] if self.part else "")
        return f"'{self.word}'" + (f":{options}" if options else "")

    def sqlite(self) -> str:
        """The term for `MATCH`, https://www.sqlite.org/fts5.html#full_text_query_syntax."""
        part = f"{self.part} : " if self.part else ""
        return f'{part}"{self.word}"' + (" *" if self.is_beginning else "")


class TextQuery(NamedTuple):
    """All of `terms` must be found; where no book has them all, `looser` is searched instead."""

    terms: tuple[Term, ...]
    looser: tuple[Term, ...]

    def __bool__(self) -> bool:
        """Whether there is anything to search; without a single word nothing is found."""
        return bool(self.terms)


def parse(*texts: tuple[str | None, Part | None]) -> TextQuery | None:
    """Read what people typed, each text with the part it is searched in; None where all are None.

    `word*` is a beginning. A last word of three letters or more is also taken as a beginning, if
    no book has all words as they stand; in scripts without blanks one letter will do. What is an
    ISBN, in either length, with or without separators and `isbn:`, is searched as its thirteen
    digits.
    """
    given = [(text, part) for text, part in texts if text is not None]
    if not given:
        return None
    read = [[*_terms(text, part)] for text, part in given]
    if not all(read):
        return TextQuery((), ())
    terms = tuple(term for of_text in read for term in of_text)
    looser = tuple(term for of_text in read for term in [*of_text[:-1], _loosened(of_text[-1])])
    return TextQuery(terms, looser)


def _terms(text: str, part: Part | None) -> Iterator[Term]:
    for typed in _isbn_or_words(text):
        folded = words(typed)
        for place, word in enumerate(folded, 1):
            starred = typed.endswith("*") and place == len(folded)
            is_beginning = starred or len(word) > _LONGEST_WORD
            yield Term(word[:_LONGEST_WORD], is_beginning, part)


def _isbn_or_words(text: str) -> Iterable[str]:
    """The text as one ISBN if it is one, such as `978 0 441 47812 5`; else what blanks part."""
    whole = _isbn(text)
    return [whole] if whole else [_isbn(typed) or typed for typed in text.split()]


def _isbn(text: str) -> str | None:
    if not _DIGIT.search(text):
        return None
    try:
        return normalize_isbn(_ISBN_SIGN.sub("", text, count=1))
    except InvalidIsbnError:
        return None


def _loosened(term: Term) -> Term:
    is_long = len(term.word) >= _LETTERS_OF_A_BEGINNING or _WITHOUT_BLANKS.search(term.word)
    is_word = bool(is_long) and not term.word.isdigit()
    return term._replace(is_beginning=term.is_beginning or is_word)
