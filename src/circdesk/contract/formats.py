"""Formats: what strings of a format must look like, and what handlers get in their place."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import available_timezones

_DATE_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]([01]\d|2[0-3]):\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:[0-5]\d)", re.ASCII
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_ESCAPED = re.compile(r"\\(.)")


def parse_date_time(text: str) -> datetime:
    """An RFC 3339 time as an aware datetime in UTC.

    Raises:
        ValueError: It is no such time, a leap second, or not within the years 1 to 9999 in UTC.
    """
    if not _DATE_TIME.fullmatch(text):
        raise ValueError("not an RFC 3339 time")
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except OverflowError as error:
        raise ValueError("out of range in UTC") from error


def parse_date(text: str) -> date:
    """An RFC 3339 full-date.

    Raises:
        ValueError: It is no such date, or not within the years 1 to 9999.
    """
    if not _DATE.fullmatch(text):
        raise ValueError("not an RFC 3339 date")
    return date.fromisoformat(text)


def parse_structured_string(text: str) -> str:
    """What a string of a structured header says (RFC 8941, 3.3.3); a bare text says itself."""
    if not text.startswith('"'):
        return text
    return _ESCAPED.sub(r"\1", text[1:-1])


def _is_readable_by(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def is_readable(text: str) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return True

    return is_readable


# The Rust library knows the other formats; this one needs Python's data.
FORMATS: dict[str, Callable[[str], bool]] = {"time-zone": available_timezones().__contains__}
# What is read must also keep Python's own limits, which are narrower: no year 0, no leap second.
# What is answered was made within them; a list's times would cost 5 µs each to prove it.
FORMATS_READ = FORMATS | {
    "date-time": _is_readable_by(parse_date_time),
    "date": _is_readable_by(parse_date),
}

# What a checked string of a format becomes before a handler gets it.
PARSERS: dict[str, Callable[[str], Any]] = {
    "date-time": parse_date_time,
    "date": parse_date,
    "uuid": UUID,
    "idempotency-key": parse_structured_string,
}
