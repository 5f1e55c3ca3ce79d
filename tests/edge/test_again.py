"""A repeated request is answered before the door, and no other is taken for it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import ASGIApp

from circdesk.contract.door import Door
from circdesk.db.generations import MEMORY
from circdesk.edge import again, compression
from circdesk.settings import Settings
from tests.access_lines import access_lines, logs_of_requests
from tests.edge.in_process import Reply, ask, remaining, without_threads

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

ITS_OWN = ("age", "ratelimit", "x-request-id")

Shut = Callable[[], None]


class DoorReached(Exception):
    """A request has come as far as the door."""


@pytest.fixture
def shut(monkeypatch: pytest.MonkeyPatch) -> Shut:
    """Lets nothing come to the door any more."""

    async def refuse(*_: Any) -> None:
        raise DoorReached

    return lambda: monkeypatch.setattr(Door, "__call__", refuse)


async def reaches_the_door(app: ASGIApp, path: str, **headers: str) -> bool:
    """Whether a request does, which is a 500 then."""
    return (await ask(app, path, **headers)).status == 500


@pytest.mark.parametrize("sent", [{}, {"accept_encoding": "br"}, {"accept": "application/json"}])
def test_it_is_the_same_answer_and_counts(
    settings: Settings, kept_path: str, shut: Shut, sent: dict[str, str]
) -> None:
    async def run() -> list[Reply]:
        async with without_threads(settings, kept_path) as (app, _):
            found = await ask(app, kept_path, **sent)
            shut()
            return [found, await ask(app, kept_path, **sent)]

    found, again = asyncio.run(run())

    assert found.status == 200
    assert again == Reply(
        200, found.headers | {name: again.headers[name] for name in ITS_OWN}, found.body
    )
    assert again.headers["x-request-id"] != found.headers["x-request-id"]
    assert remaining(again) == remaining(found) - 1


def test_what_is_not_modified_is_told_for_free(
    settings: Settings, kept_path: str, shut: Shut
) -> None:
    async def run() -> list[Reply]:
        async with without_threads(settings, kept_path) as (app, made):
            sent = {"if_none_match": made.headers["etag"]}
            found = await ask(app, kept_path, **sent)
            shut()
            return [found, await ask(app, kept_path, **sent)]

    found, again = asyncio.run(run())

    assert (again.status, again.body) == (304, b"")
    assert again.headers.keys() == found.headers.keys()
    assert remaining(again) == remaining(found)


def test_who_asks_makes_no_difference(settings: Settings, kept_path: str, shut: Shut) -> None:
    async def run() -> tuple[Reply, list[dict[str, Any]]]:
        async with without_threads(settings, kept_path) as (app, _):
            await ask(app, kept_path, user_agent="one", x_request_id="one")
            shut()
            with logs_of_requests() as logs:
                reply = await ask(app, kept_path, user_agent="two", x_request_id="two")
            return reply, access_lines(logs)

    reply, (line,) = asyncio.run(run())

    assert (reply.status, reply.headers["x-request-id"]) == (200, "two")
    assert (line["route"], line["operation"]) == ("/api/books/{book_id}", "get_book")
    assert (line["caller"], line["bytes"]) == ("anonymous", len(reply.body))


@pytest.mark.parametrize(
    "sent",
    [
        {"authorization": "Bearer x"},
        {"x_api_key": "x"},
        {"cookie": "circdesk_session=x"},
        {"accept": "text/csv"},
        {"accept_encoding": "br"},
        {"if_none_match": '"x"'},
        {"if_modified_since": "Sat, 21 Nov 2026 10:00:00 GMT"},
    ],
    ids=lambda sent: next(iter(sent)),
)
def test_whatever_else_is_sent_makes_another_request(
    settings: Settings, kept_path: str, shut: Shut, sent: dict[str, str]
) -> None:
    async def run() -> list[bool]:
        async with without_threads(settings, kept_path) as (app, _):
            await ask(app, kept_path)
            shut()
            return [
                await reaches_the_door(app, kept_path),
                await reaches_the_door(app, kept_path, **sent),
            ]

    assert asyncio.run(run()) == [False, True]


def test_who_may_not_see_it_does_not(settings: Settings, kept_path: str) -> None:
    async def run() -> list[Reply]:
        async with without_threads(settings, kept_path) as (app, _):
            await ask(app, kept_path)
            return [await ask(app, kept_path, x_api_key="wrong") for _ in range(3)]

    assert [reply.status for reply in asyncio.run(run())] == [401, 401, 401]


def test_what_has_changed_is_asked_for_anew(settings: Settings, kept_path: str, shut: Shut) -> None:
    async def run() -> list[bool]:
        async with without_threads(settings, kept_path) as (app, _):
            await ask(app, kept_path)
            shut()
            before = await reaches_the_door(app, kept_path)
            MEMORY.touch([f"books:{kept_path.rpartition('/')[2]}"])
            return [before, await reaches_the_door(app, kept_path)]

    assert asyncio.run(run()) == [False, True]


def test_what_was_told_first_is_forgotten_first(
    settings: Settings, kept_path: str, shut: Shut, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(again, "_MOST", 2)
    codings = ["br", "gzip", "zstd"]

    async def run() -> list[bool]:
        async with without_threads(settings, kept_path) as (app, _):
            for coding in codings:
                await ask(app, kept_path, accept_encoding=coding)
            shut()
            return [await reaches_the_door(app, kept_path, accept_encoding=c) for c in codings]

    assert asyncio.run(run()) == [True, False, False]


def test_what_fails_to_be_sent_is_not_told_again(
    settings: Settings, kept_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> list[Reply]:
        async with without_threads(settings, kept_path) as (app, made):
            sent = {"if_none_match": made.headers["etag"]}
            with monkeypatch.context() as patch:
                patch.setattr(compression, "_restored", lambda *_: 1 / 0)
                failed = await ask(app, kept_path, **sent)
            return [failed, await ask(app, kept_path, **sent)]

    assert [reply.status for reply in asyncio.run(run())] == [500, 304]


def test_other_methods_are_passed_on(settings: Settings, kept_path: str, shut: Shut) -> None:
    async def run() -> int:
        async with without_threads(settings, kept_path) as (app, _):
            await ask(app, kept_path)
            shut()
            return (await ask(app, kept_path, method="HEAD")).status

    assert asyncio.run(run()) == 500
