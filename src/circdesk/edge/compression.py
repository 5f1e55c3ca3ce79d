"""Compression: answers over a kilobyte leave as zstd, br or gzip, as the caller likes best.

A compressed variant is other bytes, so its strong entity tag has a suffix of its own (RFC 9110,
8.8.3), which is taken off again before anything further in compares it. What nobody may store is
never compressed: it holds a secret, and its length would tell of it to whoever can have a part of
the same answer chosen (BREACH).
"""

import asyncio
import re
from collections.abc import Iterable, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from circdesk.contract.encodings import (
    CODINGS,
    SHORTEST,
    Encoder,
    acceptable_codings,
    choose_coding,
    is_compressible,
    make_encoder,
)
from circdesk.contract.headers import RawHeader, join_headers

# More than this is compressed in a thread, so that it holds nobody else up for a millisecond.
_LONG = 64 * 1024
_BODILESS = frozenset((204, 206, 304))
_SUFFIX = re.compile(rf'-({"|".join(CODINGS)})"')


class Compression:
    """ASGI middleware that compresses what is worth it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with plain entity tags; compress its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = join_headers(scope["headers"])
        accepted = sent.get(b"accept-encoding", b"").decode("latin-1")
        known = sent.get(b"if-none-match", b"").decode("latin-1")
        if _SUFFIX.search(known + sent.get(b"if-match", b"").decode("latin-1")):
            # In place: what is found out further in is read from this very scope further out.
            scope["headers"] = [*_plain_tags(scope["headers"], accepted)]
        answer = _Answer(send, accepted, known, is_head=scope["method"] == "HEAD")
        await self._app(scope, receive, answer.send)


class _Answer:
    """The sending side: decides when the first piece of the body is known.

    Args:
        send: Sends on.
        accepted: The request's Accept-Encoding.
        known: Its If-None-Match.
        is_head: Whether the answer has no body, and the headers of one that has.
    """

    def __init__(self, send: Send, accepted: str, known: str, *, is_head: bool) -> None:
        self._send, self._accepted, self._known, self._is_head = send, accepted, known, is_head
        self._start: Message | None = None
        self._encoder: Encoder | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if message["status"] == 304:
                headers = _restored(message["headers"], self._known, self._accepted)
                message = {**message, "headers": _varying(headers)}
            elif message["status"] not in _BODILESS and _is_candidate(dict(message["headers"])):
                self._start = message
                return
        elif self._start is not None:
            start, self._start = self._start, None
            await self._send_first(start, message)
            return
        elif self._encoder is not None:
            message = {**message, "body": await _encode(self._encoder, message)}
        await self._send(message)

    async def _send_first(self, start: Message, message: Message) -> None:
        headers: list[RawHeader] = start["headers"]
        is_whole = not self._is_head and not message.get("more_body", False)
        is_short = is_whole and len(message["body"]) < SHORTEST
        if is_short and b"content-length" not in dict(headers):
            await self._send(start)
            await self._send(message)
            return
        coding = choose_coding(self._accepted)
        headers = _varying(headers)
        if coding is not None:
            headers = [header for header in headers if header[0] != b"content-length"]
            headers.append((b"content-encoding", coding.encode()))
            if start["status"] < 300:
                headers = _marked(headers, coding)
            # The body that the answer to a HEAD would have is not there to be measured.
            if not self._is_head:
                message = await self._encode_first(coding, message, headers)
        await self._send({**start, "headers": headers})
        await self._send(message)

    async def _encode_first(
        self, coding: str, message: Message, headers: list[RawHeader]
    ) -> Message:
        encoder = make_encoder(coding)
        body = await _encode(encoder, message)
        if message.get("more_body", False):
            self._encoder = encoder
        else:
            headers.append((b"content-length", b"%d" % len(body)))
        return {**message, "body": body}


async def _encode(encoder: Encoder, message: Message) -> bytes:
    body = message.get("body", b"")
    step = encoder.encode if message.get("more_body", False) else encoder.finish
    return await asyncio.to_thread(step, body) if len(body) > _LONG else step(body)


def _is_candidate(headers: Mapping[bytes, bytes]) -> bool:
    """Whether an answer is of a kind that is compressed, were it long and the caller for it."""
    length = headers.get(b"content-length")
    is_short = length is not None and int(length) < SHORTEST
    if is_short or b"content-encoding" in headers:
        return False
    control = headers.get(b"cache-control", b"")
    forbidden = b"no-store" in control or b"no-transform" in control
    return not forbidden and is_compressible(headers.get(b"content-type", b"").decode("latin-1"))


def _varying(headers: Iterable[RawHeader]) -> list[RawHeader]:
    """The headers, which say that the answer depends on Accept-Encoding."""
    known = dict(headers).get(b"vary")
    if known is None:
        return [*headers, (b"vary", b"Accept-Encoding")]
    if b"accept-encoding" in known.lower():
        return [*headers]
    return _replaced(headers, b"vary", known + b", Accept-Encoding")


def _replaced(headers: Iterable[RawHeader], name: bytes, value: bytes) -> list[RawHeader]:
    return [(each, value if each == name else its_own) for each, its_own in headers]


def _marked(headers: list[RawHeader], coding: str) -> list[RawHeader]:
    """The headers, with the strong tag of the variant."""
    tag = dict(headers).get(b"etag", b"")
    if not tag.startswith(b'"'):
        return headers
    return _replaced(headers, b"etag", b'%b-%b"' % (tag[:-1], coding.encode()))


def _restored(headers: list[RawHeader], known: str, accepted: str) -> list[RawHeader]:
    """The headers, which say which of the variants that the caller has is still good."""
    tag = dict(headers).get(b"etag", b"").decode("latin-1")
    if not tag.startswith('"') or tag in known:
        return headers
    variants = [f'{tag[:-1]}-{coding}"' for coding in acceptable_codings(accepted)]
    good = [variant for variant in variants if variant in known]
    return _replaced(headers, b"etag", good[-1].encode("latin-1")) if good else headers


def _plain_tags(headers: Iterable[RawHeader], accepted: str) -> Iterable[RawHeader]:
    """The headers, their entity tags without suffixes.

    If-Match is about the resource, whichever variant of it was seen. If-None-Match is about what
    would be sent, so that there a variant counts only for who takes its coding still.
    """
    for name, value in headers:
        if name == b"if-match":
            yield name, _without_suffixes(value, frozenset(CODINGS))
        elif name == b"if-none-match":
            yield name, _without_suffixes(value, acceptable_codings(accepted))
        else:
            yield name, value


def _without_suffixes(value: bytes, codings: frozenset[str]) -> bytes:
    text = value.decode("latin-1")
    plain = _SUFFIX.sub(lambda match: '"' if match[1] in codings else match[0], text)
    return plain.encode("latin-1")
