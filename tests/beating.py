"""A worker's heartbeat beside a service that has no worker, without which it is not ready."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from circdesk.service.heartbeat import STALE_SECONDS, Heartbeat
from circdesk.settings import Settings


@contextmanager
def beating(settings: Settings) -> Iterator[None]:
    """Beat as a worker does, for as long as the block lasts."""
    ended = threading.Event()
    heartbeat = Heartbeat(settings)
    heartbeat.beat()

    def beat() -> None:
        while not ended.wait(STALE_SECONDS / 10):
            heartbeat.beat()

    thread = threading.Thread(target=beat, name="heartbeat")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        heartbeat.close()
