"""Any state: everything that happens in a library between the actions of the desk."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from sqlalchemy.orm import Session

from circdesk.circulation.loan_lists import list_user_loans
from circdesk.circulation.periodic import forget, run_due
from circdesk.circulation.renewals import renew_loans
from circdesk.circulation.returns import return_copies, return_copy
from circdesk.contract.problems import Problem
from tests.circulation.states.actions import BRANCH, COPY, USER
from tests.circulation.states.changes import Changes
from tests.circulation.states.desk import JSON, plain

_DAY = timedelta(days=1)


class _Back(Exception):
    """Ends a unit of work that leaves nothing behind."""


class AnyState(Changes):
    """A library in which anything is done, in any order."""

    # Many at once are as each on its own.

    @rule(copies=st.lists(COPY, min_size=1, max_size=4, unique=True), branch=BRANCH)
    def takes_many_back(self, copies: list[str], branch: str) -> None:
        librarian, keys = self._caller("librarian"), [f"barcode:{copy}" for copy in copies]
        each: list[JSON] = []

        def one_by_one(session: Session) -> None:
            for key in keys:
                body = {"copy": key, "branch": f"code:{branch}"}
                try:
                    with session.begin_nested():
                        each.append(plain(return_copy(session, librarian, body)))
                except Problem as problem:
                    each.append(plain(problem.body(instance="/", request_id="none")))
            raise _Back

        with suppress(_Back):
            self.inside.call(librarian, one_by_one)
        body = {"copies": keys, "branch": f"code:{branch}"}
        done = self._hands(
            lambda s: return_copies(s, librarian, body, "/"), f"{copies} are taken back at {branch}"
        )
        found = [item["result"] or item["problem"] for item in done["items"]]
        assert [_comparable(item) for item in found] == [_comparable(item) for item in each]

    @precondition(lambda self: self.loans)
    @rule(override=st.booleans())
    def renews_all(self, override: bool) -> None:  # noqa: FBT001 - Hypothesis draws it.
        librarian = self._caller("librarian")
        loans = [str(loan_id) for loan_id in self.loans if ("loans", loan_id) in self.state]
        if not loans:
            return
        consent: JSON = {}
        if override:
            codes = ["renewal_limit", "too_soon", "held_by_others"]
            consent = {"override": {"codes": codes, "comment": "It is all right."}}
        asked = [
            self.inside.ask(librarian, {"action": "renew", "loan": loan_id, **consent}).body
            for loan_id in loans
        ]
        # All of them are decided about before the first of them is renewed.
        done = self._hands(
            lambda s: renew_loans(s, librarian, {"loans": loans, **consent}, "/"),
            f"{len(loans)} loans are renewed",
        )
        for decision, item in zip(asked, done["items"], strict=True):
            assert decision["allowed"] == (item["status"] == 200)
            if decision["allowed"]:
                assert item["result"]["loan"]["due_at"] == decision["result"]["due_at"]
                assert item["result"]["fee"] == decision["result"]["fee"]
                assert item["result"]["warnings"] == decision["warnings"]
            else:
                assert item["problem"]["decision"] == decision

    @rule(user=USER, who=st.sampled_from(("librarian", "self")))
    def looks_at_loans(self, user: str, who: str) -> None:
        """A list says of each loan what a decision would say."""
        if who == "self" and user == "dot":
            return
        caller = self._caller(who, user)
        query: Any = {"page": 1, "per_page": 50, "cursor": None, "sort": "lent_at"}
        query |= {"status": None, "overdue": None, "user_id": f"card:{user}"}
        listed = self.inside.call(
            caller, lambda s: list_user_loans(s, caller, query).items, writing=False
        )
        if who == "self" and caller.user_id != self.town.ids[user]:
            # Somebody else asks for who is shut out, and may not see them.
            assert (listed.status, listed.code) == (404, "not_found")
            return
        for loan in plain(listed.body):
            if loan["status"] != "open":
                assert loan["renewable"] is None
                continue
            decision = self.desk.ask(caller, {"action": "renew", "loan": loan["id"]}).body
            result = decision["result"] or {"due_at": None}
            assert loan["renewable"] == {
                "allowed": decision["allowed"],
                "blockers": decision["blockers"],
                "due_at": result["due_at"],
            }

    # Time.

    @rule(
        passes=st.sampled_from(
            (
                timedelta(minutes=20),
                timedelta(minutes=31),
                timedelta(hours=3),
                timedelta(days=1),
                timedelta(days=2),
                timedelta(days=8),
            )
        ),
        works=st.booleans(),
    )
    def time_passes(self, passes: timedelta, works: bool) -> None:  # noqa: FBT001 - Hypothesis draws it.
        self.clock.now += passes
        done: JSON = {}
        if works:
            done = {**run_due(self.ground.sessions), **forget(self.ground.sessions)}
            # A second time there is nothing left to do.
            assert {**run_due(self.ground.sessions), **forget(self.ground.sessions)} == {}
            self.state = self._snapshot()
        self._notes(f"it is {self.clock.now:%A %Y-%m-%d %H:%M}; {done}")


def _comparable(body: JSON) -> JSON:
    return {name: value for name, value in body.items() if name not in ("compensation", "instance")}
