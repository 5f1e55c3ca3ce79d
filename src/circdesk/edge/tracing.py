"""Traces by OpenTelemetry, where the extra `otel` is installed and its variables say where to.

Nothing of OpenTelemetry is imported before that is known. Spans carry route templates, the names
of operations and the text of statements without values: no path, no address, nobody's data.
"""

import os
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from threading import Thread
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from circdesk.contract.environ import OPERATION, ROUTE
from circdesk.edge.request_ids import bind_trace
from circdesk.spans import Attributes, Kind, make_spans_with

log = structlog.get_logger("circdesk.tracing")

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
# What is left at the end gets so long to reach the collector.
_LAST_SECONDS = 3.0
_LONGEST_STATEMENT = 2000
_SPANS = "circdesk_spans"
# Others are one, so that callers do not make up names.
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"))

_tracer: "Tracer | None" = None


def is_wanted() -> bool:
    """Whether the standard variables of OpenTelemetry ask for traces by OTLP."""
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "otlp")
    return not off and exporter == "otlp" and any(os.environ.get(name) for name in _ENDPOINTS)


@contextmanager
def tracing() -> Iterator[None]:
    """Trace what happens in the block, if that is wanted; send what is left at its end."""
    global _tracer  # noqa: PLW0603 - like the logs, traces are the process's own.
    if not is_wanted():
        yield
        return
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None:
        log.warning("no_traces", reason="the extra `otel` is not installed")
        yield
        return
    _tracer = Tracer()
    make_spans_with(_tracer.span, _tracer.inject)
    try:
        yield
    finally:
        make_spans_with(None, None)
        _tracer.close()
        _tracer = None


def request_spans() -> list[type["RequestSpans"]]:
    """The middleware that traces requests, where anything is traced."""
    return [] if _tracer is None else [RequestSpans]


class RequestSpans:
    """ASGI middleware: a span for each request, within the caller's trace (W3C traceparent)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on within its span."""
        tracer = _tracer
        if scope["type"] != "http" or tracer is None:
            await self._app(scope, receive, send)
            return
        with tracer.request_span(scope) as span:

            async def watch(message: Message) -> None:
                if message["type"] == "http.response.start":
                    tracer.name_span(span, scope, message["status"])
                await send(message)

            try:
                await self._app(scope, receive, watch)
            except Exception as error:
                tracer.fail(span, type(error).__name__)
                raise


class Tracer:
    """OpenTelemetry, set up by its standard variables; for this service and not for the process."""

    def __init__(self) -> None:
        # All of OpenTelemetry is imported here, where it is wanted.
        from opentelemetry import trace  # noqa: PLC0415
        from opentelemetry.exporter.otlp.proto.http import trace_exporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.trace.propagation import tracecontext  # noqa: PLC0415

        name, release = os.environ.get("OTEL_SERVICE_NAME", "circdesk"), version("circdesk")
        resource = Resource.create({"service.name": name, "service.version": release})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(trace_exporter.OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("circdesk", release)
        # Baggage, which callers fill, is not carried on.
        self._propagator = tracecontext.TraceContextTextMapPropagator()
        self._trace = trace
        self._listeners: dict[str, Callable[..., None]] = {
            "before_cursor_execute": self._begin_statement,
            "after_cursor_execute": self._end_statement,
            "handle_error": self._fail_statement,
        }
        for event_name, listener in self._listeners.items():
            event.listen(Engine, event_name, listener)

    def close(self) -> None:
        """Send what is left, if the collector takes it within some seconds."""
        for event_name, listener in self._listeners.items():
            event.remove(Engine, event_name, listener)
        # It waits for half a minute by itself, and longer for a collector that hangs.
        last = Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        last.join(_LAST_SECONDS)

    def inject(self, headers: MutableMapping[str, str]) -> None:
        """Add the headers by which another service goes on with the trace."""
        self._propagator.inject(headers)

    def span(self, name: str, kind: Kind, attributes: Attributes) -> AbstractContextManager[Any]:
        """A span of something within the process, or of a call out of it."""
        kinds = self._trace.SpanKind
        return self._start(
            name, kinds.CLIENT if kind == "client" else kinds.INTERNAL, attributes, None
        )

    @contextmanager
    def request_span(self, scope: Scope) -> Iterator[Any]:
        """A span of a request, as the semantic conventions for HTTP servers have it."""
        headers = {n.decode("latin-1"): v.decode("latin-1") for n, v in scope["headers"]}
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        attributes: Attributes = {
            "http.request.method": method,
            "url.scheme": scope.get("scheme", "http"),
            "network.protocol.version": scope["http_version"],
            "circdesk.request_id": scope["circdesk.request_id"],
        }
        parent = self._propagator.extract(headers)
        with self._start(method, self._trace.SpanKind.SERVER, attributes, parent) as span:
            bind_trace(self._trace.format_trace_id(span.get_span_context().trace_id))
            yield span

    def name_span(self, span: Any, scope: Scope, status: int) -> None:
        """Tell what is known of a request once the door has found its route."""
        route, operation = scope.get(ROUTE), scope.get(OPERATION)
        span.set_attribute("http.response.status_code", status)
        if route is not None:
            span.update_name(f"{scope['method']} {route}")
            span.set_attribute("http.route", route)
        if operation is not None:
            span.set_attribute("circdesk.operation", operation)
        if status >= 500:
            self.fail(span, str(status))

    def fail(self, span: Any, reason: str) -> None:
        """Tell that it failed, without the error's text, which may have somebody's data in it."""
        span.set_attribute("error.type", reason)
        span.set_status(self._trace.StatusCode.ERROR)

    def _start(
        self, name: str, kind: Any, attributes: Attributes, parent: Any
    ) -> AbstractContextManager[Any]:
        return self._tracer.start_as_current_span(
            name,
            context=parent,
            kind=kind,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        )

    def _begin_statement(
        self, connection: Connection, _cursor: object, statement: str, *_: object
    ) -> None:
        # What nobody asked for, such as a look whether jobs wait, would be a trace every second.
        if not self._trace.get_current_span().get_span_context().is_valid:
            return
        word = statement.split(None, 1)[0].upper()
        attributes = {
            "db.system.name": connection.dialect.name,
            "db.operation.name": word,
            "db.query.text": statement[:_LONGEST_STATEMENT],
        }
        span = self._tracer.start_span(
            word, kind=self._trace.SpanKind.CLIENT, attributes=attributes
        )
        connection.info.setdefault(_SPANS, []).append(span)

    def _end_statement(self, connection: Connection, *_: object) -> None:
        if spans := connection.info.get(_SPANS):
            spans.pop().end()

    def _fail_statement(self, error: ExceptionContext) -> None:
        connection = error.connection
        # One that was lost has no information any more.
        if connection is None or connection.invalidated or connection.closed:
            return
        if spans := connection.info.get(_SPANS):
            span = spans.pop()
            self.fail(span, type(error.original_exception).__name__)
            span.end()
