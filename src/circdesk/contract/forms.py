"""Requests whose content another layer reads: OAuth's endpoints, and pages for people.

The door routes them, bounds their size and time, and leaves the rest to whoever they are for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

# The longest form, in bytes; no honest one comes near.
LONGEST_FORM = 64 * 1024


@dataclass(frozen=True, slots=True)
class FormRequest:
    """What was sent, as it was sent.

    Attributes:
        query: The query of the address, without its `?`.
        headers: The headers by their names in lower case; equal names are one list.
        body: The whole body, at most `LONGEST_FORM` bytes.
    """

    method: str
    # Passwords, codes and cookies stand here, and no log is to show them.
    query: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a page answers: a status, headers with its Content-Type, and a body."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class WebPage:
    """A page for people that answers one method of one path; it stands outside the contract."""

    name: str
    method: str
    path: str
    view: Callable[[FormRequest], Reply]
    # People come with the cookie of their session, or without.
    security: ClassVar[tuple[Mapping[str, Any], ...]] = ({"Session": []}, {})


def raw_headers_as_text(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """Headers as text; bytes beyond ASCII as Latin-1, as HTTP has it (RFC 9110, 5.5)."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
