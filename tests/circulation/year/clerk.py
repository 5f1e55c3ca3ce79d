"""Somebody at the desk, who serves whoever comes, and writes down what was sent and answered."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import Any, TypeVar

import httpx

from tests.circulation.races.service import Call, Headers, Service, is_clean
from tests.circulation.year.books import Books, Held, Item, Lent, Member, Period
from tests.circulation.year.rules import DAY, NOTHING, ZONE, rule_for

JSON = dict[str, Any]
Task = Callable[[], None]
Some = TypeVar("Some")

OPENS = time(10)
_A_WHILE = timedelta(minutes=5)
# What the book drop holds goes through one call.
_MOST = 50
# Of those who have something on the hold shelf so many come for it.
_COMING = 0.8


class Clerk:
    """One day after the other.

    Args:
        service: Several processes, which share the clock.
        staff: The clerk's credential.
        books: What is there on the first day.
        chance: What decides who does what.
    """

    def __init__(self, service: Service, staff: Headers, books: Books, chance: Random) -> None:
        self.books = books
        self.actions = 0
        self.today = date.min
        self._service, self._staff, self._chance = service, staff, chance
        self._calls = 0
        self._agenda: dict[date, list[Task]] = defaultdict(list)
        self._drop: list[Item] = []

    def begin(self, day: date) -> None:
        """Let it be ten in the morning of this day."""
        self.today = day
        now = datetime.combine(day, OPENS, ZONE).astimezone(UTC)
        expired = self.books.clear_shelf(now, day)
        # Where there is much to do, one call does not do it all; the next one goes on.
        told, complete = 0, False
        while not complete:
            answer = self._do("/api/sandbox/clock", {"to": f"{now:%Y-%m-%dT%H:%M:%SZ}"})
            self.books.events["clock.move"] += 1
            told += answer["done"].get("holds_expired", 0)
            complete, now = answer["complete"], now + _A_WHILE
        assert told == expired
        self.books.events["hold.expire"] += expired

    def _plan(self, in_days: int, task: Task) -> None:
        """Somebody comes in so many days, or as soon as the branch is open then."""
        self._agenda[self.books.branch.next_open(self.today + in_days * DAY)].append(task)

    def _send(self, method: str, path: str, body: JSON | None = None) -> httpx.Response:
        self._calls += 1
        answer = self._service.send(Call(method, path, self._staff, body), self._calls)
        assert is_clean(answer), (
            f"{answer.status_code} {answer.text}\n{self._service.log()[-4000:]}"
        )
        return answer

    def _do(self, path: str, body: JSON | None = None) -> JSON:
        answer = self._send("POST", path, body)
        assert answer.is_success, answer.text
        done: JSON = answer.json()
        return done

    def _try(self, path: str, body: JSON | None = None) -> JSON | None:
        """The answer; None for a refusal, which is written down."""
        self.actions += 1
        answer = self._send("POST", path, body)
        if answer.is_success:
            done: JSON = answer.json()
            return done
        assert answer.status_code == 409, answer.text
        self._refuse(answer.json())
        return None

    def _refuse(self, problem: JSON) -> None:
        codes = [problem["code"]]
        if decision := problem.get("decision"):
            codes = [each["code"] for each in decision["blockers"] + decision["confirmations"]]
        self.books.refusals.update(codes)

    def _pick(self, some: Sequence[Some]) -> Some | None:
        return self._chance.choice(some) if some else None

    def _check_out(self, member: Member, item: Item) -> None:
        books, rule = self.books, rule_for(member.category, item.material)
        body = {"user": f"card:{member.card}", "copy": f"barcode:{item.barcode}"}
        done = self._try("/api/loans", {**body, "confirm": ["same_title_on_loan"]})
        if done is None:
            return
        assert item not in books.open_loans
        held = books.own_hold(member, item)
        told = [each["values"]["hold_id"] for each in done["warnings"] if _ends_hold(each)]
        assert told == ([] if held is None else [held.id])
        if held is not None:
            books.leave(held, "fulfilled", self.today)
            held.item = None if held.item is None else item
        assert item.status == "available" or held is not None
        item.status = "on_loan"
        lent = Lent(
            done["loan"]["id"], member, item, rule, [Period(moment(done["loan"]["due_at"]))]
        )
        assert lent.due == books.branch.due(rule, self.today)
        books.loans[lent.id] = books.open_loans[item] = lent
        books.events["loan.check_out"] += 1
        self._plan_return(lent)

    def _plan_return(self, lent: Lent) -> None:
        """Most bring things back in time, some later, and some not at all."""
        left = (lent.due.astimezone(ZONE).date() - self.today).days
        fate = self._chance.random()
        if fate < 0.9:
            self._plan_to_bring(lent, self._chance.randint(1, max(left, 1)))
        elif fate < 0.985:
            self._plan_to_bring(lent, left + 1 + int(self._chance.expovariate(1 / 9)))

    def _plan_to_bring(self, lent: Lent, in_days: int) -> None:
        """Bring something back in so many days, but for what is renewed in the meantime."""
        renewals = lent.renewals
        self._plan(in_days, lambda: self._bring(lent) if lent.renewals == renewals else None)

    def _bring(self, lent: Lent) -> None:
        """Put it into the book drop, or hand it over."""
        if lent.returned_at is not None or lent.item in self._drop:
            return
        if lent.status == "open" and self._chance.random() < 0.8:
            self._drop.append(lent.item)
        else:
            self._return(lent.item)

    def _return(self, item: Item) -> None:
        done = self._try("/api/returns", {"copy": f"barcode:{item.barcode}"})
        assert done is not None
        self._take_in(item, done)

    def _empty_drop(self) -> None:
        items, self._drop = self._drop[:_MOST], self._drop[_MOST:]
        self.actions += len(items)
        body = {"copies": [f"barcode:{item.barcode}" for item in items]}
        for item, outcome in zip(items, self._do("/api/bulk-returns", body)["items"], strict=True):
            assert outcome["status"] == 200, outcome
            self._take_in(item, outcome["result"])

    def _take_in(self, item: Item, done: JSON) -> None:
        """A copy is there, whether it was lent or not."""
        books, lent = self.books, self.books.open_loans.pop(item, None)
        assert (done["loan"] and done["loan"]["id"]) == (lent and lent.id)
        before = item.status
        refund = NOTHING
        if lent is not None:
            self._end(lent, done)
            refund = self._release(lent)
            lent.status = "returned"
            books.events["loan.return"] += 1
        assert done["refund"]["amount"] == str(refund)
        if before != "on_hold_shelf":
            held = books.put_away(item, self.today)
            assert (done["hold"] and done["hold"]["id"]) == (held and held.id)
            self._await(held)
        assert done["copy_status"] == item.status
        if lent is None and item.status != before:
            books.events["copy.return"] += 1

    def _end(self, lent: Lent, done: JSON) -> None:
        lent.returned_at = moment(done["loan"]["returned_at"])
        period = lent.periods[-1]
        fee = NOTHING
        if period.until is None:
            period.until = self.today
            fee = sum(self._growth_of(lent, period), NOTHING)
        assert done["fee"]["amount"] == str(fee)

    def _growth_of(self, lent: Lent, period: Period) -> Sequence[Decimal]:
        due_on = period.due.astimezone(ZONE).date()
        return self.books.branch.growth(lent.rule, due_on, period.until or self.today)

    def _release(self, lent: Lent) -> Decimal:
        """What is given back of what was paid for a loss; what was waived of it is forgotten."""
        if lent.status != "lost":
            return NOTHING
        account = self.books.accounts[lent.id, "lost"]
        refund = account.paid - account.refunded
        account.refunded, account.waived = account.paid, NOTHING
        return refund

    def _await(self, held: Held | None) -> None:
        """Whoever a copy waits for comes within a few days, or not."""
        if held is not None and self._chance.random() < _COMING:
            self._plan(self._chance.randint(1, 6), lambda: self._pick_up(held))

    def _pick_up(self, held: Held) -> None:
        if held.status == "ready" and held.item is not None:
            self._check_out(held.member, held.item)

    def _renew(self, lent: Lent, done: JSON) -> None:
        assert done["fee"]["amount"] == str(sum(self._growth_of(lent, lent.periods[-1]), NOTHING))
        lent.periods[-1].until = self.today
        lent.periods.append(Period(moment(done["loan"]["due_at"])))
        lent.renewals += 1
        assert lent.due == self.books.branch.due(lent.rule, self.today)
        assert lent.renewals <= lent.rule.renewals
        self.books.events["loan.renew"] += 1
        self._plan_return(lent)


def _ends_hold(warning: JSON) -> bool:
    code: str = warning["code"]
    return code == "fulfils_hold"


def moment(value: str) -> datetime:
    return datetime.fromisoformat(value)
