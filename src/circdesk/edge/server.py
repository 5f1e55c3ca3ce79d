"""Our server: uvicorn with connections of our own, which ends in time."""

import os
import threading
from collections.abc import Callable
from types import FrameType

import structlog
from starlette.types import ASGIApp

from circdesk.edge.again import Again
from circdesk.edge.connections import Protocol
from circdesk.late import later

# As for connections.
with later("uvicorn.supervisors"):
    import uvicorn

log = structlog.get_logger("circdesk")

# Seconds that running requests get to end after a signal to stop, and that the end takes in all:
# less than the 30 s that platforms wait before they kill.
_GRACE, _LAST_MOMENT = 18, 24


class Server(uvicorn.Server):
    """uvicorn with these connections, which has ended 24 s after a signal, whatever hangs.

    Args:
        app: What it serves.
        max_connections: As many are served at once; more are told so.
        again: What finds answers to tell them again, before the application is asked.
        on_stop: Called at the first signal, while requests still run.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_connections: int,
        on_stop: Callable[[], None],
        again: Again | None,
    ) -> None:
        self._on_stop = on_stop
        own = {"most_connections": max_connections, "again": again}
        protocol = type("LimitedProtocol", (Protocol,), own)
        config = uvicorn.Config(
            app,
            http=protocol,
            # The contract has no web sockets; whoever asks for one is answered as without.
            ws="none",
            # uvicorn would believe any X-Forwarded-For from this machine.
            proxy_headers=False,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE,
        )
        super().__init__(config)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; the first signal also sets the clock for the last moment."""
        if not self.should_exit:
            last_moment = threading.Timer(_LAST_MOMENT, _end_at_once)
            last_moment.daemon = True
            last_moment.start()
            self._on_stop()
        super().handle_exit(sig, frame)


def _end_at_once() -> None:
    """End although something hangs; what it has not committed is rolled back by the database."""
    log.error("stopped_by_force", seconds=_LAST_MOMENT)
    os._exit(1)
