"""What the headers of a request say: what it carries, and what it wants (RFC 9110)."""

import re
from collections.abc import Collection, Iterable, Mapping

from circdesk.contract import requests
from circdesk.contract.operations import Body, Operation
from circdesk.contract.problems import fault
from circdesk.contract.streams import too_large

RawHeaders = Mapping[bytes, bytes]
# One of an answer, as ASGI sends it.
RawHeader = tuple[bytes, bytes]

_CHARSET = re.compile(r"(?:^|;)\s*charset=\"?([^\";\s]*)")
_NO_WEIGHT = re.compile(r"q=0(\.0{0,3})?")


def join_headers(raw: Collection[tuple[bytes, bytes]]) -> RawHeaders:
    """Each header once: equal names are one list (RFC 9110, 5.3).

    So a credential that is sent twice is none, whichever of the two is good.
    """
    headers = dict(raw)
    if len(headers) == len(raw):
        return headers
    headers = {}
    repeated: dict[bytes, list[bytes]] = {}
    for name, value in raw:
        if name in headers:
            repeated.setdefault(name, [headers[name]]).append(value)
        else:
            headers[name] = value
    for name, values in repeated.items():
        headers[name] = (b"; " if name == b"cookie" else b", ").join(values)
    return headers


def header_lines(headers: Iterable[RawHeader]) -> bytes:
    """Headers as the lines of a head (RFC 9112, 5)."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def has_content(headers: RawHeaders) -> bool:
    """Whether the head announces a body of at least one byte, or of unknown length."""
    length = headers.get(b"content-length", b"")
    return b"transfer-encoding" in headers or length.strip(b"0") != b""


def find_media_type(body: Body, headers: RawHeaders) -> str:
    """The body's media type, which must be one that the operation takes, in UTF-8 and plain."""
    content_type = headers.get(b"content-type", b"").decode("latin-1").lower()
    media_type, _, parameters = content_type.partition(";")
    media_type = media_type.strip()
    charset = _CHARSET.search(parameters)
    is_plain = headers.get(b"content-encoding", b"identity").lower() == b"identity"
    if media_type in body.checks and is_plain and (not charset or charset[1] == "utf-8"):
        return media_type
    allowed = sorted(body.checks)
    encoding = "in UTF-8 and " if any(body.checks.values()) else ""
    message = f"The body must be sent as {' or '.join(allowed)}, {encoding}not compressed."
    detail = fault("header", "/Content-Type", "media_type", message, allowed)
    raise requests.UnsupportedMediaType(message, details=[detail])


def raise_if_too_large(headers: RawHeaders, limit: int) -> None:
    """Refuse a body for its announced length, before any of it is read."""
    length = headers.get(b"content-length", b"0")
    # A number of more digits is too large without being read.
    if length.isdigit() and (len(length) > 18 or int(length) > limit):
        raise too_large(limit)


def raise_if_not_acceptable(operation: Operation, headers: RawHeaders) -> None:
    """Raise NotAcceptable where no media type of the operation fits (RFC 9110, 12.5.1)."""
    accept = headers.get(b"accept", b"").decode("latin-1").lower().strip() or "*/*"
    if ("*/*" in accept and "q=0" not in accept) or not operation.produces:
        return
    weights = _read_accept(accept)
    if not any(_accepts(weights, media_type) for media_type in operation.produces):
        allowed = sorted(operation.produces)
        message = f"The answer can be {' or '.join(allowed)}."
        detail = fault("header", "/Accept", "media_type", message, allowed)
        raise requests.NotAcceptable(message, details=[detail])


def _read_accept(accept: str) -> dict[str, bool]:
    """Each media range, and whether its weight is above zero."""
    weights = {}
    for item in accept.split(","):
        media_range, *parameters = (part.strip() for part in item.split(";"))
        weights[media_range] = not any(_NO_WEIGHT.fullmatch(p) for p in parameters)
    return weights


def _accepts(weights: Mapping[str, bool], media_type: str) -> bool:
    """What the most specific range says that fits the media type."""
    kind = media_type.partition("/")[0]
    ranges = (media_type, f"{kind}/*", "*/*")
    return next((weights[name] for name in ranges if name in weights), False)
