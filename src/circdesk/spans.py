"""Spans: how long a part of the work takes, where somebody traces; else nothing at all.

Business code marks what goes out of the process; `circdesk.edge.tracing` knows OpenTelemetry.
"""

from collections.abc import Callable, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

Attributes = dict[str, str | int]
Kind = Literal["internal", "client"]
MakeSpan = Callable[[str, Kind, Attributes], AbstractContextManager[Any]]
Inject = Callable[[MutableMapping[str, str]], None]

_NO_SPAN: AbstractContextManager[Any] = nullcontext()
_make: MakeSpan | None = None
_inject: Inject | None = None


def span(
    name: str, kind: Kind = "internal", attributes: Attributes | None = None
) -> AbstractContextManager[Any]:
    """A span around the block, within the one around it.

    Args:
        name: Of few different values; no ids.
        kind: `client` for a call that goes out of the process.
        attributes: By OpenTelemetry's semantic conventions; nothing personal.
    """
    return _NO_SPAN if _make is None else _make(name, kind, attributes or {})


def trace_headers() -> dict[str, str]:
    """Headers of an outgoing call that let its receiver go on with the trace (W3C)."""
    headers: dict[str, str] = {}
    if _inject is not None:
        _inject(headers)
    return headers


def make_spans_with(make: MakeSpan | None, inject: Inject | None) -> None:
    """Let spans be made by these from now on; by none with None."""
    global _make, _inject
    _make, _inject = make, inject
