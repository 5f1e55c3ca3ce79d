"""The trace that a request belongs to, where its caller sends one (W3C Trace Context)."""

import re
from collections.abc import Iterable
from typing import NamedTuple

# Version, trace, parent, flags; later versions may have more behind them.
_TRACEPARENT = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)


class TraceContext(NamedTuple):
    """Where in which trace the caller is; ids in lower-case hexadecimal."""

    trace_id: str
    parent_id: str
    sampled: bool


def read_trace_context(headers: Iterable[tuple[bytes, bytes]]) -> TraceContext | None:
    """The trace context of an ASGI scope's headers; None for none, or for one that is malformed.

    Who sends a malformed one, or two, is treated as one who sends none (3.2.2.5 and 3.2.3).
    """
    sent = [value.strip() for name, value in headers if name == b"traceparent"]
    found = _TRACEPARENT.fullmatch(sent[0]) if len(sent) == 1 else None
    if found is None or (found[1] == b"00" and found[5]):
        return None
    return TraceContext(found[2].decode(), found[3].decode(), bool(int(found[4], 16) & 1))
