"""Redaction: what is secret or personal never reaches a log, by the name it has or by its form."""

import re
from functools import lru_cache
from typing import Any

import structlog

HIDDEN = "[redacted]"

# Parts of a name whose value is not for a log, whatever it looks like.
_SECRET_NAME = re.compile(
    r"passw|passphrase|secret|token|(?:^|[_-])key$|authorization|cookie|e?-?mail|verifier|csrf",
    re.IGNORECASE,
)
_SECRET_FORM = re.compile(
    r"\bcd[a-z]_[\w-]{8,}"  # Our own: API keys, authorization codes, refresh tokens.
    r"|\beyJ[\w-]{5,}\.[\w-]+(?:\.[\w-]*)?"  # A JSON Web Token (RFC 7519).
    r"|(?<=bearer )[\w.~+/=-]{8,}"
    r"|(?<=basic )[A-Za-z0-9+/=]{8,}"
    r"|(?<=://)[^\s/@]+(?=@)"  # User and password of a URL.
    r"|[\w.+%-]{1,64}@[\w-]+(?:\.[\w-]+)+"  # A mail address.
    r"|(?<=card:)[\w%-]+",  # The number of a person's card, where it stands for the person.
    re.IGNORECASE,
)
# What is nested deeper is no log entry of ours.
_DEEPEST = 6
# What is of one of these types is what it seems to be.
_PLAIN = frozenset((str, int, float, bool, type(None)))


def redact(
    _logger: object, _name: str, entry: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """The structlog processor: the same entry without what is secret or personal.

    It stands after the one that turns exceptions into text, so that tracebacks are covered too.
    """
    if _is_harmless(entry):
        return entry
    for name, value in entry.items():
        if isinstance(value, (int, float)) or value is None:
            continue
        entry[name] = HIDDEN if _names_secret(name) else _redacted(value, _DEEPEST)
    return entry


def _is_harmless(entry: structlog.typing.EventDict) -> bool:
    """Whether nothing in it needs a closer look; nearly all entries are passed by this."""
    values = entry.values()
    texts = [value for value in values if type(value) is str]
    return (
        not _may_have_one("\n".join(texts).lower())
        and _PLAIN.issuperset(map(type, values))
        and not _have_secret(tuple(entry))
    )


def redact_text(text: str) -> str:
    """The text without whatever has the form of a secret, or is a mail address."""
    return _SECRET_FORM.sub(HIDDEN, text) if _may_have_one(text.lower()) else text


def _may_have_one(lower: str) -> bool:
    """Whether something stands in the text that is in all of these forms; it is asked in passing.

    Nearly all texts are passed by this, in a tenth of the time that the pattern takes.
    """
    return (
        "@" in lower
        or "cd" in lower
        or "eyj" in lower
        or "card:" in lower
        or "bearer " in lower
        or "basic " in lower
    )


@lru_cache(1024)
def _have_secret(names: tuple[str, ...]) -> bool:
    return any(_names_secret(name) for name in names)


@lru_cache(1024)
def _names_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def _redacted(value: Any, deepest: int) -> Any:
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, dict) and deepest:
        return {
            name: HIDDEN if _names_secret(str(name)) else _redacted(member, deepest - 1)
            for name, member in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)) and deepest:
        return [_redacted(member, deepest - 1) for member in value]
    # An object would be told by its repr, of which nobody knows what is in it.
    return value if isinstance(value, (int, float, type(None))) else redact_text(repr(value))
