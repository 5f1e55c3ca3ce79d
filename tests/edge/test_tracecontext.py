"""W3C Trace Context: what is taken, and what counts as nothing."""

import pytest

from circdesk.edge.tracecontext import TraceContext, read_trace_context

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def read(*values: str) -> TraceContext | None:
    return read_trace_context(
        [(b"accept", b"*/*"), *((b"traceparent", value.encode()) for value in values)]
    )


@pytest.mark.parametrize(
    ("value", "sampled"),
    [
        (f"00-{TRACE}-{PARENT}-01", True),
        (f" 00-{TRACE}-{PARENT}-00 ", False),
        (f"00-{TRACE}-{PARENT}-ff", True),
        (f"cc-{TRACE}-{PARENT}-01", True),
        (f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like", True),
    ],
)
def test_a_context_is_read(value: str, *, sampled: bool) -> None:
    assert read(value) == TraceContext(TRACE, PARENT, sampled)


@pytest.mark.parametrize(
    "value",
    [
        "",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"cc-{TRACE}-{PARENT}-01.more",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-1",
        f"00-{TRACE}x-{PARENT}-01",
    ],
)
def test_a_malformed_one_counts_as_none(value: str) -> None:
    assert read(value) is None


def test_nobody_has_two() -> None:
    assert read() is None
    assert read(f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-01") is None
