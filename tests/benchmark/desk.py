"""What the desk costs at a million loans: check-outs beside the bare SQL, many renewals beside one.

    python tests/benchmark/desk.py
    python tests/benchmark/desk.py --history 10000 --open 1000 --rounds 50

PostgreSQL comes from the wheel that the tests use, and keeps what it has committed. What is
compared is done in turn, so that no ratio is one of a machine that becomes slower meanwhile. The
service has one core, and everything else the others.
"""

import argparse
import http.client
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from desk_sql import (  # type: ignore[import-not-found]  # It lies beside this.
    INSERT_AUDIT,
    INSERT_EVENT,
    INSERT_LOAN,
    LOCK,
    NUMBERS,
    UPDATE_COPY,
)
from lent_books import Stock, fill, users  # type: ignore[import-not-found]
from psycopg.rows import dict_row
from search import server  # type: ignore[import-not-found]
from sqlalchemy import make_url
from uuid_utils.compat import uuid7

from circdesk.accounts.models import User
from circdesk.auth.models import ApiKey
from circdesk.auth.scopes import ROLE_SCOPES
from circdesk.auth.secrets import hash_secret
from circdesk.circulation.check_outs import check_out_copy
from circdesk.db.unit_of_work import Sessions, unit_of_work
from tokens import (  # type: ignore[import-not-found]
    make_settings,
    migrated,
    service,
    wait_for,
)

JSON = dict[str, Any]

KEY = "cdk_the-key-of-the-benchmark-that-nobody-else-knows"
# The first calls fill caches.
WARM_UP = 30
TOGETHER = 100
# What is required.
MOST_TIMES_BARE = 4
MOST_TIMES_ONE = 10
SETTINGS = ("fsync", "synchronous_commit", "shared_buffers", "server_version")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--history", type=int, default=1_000_000, help="loans that have ended")
    arguments.add_argument("--open", type=int, default=100_000, help="loans that are open")
    arguments.add_argument("--rounds", type=int, default=500, help="how often each is measured")
    given = arguments.parse_args()
    stock = Stock(given.history, given.open)
    with tempfile.TemporaryDirectory() as name, server(Path(name), [0]) as (uri,):
        url = make_url(uri).set(drivername="postgresql+psycopg")
        settings = make_settings(Path(name), url.render_as_string(hide_password=False))
        with migrated(settings) as (_, sessions), psycopg.connect(uri) as connection:
            fill(connection, stock)
            add_key(sessions)
            tell_settings(connection, stock)
            with service(settings):
                host = (settings.public_url or "").removeprefix("http://")
                wait_for(host)
                with closing(http.client.HTTPConnection(host, timeout=60)) as caller:
                    check_outs(Desk(sessions, caller, connection), stock, given.rounds)
                    renewals(caller, stock, given.rounds // 10)


@dataclass
class Desk:
    """The three ways in which a copy is lent."""

    sessions: Sessions
    caller: http.client.HTTPConnection
    connection: psycopg.Connection

    def in_process(self, user: UUID, copy: UUID) -> None:
        """The business function in its unit of work."""
        with unit_of_work(self.sessions, writing=True) as session:
            check_out_copy(session, None, {"user": str(user), "copy": str(copy)})

    def over_http(self, user: UUID, copy: UUID) -> None:
        """The whole call."""
        ask(self.caller, "/api/loans", {"user": str(user), "copy": str(copy)}, 201)

    def bare(self, user: UUID, copy: UUID) -> None:
        """The statements that it takes, and what they read and write, and nothing else."""
        now = datetime.now(UTC)
        keys: JSON = {"user": user, "copy": copy, "now": now, "today": now.date(), **FIXED}
        keys |= {name: uuid7() for name in ("loan", "event", "audit")}
        keys |= {"due": now + timedelta(days=28), "undo_until": now + timedelta(minutes=30)}
        with self.connection.transaction(), self.connection.cursor(row_factory=dict_row) as run:
            lent: JSON = run.execute(LOCK, keys).fetchone() or {}
            keys |= {"book": lent["book_id"], "branch": lent["branch_id"]}
            keys |= {"category": lent["category"], "material": lent["material_type"]}
            found: JSON = run.execute(NUMBERS, keys).fetchone() or {}
            keys["policy"] = found["policy_id"]
            for statement in (INSERT_LOAN, UPDATE_COPY, INSERT_EVENT, INSERT_AUDIT):
                run.execute(statement, keys)


TERMS = '{"fee_per_day": "0.20", "fee_cap": "10.00", "grace_days": 0, "lost_fee": "25.00"}'
UNDO = (
    '[{"table": "loans", "before": null}, {"table": "copies", "before": {"status": "available"}}]'
)
DATA = '{"copy_status": ["available", "on_loan"]}'
# What is the same in each check-out, or what nobody knows of one that no request asks for.
FIXED: JSON = {
    "terms": TERMS, "undo": UNDO, "data": DATA, "details": "{}", "kind": "loan.check_out",
    "status": "on_loan", "actor_type": "system", "actor": None, "request_id": None, "address": None,
}  # fmt: skip


def check_outs(desk: Desk, stock: Stock, rounds: int) -> None:
    """Lend to one person after the other, by each way in turn."""
    ways = {
        "bare SQL": desk.bare,
        "check-out in process": desk.in_process,
        "check-out over HTTP": desk.over_http,
    }
    people, copies = iter(users() * 2), iter(stock.free_copies())
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(WARM_UP + rounds):
        for name, lend in ways.items():
            user, copy = next(people), next(copies)
            taken = timed(lambda lend=lend, user=user, copy=copy: lend(user, copy))  # type: ignore[misc]
            if number >= WARM_UP:
                times[name].append(taken)
    bare = p95(times["bare SQL"])
    print_row("", "p50 ms", "p95 ms", "p95 / bare")
    for name, measured in times.items():
        ratio = p95(measured) / bare
        print_row(
            name, f"{statistics.median(measured):.2f}", f"{p95(measured):.2f}", f"{ratio:.2f}"
        )
    print_row("required of a check-out", "", "", f"< {MOST_TIMES_BARE}")


def renewals(caller: http.client.HTTPConnection, stock: Stock, rounds: int) -> None:
    """Renew one loan, then many in one call, each of them somebody else's, and so on."""
    loans = iter(stock.open_loans())
    one: list[float] = []
    many: list[float] = []
    for number in range(WARM_UP // 10 + rounds):
        single, together = next(loans), [*islice(loans, TOGETHER)]
        taken = timed(lambda: ask(caller, f"/api/loans/{single}/renewals", {}, 200))  # noqa: B023
        body = {"loans": [str(loan) for loan in together]}
        all_taken = timed(lambda: ask(caller, "/api/bulk-renewals", body, 207))  # noqa: B023
        if number >= WARM_UP // 10:
            one.append(taken)
            many.append(all_taken)
    print_row("", "p50 ms", "p95 ms", "p50 / one")
    median = statistics.median(one)
    for name, taken_by in (("one renewal", one), (f"{TOGETHER} renewals in one call", many)):
        middle = statistics.median(taken_by)
        print_row(name, f"{middle:.2f}", f"{p95(taken_by):.2f}", f"{middle / median:.2f}")
    print_row("required of many", "", "", f"< {MOST_TIMES_ONE}")


def ask(caller: http.client.HTTPConnection, path: str, body: JSON, status: int) -> None:
    """Call the service; each item of a bulk call has to succeed."""
    headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
    caller.request("POST", path, json.dumps(body), headers)
    response = caller.getresponse()
    text = response.read()
    if response.status != status:
        raise RuntimeError(f"the service answers {response.status}: {text!r}")
    if status == 207:
        refused = [item for item in json.loads(text)["items"] if item["status"] != 200]
        if refused:
            raise RuntimeError(f"the service refuses: {refused[0]}")


def add_key(sessions: Sessions) -> None:
    """A librarian, and the key that calls are made with."""
    librarian = User(name="L", sort_name="l", role="librarian", status="active")
    with unit_of_work(sessions, writing=True) as session:
        session.add(librarian)
        session.flush()
        key = ApiKey(
            user_id=librarian.id,
            name="Benchmark",
            prefix=KEY[:12],
            secret_hash=hash_secret(KEY),
            scopes=sorted(ROLE_SCOPES["librarian"]),
        )
        session.add(key)


def tell_settings(connection: psycopg.Connection, stock: Stock) -> None:
    told = []
    for name in SETTINGS:
        (value,) = connection.execute(f"SHOW {name}".encode()).fetchone() or ("",)
        told.append(f"{name} {value}")
    sys.stdout.write(f"PostgreSQL: {', '.join(told)}\n")
    sys.stdout.write(f"Loans: {stock.history:,} in history, {stock.open:,} open\n")


def timed(deed: Callable[[], object]) -> float:
    """Milliseconds that it takes."""
    began = time.perf_counter()
    deed()
    return (time.perf_counter() - began) * 1000


def p95(milliseconds: list[float]) -> float:
    return statistics.quantiles(milliseconds, n=20, method="inclusive")[-1]


def print_row(name: str, *values: str) -> None:
    sys.stdout.write(f"{name:28}" + "".join(f"{value:>12}" for value in values) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
