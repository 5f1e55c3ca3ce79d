"""Bodies served from memory: entity tags, conditional requests and compression.

Everything here follows RFC 9110: section 8.8.3 (entity tags), 12.5.3 (Accept-Encoding)
and 13.1.2 (If-None-Match).
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from circdesk.contract.encodings import SHORTEST, choose_coding, encode, is_compressible
from circdesk.contract.entity_tags import lists_entity_tag

Answer = tuple[int, list[tuple[str, str]], bytes]


class _Variant(NamedTuple):
    """The body under one content coding, with the headers that describe it."""

    body: bytes
    entity_tag: str
    content_headers: list[tuple[str, str]]


class Representation:
    """A body that does not change while the process lives, and how it is answered.

    Each of its variants is made once, when it is asked for. It has an entity tag of its own,
    because a strong tag stands for exact bytes; the edge accepts it back as the plain one's.

    Args:
        body: The bytes to serve.
        media_type: The Content-Type, with its charset where it has one.
        cache_control: The Cache-Control header.
        headers: Further headers, sent with each answer.
    """

    def __init__(
        self,
        body: bytes,
        media_type: str,
        cache_control: str,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._body, self._media_type = body, media_type
        self._digest = hashlib.sha256(body).hexdigest()
        self._varies = len(body) >= SHORTEST and is_compressible(media_type)
        self._headers = [("cache-control", cache_control), *headers]
        if self._varies:
            self._headers.append(("vary", "Accept-Encoding"))
        self._variants: dict[str | None, _Variant] = {}

    def respond(self, headers: Mapping[str, str]) -> Answer:
        """The answer to a GET: status, headers, body; HEAD sends the same without the body.

        Args:
            headers: The request's headers, either with names in lower case or in a mapping
                that ignores case.
        """
        plain = f'"{self._digest}"'
        if lists_entity_tag(headers.get("if-none-match", ""), plain):
            return 304, [("etag", plain), *self._headers], b""
        coding = choose_coding(headers.get("accept-encoding", "")) if self._varies else None
        variant = self._variants.get(coding)
        if variant is None:
            # Two threads may make it at the same time, and make the same.
            variant = self._variants[coding] = self._make(coding)
        shared = [("etag", variant.entity_tag), *self._headers]
        return 200, [*variant.content_headers, *shared], variant.body

    def _make(self, coding: str | None) -> _Variant:
        body = encode(coding, self._body) if coding else self._body
        headers = [("content-type", self._media_type), ("content-length", str(len(body)))]
        if coding is None:
            return _Variant(body, f'"{self._digest}"', headers)
        return _Variant(
            body, f'"{self._digest}-{coding}"', [*headers, ("content-encoding", coding)]
        )
