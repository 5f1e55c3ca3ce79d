"""How many Python functions a check-out and a return call; see `tests.edge.test_call_count`.

Who lends is an application, known by its token alone. Each copy is lent and comes back in time.
"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest

from circdesk.auth.tokens import AccessTokens
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.settings import Settings
from tests.circulation.conftest import Library
from tests.edge.test_call_count import (
    MEASURED,
    WARM_UP,
    Calls,
    ask,
    database_of,
    raise_unless_as_before,
    running,
)

# As the calls of a read stand in `tests.edge.test_call_count.CALLS`.
CALLS = {
    "a check-out": {(3, 11): {"sqlite": 1207, "postgresql": 626}},
    "a return": {(3, 11): {"sqlite": 1152, "postgresql": 592}},
}


@pytest.fixture
def headers(settings: Settings, sessions: Sessions) -> Mapping[str, str]:
    """The headers of an application that works at the desk."""
    tokens, client = AccessTokens(sessions, settings), uuid4()
    with unit_of_work(sessions, writing=True) as session:
        token, _ = tokens.issue(
            session,
            subject=client,
            client_id=client,
            scopes=["circulation:read", "circulation:write"],
            resource=tokens.resource,
            grant_id=None,
        )
    tokens.close()
    return {"authorization": f"Bearer {token}"}


async def count_calls(
    settings: Settings, headers: Mapping[str, str], user: UUID, copies: Sequence[UUID]
) -> Mapping[str, Counter[str]]:
    """The calls of the shortest check-out and of the shortest return."""
    found: dict[str, list[Counter[str]]] = {what: [] for what in CALLS}
    calls = Calls()
    async with running(settings) as app:
        with calls.watching():
            for copy in copies:
                steps = {
                    "a check-out": ("/api/loans", {"user": str(user), "copy": str(copy)}, 201),
                    "a return": ("/api/returns", {"copy": str(copy)}, 200),
                }
                for what, (path, body, expected) in steps.items():
                    with calls.counting():
                        status = await ask(app, path, json.dumps(body).encode(), headers)
                    assert status == expected
                    found[what].append(calls.counts.copy())
    return {what: min(counts[WARM_UP:], key=Counter.total) for what, counts in found.items()}


def test_a_check_out_and_a_return_take_as_many_calls_as_before(
    settings: Settings,
    library: Library,
    headers: Mapping[str, str],
    log_file: Callable[[], list[Any]],
) -> None:
    library.policy()
    book, branch = library.book(), library.branch()
    copies = [library.copy(book, branch) for _ in range(WARM_UP + MEASURED)]

    counts = asyncio.run(count_calls(settings, headers, library.user(), copies))

    for what, known in CALLS.items():
        numbers = known.get(sys.version_info[:2])
        raise_unless_as_before(database_of(settings), counts[what], numbers)
    assert len(log_file()) == 2 * len(copies)
