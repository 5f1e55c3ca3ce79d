"""A town with a library: two branches, five titles with eight copies, five people, tight rules.

Everything has a name, by which failures tell of it, and an id that is the same each time, so that
whatever is ordered by ids is so each time too.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from tests.circulation.conftest import Library

JSON = dict[str, Any]

# A Friday afternoon; the clocks of Berlin go forward on Sunday, those of New York have done so.
START = datetime(2026, 3, 27, 15, tzinfo=UTC)

_WEEK = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
BRANCHES: Mapping[str, JSON] = {
    "north": {
        "time_zone": "Europe/Berlin",
        "opening_hours": {
            **{day: [{"opens": "09:00", "closes": "18:00"}] for day in _WEEK[:5]},
            "saturday": [{"opens": "10:00", "closes": "14:00"}],
            "sunday": [],
        },
        "closed_days": ["2026-04-03", "2026-04-06"],
    },
    "south": {
        "time_zone": "America/New_York",
        "opening_hours": {
            "monday": [],
            **{day: [{"opens": "12:00", "closes": "20:00"}] for day in _WEEK[1:]},
        },
        "closed_days": ["2026-03-31"],
    },
}
BOOKS: Mapping[str, JSON] = {
    "Dune": {},
    "Emma": {},
    "Ulysses": {},
    "Jaws": {"material_type": "video"},
    "Time": {"material_type": "periodical"},
}
# The book and the branch of each copy, and what is special about it.
COPIES: Mapping[str, tuple[str, str, JSON]] = {
    "dune-1": ("Dune", "north", {}),
    "dune-2": ("Dune", "south", {}),
    "emma-1": ("Emma", "north", {}),
    "ulysses-1": ("Ulysses", "south", {"status": "on_order"}),
    "ulysses-2": ("Ulysses", "north", {"status": "in_repair"}),
    "jaws-1": ("Jaws", "north", {"material_type": "video"}),
    "jaws-2": ("Jaws", "south", {"material_type": "video", "loanable": False}),
    "time-1": ("Time", "south", {"material_type": "periodical"}),
}
PEOPLE: Mapping[str, JSON] = {
    "ada": {},
    "ben": {"category": "student"},
    "cem": {"expires_on": date(2026, 3, 31), "keeps_history": True},
    "dot": {"category": "student", "status": "blocked"},
    "eve": {"expires_on": date(2026, 3, 20)},
}
# The second one lifts nothing, and takes no money.
STAFF = ("librarian", "assistant")


def _amount(*amounts: str) -> st.SearchStrategy[Decimal]:
    return st.sampled_from([Decimal(amount) for amount in amounts])


_NO_AMOUNT: st.SearchStrategy[Decimal | None] = st.none()
# What rules say, each in few values, so that two of them often meet.
TERMS: Mapping[str, st.SearchStrategy[Any]] = {
    "closed_days": st.sampled_from(("next_open_day", "previous_open_day", "keep")),
    "renewals": st.sampled_from((2, 1, 0)),
    "renewable_days": st.sampled_from((None, 2, 0)),
    "max_loans": st.sampled_from((None, 1, 2)),
    "max_holds": st.sampled_from((None, 1, 2)),
    "max_overdue": st.sampled_from((None, 0, 1)),
    "max_debt": _NO_AMOUNT | _amount("0.50", "5.00"),
    "lends": st.sampled_from((True, True, True, False)),
    "holds": st.sampled_from((True, True, True, False)),
    "self_service": st.booleans(),
    "hold_shelf_days": st.sampled_from((1, 7)),
    "recall_days": st.sampled_from((None, 1, 3)),
    "fee_per_day": _amount("0.20", "1.00", "0.00"),
    "fee_cap": _NO_AMOUNT | _amount("2.00"),
    "grace_days": st.sampled_from((0, 1)),
    "lost_fee": _amount("25.00", "0.00"),
}
_DAYS = {"period_unit": st.just("days"), "period_length": st.sampled_from((1, 3, 14))}
_HOURS = {"period_unit": st.just("hours"), "period_length": st.sampled_from((1, 5, 48))}
_DATE = {
    "period_unit": st.just("fixed_date"),
    "period_length": st.none(),
    "period_date": st.sampled_from((date(2026, 4, 5), date(2026, 3, 28))),
}
# What each rule is for; the branch by its name.
SCOPES: Mapping[str, JSON] = {
    "general": {},
    "videos": {"material_type": "video"},
    "periodicals": {"material_type": "periodical"},
    "students": {"user_category": "student"},
    "south": {"branch_id": "south"},
}

RULES = tuple(SCOPES)

Rules = dict[str, JSON]


def rules() -> st.SearchStrategy[Rules]:
    """Two to five rules, by their names; what they leave out is as `tests.circulation` has it."""
    return st.fixed_dictionaries(
        {"videos": _terms(_HOURS), "general": _terms(_DAYS)},
        optional={
            "periodicals": _terms(_DATE),
            "students": _terms(_DAYS),
            "south": _terms(_DAYS),
        },
    )


def _terms(period: Mapping[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[JSON]:
    return st.fixed_dictionaries({**period}, optional={**TERMS})


class Town:
    """What is there to begin with, by name.

    Args:
        library: Stores it.
        rules: The rules to lend by.
    """

    def __init__(self, library: Library, rules: Rules) -> None:
        self.ids: dict[str, UUID] = {}
        self.keys: dict[str, dict[str, str]] = {}
        for name, hours in BRANCHES.items():
            self.ids[name] = library.branch(id=self._id(), code=name, **hours)
        for name, values in BOOKS.items():
            self.ids[name] = library.book(id=self._id(), **values)
        for name, (book, branch, values) in COPIES.items():
            made = {"id": self._id(), "barcode": name, **values}
            self.ids[name] = library.copy(self.ids[book], self.ids[branch], **made)
        for name, values in PEOPLE.items():
            self.ids[name] = library.user(id=self._id(), card_number=name, **values)
        for name in STAFF:
            self.ids[name] = library.user("librarian", id=self._id(), card_number=name)
        for name, terms in rules.items():
            self.ids[f"rule {name}"] = library.policy(
                id=self._id(), **self._scope(name), **{"name": name, **terms}
            )
        self._names = {str(row_id): name for name, row_id in self.ids.items()}

    def name(self, row_id: Any) -> str:
        """What has this id; the id itself where nobody has named it."""
        return self._names.get(str(row_id), str(row_id))

    def names(self, row_id: Any, name: str) -> None:
        """Name something that was not there to begin with."""
        self._names[str(row_id)] = name

    def _id(self) -> UUID:
        return UUID(f"019b8d2b-8c00-7000-8000-{len(self.ids) + 1:012}")

    def _scope(self, name: str) -> JSON:
        scope = SCOPES[name]
        return scope | {key: self.ids[scope[key]] for key in ("branch_id",) if key in scope}
