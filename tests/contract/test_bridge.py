import asyncio
import contextlib
import contextvars
import hashlib
import io
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from circdesk.contract.answers import Answer
from circdesk.contract.bridge import BODY, Bridge, Respond, StreamBroken
from circdesk.contract.environ import CALL, request_uri
from circdesk.contract.requests import ContentTooLarge, Overloaded, RequestTimeout
from circdesk.contract.streams import BodyStream, LimitedReader, too_large

Environ = dict[str, Any]
Serve = Callable[[ASGIApp], AbstractContextManager[Callable[[], socket.socket]]]

# No test waits so long unless it fails.
SECONDS = 10
# More than the buffers of both ends of a connection hold.
PIECE = b"x" * 65536


class Body:
    """A body that tells when it was closed."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        self.closed.set()


def answering(
    body: bytes | Iterable[bytes] = b"", status: int = 200, headers: Mapping[str, str] | None = None
) -> Respond:
    return lambda _environ: Answer(status, "text/plain", body, headers or {})


class Outer:
    """What stands around the bridge: the scope's additions, and the error that came out."""

    def __init__(
        self, respond: Respond, *, timeout: float = SECONDS, body: bytes | None = b""
    ) -> None:
        self.bridge = Bridge(respond, threads=1, most=8, timeout=timeout, patience=SECONDS)
        self.body = body
        self.error: BaseException | None = None
        self.ended = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.bridge({**scope, CALL: None, BODY: self.body}, receive, send)
        except Exception as error:
            self.error = error
            raise
        finally:
            self.ended.set()


@pytest.fixture
def connect(serve: Serve) -> Iterator[Callable[[Outer], socket.socket]]:
    with contextlib.ExitStack() as stack:

        def connect_to(outer: Outer) -> socket.socket:
            stack.callback(outer.bridge.close)
            return stack.enter_context(stack.enter_context(serve(outer))())

        yield connect_to


Connect = Callable[[Outer], socket.socket]


def request(method: str = "GET", *lines: str) -> bytes:
    head = [f"{method} / HTTP/1.1", "Host: localhost", "Connection: close", *lines]
    return ("\r\n".join(head) + "\r\n\r\n").encode()


def receive_all(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65536), b""))


def split(reply: bytes) -> tuple[str, set[str], bytes]:
    head, _, body = reply.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return status, {line for line in lines if not line.startswith(("date", "server"))}, body


class TestBufferedAnswers:
    @pytest.mark.parametrize(
        ("method", "respond", "reply"),
        [
            pytest.param(
                "GET",
                answering(b"abc"),
                (
                    "HTTP/1.1 200 OK",
                    {"content-type: text/plain", "content-length: 3", "connection: close"},
                    b"abc",
                ),
                id="a body",
            ),
            pytest.param(
                "GET",
                answering(),
                (
                    "HTTP/1.1 200 OK",
                    {"content-type: text/plain", "content-length: 0", "connection: close"},
                    b"",
                ),
                id="an empty body",
            ),
            pytest.param(
                "HEAD",
                answering(b"abc"),
                (
                    "HTTP/1.1 200 OK",
                    {"content-type: text/plain", "content-length: 3", "connection: close"},
                    b"",
                ),
                id="HEAD has the headers alone",
            ),
            pytest.param(
                "HEAD",
                answering(iter([b"abc"])),
                ("HTTP/1.1 200 OK", {"content-type: text/plain", "connection: close"}, b""),
                id="HEAD of a stream",
            ),
            pytest.param(
                "DELETE",
                answering(status=204),
                ("HTTP/1.1 204 No Content", {"content-type: text/plain", "connection: close"}, b""),
                id="no content",
            ),
            pytest.param(
                "GET",
                answering(status=304),
                (
                    "HTTP/1.1 304 Not Modified",
                    {"content-type: text/plain", "connection: close"},
                    b"",
                ),
                id="not modified",
            ),
        ],
    )
    def test_an_answer_arrives_as_it_was_made(
        self, connect: Connect, method: str, respond: Respond, reply: tuple[str, set[str], bytes]
    ) -> None:
        client = connect(Outer(respond))
        client.sendall(request(method))
        assert split(receive_all(client)) == reply

    def test_a_body_is_closed_in_its_thread(self, connect: Connect) -> None:
        body = Body([b"abc"])
        client = connect(Outer(answering(body)))
        client.sendall(request())
        assert split(receive_all(client))[2] == b"3\r\nabc\r\n0\r\n\r\n"
        assert body.closed.is_set()

    def test_context_variables_reach_the_application(self, connect: Connect) -> None:
        variable = contextvars.ContextVar("variable", default=b"none")

        def respond(_environ: Environ) -> Answer:
            return Answer(200, None, variable.get())

        class WithContext(Outer):
            async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
                variable.set(b"some")
                await super().__call__(scope, receive, send)

        client = connect(WithContext(respond))
        client.sendall(request())
        assert split(receive_all(client))[2] == b"some"

    def test_an_error_comes_out_before_anything_is_sent(self, connect: Connect) -> None:
        def respond(_environ: Environ) -> Answer:
            raise LookupError("a")

        outer = Outer(respond)
        client = connect(outer)
        client.sendall(request())
        assert split(receive_all(client))[0] == "HTTP/1.1 500 Internal Server Error"
        assert repr(outer.error) == "LookupError('a')"


class TestStreamedAnswers:
    def test_each_piece_arrives_before_the_next_is_made(self, connect: Connect) -> None:
        arrived = threading.Event()

        def pieces() -> Iterator[bytes]:
            yield b"one"
            assert arrived.wait(SECONDS)
            yield b""
            yield b"two"

        body = Body(pieces())
        client = connect(Outer(answering(body)))
        client.sendall(request())
        with client.makefile("rb") as reader:
            head = [reader.readline() for _ in range(7)]
            assert b"transfer-encoding: chunked\r\n" in head
            assert (reader.readline(), reader.readline()) == (b"3\r\n", b"one\r\n")
            arrived.set()
            assert reader.read() == b"3\r\ntwo\r\n0\r\n\r\n"
        assert body.closed.is_set()

    def test_a_known_length_is_no_reason_to_wait_for_the_end(self, connect: Connect) -> None:
        arrived = threading.Event()

        def pieces() -> Iterator[bytes]:
            yield b"one"
            assert arrived.wait(SECONDS)
            yield b"two"

        client = connect(Outer(answering(pieces(), headers={"Content-Length": "6"})))
        client.sendall(request())
        reply = b""
        while not reply.endswith(b"one"):
            reply += client.recv(65536)
        arrived.set()
        assert split(reply + receive_all(client))[2] == b"onetwo"

    def test_head_ends_a_stream_before_it_begins(self, connect: Connect) -> None:
        begun: list[str] = []

        def pieces() -> Iterator[bytes]:
            begun.append("it")
            yield b"one"

        body = Body(pieces())
        client = connect(Outer(answering(body)))
        client.sendall(request("HEAD"))
        assert split(receive_all(client))[2] == b""
        assert body.closed.is_set()
        assert begun == []

    def test_an_error_before_the_first_piece_is_still_an_error(self, connect: Connect) -> None:
        def fail() -> bytes:
            raise LookupError("a")

        outer = Outer(answering(fail() for _ in range(1)))
        client = connect(outer)
        client.sendall(request())
        assert split(receive_all(client))[0] == "HTTP/1.1 500 Internal Server Error"
        assert repr(outer.error) == "LookupError('a')"

    def test_an_error_after_it_breaks_the_connection(self, connect: Connect) -> None:
        def pieces() -> Iterator[bytes]:
            yield b"one"
            raise RequestTimeout("A problem, which can be no answer any more.")

        body = Body(pieces())
        outer = Outer(answering(body))
        client = connect(outer)
        client.sendall(request())
        # The chunk that would end the body is missing.
        assert split(receive_all(client))[2] == b"3\r\none\r\n"
        assert isinstance(outer.error, StreamBroken)
        assert body.closed.is_set()

    def test_a_client_that_goes_ends_the_stream(self, connect: Connect) -> None:
        def pieces() -> Iterator[bytes]:
            while True:
                yield PIECE

        body = Body(pieces())
        outer = Outer(answering(body))
        client = connect(outer)
        client.sendall(request())
        assert client.recv(1) == b"H"
        client.close()
        assert body.closed.wait(SECONDS)
        assert outer.ended.wait(SECONDS)
        assert outer.error is None

    def test_a_client_that_takes_nothing_frees_the_thread(self, connect: Connect) -> None:
        def pieces() -> Iterator[bytes]:
            while True:
                yield PIECE

        body = Body(pieces())
        outer = Outer(answering(body), timeout=0.1)
        client = connect(outer)
        client.sendall(request())
        assert body.closed.wait(SECONDS)
        assert outer.ended.wait(SECONDS)
        assert isinstance(outer.error, TimeoutError)


class TestStreamedBodies:
    def upload(self, read: Callable[[Any], bytes]) -> Respond:
        def respond(environ: Environ) -> Answer:
            try:
                content = read(environ["wsgi.input"])
            except (RequestTimeout, ContentTooLarge) as problem:
                content = problem.message.encode()
            return Answer(200, None, content)

        return respond

    def test_a_body_is_read_as_it_arrives(self, connect: Connect) -> None:
        arrived = threading.Event()

        def read(stream: io.RawIOBase) -> bytes:
            first = stream.read(100) or b""
            arrived.set()
            return b"|".join([first, stream.readall(), stream.read(1) or b"end"])

        client = connect(Outer(self.upload(read), body=None))
        client.sendall(request("POST", "Transfer-Encoding: chunked") + b"3\r\none\r\n")
        assert arrived.wait(SECONDS)
        client.sendall(b"3\r\ntwo\r\n0\r\n\r\n")
        assert split(receive_all(client))[2] == b"one|two|end"

    def test_small_reads_of_a_large_piece_lose_nothing(self, connect: Connect) -> None:
        content = bytes(range(256)) * 1000

        def read(stream: io.RawIOBase) -> bytes:
            return b"".join(iter(lambda: stream.read(7), b""))

        client = connect(Outer(self.upload(read), body=None))
        client.sendall(request("POST", f"Content-Length: {len(content)}") + content)
        assert split(receive_all(client))[2] == content

    def test_a_client_that_stalls_frees_the_thread(self, connect: Connect) -> None:
        client = connect(
            Outer(self.upload(lambda stream: stream.readall()), timeout=0.1, body=None)
        )
        client.sendall(request("POST", "Content-Length: 100") + b"one")
        assert split(receive_all(client))[2] == b"The peer did not go on in time."

    def test_a_client_that_goes_frees_the_thread(self, connect: Connect) -> None:
        messages: list[bytes] = []

        def read(stream: io.RawIOBase) -> bytes:
            try:
                return stream.readall()
            except RequestTimeout as problem:
                messages.append(problem.message.encode())
                raise

        outer = Outer(self.upload(read), body=None)
        client = connect(outer)
        client.sendall(request("POST", "Content-Length: 100") + b"one")
        client.close()
        assert outer.ended.wait(SECONDS)
        assert messages == [b"The connection closed before the body was complete."]

    def test_a_body_beyond_its_limit_is_refused_whatever_its_head_said(
        self, connect: Connect
    ) -> None:
        def read(stream: io.RawIOBase) -> bytes:
            return LimitedReader(stream, 5).readall()

        client = connect(Outer(self.upload(read), body=None))
        client.sendall(request("POST", "Transfer-Encoding: chunked") + b"6\r\nabcdef\r\n")
        assert split(receive_all(client))[2] == b"The body is longer than 5 bytes."


def scope(**more: Any) -> Scope:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [],
        CALL: None,
        BODY: b"",
        **more,
    }


async def never_receive() -> Message:
    return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]


class TestLoad:
    def test_more_than_may_wait_are_turned_away_at_once(self) -> None:
        go = threading.Event()

        def respond(_environ: Environ) -> Answer:
            assert go.wait(SECONDS)
            return Answer(200, None, b"")

        async def run() -> tuple[Overloaded, int]:
            sent: list[Message] = []

            async def send(message: Message) -> None:
                sent.append(message)

            bridge = Bridge(respond, threads=2, most=34, timeout=SECONDS, patience=SECONDS)
            tasks = [asyncio.ensure_future(bridge(scope(), never_receive, send)) for _ in range(34)]
            await asyncio.sleep(0)
            with pytest.raises(Overloaded) as caught:
                await bridge(scope(), never_receive, send)
            go.set()
            await asyncio.gather(*tasks)
            # Now there is room again.
            await bridge(scope(), never_receive, send)
            bridge.close()
            return caught.value, sum(message["type"] == "http.response.start" for message in sent)

        problem, answered = asyncio.run(run())
        assert (problem.message, problem.headers, answered) == (
            "Too many requests are waiting.",
            {"Retry-After": "1"},
            35,
        )

    def test_who_waits_too_long_is_turned_away_and_never_run(self) -> None:
        go, runs = threading.Event(), list[int]()

        def respond(_environ: Environ) -> Answer:
            runs.append(1)
            assert go.wait(SECONDS)
            return Answer(200, None, b"")

        async def run() -> tuple[Overloaded, list[str]]:
            sent: list[str] = []

            async def send(message: Message) -> None:
                sent.append(message["type"])

            bridge = Bridge(respond, threads=1, most=8, timeout=SECONDS, patience=0.05)
            first = asyncio.ensure_future(bridge(scope(), never_receive, send))
            await asyncio.sleep(0)
            with pytest.raises(Overloaded) as caught:
                await bridge(scope(), never_receive, send)
            # Who runs already may take longer than that.
            go.set()
            await first
            bridge.close()
            return caught.value, sent

        problem, sent = asyncio.run(run())
        assert (problem.headers, runs) == ({"Retry-After": "1"}, [1])
        assert sent == ["http.response.start", "http.response.body"]

    @pytest.mark.parametrize("end", ["cancel", "close"])
    def test_a_thread_that_waits_for_its_peer_is_freed(self, end: str) -> None:
        waits, errors = threading.Event(), list[BaseException]()

        def respond(environ: Environ) -> Answer:
            waits.set()
            try:
                environ["wsgi.input"].read()
            except Exception as error:
                errors.append(error)
                raise
            return Answer(200, None, b"")

        async def run() -> None:
            async def send(_message: Message) -> None: ...

            bridge = Bridge(respond, threads=1, most=8, timeout=60, patience=SECONDS)
            task = asyncio.ensure_future(bridge(scope(**{BODY: None}), never_receive, send))
            await asyncio.to_thread(waits.wait, SECONDS)
            if end == "cancel":
                task.cancel()
            # It waits for the thread, on this very loop.
            bridge.close()
            await asyncio.wait([task])
            assert task.cancelled() or task.exception()

        asyncio.run(asyncio.wait_for(run(), SECONDS))
        assert [type(error).__name__ for error in errors] == ["CancelledError"]


class TestEnviron:
    def environ(self, **more: Any) -> Environ:
        seen: list[Environ] = []

        def respond(environ: Environ) -> Answer:
            seen.append(environ)
            return Answer(204, None, b"")

        async def send(_message: Message) -> None: ...

        bridge = Bridge(respond, threads=1, most=8, timeout=SECONDS, patience=SECONDS)
        asyncio.run(bridge(scope(**more), never_receive, send))
        bridge.close()
        return seen[0]

    def test_headers_are_what_was_sent(self) -> None:
        environ = self.environ(
            headers=[
                (b"content-type", b"text/csv"),
                (b"content-length", b"3"),
                (b"accept", b"a/b"),
                (b"accept", b"c/d"),
                (b"cookie", b"a=1"),
                (b"cookie", b"b=2"),
                (b"x_api_key", b"hidden"),
                (b"x-name", "ä".encode()),
            ]
        )
        headers = {k: v for k, v in environ.items() if k.startswith(("HTTP_", "CONTENT_"))}
        assert headers == {
            "CONTENT_TYPE": "text/csv",
            "CONTENT_LENGTH": "3",
            "HTTP_ACCEPT": "a/b, c/d",
            "HTTP_COOKIE": "a=1; b=2",
            "HTTP_X_NAME": "Ã¤",
        }

    def test_a_body_that_was_read_can_be_read_again(self) -> None:
        assert self.environ(**{BODY: b"abc"})["wsgi.input"].read() == b"abc"

    def test_path_and_query_are_those_of_wsgi(self) -> None:
        environ = self.environ(path="/ä/b", raw_path=b"/%C3%A4/b", query_string=b"q=%20")
        assert {name: environ[name] for name in ("PATH_INFO", "QUERY_STRING", "REQUEST_URI")} == {
            "PATH_INFO": "/Ã¤/b",
            "QUERY_STRING": "q=%20",
            "REQUEST_URI": "/%C3%A4/b?q=%20",
        }

    @pytest.mark.parametrize(
        ("server", "name", "port"),
        [(("a.example", 8000), "a.example", "8000"), (("/run/a.sock", None), "/run/a.sock", "80")],
    )
    def test_the_server_has_a_name_and_a_port(self, server: Any, name: str, port: str) -> None:
        environ = self.environ(server=server, client=("192.0.2.1", 5))
        assert (environ["SERVER_NAME"], environ["SERVER_PORT"], environ["REMOTE_ADDR"]) == (
            name,
            port,
            "192.0.2.1",
        )


@pytest.mark.parametrize(
    ("path", "query", "uri"),
    [
        (b"/a%2Fb", b"", "/a%2Fb"),
        (b"/a", b"q=1&r=%20", "/a?q=1&r=%20"),
        ("/ä".encode(), b"", "/%C3%A4"),
        (b"/\xff", b"", "/%FF"),
        (b"/%", b"q=%zz", "/%25?q=%25zz"),
        (b'/"<>', b"", "/%22%3C%3E"),
    ],
)
def test_a_request_uri_has_only_what_a_uri_may_have(path: bytes, query: bytes, uri: str) -> None:
    assert request_uri({"raw_path": path, "query_string": query}) == uri


class TestLimitedReader:
    def reader(self, *pieces: bytes, limit: int) -> LimitedReader:
        messages = [{"body": piece, "more_body": True, "type": "http.request"} for piece in pieces]
        messages.append({"type": "http.request"})
        stream = BodyStream(lambda: messages.pop(0))
        assert stream.readable()
        return LimitedReader(stream, limit)

    def test_a_body_may_have_just_its_limit(self) -> None:
        reader = self.reader(b"abc", b"", b"de", limit=5)
        assert (reader.readable(), reader.readall(), reader.read(1)) == (True, b"abcde", b"")

    def test_who_watches_sees_all_that_is_read(self) -> None:
        reader, digest = self.reader(b"abc", b"", b"de", limit=5), hashlib.sha256()
        reader.watch(digest)
        assert reader.readall() == b"abcde"
        assert digest.digest() == hashlib.sha256(b"abcde").digest()

    def test_one_byte_more_is_too_many(self) -> None:
        reader = self.reader(b"abc", b"def", limit=5)
        assert reader.read(3) == b"abc"
        with pytest.raises(ContentTooLarge) as caught:
            reader.read(3)
        assert caught.value.details == too_large(5).details == [
            {
                "in": "body",
                "pointer": "",
                "rule": "size",
                "message": "The body is longer than 5 bytes.",
                "allowed": 5,
            }
        ]  # fmt: skip
