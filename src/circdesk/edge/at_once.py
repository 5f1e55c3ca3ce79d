"""At once: an answer that is kept in memory leaves from the event loop.

It takes microseconds to find, less than a thread takes to be woken. Limits count it as any other.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from circdesk.contract.door import Call
from circdesk.contract.environ import CALL
from circdesk.edge.caching import Caching
from circdesk.edge.limits import RateLimits

# Under this key the scope carries what was found in memory for a request.
READY = "circdesk.ready"


class AtOnce:
    """ASGI middleware behind the door; whatever it does not know goes on to Flask.

    Args:
        app: What is behind it.
        caching: The answers that are kept, in memory: the event loop waits for no Redis.
        limits: The limits, which are in memory, too.
    """

    def __init__(self, app: ASGIApp, *, caching: Caching, limits: RateLimits) -> None:
        self._app, self._caching, self._limits = app, caching, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the call, or pass it on."""
        call: Call | None = scope.get(CALL)
        found = None if call is None else self._caching.find(call, scope)
        told = None
        if call is not None and found is not None:
            told = self._limits.count_kept(call.target, call.visit, is_free=found.status == 304)
        if found is None or told is None:
            await self._app(scope, receive, send)
            return
        scope[READY] = found.ready
        headers = [*found.headers, *told]
        body = b"" if scope["method"] == "HEAD" else found.body
        await send({"type": "http.response.start", "status": found.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
