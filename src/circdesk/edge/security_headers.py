"""What every answer tells a browser to be careful about.

The pages for people have policies of their own, which stay; all else is data, and whoever opens it
in a browser is to load nothing by it, frame it nowhere, and tell nobody where they came from.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_FIXED = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
_UNLESS_SET = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)
# A year, for this host alone: whatever else the domain has is not ours to bind (RFC 6797).
_TRANSPORT = (b"strict-transport-security", b"max-age=31536000")


class SecurityHeaders:
    """ASGI middleware that adds these headers to each answer.

    Args:
        app: What is behind it.
        secure: Whether callers reach the service by HTTPS alone.
    """

    def __init__(self, app: ASGIApp, *, secure: bool) -> None:
        self._app = app
        self._fixed = (*_FIXED, _TRANSPORT) if secure else _FIXED

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and add to its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": self._with_ours(message["headers"])}
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _with_ours(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        names = {name for name, _ in headers}
        return [*headers, *self._fixed, *[each for each in _UNLESS_SET if each[0] not in names]]
