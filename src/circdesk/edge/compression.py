"""Compression: answers over a kilobyte leave as zstd, br or gzip, as the caller likes best.

A compressed variant is other bytes, so its strong entity tag has a suffix of its own (RFC 9110,
8.8.3), which is taken off again before anything further in compares it. What nobody may store is
never compressed: it holds a secret, and its length would tell of it to whoever can have a part of
the same answer chosen (BREACH).
"""

import asyncio
import re
from collections.abc import Iterable, Mapping

from starlette.datastructures import MutableHeaders
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

# More than this is compressed in a thread, so that it holds nobody else up for a millisecond.
_LONG = 64 * 1024
_BODILESS = frozenset((204, 206, 304))
_SUFFIX = re.compile(rf'-({"|".join(CODINGS)})"')

RawHeader = tuple[bytes, bytes]


class Compression:
    """ASGI middleware that compresses what is worth it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with plain entity tags; compress its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = dict(scope["headers"])
        accepted = _joined(scope, b"accept-encoding") if b"accept-encoding" in sent else ""
        known = _joined(scope, b"if-none-match") if b"if-none-match" in sent else ""
        if known or b"if-match" in sent:
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
                message = self._restored(message)
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

    def _restored(self, start: Message) -> Message:
        headers = MutableHeaders(raw=[*start["headers"]])
        _restore_tag(headers, self._known, self._accepted)
        _vary(headers)
        return {**start, "headers": headers.raw}

    async def _send_first(self, start: Message, message: Message) -> None:
        headers = MutableHeaders(raw=[*start["headers"]])
        is_whole = not self._is_head and not message.get("more_body", False)
        if is_whole and len(message["body"]) < SHORTEST and "content-length" not in headers:
            await self._send(start)
            await self._send(message)
            return
        _vary(headers)
        coding = choose_coding(self._accepted)
        if coding is not None:
            headers["content-encoding"] = coding
            del headers["content-length"]
            if start["status"] < 300:
                _mark_tag(headers, coding)
            # The body that the answer to a HEAD would have is not there to be measured.
            if not self._is_head:
                message = await self._encode_first(coding, message, headers)
        await self._send({**start, "headers": headers.raw})
        await self._send(message)

    async def _encode_first(
        self, coding: str, message: Message, headers: MutableHeaders
    ) -> Message:
        encoder = make_encoder(coding)
        body = await _encode(encoder, message)
        if message.get("more_body", False):
            self._encoder = encoder
        else:
            headers["content-length"] = str(len(body))
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


def _vary(headers: MutableHeaders) -> None:
    known = headers.get("vary")
    if known is None:
        headers.append("vary", "Accept-Encoding")
    elif "accept-encoding" not in known.lower():
        headers.add_vary_header("Accept-Encoding")


def _mark_tag(headers: MutableHeaders, coding: str) -> None:
    tag = headers.get("etag", "")
    if tag.startswith('"'):
        headers["etag"] = f'{tag[:-1]}-{coding}"'


def _restore_tag(headers: MutableHeaders, known: str, accepted: str) -> None:
    """Say which of the variants that the caller has is the one that is still good."""
    tag = headers.get("etag", "")
    if not tag.startswith('"') or tag in known:
        return
    for coding in acceptable_codings(accepted):
        if (variant := f'{tag[:-1]}-{coding}"') in known:
            headers["etag"] = variant


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


def _joined(scope: Scope, wanted: bytes) -> str:
    """What the request's headers of this name say, as one list (RFC 9110, 5.3)."""
    return ", ".join(value.decode("latin-1") for name, value in scope["headers"] if name == wanted)
