"""Hostile requests: raw bytes, made from a seed, that no honest client would send."""

import random
from collections.abc import Callable
from typing import NamedTuple

CRLF = b"\r\n"
HOST = b"Host: 127.0.0.1"
METHODS = (
    b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT",
    b"PROPFIND", b"QUERY", b"BREW", b"get", b"G\x00T", b"", b"X" * 300,
)  # fmt: skip
PATHS = (
    b"/api/books", b"/api/posts", b"/api/session", b"/oauth/token", b"/openapi.json", b"/healthz",
    b"/readiness", b"/api/books/isbn:9780441478125", b"/api/loans", b"/docs", b"/oauth/sign-in",
)  # fmt: skip
TAKE_BODIES = (
    b"/api/session", b"/oauth/token", b"/oauth/sign-in", b"/oauth/authorize", b"/api/posts",
    b"/api/decisions", b"/api/password-resets", b"/api/imports",
)  # fmt: skip
# Paths that servers have stumbled over.
ODD_PATHS = (
    b"/api/books/%ff", b"/api/books/%00", b"/api/books/%", b"/api/books/%zz", b"/api/books/%c0%af",
    b"/api/books/\xff\xfe", b"/api//books", b"/api/books/", b"/../../etc/passwd", b"/%2e%2e/%2e%2e",
    b"/api/books/..%2f..", b"*", b"/", b"//evil.example/", b"/api/books?%ff=%ff",
    b"/api/books?q=\x00",
    b"/api/books?" + b"&" * 500, b"/api/books?q=" + b"%20" * 1000, b'/api/books/"<>{}|^`\\',
    b"/" + b"a" * 9000, b'/api/books/' + b'"' * 4000, b"/api/books?q=" + b"x" * 9000,
    b"http://evil.example/api/books", b"http://127.0.0.1:1/healthz", b"https:///healthz",
    b"evil.example:443", b"/api/books#fragment", b"/api/books\t", b"/ HTTP/1.1\r\nX: ",
)  # fmt: skip
VERSIONS = (
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"HTTP/0.9",
    b"HTTP/1.1 ",
    b"http/1.1",
    b"",
    b"X",
)
HEADERS = (
    b"Accept: \xff\xff", b"Accept: */*;q=nan", b"Accept-Encoding: br;q=, gzip;q=9, zstd;q=0.0001",
    b"If-None-Match: W/\"", b"If-None-Match: \"" + b"a" * 500, b"If-Match: ,,,",
    b"Range: bytes=0-0",
    b"Cookie: circdesk_session=\x01; a=b; =; ;;", b"Cookie: " + b"a=b; " * 500,
    b"Authorization: Bearer", b"Authorization: Bearer " + b"." * 500, b"Authorization: Basic !!!",
    b"Authorization: Basic Og==", b"X-API-Key: \xe4", b"X-API-Key:",
    b"Content-Type: application/json",
    b"Content-Type: application/json; charset=utf-7", b"Content-Type: a" + b"/" * 300,
    b"Expect: 100-continue", b"Expect: 200-maybe", b"Upgrade: websocket\r\nConnection: Upgrade",
    b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk",
    b"Connection: close", b"Connection: keep-alive, Transfer-Encoding", b"Host: other.example",
    b"X-Forwarded-For: ' OR 1=1 --", b"Traceparent: 00-0-0-0", b"X-Request-Id: a\tb",
    b"Origin: null",
    b"Idempotency-Key: \"", b"X-Underscore_Name: 1", b"Folded: a\r\n b", b" Leading: space",
    b"Space : before", b"NoColon", b": nameless", b"Nul: \x00", b"Bare: \r cr", b"Name\x00: 1",
)  # fmt: skip
SMUGGLING = (
    b"Content-Length: 5\r\nTransfer-Encoding: chunked", b"Content-Length: 5\r\nContent-Length: 6",
    b"Content-Length: 5\r\nContent-Length: 5", b"Content-Length: 5, 5", b"Content-Length: -1",
    b"Content-Length: +5", b"Content-Length: 0x5", b"Content-Length: 5 ", b"Content-Length: ",
    b"Content-Length: 99999999999999999999999", b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunked, identity", b"Transfer-Encoding: identity, chunked",
    b"Transfer-Encoding: gzip", b"Transfer-Encoding:\x0bchunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x", b"Transfer-Encoding\t: chunked",
    b"Transfer-Encoding: CHUNKED",
    b"Content-Length: 5\r\n Transfer-Encoding: chunked", b"Content_Length: 5",
)  # fmt: skip
CHUNKS = (
    b"5\r\nhello\r\n0\r\n\r\n", b"5\r\nhel", b"5\nhello\n0\n\n", b"zz\r\nhello\r\n0\r\n\r\n",
    b"ffffffffffffffffff\r\nhello", b"-5\r\nhello\r\n0\r\n\r\n",
    b"5;a=" + b"b" * 5000 + b"\r\nhello\r\n",
    b"5\r\nhelloXX0\r\n\r\n", b"0\r\nTrailer: " + b"x" * 5000 + b"\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"5 \r\nhello\r\n0\r\n\r\n", b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", b"\r\n\r\n",
    b"0\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n",
)  # fmt: skip
BODIES = (
    b"{}", b"hello", b"{" * 5000, b"[" * 5000, b'{"a":1,"a":2}', b"\xff\xfe", b"null", b'"\\ud800"',
    b'{"email":"a@b.c","password":"' + b"x" * 3000 + b'"}', b"1e400", b"NaN", b"\x00" * 100,
    b"grant_type=client_credentials&grant_type=x", b"%ff=%ff&" * 100, b"9" * 5000,
)  # fmt: skip


class Hostile(NamedTuple):
    """What one client does: sends pieces with pauses between them, and then reads or goes.

    Attributes:
        pieces: What is sent.
        pause: Seconds between two pieces.
        reads: Whether the client waits for an answer; else it breaks the connection at once.
    """

    pieces: tuple[bytes, ...]
    pause: float
    reads: bool


def make_hostile(seed: int, number: int) -> Hostile:
    """One of them; the same seed and number always make the same."""
    random_ = random.Random(f"{seed}-{number}")
    kind = random_.choice(_KINDS)
    content = kind(random_)
    if random_.random() < 0.1:
        content = _mutate(random_, content)
    pieces: tuple[bytes, ...] = (content,)
    pause = 0.0
    if random_.random() < 0.1 and len(content) > 1:
        cut = random_.randrange(1, len(content))
        pieces, pause = (content[:cut], content[cut:]), random_.choice((0.0, 0.02))
    return Hostile(pieces, pause, reads=random_.random() < 0.8)


def _head(random_: random.Random, *headers: bytes, method: bytes = b"", path: bytes = b"") -> bytes:
    method = method or random_.choice(METHODS[:6])
    path = path or random_.choice(TAKE_BODIES if method == b"POST" else PATHS)
    first = (method, path, b"HTTP/1.1")
    return CRLF.join((b" ".join(first), HOST, *headers, b"", b""))


def _odd_line(random_: random.Random) -> bytes:
    line = (random_.choice(METHODS), random_.choice(ODD_PATHS + PATHS), random_.choice(VERSIONS))
    return CRLF.join((b" ".join(line), HOST, b"", b""))


def _odd_path(random_: random.Random) -> bytes:
    return _head(random_, path=random_.choice(ODD_PATHS))


def _odd_headers(random_: random.Random) -> bytes:
    headers = random_.sample(HEADERS, random_.randrange(1, 5))
    return _head(random_, *headers) + random_.choice((b"", *BODIES))


def _smuggling(random_: random.Random) -> bytes:
    head = _head(
        random_, random_.choice(SMUGGLING), b"Content-Type: application/json", method=b"POST"
    )
    return head + random_.choice(CHUNKS + BODIES) + _head(random_, method=b"GET", path=b"/healthz")


def _broken_chunks(random_: random.Random) -> bytes:
    headers = (b"Transfer-Encoding: chunked", b"Content-Type: application/json")
    return _head(random_, *headers, method=b"POST") + random_.choice(CHUNKS)


def _body(random_: random.Random) -> bytes:
    body = random_.choice(BODIES)
    media_type = random_.choice((b"application/json", b"application/x-www-form-urlencoded"))
    # Some announce more than they send, and some less.
    length = max(0, len(body) + random_.choice((0, 0, 0, 1, -1, 1000)))
    headers = (b"Content-Type: " + media_type, b"Content-Length: %d" % length)
    return _head(random_, *headers, method=random_.choice((b"POST", b"PUT", b"PATCH"))) + body


def _huge_head(random_: random.Random) -> bytes:
    size = random_.choice((1_000, 20_000, 40_000, 70_000, 300_000))
    if random_.random() < 0.5:
        return _head(random_, b"X-Huge: " + b"x" * size)
    return _head(random_, *(b"X-%d: 1" % number for number in range(size // 100)))


def _bare_line_feeds(random_: random.Random) -> bytes:
    return _odd_headers(random_).replace(CRLF, random_.choice((b"\n", b"\r", b"\n\r", b"\r\r\n")))


def _cut_off(random_: random.Random) -> bytes:
    whole = random_.choice((_body, _odd_headers, _broken_chunks))(random_)
    return whole[: random_.randrange(1, len(whole))]


def _pipeline(random_: random.Random) -> bytes:
    makers = (_odd_path, _odd_headers, _body, _broken_chunks, _head)
    return b"".join(random_.choice(makers)(random_) for _ in range(random_.randrange(2, 8)))


def _noise(random_: random.Random) -> bytes:
    return random_.randbytes(random_.choice((1, 10, 100, 5000)))


def _other_protocol(random_: random.Random) -> bytes:
    return random_.choice(
        (
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"EHLO evil.example\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"SSH-2.0-x\r\n",
        )
    )


def _mutate(random_: random.Random, content: bytes) -> bytes:
    """Change, drop or double a few bytes."""
    changed = bytearray(content)
    for _ in range(random_.randrange(1, 6)):
        place = random_.randrange(len(changed) or 1)
        changed[place : place + random_.randrange(2)] = random_.randbytes(random_.randrange(3))
    return bytes(changed)


_KINDS: tuple[Callable[[random.Random], bytes], ...] = (
    _odd_line,
    _odd_path,
    _odd_headers,
    _smuggling,
    _broken_chunks,
    _body,
    _huge_head,
    _bare_line_feeds,
    _cut_off,
    _pipeline,
    _noise,
    _other_protocol,
)
