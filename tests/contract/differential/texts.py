"""What can be wrong with a JSON body as a text: how it is sent, and how it is written."""

import gzip
import json
from collections.abc import Iterator

from tests.contract.differential.examples import content_of
from tests.contract.differential.requests import Request

# Longer than the service reads.
_TOO_LONG = 1024**2 + 1


def announced(request: Request) -> Iterator[Request]:
    """The right body under a head that says something else of it."""

    def typed(kind: str, media_type: str) -> Request:
        return request.but(kind=kind).with_headers(content_type=media_type)

    yield request.but(kind="a body of no media type").without_headers("content-type")
    yield typed("a body of another media type", "text/plain")
    yield typed("a body of nearly the media type", f"{request.media_type}p")
    yield typed("a body with its charset", f"{request.media_type}; charset=utf-8")
    yield typed("a body of a media type in capitals", request.media_type.upper())
    yield typed("a body in another charset", f"{request.media_type}; charset=iso-8859-1")
    zipped = gzip.compress(request.body, mtime=0)
    yield request.but(kind="a compressed body", body=zipped).with_headers(content_encoding="gzip")
    required = request.operation.body is not None and request.operation.body.required
    word = "a body" if required else "an optional body"
    chunked = request.but(kind=f"{word} of unannounced length")
    yield chunked.with_headers(transfer_encoding="chunked")
    yield request.but(kind="a body that is too long", body=request.body.ljust(_TOO_LONG))
    for media_type in [*content_of(request.operation)][1:]:
        yield typed("a body of the other media type", media_type)


def written(request: Request) -> Iterator[Request]:
    """Texts that are no JSON, or that two readers could take in two ways."""
    body = request.body
    required = request.operation.body is not None and request.operation.body.required
    yield request.but(kind="no body" if required else "no optional body", body=b"")
    yield request.but(kind="a blank body", body=b" ")
    yield request.but(kind="a body that is cut off", body=body[:-1])
    yield request.but(kind="a comma too many", body=body[:-1] + b",}")
    yield request.but(kind="a byte order mark", body=b"\xef\xbb\xbf" + body)
    yield request.but(kind="two values", body=body + body)
    yield request.but(kind="a body that is not UTF-8", body=body[:-1] + b', "colour": "\xff"}')
    yield request.but(kind="NaN", body=body[:-1] + b', "colour": NaN}')
    yield request.but(kind="a deep body", body=b'{"colour":' * 40 + b"1" + b"}" * 40)
    if request.value:
        first = json.dumps(next(iter(request.value))).encode()
        twice = b"{" + first + b": null, " + body[1:]
        yield request.but(kind="a key that stands twice", body=twice)
