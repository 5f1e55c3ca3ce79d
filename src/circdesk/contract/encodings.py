"""Content codings: which one a caller wants, and how a body is put into it (RFC 9110, 8.4).

The levels are fast ones: the next step up costs twice the time and saves a few percent.
"""

import re
import zlib
from functools import lru_cache
from typing import Protocol

import brotli
import zstandard

# The codings that are spoken here; whoever takes several alike gets the first, which costs least.
CODINGS = ("zstd", "br", "gzip")
# What saves less than a packet of the network is not worth the time of either side.
SHORTEST = 1024

_GZIP_LEVEL, _BROTLI_QUALITY, _ZSTD_LEVEL = 5, 4, 3
# zlib writes a gzip head, without a time stamp, where its window is given so.
_GZIP_WINDOW = 16 + zlib.MAX_WBITS

_COMPRESSIBLE = re.compile(
    r"text/.*|application/(json|yaml|xml|javascript|x-ndjson)|.*\+(json|xml|yaml)|image/svg\+xml"
)
_WEIGHT = re.compile(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?", re.ASCII)


class Encoder(Protocol):
    """Puts a body into a coding, piece by piece."""

    def encode(self, piece: bytes) -> bytes:
        """The piece, whole: nothing of it waits for the next one."""

    def finish(self, piece: bytes) -> bytes:
        """The last piece, with the end of the coding."""


class _Gzip:
    def __init__(self) -> None:
        self._encoder = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)

    def encode(self, piece: bytes) -> bytes:
        return self._encoder.compress(piece) + self._encoder.flush(zlib.Z_SYNC_FLUSH)

    def finish(self, piece: bytes) -> bytes:
        return self._encoder.compress(piece) + self._encoder.flush()


class _Brotli:
    def __init__(self) -> None:
        self._encoder = brotli.Compressor(quality=_BROTLI_QUALITY)

    def encode(self, piece: bytes) -> bytes:
        return bytes(self._encoder.process(piece) + self._encoder.flush())

    def finish(self, piece: bytes) -> bytes:
        return bytes(self._encoder.process(piece) + self._encoder.finish())


class _Zstandard:
    def __init__(self) -> None:
        self._encoder = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compressobj()

    def encode(self, piece: bytes) -> bytes:
        head = self._encoder.compress(piece)
        return head + self._encoder.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    def finish(self, piece: bytes) -> bytes:
        return self._encoder.compress(piece) + self._encoder.flush()


_ENCODERS: dict[str, type[_Gzip | _Brotli | _Zstandard]] = {
    "gzip": _Gzip,
    "br": _Brotli,
    "zstd": _Zstandard,
}


def make_encoder(coding: str) -> Encoder:
    """An encoder for one body, in one of `CODINGS`."""
    return _ENCODERS[coding]()


def encode(coding: str, body: bytes) -> bytes:
    """A whole body in one of `CODINGS`; the same body always becomes the same bytes."""
    return make_encoder(coding).finish(body)


@lru_cache(64)
def is_compressible(media_type: str) -> bool:
    """Whether bodies of a media type, whose parameters may follow, shrink; images do not."""
    return _COMPRESSIBLE.fullmatch(media_type.partition(";")[0].strip().lower()) is not None


@lru_cache(256)
def choose_coding(accept_encoding: str) -> str | None:
    """The coding that an Accept-Encoding header likes best, or None for the plain bytes.

    Without the header the bytes stay plain: what it allows then, few such clients can read. `*`
    stands for gzip, which is what those can read who do not name what they can.
    """
    weights = _weights(accept_encoding)
    best = max(CODINGS, key=lambda coding: weights.get(coding, 0.0))
    # Plain bytes are always acceptable, yet wanted only by those who name them.
    wanted = weights.get(best, 0.0)
    return best if wanted > 0 and wanted >= weights.get("identity", 0.0) else None


@lru_cache(256)
def acceptable_codings(accept_encoding: str) -> frozenset[str]:
    """Those of `CODINGS` that an Accept-Encoding header takes at all."""
    weights = _weights(accept_encoding)
    return frozenset(coding for coding in CODINGS if weights.get(coding, 0.0) > 0)


def _weights(accept_encoding: str) -> dict[str, float]:
    """Each coding with its weight; one whose weight cannot be read counts as refused."""
    weights: dict[str, float] = {}
    for element in accept_encoding.lower().split(","):
        coding, _, parameter = (part.strip() for part in element.partition(";"))
        if coding:
            weights[coding.removeprefix("x-")] = _weight(parameter)
    return {"gzip": weights.get("*", 0.0)} | weights


def _weight(parameter: str) -> float:
    if not parameter:
        return 1.0
    name, _, number = (part.strip() for part in parameter.partition("="))
    return float(number) if name == "q" and _WEIGHT.fullmatch(number) else 0.0
