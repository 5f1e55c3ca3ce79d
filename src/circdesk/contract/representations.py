"""Bodies served from memory: entity tags, conditional requests and compression.

Everything here follows RFC 9110: section 8.8.3 (entity tags), 12.5.3 (Accept-Encoding)
and 13.1.2 (If-None-Match).
"""

import gzip
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from circdesk.contract.entity_tags import lists_entity_tag

Answer = tuple[int, list[tuple[str, str]], bytes]

# What compression must save before it is worth a second variant; images save next to nothing.
_WORTHWHILE = 0.9

_WEIGHT = re.compile(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?", re.ASCII)


class _Variant(NamedTuple):
    """The body under one content coding, with the headers that describe it."""

    body: bytes
    entity_tag: str
    content_headers: list[tuple[str, str]]


class Representation:
    """A body that does not change while the process lives, and how it is answered.

    The gzip variant is made once, here, and only where it is worth its memory. It has an
    entity tag of its own, because a strong tag stands for exact bytes.

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
        digest = hashlib.sha256(body).hexdigest()
        self._plain = _variant(body, f'"{digest}"', media_type)
        self._gzip: _Variant | None = None
        self._headers = [("cache-control", cache_control), *headers]
        # The same body always becomes the same bytes: no time stamp goes into the archive.
        compressed = gzip.compress(body, compresslevel=9, mtime=0)
        if len(compressed) <= _WORTHWHILE * len(body):
            self._gzip = _variant(compressed, f'"{digest}-gzip"', media_type, "gzip")
            self._headers.append(("vary", "Accept-Encoding"))

    def respond(self, headers: Mapping[str, str]) -> Answer:
        """The answer to a GET: status, headers, body; HEAD sends the same without the body.

        Args:
            headers: The request's headers, either with names in lower case or in a mapping
                that ignores case.
        """
        variant = self._select(headers.get("accept-encoding", ""))
        shared = [("etag", variant.entity_tag), *self._headers]
        if lists_entity_tag(headers.get("if-none-match", ""), variant.entity_tag):
            return 304, shared, b""
        return 200, [*variant.content_headers, *shared], variant.body

    def _select(self, accept_encoding: str) -> _Variant:
        if self._gzip is not None and prefers_gzip(accept_encoding):
            return self._gzip
        return self._plain


def _variant(body: bytes, entity_tag: str, media_type: str, coding: str = "") -> _Variant:
    headers = [("content-type", media_type), ("content-length", str(len(body)))]
    if coding:
        headers.append(("content-encoding", coding))
    return _Variant(body, entity_tag, headers)


def prefers_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header wants gzip at least as much as the plain bytes.

    Without the header the bytes go out plain: what it allows then, few such clients can read.
    """
    weights = _weights(accept_encoding)
    anything = weights.get("*", 0.0)
    compressed = weights.get("gzip", weights.get("x-gzip", anything))
    # Plain bytes are always acceptable, yet wanted only by those who name them.
    return compressed > 0 and compressed >= weights.get("identity", 0.0)


def _weights(accept_encoding: str) -> dict[str, float]:
    """Each coding with its weight; one whose weight cannot be read counts as refused."""
    weights = {}
    for element in accept_encoding.lower().split(","):
        coding, _, parameter = (part.strip() for part in element.partition(";"))
        if coding:
            weights[coding] = _weight(parameter)
    return weights


def _weight(parameter: str) -> float:
    if not parameter:
        return 1.0
    name, _, number = (part.strip() for part in parameter.partition("="))
    return float(number) if name == "q" and _WEIGHT.fullmatch(number) else 0.0
