"""Passwords that are tried first, by the lists that zxcvbn carries."""

from functools import cache
from itertools import pairwise
from typing import NamedTuple

# Digits that people put behind a password to make it long enough: a year, a date.
_MOST_DIGITS = 6


class _Lists(NamedTuple):
    passwords: frozenset[str]
    words: frozenset[str]
    longest: int


@cache
def _lists() -> _Lists:
    """The lists, read when the first password is chosen: it takes a twentieth of a second."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # noqa: PLC0415

    passwords = frozenset(password.casefold() for password in FREQUENCY_LISTS["passwords"])
    words = frozenset(word for words in FREQUENCY_LISTS.values() for word in words)
    return _Lists(passwords, words, max(map(len, passwords)))


def is_common(password: str) -> bool:
    """Whether a casefolded password is a common one or a plain word, or made of one without wit.

    The library's own estimate would tell more, but takes seconds for what is meant to be slow.
    """
    lists = _lists()
    return (
        password in lists.passwords
        or password in lists.words
        or _repeats(password)
        or _counts(password)
        or any(_is_pair(password[:n], password[n:]) for n in range(1, lists.longest + 1))
    )


def _is_pair(head: str, tail: str) -> bool:
    lengthened = tail.isdigit() and len(tail) <= _MOST_DIGITS
    passwords = _lists().passwords
    return head in passwords and (lengthened or tail in passwords)


def _repeats(password: str) -> bool:
    """Whether it is one piece over and over."""
    return (password + password).find(password, 1) < len(password)


def _counts(password: str) -> bool:
    """Whether each character follows the one before: up or down, 0 after 9 and 9 after 0."""
    steps = {ord(after) - ord(before) for before, after in pairwise(password)}
    return steps <= {1, -9} or steps <= {-1, 9}
