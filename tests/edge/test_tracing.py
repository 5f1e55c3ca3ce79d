"""Traces, as a collector receives them by OTLP over HTTP."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from sqlalchemy import Engine, text
from structlog.testing import capture_logs

from circdesk.auth.mail_hook import MailHook
from circdesk.edge.request_ids import add_ids
from circdesk.edge.tracing import is_wanted, request_spans, tracing
from circdesk.settings import Settings
from circdesk.spans import span, trace_headers
from tests.access_lines import access_lines, logs_of_requests
from tests.auth.serving import serving
from tests.people import MEMBER_ID, api_key

PARENT = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{PARENT}-b7ad6b7169203331-01"
UNSET, ERROR = 0, 2


class Collector(ThreadingHTTPServer):
    """Takes what is exported; a real receiver of the protocol."""

    daemon_threads = True

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.letters: list[dict[str, str]] = []
        super().__init__(("127.0.0.1", 0), _Receiver)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


class _Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.path == "/v1/traces":
            self.server.requests.append(ExportTraceServiceRequest.FromString(body))
        else:
            self.server.letters.append({k.lower(): v for k, v in self.headers.items()})
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nobody needs it."""


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that OpenTelemetry's standard variables point to."""
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        yield collector
        collector.shutdown()
        thread.join()


def attributes(span: Span) -> dict[str, Any]:
    """The attributes of a span; each is a text or a number."""
    return {item.key: item.value.string_value or item.value.int_value for item in span.attributes}


@pytest.fixture
def traced(
    settings: Settings, engine: Engine, collector: Collector
) -> Callable[..., tuple[Span, list[Span]]]:
    """Sends a request and answers its span and those of the same trace, oldest first."""

    def traced(method: str, path: str, **options: Any) -> tuple[Span, list[Span]]:
        with tracing(), serving(settings) as url:
            httpx.request(method, f"{url}{path}", timeout=60, **options)
        (root,) = [span for span in collector.spans if span.kind == Span.SPAN_KIND_SERVER]
        others = [s for s in collector.spans if s.trace_id == root.trace_id and s is not root]
        return root, sorted(others, key=lambda span: span.start_time_unix_nano)

    return traced


class TestRequests:
    def test_a_span_for_request_handler_and_each_statement(
        self, traced: Callable[..., tuple[Span, list[Span]]], engine: Engine
    ) -> None:
        headers = {"traceparent": TRACEPARENT, "X-Request-Id": "abc", "baggage": "who=ada"}
        root, others = traced("GET", "/api/books?q=a-word-of-mine", headers=headers)

        assert root.name == "GET /api/books"
        assert root.trace_id.hex() == PARENT
        assert root.parent_span_id.hex() == "b7ad6b7169203331"
        assert attributes(root) == {
            "http.request.method": "GET",
            "url.scheme": "http",
            "network.protocol.version": "1.1",
            "http.route": "/api/books",
            "http.response.status_code": 200,
            "circdesk.operation": "list_books",
            "circdesk.request_id": "abc",
        }
        (handler,) = [span for span in others if span.kind == Span.SPAN_KIND_INTERNAL]
        assert (handler.name, handler.parent_span_id) == ("list_books", root.span_id)
        statements = [span for span in others if span.parent_span_id == handler.span_id]
        assert statements
        for statement in statements:
            told = attributes(statement)
            assert statement.kind == Span.SPAN_KIND_CLIENT
            assert statement.name in ("SELECT", "WITH")
            assert told["db.system.name"] == engine.dialect.name
            assert told["db.query.text"].startswith(statement.name)
        assert "a-word-of-mine" not in str([root, *others])

    def test_who_is_calling_is_looked_up_in_the_trace_and_not_told(
        self, traced: Callable[..., tuple[Span, list[Span]]]
    ) -> None:
        headers = {"X-API-Key": api_key("librarian")}
        root, others = traced("GET", f"/api/users/{MEMBER_ID}", headers=headers)
        looked_up = [span for span in others if span.parent_span_id == root.span_id]
        assert any("api_keys" in attributes(s).get("db.query.text", "") for s in looked_up)
        told = str([root, *others])
        for secret in (str(MEMBER_ID), "example.org", api_key("librarian"), "127.0.0.1"):
            assert secret not in told
        assert root.name == "GET /api/users/{user_id}"

    def test_what_no_operation_answers_has_no_route(
        self, traced: Callable[..., tuple[Span, list[Span]]]
    ) -> None:
        root, others = traced("GET", "/api/nowhere/card:20001", headers={"traceparent": "no"})
        assert (root.name, root.parent_span_id, others) == ("GET", b"", [])
        assert root.status.code == UNSET

    def test_a_failure_of_ours_is_an_error(
        self,
        traced: Callable[..., tuple[Span, list[Span]]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def fail(session: Any, *_: object, **__: object) -> None:
            session.execute(
                text("SELECT of_ada FROM no_such_table WHERE a = :a"), {"a": "ada@x.yz"}
            )

        monkeypatch.setattr("circdesk.news.posts.list_posts", fail)
        root, others = traced("GET", "/api/posts")
        assert (root.status.code, attributes(root)["error.type"]) == (ERROR, "500")
        (statement,) = [span for span in others if span.name == "SELECT"]
        assert statement.status.code == ERROR
        assert "ada@x.yz" not in str([root, *others])

    def test_a_span_for_each_that_repeats_another(
        self, settings: Settings, kept_path: str, collector: Collector
    ) -> None:
        with tracing(), serving(settings) as url, httpx.Client(timeout=60) as client:
            for _ in range(4):
                client.get(url + kept_path)
        roots = [span for span in collector.spans if span.kind == Span.SPAN_KIND_SERVER]
        assert [span.name for span in roots] == ["GET /api/books/{book_id}"] * 4

    @pytest.mark.usefixtures("collector")
    def test_log_lines_have_the_trace(self, settings: Settings) -> None:
        with (
            tracing(),
            serving(settings) as url,
            logs_of_requests(processors=[add_ids]) as logs,
        ):
            httpx.get(f"{url}/healthz", headers={"traceparent": TRACEPARENT})
        (line,) = access_lines(logs)
        assert line["trace_id"] == PARENT


class TestOutgoing:
    def test_the_mail_hook_goes_on_with_the_trace(self, collector: Collector) -> None:
        letter = {"event": "password_reset", "email": "ada@example.org", "token": "t"}
        with tracing():
            hook = MailHook(f"{collector.url}/mail")
            with span("request"):
                hook.send(lambda: letter)
                deadline = time.monotonic() + 60
                while not collector.letters:
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
            hook.close()
        sent = {span.name: span for span in collector.spans}
        post, parent = sent["POST mail hook"], sent["request"]
        assert (post.kind, post.parent_span_id) == (Span.SPAN_KIND_CLIENT, parent.span_id)
        (headers,) = collector.letters
        assert headers["traceparent"].split("-")[1:3] == [post.trace_id.hex(), post.span_id.hex()]
        assert "ada@example.org" not in str(collector.spans)


class TestSwitch:
    @pytest.mark.parametrize(
        "variables",
        [
            {},
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"},
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"},
        ],
    )
    def test_without_the_variables_nothing_is_traced(
        self, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, setting in variables.items():
            monkeypatch.setenv(name, setting)
        with tracing():
            assert not is_wanted()
            assert request_spans() == []
            assert trace_headers() == {}
            with span("nothing") as nothing:
                assert nothing is None

    def test_without_them_nothing_is_imported(self) -> None:
        code = (
            "import sys; from circdesk.app import create_app; from circdesk.edge import tracing\n"
            "with tracing.tracing(): print([m for m in sys.modules if 'opentelemetry' in m])"
        )
        ran = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert ran.stdout == "[]\n", ran.stderr

    @pytest.mark.usefixtures("collector")
    def test_where_it_is_not_installed_one_line_says_so(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("circdesk.edge.tracing.find_spec", lambda _name: None)
        with capture_logs() as logs, tracing():
            assert request_spans() == []
        assert [line["event"] for line in logs] == ["no_traces"]

    def test_a_collector_that_is_away_holds_nobody_up(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
        started = time.monotonic()
        with tracing(), span("one"):
            assert trace_headers().keys() == {"traceparent"}
        assert time.monotonic() - started < 15
