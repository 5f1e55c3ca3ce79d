"""The ids of a request: which are taken, which are made, and in which log lines they stand."""

import contextvars
import re

import pytest

from circdesk.edge.request_ids import add_ids, bind_ids, bind_trace, bound_id, read_ids

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
IDS = {"request_id": "mine", "trace_id": TRACE}


@pytest.fixture
def context() -> contextvars.Context:
    """A context of the test's own, in which two ids are bound."""
    context = contextvars.copy_context()
    context.run(bind_ids, {**IDS})
    return context


class TestRead:
    def test_what_a_caller_sends_is_taken(self) -> None:
        trace = f"00-{TRACE}-00f067aa0ba902b7-01".encode()
        headers = [(b"host", b"a"), (b"x-request-id", b"mine"), (b"traceparent", trace)]
        assert read_ids(headers) == IDS

    @pytest.mark.parametrize("sent", [b"", b"a b", b"x" * 65, b"id\n", b"\xe4", b"<script>"])
    def test_what_is_malformed_is_not(self, sent: bytes) -> None:
        ids = read_ids([(b"x-request-id", sent), (b"traceparent", sent)])
        assert ids.keys() == {"request_id"}
        assert re.fullmatch("[0-9a-f]{32}", ids["request_id"])

    def test_the_first_well_formed_one_is_taken(self) -> None:
        sent = [(b"x-request-id", value) for value in (b"a b", b"one", b"two", b"")]
        assert read_ids(sent) == {"request_id": "one"}

    def test_each_request_without_one_has_another(self) -> None:
        assert len({read_ids([])["request_id"] for _ in range(100)}) == 100


class TestLogLines:
    def test_those_of_the_context_stand_in_each(self, context: contextvars.Context) -> None:
        entry = {"event": "it happened"}
        assert context.run(add_ids, None, "info", entry) == {**entry, **IDS}

    def test_a_line_that_names_its_request_has_none_of_another(
        self, context: contextvars.Context
    ) -> None:
        entry = {"event": "it happened", "request_id": "another"}
        assert context.run(add_ids, None, "info", {**entry}) == entry

    def test_outside_of_a_request_there_are_none(self) -> None:
        context = contextvars.Context()
        assert context.run(add_ids, None, "info", {"event": "x"}) == {"event": "x"}

    def test_the_next_request_keeps_nothing_of_the_one_before(
        self, context: contextvars.Context
    ) -> None:
        context.run(bind_ids, {"request_id": "next"})
        assert context.run(bound_id) == "next"
        assert context.run(add_ids, None, "info", {}) == {"request_id": "next"}

    def test_who_has_bound_them_hears_of_a_trace(self, context: contextvars.Context) -> None:
        ids = {"request_id": "next"}
        context.run(bind_ids, ids)
        context.run(bind_trace, TRACE)
        assert ids == {"request_id": "next", "trace_id": TRACE}
