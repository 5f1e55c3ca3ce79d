"""How long answers take at half of the top rate, measured directly after that rate.

A machine that is shared with others may be half as fast as it was a moment ago. Half of what it
could do then is all that it can do now, and the longest latencies tell of a queue and not of the
service: hence each open loop has the rate that was measured just before it. With all contestants
and their connections, hundreds of processes, there were pauses of 10 to 20 ms each second; with one
alone they are shorter, and as often as a program that watches the machine runs. Hence nobody else
runs meanwhile. Beside Circdesk, the floor and a rival are asked in the same way: what all tails
have in common is the machine's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from contestants import (  # type: ignore[import-not-found]  # It lies beside this file.
    CACHED,
    FASTAPI_ASYNC_SQL,
    FLOOR,
    UNCACHED,
)
from generators import open_loop  # type: ignore[import-not-found]
from loads import Asking  # type: ignore[import-not-found]

JSON = dict[str, Any]

# Operations by contestant. Circdesk alone has a goal: see goals.py.
ASKED: Mapping[str, Sequence[str]] = {
    UNCACHED.name: ("book", "page", "search", "desk"),
    CACHED.name: ("book",),
    FASTAPI_ASYNC_SQL.name: ("book",),
    FLOOR.name: ("book",),
}


def at_half(address: str, operation: str, asking: Asking, top: float, seconds: float) -> JSON:
    """The rate that was asked at, `p50` and `p99` in milliseconds, and how many were `wrong`.

    Args:
        address: Who is asked.
        operation: What `asking` asks for.
        asking: What is asked for.
        top: The top rate of it, as a contestant is rated.
        seconds: For how long.
    """
    return asdict(open_loop(address, asking, half_of(operation, top), seconds))


def half_of(operation: str, top: float) -> float:
    """Requests in a second at half of the top rate, which counts a loan with its return as one."""
    return top if operation == "desk" else top / 2
