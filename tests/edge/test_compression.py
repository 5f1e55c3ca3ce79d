"""Compression at the edge: what is compressed, for whom, and what becomes of entity tags."""

import asyncio
from typing import NamedTuple

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from circdesk.contract.encodings import CODINGS
from circdesk.edge.compression import Compression
from tests.contract.decoding import DECODERS

TEXT = b"All happy families are alike. " * 100
LONG = TEXT * 100
JSON = {"content-type": "application/json"}


class Answer(NamedTuple):
    """What came out, piece by piece, and the headers with which the request went in."""

    headers: dict[str, str]
    pieces: list[bytes]
    asked: dict[str, str]

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


def ask(
    headers: dict[str, str],
    *pieces: bytes,
    accept: str = "",
    status: int = 200,
    method: str = "GET",
    sized: bool = True,
    **request: str,
) -> Answer:
    """Ask for an answer with these headers and pieces through the middleware."""
    asked: dict[str, str] = {}
    sent: list[Message] = []
    length = {"content-length": str(sum(map(len, pieces)))} if sized and len(pieces) == 1 else {}

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        asked.update({name.decode(): value.decode() for name, value in scope["headers"]})
        raw = [(n.encode(), v.encode()) for n, v in (headers | length).items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        for number, piece in enumerate(pieces if method != "HEAD" else (b"",)):
            more = method != "HEAD" and number + 1 < len(pieces)
            await send({"type": "http.response.body", "body": piece, "more_body": more})

    async def receive() -> Message:
        raise AssertionError("there is no body")

    async def send(message: Message) -> None:
        sent.append(message)

    fields = {"accept-encoding": accept} | {n.replace("_", "-"): v for n, v in request.items()}
    raw = [(name.encode(), value.encode()) for name, value in fields.items()]
    scope = {"type": "http", "method": method, "headers": raw}
    asyncio.run(Compression(app)(scope, receive, send))
    start, *bodies = sent
    found = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(found, [message["body"] for message in bodies], asked)


class TestWhole:
    @pytest.mark.parametrize("coding", CODINGS)
    @pytest.mark.parametrize("body", [TEXT, LONG], ids=["on the loop", "in a thread"])
    def test_a_body_is_compressed_as_the_caller_likes_best(self, coding: str, body: bytes) -> None:
        answer = ask(JSON, body, accept=f"{coding}, *;q=0.1")

        assert DECODERS[coding](answer.body) == body
        assert answer.headers == {
            "content-type": "application/json",
            "content-length": str(len(answer.body)),
            "content-encoding": coding,
            "vary": "Accept-Encoding",
        }

    def test_who_takes_none_is_told_that_it_depends(self) -> None:
        answer = ask(JSON | {"vary": "Origin"}, TEXT)

        assert answer.body == TEXT
        assert answer.headers["vary"] == "Origin, Accept-Encoding"
        assert "content-encoding" not in answer.headers

    @pytest.mark.parametrize(
        ("headers", "body"),
        [
            pytest.param(JSON, TEXT[:1023], id="a short one"),
            pytest.param({"content-type": "image/png"}, TEXT, id="an image"),
            pytest.param(JSON | {"content-encoding": "gzip"}, TEXT, id="one that is compressed"),
            pytest.param(JSON | {"cache-control": "no-store"}, TEXT, id="one with a secret"),
            pytest.param(JSON | {"cache-control": "no-transform"}, TEXT, id="one to be left alone"),
        ],
    )
    def test_what_is_not_worth_it_or_not_safe_is_left_alone(
        self, headers: dict[str, str], body: bytes
    ) -> None:
        answer = ask(headers, body, accept="gzip")

        assert answer.body == body
        assert answer.headers == headers | {"content-length": str(len(body))}

    def test_a_short_body_of_unknown_length_is_left_alone(self) -> None:
        answer = ask(JSON, b"{}", accept="gzip", sized=False)
        assert (answer.headers, answer.body) == (JSON, b"{}")

    def test_the_headers_of_head_are_those_of_get(self) -> None:
        tagged = JSON | {"etag": '"a"'}
        get = ask(tagged, TEXT, accept="br").headers
        del get["content-length"]
        assert ask(tagged, TEXT, accept="br", method="HEAD").headers == get


class TestStreams:
    @pytest.mark.parametrize("coding", CODINGS)
    def test_each_piece_leaves_at_once(self, coding: str) -> None:
        answer = ask(JSON, b"one,", b"two,", b"three", b"", accept=coding)

        assert DECODERS[coding](answer.body) == b"one,two,three"
        assert [bool(piece) for piece in answer.pieces[:3]] == [True] * 3
        assert answer.headers["content-encoding"] == coding
        assert "content-length" not in answer.headers


class TestEntityTags:
    def test_a_variant_has_a_tag_of_its_own(self) -> None:
        assert ask(JSON | {"etag": '"a"'}, TEXT, accept="br").headers["etag"] == '"a-br"'

    @pytest.mark.parametrize(
        ("tag", "status"), [('W/"a"', 200), ('"a"', 412)], ids=["a weak one", "of the resource"]
    )
    def test_a_tag_that_does_not_stand_for_the_bytes_stays(self, tag: str, status: int) -> None:
        answer = ask(JSON | {"etag": tag}, TEXT, accept="br", status=status)
        assert answer.headers["content-encoding"] == "br"
        assert answer.headers["etag"] == tag

    @pytest.mark.parametrize(
        ("accept", "sent", "asked", "told"),
        [
            ("gzip", '"a-gzip"', '"a"', '"a-gzip"'),
            ("gzip, br", '"x", W/"a-br"', '"x", W/"a"', '"a-br"'),
            ("gzip", '"a-br", "a-gzip"', '"a-br", "a"', '"a-gzip"'),
            ("gzip", '"a"', '"a"', '"a"'),
            ("br", "*", "*", '"a"'),
        ],
    )
    def test_a_variant_that_is_known_is_not_modified(
        self, accept: str, sent: str, asked: str, told: str
    ) -> None:
        answer = ask(
            {"etag": '"a"'}, b"", accept=accept, status=304, sized=False, if_none_match=sent
        )

        assert answer.asked["if-none-match"] == asked
        assert answer.headers == {"etag": told, "vary": "Accept-Encoding"}

    def test_one_that_the_caller_could_not_read_counts_for_nothing(self) -> None:
        answer = ask(JSON, TEXT, if_none_match='"a-gzip"')
        assert answer.asked["if-none-match"] == '"a-gzip"'

    @pytest.mark.parametrize("tag", ['"3.abc-zstd"', '"3.abc-br"', '"3.abc"'])
    def test_a_precondition_is_about_the_resource(self, tag: str) -> None:
        assert ask(JSON, TEXT, if_match=tag).asked["if-match"] == '"3.abc"'


class TestService:
    """What the running service makes of it; the client decodes by itself."""

    @pytest.mark.parametrize("coding", CODINGS)
    def test_the_contract_comes_compressed_once(self, client: httpx.Client, coding: str) -> None:
        plain = client.get("/openapi.json", headers={"Accept-Encoding": "identity"})
        small = client.get("/openapi.json", headers={"Accept-Encoding": coding})

        assert small.json() == plain.json()
        assert small.headers["Content-Encoding"] == coding
        assert int(small.headers["Content-Length"]) < len(plain.content) / 4
        again = client.get(
            "/openapi.json",
            headers={"Accept-Encoding": coding, "If-None-Match": small.headers["ETag"]},
        )
        assert (again.status_code, again.headers["ETag"]) == (304, small.headers["ETag"])

    def test_a_list_comes_compressed(self, client: httpx.Client) -> None:
        answer = client.get("/problems", headers={"Accept-Encoding": "gzip"})
        assert answer.headers["Content-Encoding"] == "gzip"
        assert "Accept-Encoding" in answer.headers["Vary"]
        assert answer.json()["items"]

    def test_a_secret_does_not(self, client: httpx.Client) -> None:
        page = client.get("/oauth/sign-in", headers={"Accept-Encoding": "gzip"})
        assert page.headers["Cache-Control"] == "no-store"
        assert len(page.content) > 1024
        assert "Content-Encoding" not in page.headers
