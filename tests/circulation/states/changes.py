"""What is changed beside the five actions, which no decision is asked about and each depends on."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import rule
from sqlalchemy.orm import Session

from circdesk.accounts.users import patch_user
from circdesk.catalog.branches import patch_branch
from circdesk.catalog.copies import patch_copy
from circdesk.circulation import loan_changes
from circdesk.circulation.blocks import create_block, lift_block
from circdesk.circulation.fees.fees import create_fee
from circdesk.circulation.fees.payments import pay_fee, refund_fee, waive_fee
from circdesk.circulation.holds.changing import update_hold
from circdesk.circulation.policies.loan_policies import change_policy
from tests.circulation.states.actions import BRANCH, COPY, NTH, USER, Actions
from tests.circulation.states.desk import JSON
from tests.circulation.states.town import PEOPLE, RULES, TERMS

_DAY = timedelta(days=1)

# By hand, and as little as needed of what there is.
TERM = st.one_of([st.tuples(st.just(name), values) for name, values in TERMS.items()])
BY_HAND = st.sampled_from(("available", "on_order", "in_repair", "missing", "lost", "withdrawn"))
OF_COPY = st.one_of(
    st.tuples(st.just("status"), BY_HAND),
    st.tuples(st.just("branch_id"), BRANCH.map("code:{}".format)),
    st.tuples(st.just("loanable"), st.booleans()),
)
OF_HOLD = st.one_of(
    st.tuples(st.just("suspended_until"), st.sampled_from((None, 1, 3))),
    st.tuples(st.just("pickup_branch"), BRANCH.map("code:{}".format)),
    st.tuples(st.just("position"), st.integers(1, 3)),
)
OF_USER = st.one_of(
    st.tuples(st.just("category"), st.sampled_from(("standard", "student"))),
    st.tuples(st.just("status"), st.sampled_from(("active", "blocked"))),
    st.tuples(st.just("expires_on"), st.sampled_from((None, -1, 0, 2))),
)
TO_LOAN: Mapping[str, Callable[[Session, UUID], JSON]] = {
    "is declared lost": loan_changes.declare_loan_lost,
    "is claimed to be returned": loan_changes.claim_loan_returned,
    "is found by its borrower": loan_changes.recover_loan,
}
TO_FEE = {"pays": pay_fee, "waives": waive_fee, "refunds": refund_fee}

# What is changed, by the name of the method, and how.
CHANGES = st.one_of(
    st.tuples(st.just("rule"), st.sampled_from(RULES), TERM),
    st.tuples(st.just("block"), USER, st.sampled_from((None, 1, 2))),
    st.tuples(st.just("lift"), NTH),
    st.tuples(st.just("user"), USER, OF_USER),
    st.tuples(st.just("copy"), COPY, OF_COPY),
    st.tuples(st.just("closing"), BRANCH, st.integers(0, 4)),
)
CASES = st.one_of(
    st.tuples(st.just("of_hold"), NTH, OF_HOLD),
    st.tuples(st.just("of_loan"), NTH, st.sampled_from([*TO_LOAN])),
    st.tuples(st.just("due_date"), NTH, st.sampled_from((-3, 0, 2))),
    st.tuples(st.just("charge"), USER, st.sampled_from(("0.50", "6.00"))),
    st.tuples(st.just("settle"), NTH, st.sampled_from([*TO_FEE]), st.sampled_from((1, 2, None))),
)


class Changes(Actions):
    """Staff who change this and that."""

    # Each kind is no rule of its own, for then there would be little between them of all else.
    @rule(change=CHANGES)
    def changes(self, change: tuple[Any, ...]) -> None:
        kind, *how = change
        getattr(self, f"_{kind}")(*how)

    @rule(case=CASES)
    def looks_into(self, case: tuple[Any, ...]) -> None:
        kind, *how = case
        getattr(self, f"_{kind}")(*how)

    def _rule(self, name: str, term: tuple[str, Any]) -> None:
        policy_id = self.town.ids.get(f"rule {name}")
        if policy_id is not None:
            self._hands(lambda s: change_policy(s, policy_id, dict([term])), f"{name}: {term}")

    def _block(self, user: str, days: int | None) -> None:
        expires_at = None if days is None else self.clock.now + days * _DAY
        content = {"reason": "Noise.", "expires_at": expires_at}
        done = self._hands(
            lambda s: create_block(s, f"card:{user}", content), f"{user} is blocked: {days} days"
        )
        self.blocked.append((user, UUID(done["id"])))

    def _lift(self, nth: int) -> None:
        if not self.blocked:
            return
        user, block_id = self.blocked.pop(nth % len(self.blocked))
        self._hands(lambda s: lift_block(s, f"card:{user}", block_id), f"{user} is not blocked")

    def _user(self, user: str, change: tuple[str, Any]) -> None:
        name, value = change
        if name == "expires_on" and value is not None:
            value = self.clock.now.date() + value * _DAY
        if name == "status" and value == "blocked":
            # Two stay who can act, each for themselves and as somebody else.
            if len(self.shut_out | {user}) > len(PEOPLE) - 2:
                return
            self.shut_out.add(user)
        elif name == "status":
            self.shut_out.discard(user)
        librarian = self._caller("librarian")
        self._hands(
            lambda s: patch_user(s, librarian, f"card:{user}", {name: value}), f"{user}: {change}"
        )

    def _copy(self, copy: str, change: tuple[str, Any]) -> None:
        self._hands(lambda s: patch_copy(s, f"barcode:{copy}", dict([change])), f"{copy}: {change}")

    def _closing(self, branch: str, days: int) -> None:
        day = (self.clock.now.date() + days * _DAY).isoformat()
        self._hands(
            lambda s: patch_branch(s, f"code:{branch}", {"closed_days": [day]}),
            f"{branch} is closed on {day}, and on no other day",
        )

    def _of_hold(self, nth: int, change: tuple[str, Any]) -> None:
        hold_id, _ = self._hold(nth)
        name, value = change
        if name == "suspended_until" and value is not None:
            value = self.clock.now.date() + value * _DAY
        librarian = self._caller("librarian")
        self._hands(
            lambda s: update_hold(s, librarian, hold_id, {name: value}),
            f"{self.town.name(hold_id)}: {change}",
        )

    def _of_loan(self, nth: int, becomes: str) -> None:
        loan_id, _ = self._loan(nth)
        call = TO_LOAN[becomes]
        self._hands(lambda s: call(s, loan_id), f"{self.town.name(loan_id)} {becomes}")

    def _due_date(self, nth: int, days: int) -> None:
        loan_id, _ = self._loan(nth)
        changes = {"due_at": self.clock.now + days * _DAY}
        self._hands(
            lambda s: loan_changes.change_due_date(s, loan_id, changes),
            f"{self.town.name(loan_id)} is due {days} days from now",
        )

    def _charge(self, user: str, amount: str) -> None:
        content = {"user": f"card:{user}", "amount": amount, "reason": "A cup."}
        librarian = self._caller("librarian")
        self._hands(lambda s: create_fee(s, librarian, content), f"{user} is charged {amount}")

    def _settle(self, nth: int, deed: str, part: int | None) -> None:
        fees = sorted(key[1] for key in self.state if key[0] == "fees")
        if not fees:
            return
        fee = self.state["fees", fees[nth % len(fees)]]
        amount = Decimal(26) if part is None else round(fee["amount"] / part, 2)
        content = {"amount": str(amount), "comment": None}
        librarian, call = self._caller("librarian"), TO_FEE[deed]
        self._hands(
            lambda s: call(s, librarian, fee["id"], content),
            f"{self.town.name(fee['user_id'])} {deed} {amount} of {fee['kind']}",
        )

    def _hands(self, call: Callable[[Session], Any], sentence: str) -> Any:
        """Let the librarian do what no decision is asked about; the answer."""
        return self._does(self._caller("librarian"), call, sentence).body
