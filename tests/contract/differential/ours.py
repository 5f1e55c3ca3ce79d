"""Our door over our contract, with the real authenticator behind it and no handlers."""

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import Receive, Scope, Send

from circdesk.auth.credentials import Authenticator
from circdesk.auth.tokens import AccessTokens
from circdesk.contract.bridge import BODY
from circdesk.contract.door import Call, Door, Limits
from circdesk.contract.environ import CALL
from circdesk.contract.operations import Operation, argument_name
from circdesk.contract.problems import Problem
from circdesk.db.unit_of_work import Sessions
from circdesk.settings import Settings
from tests.contract.differential.requests import JSON, Request
from tests.contract.differential.verdicts import Judge, Verdict, send
from tests.contracts import contract


@contextmanager
def our_judge(settings: Settings, sessions: Sessions) -> Iterator[Judge]:
    """What our door makes of requests."""
    tokens = AccessTokens(sessions, settings)
    authenticator = Authenticator(sessions, tokens, settings.secret_key.get_secret_value())
    admitted: list[Verdict] = []
    door = Door(
        _Inside(admitted),
        contract=contract(),
        documents={},
        pages=(),
        authenticate=authenticator,
        refuse=_refuse,
        limits=Limits(
            body_bytes=settings.max_body_bytes,
            stream_bytes=settings.max_import_bytes,
            body_seconds=settings.body_timeout_seconds,
        ),
    )

    async def judge(request: Request) -> Verdict:
        admitted.clear()
        status = await send(door, request)
        return admitted[0] if admitted else Verdict(status)

    try:
        yield judge
    finally:
        authenticator.close()
        tokens.close()


class _Inside:
    """What stands behind the door, and remembers the call that came through."""

    def __init__(self, admitted: list[Verdict]) -> None:
        self._admitted = admitted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call: Call = scope[CALL]
        assert isinstance(call.target, Operation)
        arguments: JSON = {**call.arguments, **call.edge}
        if scope[BODY] is None:
            # It streams, and the handler reads it.
            arguments["body"] = (await receive())["body"]
        # Connexion hands no headers to a handler.
        headers = {argument_name(name) for name in call.target.headers.names}
        hidden = headers - {*call.target.query.names}
        told = {name: value for name, value in arguments.items() if name not in hidden}
        verdict = Verdict(200, call.target.operation_id, told)
        self._admitted.append(verdict)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def _refuse(
    _scope: Scope, _receive: Receive, send: Send, problem: Problem, _operation: Operation | None
) -> None:
    await send({"type": "http.response.start", "status": problem.status, "headers": []})
    await send({"type": "http.response.body", "body": b""})
