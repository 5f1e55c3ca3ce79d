"""The server's connections: slow, long, broken and too many of them, on real sockets."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Self

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from circdesk.edge import connections
from circdesk.edge.ceilings import TOO_MANY_CONNECTIONS
from circdesk.edge.server import Server

GET = b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n"
# No test waits so long unless it fails.
SECONDS = 10
# More than the buffers of both ends of a connection hold.
LARGE = b"x" * 20_000_000

Start = Callable[..., "Running"]


class App:
    """Answers with its path. `slow` waits, `large` and `stream` say much; `body` reads."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.errors: list[BaseException] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._answer(scope, receive, send)
        except BaseException as error:
            self.errors.append(error)
            raise

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = scope["path"].strip("/")
        body = b"too many" if TOO_MANY_CONNECTIONS in scope else name.encode()
        if name == "slow":
            await asyncio.to_thread(self.go.wait, SECONDS)
        elif name == "large":
            body = LARGE
        elif name == "stream":
            await _stream(send)
        elif name == "body":
            while (await receive()).get("more_body", False):
                pass
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def _stream(send: Send) -> None:
    """Send pieces without an end, and give up on a peer that does not take them."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        async with asyncio.timeout(0.2):
            await send({"type": "http.response.body", "body": LARGE[:65536], "more_body": True})


class Running:
    """A server in a thread."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.server = Server(app, max_connections=most, on_stop=lambda: None)
        self.server.config.lifespan = "off"
        self._thread = threading.Thread(target=self.server.run, args=([self._listener],))
        self._address = self._listener.getsockname()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()

    def connect(self) -> socket.socket:
        return socket.create_connection(self._address, timeout=SECONDS)


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def start(app: App) -> Iterator[Start]:
    with ExitStack() as stack:
        yield lambda most=100: stack.enter_context(Running(app, most))
        app.go.set()


@pytest.fixture
def client(start: Start) -> Iterator[socket.socket]:
    with start().connect() as client:
        yield client


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_HEAD_SECONDS", 0.2)
    monkeypatch.setattr(connections, "_WRITE_SECONDS", 0.2)


def read_all(client: socket.socket) -> bytes:
    """All that comes until the server hangs up."""
    return b"".join(iter(lambda: client.recv(65536), b""))


def is_answered(client: socket.socket, body: bytes) -> bool:
    """Whether an answer with this body comes."""
    answer = b""
    while not answer.endswith(body):
        answer += (piece := client.recv(65536))
        if not piece:
            return False
    return True


def refusal(answer: bytes) -> dict[str, Any]:
    """The problem in an answer that is the last one."""
    head, _, body = answer.partition(b"\r\n\r\n")
    fields = head.lower().split(b"\r\n")
    assert b"content-type: application/problem+json" in fields
    assert b"connection: close" in fields
    assert b"content-length: %d" % len(body) in fields
    problem: dict[str, Any] = json.loads(body)
    assert f"x-request-id: {problem['request_id']}".encode() in fields
    assert head.startswith(b"HTTP/1.1 %d " % problem["status"])
    return problem


class TestHeads:
    @pytest.mark.usefixtures("impatient")
    @pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET", GET[:-2], b"GET / HTTP/1.1\r\nA"])
    def test_one_that_does_not_come_is_given_up(self, client: socket.socket, sent: bytes) -> None:
        client.sendall(sent)
        assert read_all(client) == b""

    @pytest.mark.usefixtures("impatient")
    def test_so_is_the_next_one(self, client: socket.socket) -> None:
        client.sendall(GET % b"one")
        assert is_answered(client, b"one")
        client.sendall(b"GET /tw")
        assert read_all(client) == b""

    @pytest.mark.usefixtures("impatient")
    def test_a_drop_now_and_then_gains_no_time(self, client: socket.socket) -> None:
        stopped = threading.Event()

        def drip() -> None:
            while not stopped.wait(0.05):
                try:
                    client.sendall(b"X")
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        client.sendall(b"GET / HTTP/1.1\r\n")
        thread.start()
        try:
            # What drips on after the end makes it a reset.
            assert read_all(client) == b""
        except ConnectionResetError:
            pass
        finally:
            stopped.set()
            thread.join()

    @pytest.mark.usefixtures("impatient")
    def test_a_request_that_is_answered_slowly_has_all_the_time(
        self, client: socket.socket, app: App
    ) -> None:
        client.sendall(GET % b"slow")
        threading.Timer(0.6, app.go.set).start()
        assert is_answered(client, b"slow")

    @pytest.mark.parametrize("line", [b"X: ", b"GET /", b""])
    def test_a_long_one_is_refused_while_it_comes(self, client: socket.socket, line: bytes) -> None:
        begin = b"" if line.startswith(b"GET") else b"GET / HTTP/1.1\r\n"
        client.sendall(begin + line + b"x" * 66_000)
        problem = refusal(read_all(client))
        assert (problem["status"], problem["code"]) == (431, "headers_too_large")

    def test_a_long_body_is_no_long_head(self, client: socket.socket) -> None:
        for _ in range(2):
            head = b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n"
            client.sendall(head + b"x" * 200_000)
            assert is_answered(client, b"body")

    def test_nor_is_one_that_nobody_reads(self, client: socket.socket) -> None:
        head = b"POST /one HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n"
        client.sendall(head)
        assert is_answered(client, b"one")
        client.sendall(b"x" * 200_000 + GET % b"two")
        assert is_answered(client, b"two")


class TestMalformed:
    def test_what_is_not_http_is_told_so(self, client: socket.socket) -> None:
        client.sendall(b"EHLO evil.example\r\n\r\n")
        assert refusal(read_all(client))["code"] == "malformed_request"

    def test_the_answer_before_it_comes_whole_and_is_the_last(
        self, client: socket.socket, app: App
    ) -> None:
        client.sendall(GET % b"slow" + b"rubbish\r\n\r\n")
        threading.Timer(0.2, app.go.set).start()
        answer = read_all(client)
        assert answer.count(b"HTTP/1.1") == 1
        assert answer.endswith(b"slow")

    def test_a_body_that_breaks_is_told_so(self, client: socket.socket, app: App) -> None:
        client.sendall(
            b"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
        )
        assert refusal(read_all(client))["code"] == "malformed_request"
        assert app.errors == []

    def test_who_goes_while_others_wait_behind_breaks_nothing(self, start: Start, app: App) -> None:
        running = start()
        with running.connect() as client:
            client.sendall(GET % b"slow" + GET % b"two" + GET % b"three")
        threading.Timer(0.2, app.go.set).start()
        with running.connect() as other:
            other.sendall(GET % b"slow")
            assert is_answered(other, b"slow")
        assert app.errors == []

    def test_an_upgrade_is_not_heard(self, client: socket.socket) -> None:
        client.sendall(
            b"GET /a HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
        )
        assert is_answered(client, b"a")


class TestReaders:
    @pytest.mark.usefixtures("impatient")
    @pytest.mark.parametrize("name", [b"large", b"stream"])
    def test_one_that_takes_nothing_is_hung_up_on(self, start: Start, name: bytes) -> None:
        running = start()
        with running.connect() as client:
            client.sendall(GET % name)
            assert client.recv(1) == b"H"
            assert wait_until(lambda: not running.server.server_state.connections)

    @pytest.mark.usefixtures("impatient")
    def test_one_that_takes_it_slowly_gets_it_all(self, client: socket.socket) -> None:
        client.sendall(GET % b"large")
        length = 0
        while length < len(LARGE):
            length += len(client.recv(1_000_000))
            threading.Event().wait(0.02)
        assert length > len(LARGE)


class TestConnections:
    def test_one_too_many_is_told_so(self, start: Start) -> None:
        running = start(2)
        with running.connect() as first, running.connect() as second:
            for client in (first, second):
                client.sendall(GET % b"one")
                assert is_answered(client, b"one")
            with running.connect() as third:
                third.sendall(GET % b"one")
                assert is_answered(third, b"too many")
            first.sendall(GET % b"two")
            assert is_answered(first, b"two")
        assert wait_until(lambda: not running.server.server_state.connections)
        with running.connect() as fourth:
            fourth.sendall(GET % b"one")
            assert is_answered(fourth, b"one")

    def test_far_too_many_are_hung_up_on(
        self, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connections, "_TOLD", 0)
        running = start(1)
        with running.connect() as first:
            first.sendall(GET % b"one")
            assert is_answered(first, b"one")
            with running.connect() as second, pytest.raises(ConnectionError):
                ask_and_read(second)


def ask_and_read(client: socket.socket) -> None:
    """Read an answer's first byte. Raises ConnectionError where none comes."""
    client.sendall(GET % b"one")
    if not client.recv(1):
        raise ConnectionResetError


def wait_until(condition: Callable[[], bool]) -> bool:
    """Whether it comes about in time."""
    pause = threading.Event()
    return any(condition() or pause.wait(0.05) for _ in range(SECONDS * 20))
