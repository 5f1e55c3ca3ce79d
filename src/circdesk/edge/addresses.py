"""One address for people: pages are shown at the public one alone.

A browser takes `localhost` and `127.0.0.1` for two sites. Who opened a page at one of them and
signed in at the other would have a session there and none here.
"""

import re
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from circdesk.contract.environ import request_uri

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_PAGES = re.compile(r"/docs(/.*)?|/oauth/(authorize|sign-in)")


class OneAddress:
    """ASGI middleware that sends a browser from another name of this machine to the public one."""

    def __init__(self, app: ASGIApp, *, public_url: str) -> None:
        self._app = app
        self._public_url = public_url
        self._host = urlsplit(public_url).netloc

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Redirect the request, or pass it on."""
        if scope["type"] != "http" or not self._is_elsewhere(scope):
            await self._app(scope, receive, send)
            return
        location = self._public_url + request_uri(scope)
        headers = [(b"location", location.encode("latin-1")), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 307, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    def _is_elsewhere(self, scope: Scope) -> bool:
        if scope["method"] not in ("GET", "HEAD") or not _PAGES.fullmatch(scope["path"]):
            return False
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        return name in _LOOPBACK and host != self._host
