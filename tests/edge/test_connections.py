"""The server's connections: slow, long, broken and too many of them, on real sockets."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, BinaryIO

import pytest
from starlette.types import Receive, Scope, Send

from circdesk.edge import connections
from circdesk.edge.again import Again, Repeat
from circdesk.edge.ceilings import TOO_MANY_CONNECTIONS
from circdesk.edge.connections import Protocol
from tests.edge.running import SECONDS, Running, read_all

GET = b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n"
# More than the buffers of both ends of a connection hold.
LARGE = b"x" * 20_000_000

Start = Callable[..., Running]


class App:
    """Answers with its path. `slow` waits, `large` and `stream` say much; `body` reads."""

    def __init__(self) -> None:
        self.asked: list[str] = []
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
        self.asked.append(name)
        body = b"too many" if TOO_MANY_CONNECTIONS in scope else name.encode()
        if name == "slow":
            await asyncio.to_thread(self.go.wait, SECONDS)
        elif name in ("large", "told-large"):
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


class Told(Again):
    """Tells answers again whose paths begin with `told`; those to `told-large` say much."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.ended = 0

    def find(self, scope: Scope) -> Repeat | None:
        name = scope["path"].strip("/")
        if not name.startswith("told"):
            return None
        self.found.append(name)
        return _Repeat(self, LARGE if name == "told-large" else name.encode())


class _Repeat(Repeat):
    """An answer that was told before."""

    def __init__(self, told: Told, body: bytes) -> None:
        self.status, self.body = 200, body
        self._of = told

    @property
    def lines(self) -> bytes:
        return b"content-length: %d\r\nx-told: again\r\n" % len(self.body)

    def end(self) -> None:
        self._of.ended += 1


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def start(app: App, told: Told) -> Iterator[Start]:
    with ExitStack() as stack:
        yield lambda most=100: stack.enter_context(Running(app, most=most, again=told))
        app.go.set()


@pytest.fixture
def client(start: Start) -> Iterator[socket.socket]:
    with start().connect() as client:
        yield client


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_HEAD_SECONDS", 0.2)
    monkeypatch.setattr(connections, "_WRITE_SECONDS", 0.2)


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

    @pytest.mark.usefixtures("impatient")
    def test_which_has_to_come_in_time_all_the_same(self, client: socket.socket) -> None:
        client.sendall(b"POST /one HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
        assert is_answered(client, b"one")
        client.sendall(b"x")
        assert read_all(client) == b""


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
    @pytest.mark.parametrize("name", [b"large", b"stream", b"told-large"])
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


class TestToldAgain:
    """What was told before is told at once, and all else goes on as if it had been asked for."""

    def test_nobody_else_is_asked(self, start: Start, app: App, told: Told) -> None:
        running = start()
        with running.connect() as client, client.makefile("rb") as reader:
            for _ in range(3):
                client.sendall(GET % b"told")
                (first, date, *fields), body = read_answer(reader)
                assert (first, body) == (b"HTTP/1.1 200 OK", b"told")
                assert date.startswith(b"date: ")
                assert fields == [b"content-length: 4", b"x-told: again"]
        assert (app.asked, told.ended) == ([], 3)
        assert running.server.server_state.total_requests == 3

    def test_many_in_one_packet_are_answered_in_their_order(
        self, client: socket.socket, app: App, told: Told
    ) -> None:
        names = [b"told-%d" % number for number in range(50)]
        client.sendall(b"".join(GET % name for name in names))
        assert read_bodies(client, 50) == names
        assert (app.asked, told.ended) == ([], 50)

    def test_too_many_in_one_packet_do_not_keep_others_waiting(
        self, client: socket.socket, app: App, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connections, "_MOST_AT_ONCE", 5)
        names = [b"told-%d" % number for number in range(20)]
        for _ in range(2):
            app.asked.clear()
            client.sendall(b"".join(GET % name for name in names))
            assert read_bodies(client, 20) == names
            assert app.asked == [name.decode() for name in names[5:]]

    def test_those_behind_one_that_waits_are_answered_after_it(
        self, client: socket.socket, app: App
    ) -> None:
        # As many as would be too deep, one within the other.
        names = [b"slow", *(b"told-%d" % number for number in range(2000)), b"last"]
        client.sendall(b"".join(GET % name for name in names))
        threading.Timer(0.2, app.go.set).start()
        assert read_bodies(client, len(names)) == names
        assert (app.errors, app.asked) == ([], [name.decode() for name in names])

    def test_the_last_of_those_that_wait_is_told_at_once(
        self, client: socket.socket, app: App
    ) -> None:
        client.sendall(GET % b"slow" + GET % b"told")
        threading.Timer(0.2, app.go.set).start()
        assert read_bodies(client, 2) == [b"slow", b"told"]
        assert app.asked == ["slow"]

    @pytest.mark.parametrize(
        "request_",
        [
            b"GET /told HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            b"GET /told HTTP/1.0\r\n\r\n",
            # As whoever cannot do more may ask for, and nobody has to grant.
            b"GET /told HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        ],
        ids=["close", "HTTP/1.0", "HTTP/1.0 keep-alive"],
    )
    def test_the_last_one_closes_the_connection(
        self, client: socket.socket, app: App, told: Told, request_: bytes
    ) -> None:
        client.sendall(request_ + b"POST /one HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        answer = read_all(client)
        assert answer.count(b"HTTP/1.1 ") == 1
        assert answer.endswith(b"\r\nconnection: close\r\n\r\ntold")
        assert (app.asked, told.found) == ([], ["told"])

    def test_a_reader_that_pauses_is_waited_for(self, client: socket.socket, app: App) -> None:
        client.sendall(GET % b"told-large" * 3)
        threading.Event().wait(0.3)
        assert app.asked == ["told-large"]
        assert [len(body) for body in read_bodies(client, 3)] == [len(LARGE)] * 3
        assert app.errors == []

    @pytest.mark.usefixtures("impatient")
    def test_who_thinks_has_the_time_of_an_idle_connection(
        self, client: socket.socket, told: Told
    ) -> None:
        for _ in range(2):
            client.sendall(GET % b"told")
            assert is_answered(client, b"told")
            # More than a head may take, and less than a connection may be idle.
            threading.Event().wait(0.5)
        assert told.ended == 2

    @pytest.mark.usefixtures("impatient")
    def test_the_head_behind_it_has_to_come_in_time(self, client: socket.socket) -> None:
        client.sendall(GET % b"told" + b"GET /tw")
        assert is_answered(client, b"told")
        client.sendall(b"o")
        assert read_all(client) == b""

    def test_nobody_is_idle_for_ever(self, start: Start) -> None:
        running = start()
        running.server.config.timeout_keep_alive = 0  # As soon as nothing else is to be done.
        with running.connect() as client:
            client.sendall(GET % b"told" + b"GET /tw")
            assert read_all(client).endswith(b"told")

    def test_what_is_not_http_behind_it_is_told_so(self, client: socket.socket) -> None:
        client.sendall(GET % b"told" + b"rubbish\r\n\r\n")
        with client.makefile("rb") as reader:
            assert read_answer(reader)[1] == b"told"
            assert refusal(reader.read())["code"] == "malformed_request"

    def test_a_connection_too_many_is_told_so_all_the_same(self, start: Start, told: Told) -> None:
        running = start(1)
        with running.connect() as first:
            first.sendall(GET % b"told")
            assert is_answered(first, b"told")
            with running.connect() as second:
                second.sendall(GET % b"told")
                assert is_answered(second, b"too many")
        assert told.found == ["told"]

    def test_at_the_end_it_says_that_it_is_the_last(self, start: Start, app: App) -> None:
        running = start()
        with running.connect() as client:
            client.sendall(GET % b"slow" + GET % b"told")
            assert wait_until(lambda: app.asked == ["slow"])
            running.server.should_exit = True
            (protocol,) = running.server.server_state.connections
            assert isinstance(protocol, Protocol)
            assert wait_until(lambda: not protocol.cycle.keep_alive)
            app.go.set()
            answer = read_all(client)
        assert answer.count(b"connection: close") == 1
        assert answer.endswith(b"x-told: again\r\nconnection: close\r\n\r\ntold")


def read_answer(reader: BinaryIO) -> tuple[list[bytes], bytes]:
    """The lines of the head and the body of the next answer."""
    lines = [*iter(lambda: reader.readline().rstrip(b"\r\n"), b"")]
    (length,) = [line for line in lines if line.startswith(b"content-length: ")]
    return lines, reader.read(int(length.partition(b" ")[2]))


def read_bodies(client: socket.socket, number: int) -> list[bytes]:
    """The bodies of so many answers."""
    with client.makefile("rb") as reader:
        return [read_answer(reader)[1] for _ in range(number)]


def ask_and_read(client: socket.socket) -> None:
    """Read an answer's first byte. Raises ConnectionError where none comes."""
    client.sendall(GET % b"one")
    if not client.recv(1):
        raise ConnectionResetError


def wait_until(condition: Callable[[], bool]) -> bool:
    """Whether it comes about in time."""
    pause = threading.Event()
    return any(condition() or pause.wait(0.05) for _ in range(SECONDS * 20))
