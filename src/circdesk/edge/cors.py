"""CORS (Fetch, 3.2): which pages of other origins may read answers; none, unless they are named.

Starlette decides. A preflight goes to the door all the same, which says what the path takes, and
problems of any kind pass here on their way out, so that a page can read them.

Cookies are never allowed along: a session is for this service's own pages, and a page of another
origin sends a token or a key, which no browser adds by itself.
"""

from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
# What our operations, the edge, and those who trace requests read.
_REQUEST_HEADERS = (
    "Authorization",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Traceparent",
    "Tracestate",
    "X-API-Key",
    "X-Request-Id",
)
# What a page could not read otherwise.
_RESPONSE_HEADERS = (
    "Age",
    "Content-Disposition",
    "Deprecation",
    "ETag",
    "Idempotent-Replayed",
    "Link",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Sunset",
    "WWW-Authenticate",
    "X-Request-Id",
)
_ALLOWED = "access-control-"


class Cors(CORSMiddleware):
    """ASGI middleware that lets pages of these origins read answers.

    Args:
        app: What is behind it.
        origins: Exact origins, such as `https://library.example`.
    """

    def __init__(self, app: ASGIApp, *, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=_METHODS,
            allow_headers=_REQUEST_HEADERS,
            expose_headers=_RESPONSE_HEADERS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and add to its answer what its origin is allowed."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        asks = "origin" in headers and "access-control-request-method" in headers
        if asks and scope["method"] == "OPTIONS":
            await self.app(scope, receive, self._with_permission(headers, send))
        else:
            await self.simple_response(scope, receive, send, headers)

    async def send(self, message: Message, send: Send, request_headers: Headers) -> None:
        """Add to an answer, where its origin is one of ours; and that it depends on it, always."""
        if request_headers.get("origin") in self.allow_origins:
            await super().send(message, send, request_headers)
            return
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).add_vary_header("Origin")
        await send(message)

    def _with_permission(self, request_headers: Headers, send: Send) -> Send:
        """Add to the door's answer to OPTIONS, for the methods that the path takes."""
        verdict = self.preflight_response(request_headers)
        method = request_headers["access-control-request-method"]

        async def send_with_permission(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.add_vary_header("Origin")
                allow = headers.get("allow", "")
                if verdict.status_code == 200 and method in allow.split(", "):
                    headers.update(
                        {n: v for n, v in verdict.headers.items() if n.startswith(_ALLOWED)}
                    )
                    headers["access-control-allow-methods"] = allow
            await send(message)

        return send_with_permission
