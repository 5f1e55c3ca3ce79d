import asyncio
import copy
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import flask
import pytest
from starlette.types import Message

from circdesk.contract.answers import Answer
from circdesk.contract.application import ContractApp, View
from circdesk.contract.contract import load_contract
from circdesk.contract.door import Door, Limits
from circdesk.contract.environ import CALL, Environ
from circdesk.contract.forms import Reply, WebPage
from circdesk.contract.handlers import Handler
from circdesk.contract.operations import Operation

WriteFiles = Callable[[Mapping[str, str]], Path]
Ask = Callable[..., Any]

CONTRACT = {
    "openapi.yaml": """\
        openapi: "3.0.3"
        info: {title: Pears, version: "1"}
        paths:
          /pears/{pear_id}:
            parameters:
              - {name: pear_id, in: path, required: true, schema: {type: string}}
            get:
              operationId: get_pear
              tags: [fruit]
              responses: {200: {$ref: "#/components/responses/Pear"}}
            put:
              operationId: replace_pear
              tags: [fruit]
              requestBody: {content: {application/json: {schema: {type: object}}}}
              responses: {200: {$ref: "#/components/responses/Pear"}}
        components:
          responses:
            Pear: {description: A pear., content: {application/json: {schema: {}}}}
        """
}
HANDLERS = {
    "fruit/__init__.py": "",
    "fruit/handlers.py": """\
        def get_pear(*, pear_id): return f"get {pear_id}"
        def replace_pear(*, pear_id, body): return f"replace {pear_id} {body}"
        """,
}


PAGE = WebPage("help", "POST", "/pears/help", lambda _form: Reply(200, {}))


async def anybody(*_args: Any) -> None: ...
async def refuse(*_args: Any) -> None: ...


def make_view(operation: Operation, handler: Handler) -> View:
    def view(environ: Environ) -> Answer:
        call = environ[CALL]
        assert call.operation is operation
        # Whoever asks Flask is told the same.
        assert flask.request.environ[CALL] is call
        assert (flask.request.endpoint or "").endswith(f".{operation.operation_id}")
        return Answer(200, "text/plain", handler(**call.arguments).encode())

    return view


@pytest.fixture
def ended() -> list[str]:
    return []


@pytest.fixture
def app(
    write_contract: WriteFiles, write_handlers: WriteFiles, ended: list[str]
) -> Iterator[ContractApp]:
    write_handlers(HANDLERS)
    contract = load_contract(write_contract(CONTRACT))
    before = copy.deepcopy(contract.document)
    door = partial(
        Door,
        contract=contract,
        documents={},
        pages=[PAGE],
        authenticate=anybody,
        refuse=refuse,
        limits=Limits(body_bytes=100, stream_bytes=100, body_seconds=10),
    )
    app = ContractApp(
        contract,
        make_view=make_view,
        pages={
            PAGE: lambda environ: Answer(200, None, b"page " + environ[CALL].target.name.encode())
        },
        around=lambda view: view,
        middlewares=[door],
        at_end=lambda: ended.append("end"),
        threads=1,
        most=8,
        timeout=10,
        patience=10,
    )
    app.assemble()
    assert contract.document == before
    yield app
    app._bridge.close()


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        pytest.param("GET", b"/pears/1", b"get 1", id="a plain path"),
        pytest.param("GET", b"/pears/a%2Fb", b"get a/b", id="an encoded slash"),
        pytest.param("GET", b"/pears/%C3%A4", "get ä".encode(), id="UTF-8"),
        pytest.param("GET", b"/pears/..", b"get ..", id="dots"),
        pytest.param("PUT", b"/pears/1", b"replace 1 None", id="another method"),
        pytest.param("HEAD", b"/pears/1", b"", id="HEAD"),
        pytest.param("POST", b"/pears/help", b"page help", id="a page"),
    ],
)
def test_flask_runs_what_the_door_has_found(
    app: ContractApp, ask: Ask, method: str, target: bytes, body: bytes
) -> None:
    reply = ask(app, method, target)
    assert (reply.status, reply.body) == (200, body)


def test_the_threads_end_before_what_is_called_at_the_end(
    app: ContractApp, ask: Ask, ended: list[str]
) -> None:
    before = set(threading.enumerate())
    assert ask(app, "GET", b"/pears/1").status == 200
    (worker,) = set(threading.enumerate()) - before
    waiting: list[Message] = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[Message] = []

    async def receive() -> Message:
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app({"type": "lifespan", "state": {}}, receive, send))
    assert [message["type"] for message in sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    assert ended == ["end"]
    assert not worker.is_alive()
