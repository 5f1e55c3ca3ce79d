"""What is kept in memory is answered on the event loop, and is the same answer in all respects."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple
from uuid import UUID

import pytest
from starlette.types import ASGIApp, Message

from circdesk.app import create_app
from circdesk.contract.application import ContractApp
from circdesk.edge import caching
from circdesk.edge.lifetimes import LIFETIMES, Lifetime
from circdesk.settings import Settings
from tests.circulation.conftest import Library

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


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


@pytest.fixture
def path(library: Library, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is kept for as long as a slow machine takes."""
    long = {**LIFETIMES, "get_book": Lifetime(600, ("books", "copies"), one="book_id")}
    monkeypatch.setattr(caching, "LIFETIMES", long)
    monkeypatch.setattr("circdesk.edge.kept.MEMORY_SECONDS", 600)
    book: UUID = library.book()
    return f"/api/books/{book}"


def test_it_is_the_answer_that_was_kept_and_counts(settings: Settings, path: str) -> None:
    async def run() -> tuple[Reply, Reply]:
        async with without_threads(settings, path) as (app, made):
            return made, await ask(app, path)

    made, found = asyncio.run(run())

    its_own = ("age", "ratelimit", "x-request-id")
    assert (made.status, "age" in made.headers) == (200, False)
    assert found == Reply(
        200, made.headers | {name: found.headers[name] for name in its_own}, made.body
    )
    assert remaining(found) == remaining(made) - 1


def test_head_has_its_headers_alone(settings: Settings, path: str) -> None:
    async def run() -> tuple[Reply, Reply]:
        async with without_threads(settings, path) as (app, made):
            return made, await ask(app, path, method="HEAD")

    made, found = asyncio.run(run())

    assert (found.status, found.body) == (200, b"")
    assert found.headers["content-length"] == str(len(made.body))


def test_who_has_it_already_hears_so_for_free(settings: Settings, path: str) -> None:
    async def run() -> tuple[Reply, Reply]:
        async with without_threads(settings, path) as (app, made):
            return made, await ask(app, path, if_none_match=made.headers["etag"])

    made, found = asyncio.run(run())

    assert (found.status, found.body) == (304, b"")
    assert found.headers["etag"] == made.headers["etag"]
    assert not {"content-type", "content-length"} & found.headers.keys()
    assert remaining(found) == remaining(made)


def test_who_has_no_place_left_is_refused_as_ever(settings: Settings, path: str) -> None:
    small = settings.model_copy(update={"rate_limits": "anonymous=3/hour"})

    async def run() -> list[Reply]:
        app = create_app(small)
        async with app._lifespan(app):
            return [await ask(app, path) for _ in range(5)]

    replies = asyncio.run(run())

    assert [reply.status for reply in replies] == [200, 200, 200, 429, 429]
    assert [remaining(reply) for reply in replies] == [2, 1, 0, 0, 0]
    assert ["age" in reply.headers for reply in replies] == [False, True, True, False, False]
