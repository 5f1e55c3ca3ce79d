"""The five actions of the desk and the way back, by whom and with whatever consent."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from circdesk.circulation.deeds import UNDO_WINDOW
from circdesk.db.unit_of_work import unit_of_work
from circdesk.events.log import read_event
from tests.circulation.invariants import broken_invariants
from tests.circulation.states import snapshots
from tests.circulation.states.desk import JSON
from tests.circulation.states.ground import SECOND, Regular
from tests.circulation.states.promises import as_shown
from tests.circulation.states.town import BOOKS, BRANCHES, COPIES, PEOPLE, Rules, rules

# Who acts: staff, the person whom it is about, or somebody else.
WHO = st.sampled_from(("librarian", "self", "librarian", "assistant", "self", "other"))
USER, COPY = st.sampled_from([*PEOPLE]), st.sampled_from([*COPIES])
BOOK, BRANCH = st.sampled_from([*BOOKS]), st.sampled_from([*BRANCHES])
# What the caller says yes to, once the decision has told what there is to say it to; or the action
# is only asked about, and perhaps taken later.
CONSENT = st.sampled_from(("all", "none", "later", "confirm", "override"))
NO_CONSENT = st.sampled_from(("none", "none", "later"))
NTH = st.integers(0, 7)
DAY = st.sampled_from((None, 1, 3))


class Actions(Regular):
    """What decisions are asked about, and what takes it back."""

    @initialize(
        rules=rules(),
        lent=st.lists(st.tuples(USER, COPY), min_size=2, max_size=6),
        held=st.lists(st.tuples(USER, BOOK, BRANCH), max_size=4),
        days=st.integers(1, 3),
    )
    def opens(
        self,
        rules: Rules,
        lent: list[tuple[str, str]],
        held: list[tuple[str, str, str]],
        days: int,
    ) -> None:
        self.begins(rules)
        for user, copy in lent:
            self.check_out("librarian", user, copy, "all")
        for user, book, branch in held:
            self.hold_title("librarian", user, book, branch, None, "all")
        # On the day on which it was lent nothing can be renewed.
        self.clock.now += timedelta(days=days)
        for nth, _ in enumerate(self.loans):
            self.renew("librarian", nth, "all")

    @invariant()
    def holds_true(self) -> None:
        # Where nothing has changed since, all that was true still is.
        if self.state != self.judged:
            with unit_of_work(self.ground.sessions, writing=False) as session:
                assert [*broken_invariants(session, written_down=True)] == []
            self.judged = self.state
        # No two steps are taken at once.
        self.clock.now += SECOND

    # The five actions.

    @rule(who=WHO, user=USER, copy=COPY, consent=CONSENT)
    def check_out(self, who: str, user: str, copy: str, consent: str) -> None:
        question = {"action": "check_out", **self._keys(who, user=user, copy=copy)}
        self._acts(self._caller(who, user), question, consent, f"{who} lends {copy} to {user}")

    @rule(
        who=st.sampled_from(("librarian", "assistant")),
        copy=COPY,
        branch=st.none() | BRANCH,
        consent=NO_CONSENT,
    )
    def take_back(self, who: str, copy: str, branch: str | None, consent: str) -> None:
        question = {"action": "return", **self._keys(who, copy=copy)}
        if branch is not None:
            question["branch"] = f"code:{branch}"
        self._acts(self._caller(who), question, consent, f"{who} takes {copy} back at {branch}")

    @precondition(lambda self: self.loans)
    @rule(who=WHO, nth=NTH, consent=CONSENT)
    def renew(self, who: str, nth: int, consent: str) -> None:
        loan_id, user = self._loan(nth)
        question = {"action": "renew", "loan": str(loan_id)}
        sentence = f"{who} renews {self.town.name(loan_id)}"
        self._acts(self._caller(who, user), question, consent, sentence)

    # Twice as often as the others, for there is much that can be in its way.
    renews = renew

    @rule(who=WHO, user=USER, book=BOOK, branch=BRANCH, suspended=DAY, consent=CONSENT)
    def hold_title(
        self, who: str, user: str, book: str, branch: str, suspended: int | None, consent: str
    ) -> None:
        self._places(who, user, {"book": str(self.town.ids[book])}, branch, suspended, consent)

    @rule(who=WHO, user=USER, copy=COPY, branch=BRANCH, suspended=DAY, consent=CONSENT)
    def hold_copy(
        self, who: str, user: str, copy: str, branch: str, suspended: int | None, consent: str
    ) -> None:
        self._places(who, user, self._keys(who, copy=copy), branch, suspended, consent)

    @precondition(lambda self: self.holds)
    @rule(who=WHO, nth=NTH, consent=NO_CONSENT)
    def cancel_hold(self, who: str, nth: int, consent: str) -> None:
        hold_id, user = self._hold(nth)
        question = {"action": "cancel_hold", "hold": str(hold_id)}
        sentence = f"{who} cancels {self.town.name(hold_id)}"
        self._acts(self._caller(who, user), question, consent, sentence)

    @precondition(lambda self: self.plans)
    @rule(nth=NTH)
    def act_on_a_plan(self, nth: int) -> None:
        """Act on what was decided some time ago, whatever has become of it."""
        plan = self.plans.pop(nth % len(self.plans))
        token, question = plan.decision["plan_token"], plan.question
        with self._at(plan.at):
            then = self.desk.ask(plan.caller, question).body
        changed = as_shown(then) != as_shown(plan.decision)
        assert not changed or then["plan_token"] != token, "the token has not noticed"
        asked, before = self.desk.ask(plan.caller, question), self.state
        done = self.desk.do(plan.caller, question, token)
        sentence = f"somebody acts on a plan to {question['action']}"
        if asked.body["plan_token"] == token:
            self._concludes(plan.caller, question, asked, done, sentence)
            return
        self._notes(f"{sentence}: it is outdated")
        self.ground.counts["outdated"] += 1
        assert (done.status, done.code) == (412, "plan_outdated"), done.body
        assert done.body["decision"] == asked.body
        assert self._snapshot() == before

    # The way back.

    @precondition(lambda self: self.done)
    @rule(nth=st.sampled_from((0, 0, 0, 1, 2, 5)), who=st.sampled_from(("doer", "librarian")))
    def undo(self, nth: int, who: str) -> None:
        deed = self.done[-1 - nth % len(self.done)]
        caller = deed.caller if who == "doer" else self._caller("librarian")
        before, answer = self.state, self.desk.undo(caller, deed.event_id)
        self.state = after = self._snapshot()
        is_late = self.clock.now > deed.at + UNDO_WINDOW
        if not answer.is_success:
            self._notes(f"{who} cannot undo that {deed.sentence}: {answer.body['details']}")
            # A member's own deed is the member's no more when the house has forgotten whose it was.
            is_forgotten = caller.role == "member" and self._actor_of(deed.event_id) is None
            expected = (404, "not_found") if is_forgotten else (409, "reversal_impossible")
            assert (answer.status, answer.code) == expected, answer.body
            assert is_late or not is_forgotten
            assert after == before
            assert is_late or deed.undone or before != deed.after, "nothing was in the way"
            return
        self._notes(f"{who} undoes that {deed.sentence}")
        assert not is_late
        assert not deed.undone
        assert answer.body["compensation"] is None
        assert snapshots.difference(snapshots.undone(before, deed.before, deed.after), after) == []
        deed.undone = True
        self.ground.counts["undone"] += 1
        again = self.desk.undo(caller, deed.event_id)
        assert again.body["details"][0]["rule"] == "reversed"

    def _actor_of(self, event_id: str) -> Any:
        librarian = self._caller("librarian")
        event = self.inside.call(
            librarian, lambda session: read_event(session, UUID(event_id)), writing=False
        )
        return event.body["actor"]["id"]

    def _places(
        self,
        who: str,
        user: str,
        wanted: JSON,
        branch: str,
        suspended: int | None,
        consent: str,
    ) -> None:
        question = {"action": "place_hold", **self._keys(who, user=user), **wanted}
        question["pickup_branch"] = f"code:{branch}"
        if suspended is not None:
            day = self.clock.now.date() + timedelta(days=suspended)
            question["suspended_until"] = day.isoformat()
        named = self.town.name(next(iter(wanted.values())))
        sentence = f"{who} places a hold on {named} at {branch} for {user}"
        self._acts(self._caller(who, user), question, consent, sentence)
