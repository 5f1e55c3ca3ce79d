"""A server that takes letters from the mail hook."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Post(ThreadingHTTPServer):
    """A server that takes letters, each with the next of its statuses."""

    daemon_threads = True

    def __init__(self, *statuses: int | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.statuses = list(statuses)
        self.letters: list[Any] = []
        self.arrived = threading.Condition()
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/letters"

    def wait_for(self, count: int) -> list[Any]:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.letters) >= count, timeout=60)
        return self.letters


class _Handler(BaseHTTPRequestHandler):
    server: Post

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.arrived:
            self.server.letters.append((self.path, self.headers["Content-Type"], json.loads(body)))
            status = self.server.statuses.pop(0) if self.server.statuses else 204
            self.server.arrived.notify_all()
        if status is None:
            # It says nothing for as long as the test lasts.
            self.server.released.wait(30)
            status = 204
        self.send_response(status)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - The library's name.
        pass


@contextmanager
def serving_post(*statuses: int | None) -> Iterator[Post]:
    """A server at work, that answers with these statuses and then with 204."""
    server = Post(*statuses)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
