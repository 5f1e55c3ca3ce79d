"""How a body from memory is answered: negotiation, validators, conditional requests."""

import pytest

from circdesk.contract.encodings import CODINGS
from circdesk.contract.representations import Representation
from tests.contract.decoding import DECODERS

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
    @pytest.mark.parametrize("coding", CODINGS)
    def test_a_variant_carries_the_same_text_under_a_tag_of_its_own(self, coding: str) -> None:
        status, headers, body = answer(TEXT, accept_encoding=coding)
        assert (status, DECODERS[coding](body)) == (200, BODY)
        assert headers == {
            "content-type": "text/plain; charset=utf-8",
            "content-length": str(len(body)),
            "content-encoding": coding,
            "etag": entity_tag().removesuffix('"') + f'-{coding}"',
            "cache-control": "no-cache",
            "vary": "Accept-Encoding",
        }

    def test_it_is_made_once(self) -> None:
        assert answer(TEXT, accept_encoding="br")[2] is answer(TEXT, accept_encoding="br")[2]

    def test_plain_bytes_are_sent_where_nothing_else_is_wanted(self) -> None:
        _, headers, body = answer(TEXT, accept_encoding="deflate")
        assert "content-encoding" not in headers
        assert body == BODY


class TestConditional:
    @pytest.mark.parametrize(
        "form",
        ["{tag}", "W/{tag}", '"other", {tag}', '"a,b",W/{tag} , "c"', ', {tag} ,"d"', "*", " * "],
    )
    @pytest.mark.parametrize("coding", ["identity", "gzip"])
    def test_a_known_tag_is_not_modified(self, form: str, coding: str) -> None:
        tag = entity_tag()
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

    def test_not_modified_repeats_the_extra_headers(self) -> None:
        status, headers, _ = answer(SMALL, if_none_match="*")
        assert (status, headers["x-extra"]) == (304, "1")
