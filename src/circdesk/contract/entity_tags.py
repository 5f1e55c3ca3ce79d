"""Entity tags, and the conditions that name them (RFC 9110, 8.8.3 and 13.1).

The tag of a resource that has a version is `"<version>.<hash>"`. A caller that only reads compares
the whole, so that it hears of everything new; a caller that writes compares the version, so that
what is counted elsewhere, such as the copies of a book, spoils nobody's change.
"""

import hashlib
import re
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

_ENTITY_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def entity_tag(media_type: str, body: bytes, version: str | None = None) -> str:
    """The strong tag of a body: its hash and, before it, the version of what it shows."""
    content = hashlib.blake2b(media_type.encode() + b"\n" + body, digest_size=8).hexdigest()
    return f'"{content}"' if version is None else f'"{version}.{content}"'


def lists_entity_tag(if_none_match: str, entity_tag: str) -> bool:
    """Whether an If-None-Match header lists this tag, compared weakly, or is `*`."""
    if if_none_match.strip() == "*":
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
    return format_datetime(moment.astimezone(UTC).replace(microsecond=0), usegmt=True)


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
