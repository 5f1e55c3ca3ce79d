"""Beside Flask: operations whose handler is a coroutine function answer on the event loop.

They need none of the worker threads, so that a probe is answered also while all of them are busy,
and an orchestrator does not take a process that is under load for one that is dead.
"""

from collections.abc import Mapping
from inspect import iscoroutinefunction

from starlette.types import ASGIApp, Receive, Scope, Send

from circdesk.contract.answers import make_answer
from circdesk.contract.contract import Contract
from circdesk.contract.door import Call
from circdesk.contract.environ import CALL
from circdesk.contract.handlers import Handler, find_handlers
from circdesk.edge.refusals import send_answer
from circdesk.service.probes import Probes, probing
from circdesk.visits import visiting


class Beside:
    """ASGI middleware behind the door; problems are answered by the door.

    Such a handler has no unit of work and must not block.
    """

    def __init__(self, app: ASGIApp, *, contract: Contract, probes: Probes) -> None:
        self._app, self._probes = app, probes
        self._handlers = _coroutines(contract)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the call, or pass it on."""
        call: Call | None = scope.get(CALL)
        operation = call.operation if call is not None else None
        if call is None or operation is None or operation.operation_id not in self._handlers:
            await self._app(scope, receive, send)
            return
        with probing(self._probes), visiting(call.visit):
            returned = await self._handlers[operation.operation_id](**call.arguments)
        await send_answer(make_answer(operation, returned), scope, send)


def _coroutines(contract: Contract) -> Mapping[str, Handler]:
    handlers = find_handlers()
    found = {name: handlers[operation.tag, name] for name, operation in contract.operations.items()}
    return {name: handler for name, handler in found.items() if iscoroutinefunction(handler)}
