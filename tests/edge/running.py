"""Our server in a thread, and what is read from its sockets."""

import socket
import threading
from typing import Self

from starlette.types import ASGIApp

from circdesk.edge.again import Again
from circdesk.edge.server import Server

# No test waits so long unless it fails.
SECONDS = 10


class Running:
    """A server in a thread."""

    def __init__(
        self, app: ASGIApp, *, most: int = 100, again: Again | None = None, lifespan: bool = False
    ) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.server = Server(app, max_connections=most, on_stop=lambda: None, again=again)
        self.server.config.lifespan = "on" if lifespan else "off"
        self._thread = threading.Thread(target=self.server.run, args=([self._listener],))
        self.address = self._listener.getsockname()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=SECONDS)


def read_all(client: socket.socket) -> bytes:
    """All that comes until the server hangs up."""
    return b"".join(iter(lambda: client.recv(65536), b""))
