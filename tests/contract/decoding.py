"""How a client reads each of the content codings that are spoken here."""

import gzip
from collections.abc import Callable

import brotli
import zstandard

DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "br": brotli.decompress,
    # A frame that was streamed does not tell its length.
    "zstd": lambda body: zstandard.ZstdDecompressor().decompressobj().decompress(body),
}
