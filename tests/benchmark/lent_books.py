"""A library that has lent for years, put into PostgreSQL by its own arithmetic.

What has the number n has the same id each time. Every person has some loans open, which are due
soon; the copies beyond those that are lent are on the shelves.
"""

from dataclasses import dataclass
from random import Random
from uuid import UUID

import psycopg

USERS = 50_000
COPIES_PER_BOOK = 2
BRANCHES = 5

_IDS = {"users": 1, "books": 2, "branches": 3, "copies": 4, "loans": 5, "loan_policies": 6}
_HOURS = (
    '(SELECT json_object_agg(day, \'[{"opens": "09:00", "closes": "18:00"}]\'::json)'
    " FROM unnest('{monday,tuesday,wednesday,thursday,friday,saturday}'::text[]) AS day)"
)
_TERMS = (
    '\'{"fee_per_day": "0.20", "fee_cap": "10.00", "grace_days": 0, "lost_fee": "25.00"}\'::json'
)


@dataclass(frozen=True)
class Stock:
    """What there is: loans that have ended, loans that are open, and copies."""

    history: int
    open: int

    @property
    def copies(self) -> int:
        return 3 * self.open

    @property
    def books(self) -> int:
        return self.copies // COPIES_PER_BOOK

    def free_copies(self) -> list[UUID]:
        """The copies on the shelves, in no order."""
        return _shuffled("copies", self.open, self.copies)

    def open_loans(self) -> list[UUID]:
        """The open loans, in no order."""
        return _shuffled("loans", 0, self.open)


def users() -> list[UUID]:
    """All people, in no order."""
    return _shuffled("users", 0, USERS)


def fill(connection: psycopg.Connection, stock: Stock) -> None:
    """Store it all, and let the planner know."""
    # Whether what a row refers to is there is known, and takes longer to ask than the row.
    connection.execute("SET session_replication_role = replica")
    for statement in _statements(stock):
        connection.execute(statement.encode())
    connection.execute("RESET session_replication_role")
    connection.commit()
    connection.autocommit = True
    connection.execute("VACUUM ANALYZE")
    connection.execute("CHECKPOINT")


def add_people(connection: psycopg.Connection) -> None:
    """Store the people and the policies by which they borrow, for books that are there already."""
    for statement in _people_and_policies():
        connection.execute(statement.encode())


def _statements(stock: Stock) -> list[str]:
    copy = _number("n", stock.copies)
    return [
        _insert(
            "branches",
            BRANCHES,
            code="'branch-' || n",
            name="'Branch ' || n",
            sort_name="'branch ' || n",
            time_zone="'Europe/Berlin'",
            opening_hours=_HOURS,
            closed_days="'[]'::json",
        ),
        _insert(
            "books",
            stock.books,
            title="'Book ' || n",
            sort_title="'book ' || n",
            sort_year="2000",
            material_type="'book'",
            edited_fields="'[]'::json",
        ),
        _insert(
            "copies",
            stock.copies,
            book_id=_id("books", f"n % {stock.books}"),
            branch_id=_id("branches", f"n % {BRANCHES}"),
            barcode="(3000000 + n)::text",
            status=f"CASE WHEN n < {stock.open} THEN 'on_loan' ELSE 'available' END",
            material_type="'book'",
            loanable="true",
        ),
        *_people_and_policies(),
        _loans(stock, "n", status="open", lent="2", returned="NULL"),
        _loans(
            stock,
            copy,
            status="returned",
            lent="(60 + n % 1500)",
            returned="now() - make_interval(days => 40 + n % 1500)",
        ),
    ]


def _people_and_policies() -> list[str]:
    return [
        _insert(
            "users",
            USERS,
            name="'Person ' || n",
            sort_name="'person ' || n",
            card_number="(200000 + n)::text",
            role="'member'",
            status="'active'",
            keeps_history="true",
            receives_news="false",
        ),
        _policies(),
    ]


def _policies() -> str:
    """One for everything, one for students, and one for videos."""
    scopes = {"NULL, NULL": "//", "'student', NULL": "student//", "NULL, 'video'": "/video/"}
    rows = [
        f"({_id('loan_policies', str(place))}, 'Rule {place}', '{scope}', {named}, 'days', 28,"
        " 'next_open_day', 3, 500, 5, 5, 2000, true, true, false, 7, 20, 1000, 0, 2500,"
        " now(), now())"
        for place, (named, scope) in enumerate(scopes.items())
    ]
    return (
        "INSERT INTO loan_policies (id, name, scope, user_category, material_type, period_unit,"
        " period_length, closed_days, renewals, max_loans, max_holds, max_overdue, max_debt, lends,"
        " holds, self_service, hold_shelf_days, fee_per_day, fee_cap, grace_days, lost_fee,"
        f" created_at, updated_at) VALUES {', '.join(rows)}"
    )


def _loans(stock: Stock, copy: str, *, status: str, lent: str, returned: str) -> str:
    is_open = status == "open"
    return _insert(
        "loans",
        stock.open if is_open else stock.history,
        first="0" if is_open else str(stock.open),
        user_id=_id("users", _number("n", USERS)),
        copy_id=_id("copies", copy),
        book_id=_id("books", f"({copy}) % {stock.books}"),
        branch_id=_id("branches", f"({copy}) % {BRANCHES}"),
        user_category="'standard'",
        material_type="'book'",
        status=f"'{status}'",
        lent_at=f"now() - make_interval(days => {lent})",
        due_at=f"now() - make_interval(days => {lent}) + interval '20 days'",
        returned_at=returned,
        renewals="0",
        policy_id=_id("loan_policies", "0"),
        terms=_TERMS,
    )


def _insert(table: str, count: int, *, first: str = "0", **columns: str) -> str:
    moments = {"created_at": "now()", "updated_at": "now()"}
    values = {"id": _id(table, "n")} | columns | moments
    return (
        f"INSERT INTO {table} ({', '.join(values)}) SELECT {', '.join(values.values())}"
        f" FROM generate_series({first}, {first} + {count} - 1) AS n"
    )


def _number(number: str, below: int) -> str:
    """A number that jumps about, as who lends what does."""
    return f"({number}::bigint * 7919) % {below}"


def _id(table: str, number: str) -> str:
    beginning = _beginning(table)
    return f"('{beginning}' || lpad(to_hex({number}), 12, '0'))::uuid"


def _beginning(table: str) -> str:
    return f"01900000-0000-7{_IDS[table]:03x}-8000-"


def _shuffled(table: str, first: int, end: int) -> list[UUID]:
    ids = [UUID(f"{_beginning(table)}{number:012x}") for number in range(first, end)]
    Random(7).shuffle(ids)
    return ids
