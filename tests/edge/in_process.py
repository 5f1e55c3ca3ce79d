"""Requests to an application in this process, past any server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from starlette.types import ASGIApp, Message

from circdesk.app import create_app
from circdesk.contract.application import ContractApp
from circdesk.settings import Settings


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


async def ask(app: ASGIApp, path: str, *, method: str = "GET", **headers: str) -> Reply:
    sent: list[Message] = []
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [
            (b"host", b"127.0.0.1:8000"),
            *((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()),
        ],
        "server": ("127.0.0.1", 8000),
        "client": ("192.0.2.1", 5),
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *pieces = sent
    named = {name.decode(): value.decode() for name, value in start["headers"]}
    return Reply(start["status"], named, b"".join(piece["body"] for piece in pieces))


def remaining(reply: Reply) -> int:
    return int(reply.headers["ratelimit"].partition("r=")[2].partition(";")[0])


@asynccontextmanager
async def without_threads(
    settings: Settings, path: str
) -> AsyncIterator[tuple[ContractApp, Reply]]:
    """An application whose threads have ended, and what one of them answered before."""
    app = create_app(settings)
    async with app._lifespan(app):
        made = await ask(app, path)
        app._bridge.close()
        yield app, made
