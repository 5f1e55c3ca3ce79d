"""A check-out and a return by our statements, whoever sends them.

Each is a generator: it yields a statement with its parameters, and is sent the row that it found
or None. So the same steps run on psycopg, on Django's cursor and on asyncpg, in a transaction that
the caller opens.
"""

from collections.abc import Awaitable, Callable, Generator
from datetime import UTC, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from desk_sql import (
    END_LOAN,
    FIND_LOAN,
    FIND_PLACE,
    INSERT_AUDIT,
    INSERT_EVENT,
    INSERT_LOAN,
    LOCK,
    NEXT_HOLD,
    NUMBERS,
    UPDATE_COPY,
)
from uuid_utils.compat import uuid7

from rivals.credentials import Actor
from rivals.lending import (
    JSON,
    UNDO_WINDOW,
    ActionRefused,
    Row,
    compensation,
    data_of,
    due_at,
    present_loan,
    raise_unless_lendable,
    returned,
    terms_of,
    text,
    undo_of,
)

Steps = Generator[tuple[str, JSON], Row | None, JSON]


def check_out(actor: Actor, user: UUID, copy: UUID, request_id: str, address: str) -> Steps:
    """Lend the copy to the user. Raises ActionRefused."""
    now = datetime.now(UTC)
    keys: JSON = {"user": user, "copy": copy, "now": now}
    found = yield LOCK, keys
    if found is None:
        raise ActionRefused("copy_unknown")
    today = now.astimezone(ZoneInfo(found["time_zone"])).date()
    keys |= {"today": today, "book": found["book_id"], "branch": found["branch_id"]}
    keys |= {"category": found["category"], "material": found["material_type"]}
    numbers = yield NUMBERS, keys
    if numbers is None or numbers["policy_id"] is None:
        raise ActionRefused("no_loan_policy")
    raise_unless_lendable({**found, **numbers}, today)
    keys |= _deed("loan.check_out", actor, now, request_id, address)
    keys |= {"loan": uuid7(), "policy": numbers["policy_id"], "status": "on_loan"}
    keys |= {"due": due_at(numbers["period_length"], found["time_zone"], now)}
    keys |= {"terms": text(terms_of(numbers)), "data": text(data_of(copy, "available", "on_loan"))}
    before = {"status": "available", "event_id": found["event_id"] and str(found["event_id"])}
    keys |= {"undo": text(undo_of(keys["loan"], None, copy, before)), "details": "{}"}
    for statement in (INSERT_LOAN, UPDATE_COPY, INSERT_EVENT, INSERT_AUDIT):
        yield statement, keys
    return {"loan": _lent(keys), "warnings": [], "compensation": compensation(keys["event"], now)}


def give_back(actor: Actor, copy: UUID, request_id: str, address: str) -> Steps:
    """Take the copy back where it belongs. Raises ActionRefused."""
    now = datetime.now(UTC)
    keys: JSON = {"copy": copy, "now": now}
    place = yield FIND_PLACE, keys
    loan = yield FIND_LOAN, keys
    if place is None or loan is None:
        raise ActionRefused("copy_unknown" if place is None else "copy_not_on_loan")
    today = now.astimezone(ZoneInfo(place["time_zone"])).date()
    keys |= {"today": today, "book": place["book_id"], "branch": place["branch_id"]}
    if (yield NEXT_HOLD, keys) is not None:
        raise ActionRefused("held_for_another")
    keys |= _deed("loan.return", actor, now, request_id, address)
    keys |= {"loan": loan["id"], "user": loan["user_id"], "status": "available"}
    data = data_of(copy, "on_loan", "available") | {"branch_id": str(place["branch_id"])}
    images = {"status": "open", "returned_at": None, "event_id": str(loan["event_id"])}
    before = {"status": "on_loan", "event_id": str(place["event_id"])}
    undo = undo_of(keys["loan"], images, copy, before)
    details = {"branch_id": str(place["branch_id"])}
    keys |= {"data": text(data), "undo": text(undo), "details": text(details)}
    for statement in (END_LOAN, UPDATE_COPY, INSERT_EVENT, INSERT_AUDIT):
        yield statement, keys
    ended = {**loan, "status": "returned", "returned_at": now, "updated_at": now}
    return returned(present_loan(ended, now), compensation(keys["event"], now))


def _deed(kind: str, actor: Actor, now: datetime, request_id: str, address: str) -> JSON:
    """What every deed has: its event, its entry of the audit log, and who did it."""
    return {
        "kind": kind, "event": uuid7(), "audit": uuid7(), "actor_type": actor.kind,
        "actor": actor.id, "undo_until": now + UNDO_WINDOW, "request_id": request_id,
        "address": address,
    }  # fmt: skip


def _lent(keys: JSON) -> JSON:
    now = keys["now"]
    loan = {
        "id": keys["loan"], "user_id": keys["user"], "copy_id": keys["copy"],
        "book_id": keys["book"], "branch_id": keys["branch"], "material_type": keys["material"],
        "status": "open", "lent_at": now, "due_at": keys["due"], "returned_at": None,
        "renewals": 0, "renewed_at": None, "recalled_at": None, "policy_id": keys["policy"],
        "created_at": now, "updated_at": now,
    }  # fmt: skip
    return present_loan(loan, now)


def run(steps: Steps, send: Callable[[str, JSON], Row | None]) -> JSON:
    """Carry out the steps with a function that sends a statement and answers its first row."""
    row = None
    try:
        while True:
            row = send(*steps.send(row))
    except StopIteration as end:
        answer: JSON = end.value
        return answer


async def run_async(steps: Steps, send: Callable[[str, JSON], Awaitable[Row | None]]) -> JSON:
    """The same, awaiting each statement."""
    row = None
    while True:
        try:
            step = steps.send(row)
        except StopIteration as end:
            answer: JSON = end.value
            return answer
        row = await send(*step)
