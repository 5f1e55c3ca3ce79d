"""Where machines run, what they remember, and how they act: everything but what they do."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import note
from hypothesis.stateful import RuleBasedStateMachine
from sqlalchemy.orm import Session

from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.visits import Caller
from tests.circulation.conftest import Library
from tests.circulation.states import snapshots
from tests.circulation.states.desk import JSON, SCOPES, Answer, Desk, Inside
from tests.circulation.states.promises import is_kept
from tests.circulation.states.snapshots import Snapshot
from tests.circulation.states.town import PEOPLE, START, Rules, Town

SECOND = timedelta(seconds=1)
_NOBODYS = UUID("019b8d2b-8c00-7fff-8000-000000000000")


@dataclass
class Clock:
    """What time it is, for the desk and for all else."""

    now: datetime = START


@dataclass
class Ground:
    """Where a machine runs, one after the other, and what they share.

    Args:
        restore: Empties the database.
        desk: Makes the desk for the callers with these keys.
    """

    sessions: Sessions
    restore: Callable[[], None]
    clock: Clock
    desk: Callable[[Library, Town], Desk]
    # What was done in all runs: the steps, and how often each came of them.
    steps: int = 0
    counts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Plan:
    """A decision that somebody has seen and not acted on yet."""

    caller: Caller
    question: JSON
    decision: JSON
    at: datetime


@dataclass
class Done:
    """Something that was done and can be taken back."""

    caller: Caller
    event_id: str
    sentence: str
    before: Snapshot
    after: Snapshot
    at: datetime
    undone: bool = False


class Regular(RuleBasedStateMachine):
    """Somebody who comes to the desk again and again, and remembers what was said and done."""

    def __init__(self, ground: Ground) -> None:
        super().__init__()
        self.ground = ground
        self.clock = ground.clock
        # What there is, and what of it the invariants have last been asked about.
        self.state: Snapshot = {}
        self.judged: Snapshot = {}
        self.plans: list[Plan] = []
        self.done: list[Done] = []
        self.loans: list[UUID] = []
        self.holds: list[UUID] = []
        self.blocked: list[tuple[str, UUID]] = []
        # Who is blocked altogether, and cannot so much as sign in.
        self.shut_out = {name for name, person in PEOPLE.items() if "status" in person}

    def begins(self, rules: Rules) -> None:
        """Begin in a town where nothing was ever lent."""
        self.ground.restore()
        self.clock.now = START
        library = Library(self.ground.sessions)
        self.town = Town(library, rules)
        self.desk = self.ground.desk(library, self.town)
        self.inside = Inside(self.ground.sessions)
        self.state = self._snapshot()

    def _acts(self, caller: Caller, question: JSON, consent: str, sentence: str) -> None:
        """Ask, act as the answer says, and ask whether that was what it said."""
        question = question | self._consent(caller, question, consent)
        asked = self.desk.ask(caller, question)
        assert asked.status == 200, asked.body
        self._waits(caller, question, asked.body)
        if consent == "later":
            self.plans.append(Plan(caller, question, asked.body, self.clock.now))
            self._notes(f"{sentence}: asked for later")
            return
        done = self.desk.do(caller, question, asked.body["plan_token"])
        self._concludes(caller, question, asked, done, sentence)

    def _concludes(
        self,
        caller: Caller,
        question: JSON,
        asked: Answer,
        done: Answer,
        sentence: str,
    ) -> None:
        action, before = question["action"], self.state
        self.state = after = self._snapshot()
        decision = asked.body
        reasons = [r["code"] for r in (*decision["blockers"], *decision["confirmations"])]
        outcome = "done" if done.is_success else ", ".join(reasons)
        self._notes(f"{sentence}: {outcome}")
        self.ground.counts[f"{action} {'done' if done.is_success else 'refused'}"] += 1
        self.ground.counts.update(reasons)
        is_kept(action, asked, done, before, after)
        if not done.is_success:
            return
        self._remembers(caller, done, before, after, sentence)
        if after != before:
            again = self.desk.do(caller, question, decision["plan_token"])
            assert (again.status, again.code) == (412, "plan_outdated"), again.body
            assert again.body["decision"] == self.desk.ask(caller, question).body

    def _waits(self, caller: Caller, question: JSON, decision: JSON) -> None:
        """Whether time alone takes away what stands in the way, and when the decision says."""
        if decision["next_allowed_at"] is None:
            return
        moment = datetime.fromisoformat(decision["next_allowed_at"])
        assert moment > self.clock.now
        stands = {reason["code"] for reason in decision["blockers"]}
        left = {}
        for place, at in {"before": moment - SECOND, "then": moment}.items():
            with self._at(at):
                found = self.desk.ask(caller, question).body["blockers"]
            left[place] = stands & {reason["code"] for reason in found}
        assert left["before"] or moment - SECOND <= self.clock.now, decision
        assert not left["then"], decision

    def _consent(self, caller: Caller, question: JSON, consent: str) -> JSON:
        if consent in ("none", "later"):
            return {}
        decision = self.desk.ask(caller, question).body
        codes = [reason["code"] for reason in decision["blockers"]]
        said: JSON = {}
        if consent != "override":
            said["confirm"] = [reason["code"] for reason in decision["confirmations"]]
        if consent != "confirm" and codes:
            said["override"] = {"codes": codes, "comment": "It is all right."}
        return said

    def _remembers(
        self, caller: Caller, done: Answer, before: Snapshot, after: Snapshot, sentence: str
    ) -> None:
        for table, known in (("loans", self.loans), ("holds", self.holds)):
            new = [key for key in after.keys() - before.keys() if key[0] == table]
            for key in new:
                known.append(key[1])
                self.town.names(key[1], f"{table[:-1]} {len(known)}")
        back = done.body.get("compensation")
        assert back is None or before != after, "there is nothing to take back"
        # What people lend themselves they have taken along.
        is_final = before == after or caller.role == "member"
        assert back is not None or is_final, "what changes something can be taken back"
        if back is not None:
            event_id = back["parameters"]["event_id"]
            self.done.append(Done(caller, event_id, sentence, before, after, self.clock.now))

    def _caller(self, who: str, user: str | None = None) -> Caller:
        if who in ("librarian", "assistant"):
            scopes, name, role = SCOPES[who], who, "librarian"
        else:
            callers = [name for name in PEOPLE if name == user or name not in self.shut_out]
            of = callers.index(user) if user in callers else 0
            other = callers[(of + 1) % len(callers)]
            name = callers[of] if who == "self" and callers[of] not in self.shut_out else other
            scopes, role = SCOPES["member"], "member"
        user_id = self.town.ids[name]
        return Caller(scopes, "api_key", user_id, user_id=user_id, role=role)

    def _keys(self, who: str, **names: str) -> JSON:
        """The names as the body has them: the natural keys for staff, ids for all others."""
        prefixes = {"user": "card:", "copy": "barcode:"}
        if who == "librarian":
            return {noun: f"{prefixes[noun]}{name}" for noun, name in names.items()}
        return {noun: str(self.town.ids[name]) for noun, name in names.items()}

    def _loan(self, nth: int) -> tuple[UUID, str]:
        return self._chosen("loans", self.loans, "returned_at", nth)

    def _hold(self, nth: int) -> tuple[UUID, str]:
        return self._chosen("holds", self.holds, "ended_at", nth)

    def _chosen(self, table: str, known: list[UUID], ended: str, nth: int) -> tuple[UUID, str]:
        """The id of one that is there, those first that have not ended, and whose it is."""
        rows = [row for row_id in known if (row := self.state.get((table, row_id))) is not None]
        rows.sort(key=lambda row: row[ended] is not None)
        if not rows:
            return _NOBODYS, ""
        row = rows[nth % len(rows)]
        return row["id"], self.town.name(row["user_id"])

    def _snapshot(self) -> Snapshot:
        with unit_of_work(self.ground.sessions, writing=False) as session:
            return snapshots.take(session)

    @contextmanager
    def _at(self, moment: datetime) -> Iterator[None]:
        now, self.clock.now = self.clock.now, moment
        yield
        self.clock.now = now

    def _notes(self, sentence: str) -> None:
        self.ground.steps += 1
        note(f"# {sentence}")

    def _does(self, caller: Caller, call: Callable[[Session], Any], sentence: str) -> Answer:
        """Do what no decision is asked about; it may be refused, and changes nothing then."""
        before, done = self.state, self.inside.call(caller, call)
        self.state = after = self._snapshot()
        self._notes(f"{sentence}: {'done' if done.is_success else done.code}")
        if not done.is_success:
            assert after == before
        elif done.body and "compensation" in done.body:
            self._remembers(caller, done, before, after, sentence)
        return done
