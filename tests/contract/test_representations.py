"""How a body from memory is answered: negotiation, validators, conditional requests."""

import gzip

import pytest

from circdesk.contract.representations import Representation

BODY = b"All happy families are alike. " * 40
TEXT = Representation(BODY, "text/plain; charset=utf-8", "no-cache")
SMALL = Representation(b"\x89PNG", "image/png", "public, max-age=60", [("x-extra", "1")])


def answer(representation: Representation, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """The answer with its headers as a mapping; `accept_encoding` becomes `accept-encoding`."""
    request = {name.replace("_", "-"): value for name, value in headers.items()}
    status, fields, body = representation.respond(request)
    assert len(dict(fields)) == len(fields), "no header stands twice"
    return status, dict(fields), body


def entity_tag(**headers: str) -> str:
    return answer(TEXT, **headers)[1]["etag"]


class TestPlain:
    def test_the_body_is_sent_as_it_is_with_every_header(self) -> None:
        assert answer(TEXT) == (
            200,
            {
                "content-type": "text/plain; charset=utf-8",
                "content-length": str(len(BODY)),
                "etag": entity_tag(),
                "cache-control": "no-cache",
                "vary": "Accept-Encoding",
            },
            BODY,
        )

    def test_what_does_not_shrink_has_one_variant_and_does_not_vary(self) -> None:
        status, headers, body = answer(SMALL, accept_encoding="gzip")
        assert (status, body) == (200, b"\x89PNG")
        assert headers.keys() == {
            "content-type",
            "content-length",
            "etag",
            "cache-control",
            "x-extra",
        }

    def test_an_empty_body_is_served(self) -> None:
        empty = Representation(b"", "text/plain", "no-cache")
        assert answer(empty, accept_encoding="gzip")[2] == b""

    def test_the_tag_follows_the_bytes_alone(self) -> None:
        again = Representation(BODY, "text/html", "no-store")
        other = Representation(BODY + b".", "text/plain; charset=utf-8", "no-cache")
        assert answer(again)[1]["etag"] == entity_tag() != answer(other)[1]["etag"]


class TestCompressed:
    def test_gzip_carries_the_same_text_under_a_tag_of_its_own(self) -> None:
        status, headers, body = answer(TEXT, accept_encoding="gzip, deflate, br")
        assert (status, gzip.decompress(body)) == (200, BODY)
        assert headers == {
            "content-type": "text/plain; charset=utf-8",
            "content-length": str(len(body)),
            "content-encoding": "gzip",
            "etag": entity_tag().removesuffix('"') + '-gzip"',
            "cache-control": "no-cache",
            "vary": "Accept-Encoding",
        }

    @pytest.mark.parametrize(
        "accepted",
        [
            "gzip",
            "GZip",
            "x-gzip",
            "*",
            "br, *;q=0.1",
            "gzip;q=0.001",
            "gzip ; q=0.5 , br",
            "gzip;Q=1.000",
            "identity, gzip",
            "identity;q=0.5, gzip;q=0.6",
            "gzip;q=0.5, *;q=0",
        ],
    )
    def test_gzip_is_sent_where_it_is_wanted(self, accepted: str) -> None:
        assert answer(TEXT, accept_encoding=accepted)[1].get("content-encoding") == "gzip"

    @pytest.mark.parametrize(
        "accepted",
        [
            "",
            "identity",
            "br",
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
    def test_plain_bytes_are_sent_where_gzip_is_not_wanted(self, accepted: str) -> None:
        _, headers, body = answer(TEXT, accept_encoding=accepted)
        assert "content-encoding" not in headers
        assert body == BODY


class TestConditional:
    @pytest.mark.parametrize(
        "form",
        ["{tag}", "W/{tag}", '"other", {tag}', '"a,b",W/{tag} , "c"', ', {tag} ,"d"', "*", " * "],
    )
    @pytest.mark.parametrize("coding", ["identity", "gzip"])
    def test_a_known_tag_is_not_modified(self, form: str, coding: str) -> None:
        tag = entity_tag(accept_encoding=coding)
        expected = {"etag": tag, "cache-control": "no-cache", "vary": "Accept-Encoding"}
        condition = form.format(tag=tag)
        conditional = answer(TEXT, accept_encoding=coding, if_none_match=condition)
        assert conditional == (304, expected, b"")

    @pytest.mark.parametrize(
        "form", ['"other"', "", '"*"', "W/*", "{bare}", '"{bare}', "{bare}-gzip"]
    )
    def test_any_other_tag_brings_the_body(self, form: str) -> None:
        condition = form.format(bare=entity_tag().strip('"'))
        assert answer(TEXT, if_none_match=condition)[0] == 200

    def test_the_tag_of_the_other_variant_stands_for_other_bytes(self) -> None:
        condition = entity_tag(accept_encoding="gzip")
        assert answer(TEXT, if_none_match=condition)[2] == BODY

    def test_not_modified_repeats_the_extra_headers(self) -> None:
        status, headers, _ = answer(SMALL, if_none_match="*")
        assert (status, headers["x-extra"]) == (304, "1")
