"""Entity tags, and the conditions that name them (RFC 9110, 8.8.3 and 13.1).

The tag of a resource that has a version is `"<version>.<hash>"`; the hash is that of the body or,
where one release makes one body of each version, of these two. A caller that only reads compares
the whole, so that it hears of everything new; a caller that writes compares the version, so that
what is counted elsewhere, such as the copies of a book, spoils nobody's change.
"""

import hashlib
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip
_ENTITY_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def entity_tag(kind: str, content: bytes, version: str | None = None) -> str:
    """The strong tag of an answer: a hash and, before it, the version of what is shown.

    Args:
        kind: The media type of a body; or of which release, where the content is no body.
        content: The body, or what this release makes the body of.
        version: The version, where one resource is shown.
    """
    digest = hashlib.blake2b(kind.encode() + b"\n" + content, digest_size=8).hexdigest()
    return f'"{digest}"' if version is None else f'"{version}.{digest}"'


def lists_entity_tag(if_none_match: str, entity_tag: str) -> bool:
    """Whether an If-None-Match header lists this tag, compared weakly, or is `*`."""
    if if_none_match == entity_tag or if_none_match.strip() == "*":
        return True
    return entity_tag.removeprefix("W/") in (tag for _, tag in _ENTITY_TAG.findall(if_none_match))


def listed_versions(if_match: str) -> frozenset[str] | None:
    """The versions that an If-Match header lists; None for `*`, which is any.

    It compares strongly (RFC 9110, 13.1.1), so weak tags are none, and neither are those of what
    has no version.
    """
    if if_match.strip() == "*":
        return None
    strong = (tag.strip('"') for weak, tag in _ENTITY_TAG.findall(if_match) if not weak)
    return frozenset(version for version, dot, _ in (t.partition(".") for t in strong) if dot)


def http_date(moment: datetime) -> str:
    """A moment as HTTP writes it, in whole seconds (RFC 9110, 5.6.7)."""
    # The names are English in any locale, which `strftime` does not promise.
    year, month, day, hour, minute, second, weekday, *_ = moment.utctimetuple()
    return (
        f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year:04} "
        f"{hour:02}:{minute:02}:{second:02} GMT"
    )


def is_modified_since(if_modified_since: str, moment: datetime) -> bool:
    """Whether a moment is later than the header's, in whole seconds; one that is no date is none.

    See RFC 9110, 13.1.3.
    """
    try:
        since = parsedate_to_datetime(if_modified_since)
    except ValueError:
        return True
    if since.tzinfo is None:
        # What ends in -0000 says that it is in UTC (RFC 5322, 3.3).
        since = since.replace(tzinfo=UTC)
    return moment.replace(microsecond=0) > since
