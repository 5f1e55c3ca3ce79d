"""A year of a branch, from December to December, with a leap day and two Christmases.

A clerk does what a desk does, at random but the same each time, over HTTP with real processes,
whose clock is moved from day to day. In the end what is stored is what the clerk has written down.
The year in full takes `TEST_LONG=1`; otherwise it is a tenth of it, on PostgreSQL.
"""

import os
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, insert
from uuid_utils.compat import uuid7

from circdesk import clock
from circdesk.accounts.models import User
from circdesk.catalog.models import Book, Copy
from circdesk.circulation.policies.matching import scope_of
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.settings import Settings
from tests.circulation.conftest import Library
from tests.circulation.invariants import assert_invariants
from tests.circulation.races.service import Nursery, Service
from tests.circulation.year.books import Books, Item, Member
from tests.circulation.year.recount import Recount, expected, stored
from tests.circulation.year.rules import (
    DAY,
    GENERAL,
    HOURS,
    STUDENT,
    VIDEO,
    Branch,
    closed_days,
    year_of,
)
from tests.circulation.year.walks import BusyClerk

LONG = bool(os.environ.get("TEST_LONG"))
MEMBERS, COPIES, ACTIONS = (2_000, 20_000, 100_000) if LONG else (200, 2_000, 10_000)
ENGINES = ("sqlite", "postgresql") if LONG else ("postgresql",)
# Of each title there are so many copies, about.
COPIES_PER_TITLE = 2.5
SEED = 1876
RULES = {
    GENERAL: {"name": "General"},
    STUDENT: {"name": "Students", "user_category": "student"},
    VIDEO: {"name": "Videos", "material_type": "video"},
}
# What a clerk has to tell people some time in a year.
TOLD = {"copy_on_loan", "loan_limit", "renewal_limit", "user_blocked"}

pytestmark = pytest.mark.parametrize("database_url", ENGINES, indirect=True, scope="session")


@pytest.fixture(scope="module")
def service(
    settings: Settings, migrated_engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A sandbox of several processes."""
    nursery = Nursery(tmp_path_factory.mktemp("nursery"))
    place = tmp_path_factory.mktemp("service")
    with nursery.service(place, settings, CIRCDESK_ENV="sandbox") as service:
        yield service
    nursery.end()


def test_a_year_of_a_branch(service: Service, library: Library, sessions: Sessions) -> None:
    first, last = year_of(clock.now())
    chance, closed = Random(SEED), closed_days(first)
    main = library.branch(
        code="main", opening_hours=HOURS, closed_days=[day.isoformat() for day in closed]
    )
    for rule, scope in RULES.items():
        policy = rule.as_policy() | scope
        named = (policy.get("user_category"), policy.get("material_type"), None)
        library.policy(**policy, scope=scope_of(*named))
    books = Books(Branch(frozenset(closed)), *store(sessions, chance, main))
    clerk = BusyClerk(service, library.key(library.user("librarian"), "librarian"), books, chance)
    began = time.monotonic()

    days = [first + place * DAY for place in range((last - first).days)]
    left = sum(map(books.branch.is_open, days))
    for day in days:
        clerk.begin(day)
        if books.branch.is_open(day):
            clerk.work(clerk.actions + (ACTIONS - clerk.actions) // left)
            left -= 1
    clerk.begin(last)

    with unit_of_work(sessions, writing=False) as session:
        found = stored(session)
        assert_invariants(session, written_down=True)
    wanted = expected(books, last)
    tell(books, clerk.actions, found, time.monotonic() - began)
    assert clerk.actions >= ACTIONS
    for name, value in wanted.items():
        assert differences(found[name], value) == {}, name
    assert set(books.refusals) >= TOLD


def store(sessions: Sessions, chance: Random, branch: UUID) -> tuple[list[Member], list[Item]]:
    """Members and copies, stored at once."""
    members = [
        Member(
            id=str(uuid7()),
            card=f"4{number:06}",
            category="student" if chance.random() < 0.3 else "standard",
            keeps_history=chance.random() < 0.5,
        )
        for number in range(MEMBERS)
    ]
    titles = [
        (uuid7(), "video" if chance.random() < 0.15 else "book")
        for _ in range(int(COPIES / COPIES_PER_TITLE))
    ]
    items = []
    for number in range(COPIES):
        # One copy of each at least, and more of what many want.
        popular = int(len(titles) * chance.random() ** 2)
        title, material = titles[number if number < len(titles) else popular]
        items.append(Item(str(uuid7()), f"6{number:07}", str(title), material))
    with unit_of_work(sessions, writing=True) as session:
        session.execute(insert(User), [_user(member) for member in members])
        session.execute(insert(Book), [_book(*title) for title in titles])
        session.execute(insert(Copy), [_copy(item, branch) for item in items])
    return members, items


def _user(member: Member) -> dict[str, Any]:
    return {
        "id": UUID(member.id),
        "name": f"Member {member.card}",
        "sort_name": f"member {member.card}",
        "card_number": member.card,
        "category": member.category,
        "keeps_history": member.keeps_history,
        "role": "member",
        "status": "active",
    }


def _book(book_id: UUID, material: str) -> dict[str, Any]:
    title = f"Book {book_id}"
    return {
        "id": book_id,
        "title": title,
        "sort_title": title.lower(),
        "sort_year": -10_000,
        "material_type": material,
    }


def _copy(item: Item, branch: UUID) -> dict[str, Any]:
    return {
        "id": UUID(item.id),
        "book_id": UUID(item.title),
        "branch_id": branch,
        "barcode": item.barcode,
        "status": item.status,
        "material_type": item.material,
        "loanable": True,
    }


def differences(found: Any, wanted: Any) -> dict[Any, Any]:
    """The first few things that are not what they should be, each found and wanted."""
    keys = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
    return {key: (found.get(key), wanted.get(key)) for key in keys[:5]}


def tell(books: Books, actions: int, found: Recount, seconds: float) -> None:
    """What the year was like, for who asks pytest to show it."""
    sums = [Decimal(0)] * 4
    for fee, count in found["fees"].items():
        sums = [total + part * count for total, part in zip(sums, fee[2:], strict=True)]
    charged, paid, refunded, waived = sums
    sys.stdout.write(
        f"{actions} actions in {seconds:.0f} s\n"
        f"events: {dict(sorted(found['events'].items()))}\n"
        f"refusals: {dict(books.refusals.most_common())}\n"
        f"loans: {len(found['loans'])}, of which open: {len(books.open_loans)}\n"
        f"charged {charged}, paid {paid}, refunded {refunded}, waived {waived}\n"
    )
