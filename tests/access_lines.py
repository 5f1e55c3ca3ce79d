"""What is logged while requests are answered: their access lines come after the answers."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from structlog.testing import capture_logs


@contextmanager
def logs_of_requests(number: int = 1, **options: Any) -> Iterator[list[Any]]:
    """What is logged in the block, whose end waits for as many access lines, 5 s at the longest."""
    with capture_logs(**options) as logs:
        yield logs
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and len(access_lines(logs)) < number:
            time.sleep(0.005)


def access_lines(logs: list[Any]) -> list[dict[str, Any]]:
    """Those lines which tell of a request that was answered."""
    return [dict(line) for line in logs if line["event"] == "request"]
