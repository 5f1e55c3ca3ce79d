"""What is kept in memory is answered on the event loop, and is the same answer in all respects."""

import asyncio

import pytest

from circdesk.app import create_app
from circdesk.settings import Settings
from tests.edge.in_process import Reply, ask, remaining, without_threads

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_it_is_the_answer_that_was_kept_and_counts(settings: Settings, kept_path: str) -> None:
    async def run() -> tuple[Reply, Reply]:
        async with without_threads(settings, kept_path) as (app, made):
            return made, await ask(app, kept_path)

    made, found = asyncio.run(run())

    its_own = ("age", "ratelimit", "x-request-id")
    assert (made.status, "age" in made.headers) == (200, False)
    assert found == Reply(
        200, made.headers | {name: found.headers[name] for name in its_own}, made.body
    )
    assert remaining(found) == remaining(made) - 1


def test_head_has_its_headers_alone(settings: Settings, kept_path: str) -> None:
    async def run() -> tuple[Reply, Reply]:
        async with without_threads(settings, kept_path) as (app, made):
            return made, await ask(app, kept_path, method="HEAD")

    made, found = asyncio.run(run())

    assert (found.status, found.body) == (200, b"")
    assert found.headers["content-length"] == str(len(made.body))


def test_who_has_it_already_hears_so_for_free(settings: Settings, kept_path: str) -> None:
    async def run() -> tuple[Reply, Reply]:
        async with without_threads(settings, kept_path) as (app, made):
            return made, await ask(app, kept_path, if_none_match=made.headers["etag"])

    made, found = asyncio.run(run())

    assert (found.status, found.body) == (304, b"")
    assert found.headers["etag"] == made.headers["etag"]
    assert not {"content-type", "content-length"} & found.headers.keys()
    assert remaining(found) == remaining(made)


def test_who_has_no_place_left_is_refused_as_ever(settings: Settings, kept_path: str) -> None:
    small = settings.model_copy(update={"rate_limits": "anonymous=3/hour"})

    async def run() -> list[Reply]:
        app = create_app(small)
        async with app._lifespan(app):
            return [await ask(app, kept_path) for _ in range(5)]

    replies = asyncio.run(run())

    assert [reply.status for reply in replies] == [200, 200, 200, 429, 429]
    assert [remaining(reply) for reply in replies] == [2, 1, 0, 0, 0]
    assert ["age" in reply.headers for reply in replies] == [False, True, True, False, False]
