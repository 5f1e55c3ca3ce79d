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
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from lent_books import Stock, fill, users  # type: ignore[import-not-found]  # It lies beside this.
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
        loan, event = uuid7(), uuid7()
        keys: JSON = {"user": user, "copy": copy, "loan": loan, "event": event, "audit": uuid7()}
        with self.connection.transaction():
            run = self.connection.execute
            lent = run(LOCK, keys).fetchone() or ()
            keys |= {"book": lent[4], "branch": lent[5], "terms": TERMS}
            found = run(COUNT, keys | {"today": time.strftime("%Y-%m-%d")}).fetchone() or ()
            keys |= {"policy": found[0], "undo": UNDO}
            for statement in (INSERT_LOAN, UPDATE_COPY, INSERT_EVENT, INSERT_AUDIT):
                run(statement, keys)


TERMS = '{"fee_per_day": "0.20", "fee_cap": "10.00", "grace_days": 0, "lost_fee": "25.00"}'
UNDO = (
    '[{"table": "loans", "before": null}, {"table": "copies", "before": {"status": "available"}}]'
)
LOCK = """
    SELECT u.id, u.category, u.status, u.expires_on, c.book_id, c.branch_id, c.barcode, c.status,
           c.material_type, c.loanable, c.event_id, n.time_zone, n.opening_hours, n.closed_days
    FROM users u JOIN copies c ON c.id = %(copy)s JOIN books b ON b.id = c.book_id
    JOIN branches n ON n.id = c.branch_id
    WHERE u.id = %(user)s AND u.status <> 'deleted'
    FOR NO KEY UPDATE OF u, b, c
"""
COUNT = """
    SELECT p.*, h.id, h.status, h.rank, h.trapped_copy_id,
      (SELECT sum(outstanding) FROM fees WHERE user_id = u.id AND outstanding > 0),
      (SELECT count(*) FROM loans WHERE user_id = u.id AND returned_at IS NULL
        AND status = 'open' AND due_at < now()),
      (SELECT reason FROM blocks WHERE user_id = u.id AND lifted_at IS NULL
        AND (expires_at IS NULL OR expires_at > now()) ORDER BY expires_at LIMIT 1),
      (SELECT count(*) FROM loans WHERE user_id = u.id AND returned_at IS NULL
        AND status <> 'lost' AND (p.material_type IS NULL OR material_type = p.material_type)
        AND (p.branch_id IS NULL OR branch_id = p.branch_id)),
      (SELECT count(*) FROM loans WHERE user_id = u.id AND returned_at IS NULL
        AND status <> 'lost' AND book_id = %(book)s),
      (SELECT due_at FROM loans WHERE copy_id = %(copy)s AND returned_at IS NULL),
      (SELECT count(*) FROM holds w WHERE w.book_id = %(book)s AND w.user_id <> u.id
        AND w.ended_at IS NULL AND w.status = 'waiting'
        AND (w.suspended_until IS NULL OR w.suspended_until <= %(today)s)
        AND (w.copy_id IS NULL OR w.copy_id = %(copy)s)
        AND (h.rank IS NULL OR w.rank < h.rank)),
      (SELECT count(*) FILTER (WHERE status = 'available' AND loanable) FROM copies
        WHERE book_id = %(book)s)
    FROM users u
    LEFT JOIN loan_policies p ON p.id = (
      SELECT id FROM loan_policies
      WHERE (user_category IS NULL OR user_category = 'standard')
        AND (material_type IS NULL OR material_type = 'book')
        AND (branch_id IS NULL OR branch_id = %(branch)s)
      ORDER BY (branch_id IS NOT NULL)::int * 4 + (user_category IS NOT NULL)::int * 2
        + (material_type IS NOT NULL)::int DESC LIMIT 1)
    LEFT JOIN holds h ON h.user_id = u.id AND h.book_id = %(book)s AND h.ended_at IS NULL
      AND (h.copy_id IS NULL OR h.copy_id = %(copy)s)
      AND (h.trapped_copy_id IS NULL OR h.trapped_copy_id = %(copy)s)
    WHERE u.id = %(user)s
"""
INSERT_LOAN = """
    INSERT INTO loans (id, user_id, copy_id, book_id, branch_id, user_category, material_type,
      status, lent_at, due_at, renewals, policy_id, terms, event_id, created_at, updated_at)
    VALUES (%(loan)s, %(user)s, %(copy)s, %(book)s, %(branch)s, 'standard', 'book', 'open', now(),
      now() + interval '28 days', 0, %(policy)s, %(terms)s, %(event)s, now(), now())
"""
UPDATE_COPY = """
    UPDATE copies SET status = 'on_loan', event_id = %(event)s, updated_at = now()
    WHERE id = %(copy)s
"""
INSERT_EVENT = """
    INSERT INTO events (id, kind, subject_type, subject_id, actor_type, user_id, data, occurred_at,
      undo, undo_until)
    VALUES (%(event)s, 'loan.check_out', 'loan', %(loan)s, 'system', %(user)s,
      '{"copy_status": ["available", "on_loan"]}', now(), %(undo)s, now() + interval '30 minutes')
"""
INSERT_AUDIT = """
    INSERT INTO audit_log (id, occurred_at, action, outcome, actor_type, target_type, target_id,
      details)
    VALUES (%(audit)s, now(), 'loan.check_out', 'success', 'system', 'loan', %(loan)s, '{}')
"""


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
