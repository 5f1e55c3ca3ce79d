"""Holds that are placed, cancelled and served at once, on both databases: the database decides."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from circdesk.catalog.models import Copy
from circdesk.circulation.decisions import ActionRefused
from circdesk.circulation.holds.ending import cancel_hold
from circdesk.circulation.holds.expiry import expire
from circdesk.circulation.holds.placing import place_hold
from circdesk.circulation.models import Hold
from circdesk.circulation.returns import return_copy
from circdesk.db.unit_of_work import Sessions, unit_of_work
from tests.circulation.conftest import Library

JSON = dict[str, Any]
Deed = Callable[[Any], Any]

NOW = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("circdesk.clock.now", lambda: NOW)


@pytest.fixture
def together(sessions: Sessions) -> Iterator[Callable[[Sequence[Deed]], Counter[str]]]:
    """`together(deeds)`: carry all of them out at once; how each of them ended."""

    def carry_out(deed: Deed) -> str:
        try:
            with unit_of_work(sessions, writing=True) as session:
                deed(session)
        except ActionRefused as refused:
            return str(refused.decision["blockers"][0]["code"])
        return "done"

    with ThreadPoolExecutor(8) as pool:
        yield lambda deeds: Counter(pool.map(carry_out, deeds))


def body(user: UUID, book: UUID, branch: UUID) -> JSON:
    return {"user": str(user), "book": str(book), "pickup_branch": str(branch)}


def placing(one: JSON) -> Deed:
    return lambda session: place_hold(session, None, one)


def lent_out(library: Library, branch: UUID) -> UUID:
    """A book whose only copy somebody has."""
    book = library.book()
    library.loan(library.user(), library.copy(book, branch, status="on_loan"))
    return book


def test_everybody_gets_a_place_of_their_own(
    library: Library, together: Callable[[Sequence[Deed]], Counter[str]], sessions: Sessions
) -> None:
    branch, _ = library.branch(), library.policy()
    book = lent_out(library, branch)
    bodies = [body(library.user(), book, branch) for _ in range(16)]

    ends = together([placing(one) for one in bodies])

    assert ends == {"done": 16}
    with unit_of_work(sessions, writing=False) as session:
        assert len({*session.scalars(select(Hold.rank))}) == 16


def test_nobody_gets_two_places(
    library: Library, together: Callable[[Sequence[Deed]], Counter[str]]
) -> None:
    branch, _ = library.branch(), library.policy()
    wanted = body(library.user(), lent_out(library, branch), branch)

    ends = together([placing(wanted)] * 8)

    assert ends == {"done": 1, "already_held": 7}


def test_the_limit_is_never_passed(
    library: Library, together: Callable[[Sequence[Deed]], Counter[str]]
) -> None:
    branch, _ = library.branch(), library.policy(max_holds=3)
    user = library.user()
    bodies = [body(user, lent_out(library, branch), branch) for _ in range(8)]

    ends = together([placing(one) for one in bodies])

    assert ends == {"done": 3, "hold_limit": 5}


def test_a_loan_is_recalled_once(
    library: Library, together: Callable[[Sequence[Deed]], Counter[str]], sessions: Sessions
) -> None:
    branch, policy, book = library.branch(), library.policy(recall_days=7), library.book()
    for _ in range(2):
        copy = library.copy(book, branch, status="on_loan")
        library.loan(library.user(), copy, policy_id=policy)
    bodies = [body(library.user(), book, branch) for _ in range(6)]
    warned: list[int] = []

    def place(session: Any, one: JSON) -> None:
        warned.append(len(place_hold(session, None, one)["warnings"]))

    ends = together([partial(place, one=one) for one in bodies])

    assert (ends, sum(warned)) == ({"done": 6}, 2)


def test_a_copy_is_set_aside_for_one_whatever_happens_at_once(
    library: Library, together: Callable[[Sequence[Deed]], Counter[str]], sessions: Sessions
) -> None:
    branch, _ = library.branch(), library.policy()
    book = library.book()
    copy = library.copy(book, branch, status="on_hold_shelf")
    first = library.hold(
        library.user(),
        book,
        branch,
        status="ready",
        trapped_copy_id=copy,
        ready_at=NOW - timedelta(days=7),
        shelf_expires_at=NOW,
    )
    others = [library.hold(library.user(), book, branch) for _ in range(3)]
    deeds: list[Deed] = [
        lambda session: cancel_hold(session, None, first, None),
        lambda session: expire(session, NOW, [first]),
        lambda session: return_copy(session, None, {"copy": str(copy)}),
        lambda session: cancel_hold(session, None, others[0], None),
        placing(body(library.user(), book, branch)),
    ]

    ends = together(deeds)

    # Whoever is late finds the hold ended already.
    assert ends["done"] + ends["hold_not_active"] == 5
    with unit_of_work(sessions, writing=False) as session:
        queue = session.scalars(
            select(Hold).where(Hold.ended_at.is_(None)).order_by(Hold.rank)
        ).all()
        assert session.get_one(Copy, copy).status == "on_hold_shelf"
        assert [(hold.id, hold.status) for hold in queue[:2]] == [
            (others[1], "ready"),
            (others[2], "waiting"),
        ]
        assert [hold.trapped_copy_id for hold in queue] == [copy, None, None]
