"""Content codings: which is chosen, and that what is coded can be read."""

import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from circdesk.contract.encodings import (
    CODINGS,
    acceptable_codings,
    choose_coding,
    encode,
    is_compressible,
    make_encoder,
)
from tests.contract.decoding import DECODERS

TEXT = b"All happy families are alike. " * 100


class TestChoice:
    @pytest.mark.parametrize(
        ("accepted", "coding"),
        [
            ("gzip", "gzip"),
            ("GZip", "gzip"),
            ("x-gzip", "gzip"),
            ("*", "gzip"),
            ("br, *;q=0.1", "br"),
            ("gzip;q=0.001", "gzip"),
            ("gzip ; q=0.5 , br", "br"),
            ("gzip;Q=1.000", "gzip"),
            ("identity, gzip", "gzip"),
            ("identity;q=0.5, gzip;q=0.6", "gzip"),
            ("gzip;q=0.5, *;q=0", "gzip"),
            ("gzip, deflate, br", "br"),
            ("gzip, deflate, br, zstd", "zstd"),
            ("gzip;q=1, br;q=0.9, zstd;q=0.8", "gzip"),
            ("br;q=0, zstd;q=0, gzip;q=0.1", "gzip"),
        ],
    )
    def test_the_one_that_is_liked_best(self, accepted: str, coding: str) -> None:
        assert choose_coding(accepted) == coding

    @pytest.mark.parametrize(
        "accepted",
        [
            "",
            "identity",
            "deflate",
            "gzip;q=0",
            "gzip;q=0.000",
            "*;q=0",
            "gzip;q=0, *",
            "identity;q=1, gzip;q=0.5",
            "identity, *;q=0.5",
            "gzip;q=2",
            "gzip;q=1.5",
            "gzip;q=nan",
            "gzip;q=",
            "gzip;level=9",
            ",,;q=1,",
        ],
    )
    def test_none_where_none_is_wanted(self, accepted: str) -> None:
        assert choose_coding(accepted) is None

    def test_what_is_taken_at_all_has_a_weight(self) -> None:
        assert acceptable_codings("gzip;q=0.1, br;q=0, zstd") == {"gzip", "zstd"}

    @given(st.text(max_size=100))
    def test_any_header_can_be_read(self, accepted: str) -> None:
        assert choose_coding(accepted) in {*acceptable_codings(accepted), None}


@pytest.mark.parametrize("coding", CODINGS)
class TestCoding:
    def test_a_body_becomes_the_same_bytes_each_time(self, coding: str) -> None:
        coded = encode(coding, TEXT)

        assert coded == encode(coding, TEXT)
        assert len(coded) < len(TEXT) / 10
        assert DECODERS[coding](coded) == TEXT

    def test_each_piece_can_be_read_before_the_next(self, coding: str) -> None:
        readers = {
            "gzip": zlib.decompressobj(31).decompress,
            "br": brotli.Decompressor().process,
            "zstd": zstandard.ZstdDecompressor().decompressobj().decompress,
        }
        encoder, read = make_encoder(coding), readers[coding]
        assert read(encoder.encode(b"one")) == b"one"
        assert read(encoder.encode(b"two")) == b"two"
        assert read(encoder.finish(b"three")) == b"three"


@pytest.mark.parametrize(
    ("media_type", "shrinks"),
    [
        ("application/json", True),
        ("application/problem+json", True),
        ("application/yaml", True),
        ("text/csv; charset=utf-8", True),
        ("TEXT/HTML", True),
        ("image/svg+xml", True),
        ("image/png", False),
        ("application/octet-stream", False),
        ("application/marc", False),
        ("", False),
    ],
)
def test_texts_shrink(media_type: str, *, shrinks: bool) -> None:
    assert is_compressible(media_type) is shrinks
