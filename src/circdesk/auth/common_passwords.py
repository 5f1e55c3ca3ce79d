"""Passwords that are tried first, by the lists that zxcvbn carries."""

from itertools import pairwise

from zxcvbn.frequency_lists import FREQUENCY_LISTS

_PASSWORDS = frozenset(password.casefold() for password in FREQUENCY_LISTS["passwords"])
_WORDS = frozenset(word for words in FREQUENCY_LISTS.values() for word in words)
_LONGEST = max(map(len, _PASSWORDS))

# Digits that people put behind a password to make it long enough: a year, a date.
_MOST_DIGITS = 6


def is_common(password: str) -> bool:
    """Whether a casefolded password is a common one or a plain word, or made of one without wit.

    The library's own estimate would tell more, but takes seconds for what is meant to be slow.
    """
    return (
        password in _PASSWORDS
        or password in _WORDS
        or _repeats(password)
        or _counts(password)
        or any(_is_pair(password[:n], password[n:]) for n in range(1, _LONGEST + 1))
    )


def _is_pair(head: str, tail: str) -> bool:
    lengthened = tail.isdigit() and len(tail) <= _MOST_DIGITS
    return head in _PASSWORDS and (lengthened or tail in _PASSWORDS)


def _repeats(password: str) -> bool:
    """Whether it is one piece over and over."""
    return (password + password).find(password, 1) < len(password)


def _counts(password: str) -> bool:
    """Whether each character follows the one before: up or down, 0 after 9 and 9 after 0."""
    steps = {ord(after) - ord(before) for before, after in pairwise(password)}
    return steps <= {1, -9} or steps <= {-1, 9}
