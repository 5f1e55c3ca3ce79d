"""At once: an answer that is kept in memory leaves from the event loop.

It takes microseconds to find, less than a thread takes to be woken. Limits count it as any other.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from circdesk.contract.door import Call
from circdesk.contract.environ import CALL
from circdesk.edge.caching import Caching
from circdesk.edge.limits import RateLimits
from circdesk.edge.refusals import send_answer


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
        answer = None if call is None else self._caching.find(call, scope)
        if call is not None and answer is not None:
            answer = self._limits.count_kept(call, answer)
        if answer is None:
            await self._app(scope, receive, send)
        else:
            await send_answer(answer, scope, send)
