"""What people come to the desk for, at random."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

from tests.circulation.races.service import Headers, Service
from tests.circulation.year.books import Account, Books, Held, Item, Lent, Member, Period
from tests.circulation.year.clerk import JSON, OPENS, Clerk, Task, moment
from tests.circulation.year.rules import DAY, NOTHING, ZONE


class BusyClerk(Clerk):
    """Serves whoever comes: takes the arguments of `Clerk`."""

    def __init__(self, service: Service, staff: Headers, books: Books, chance: Random) -> None:
        super().__init__(service, staff, books, chance)
        self._titles: dict[str, list[Item]] = defaultdict(list)
        for item in books.items:
            self._titles[item.title].append(item)
        self._shelves = [*self._titles.values()]
        self._blocks: list[tuple[Member, str]] = []
        # Who comes without having said so, and how often.
        self._walks: Sequence[tuple[Task, float]] = (
            (self._borrow, 40),
            (self._renew_some, 9),
            (self._hold_something, 9),
            (self._cancel, 3),
            (self._settle_fee, 9),
            (self._find_something, 2),
            (self._lose, 0.7),
            (self._claim, 0.5),
            (self._recover, 0.6),
            (self._charge, 0.4),
            (self._block, 0.5),
            (self._lift, 0.3),
        )

    def work(self, actions: int) -> None:
        """Serve all who wanted to come today, and others until so many actions are done."""
        for task in self._agenda.pop(self.today, ()):
            task()
        while self._drop:
            self._empty_drop()
        walks, weights = zip(*self._walks, strict=True)
        while self.actions < actions:
            self._chance.choices(walks, weights)[0]()

    def _member(self) -> Member:
        # Some come more often than others.
        members = self.books.members
        return members[int(len(members) * self._chance.random() ** 2)]

    def _title(self) -> list[Item]:
        return self._shelves[int(len(self._shelves) * self._chance.random() ** 3)]

    def _borrow(self) -> None:
        """Somebody takes a few things from the shelves."""
        member = self._member()
        for _ in range(self._chance.choice((1, 1, 2, 3))):
            items = self._title()
            there = [item for item in items if item.status == "available"]
            if there:
                self._check_out(member, self._chance.choice(there))
            elif self._chance.random() < 0.3:
                self._hold(member, items[0].title)
            else:
                # Somebody has found it somewhere, and it is not to be had.
                self._check_out(member, self._chance.choice(items))

    def _renew_some(self) -> None:
        """Somebody renews one thing, or all."""
        lent = self._pick([*self.books.open_loans.values()])
        if lent is None:
            return
        if self._chance.random() < 0.6:
            done = self._try(f"/api/loans/{lent.id}/renewals")
            if done is not None:
                self._renew(lent, done)
            return
        loans = [each for each in self.books.open_loans.values() if each.member is lent.member]
        self.actions += len(loans)
        body = {"loans": [each.id for each in loans]}
        outcomes = self._do("/api/bulk-renewals", body)["items"]
        for each, outcome in zip(loans, outcomes, strict=True):
            if outcome["status"] == 200:
                self._renew(each, outcome["result"])
            else:
                self._refuse(outcome["problem"])

    def _hold_something(self) -> None:
        """Somebody wants what is popular, most often what is not there."""
        for _ in range(20):
            items = self._title()
            if not any(item.status == "available" for item in items):
                break
        self._hold(self._member(), items[0].title)

    def _hold(self, member: Member, title: str) -> None:
        body = {"user": f"card:{member.card}", "book": title, "pickup_branch": "code:main"}
        done = self._try("/api/holds", body)
        if done is not None:
            held = Held(done["hold"]["id"], member, title)
            self.books.holds[held.id] = held
            self.books.queues[title].append(held)
            assert done["hold"]["position"] == len(self.books.queues[title])
            self.books.events["hold.place"] += 1

    def _cancel(self) -> None:
        held = self._pick([*self.books.holds.values()][-500:])
        if held is None:
            return
        done = self._try(f"/api/holds/{held.id}/cancellations")
        assert (done is not None) == (held.status in ("waiting", "ready"))
        if done is None:
            return
        item, held.item = held.item, None
        self.books.leave(held, "cancelled", self.today)
        self.books.events["hold.cancel"] += 1
        if item is not None:
            self._await(self.books.put_away(item, self.today))
            assert done["result"]["copy_status"] == item.status

    def _settle_fee(self) -> None:
        """Somebody who owes something pays it, or some of it, or is let off."""
        owing = [lent for lent in self._recent() if self.books.outstanding(lent, self.today)]
        lent = self._pick(owing)
        if lent is None:
            return
        member = lent.member
        page = self._send("GET", f"/api/users/card:{member.card}/fees?status=open").json()
        fee = self._chance.choice(page["items"])
        outstanding = Decimal(fee["outstanding"]["amount"])
        account = self._account(fee)
        whole = self._chance.random() < 0.8
        amount = outstanding if whole else (outstanding / 2).quantize(NOTHING) or outstanding
        body = {"amount": str(amount), "comment": "At the desk."}
        waives = self._chance.random() < 0.1
        done = self._try(f"/api/fees/{fee['id']}/{'waivers' if waives else 'payments'}", body)
        assert done is not None
        assert done["fee"]["outstanding"]["amount"] == str(outstanding - amount)
        if waives:
            account.waived += amount
        else:
            account.paid += amount
        self.books.events["fee.waive" if waives else "fee.pay"] += 1

    def _account(self, fee: JSON) -> Account:
        """The account of a fee, which has to be as high as the books say."""
        books = self.books
        if fee["kind"] == "manual":
            account, charged = books.accounts[fee["id"], "manual"], books.manual[fee["id"]][1]
        else:
            lent = books.loans[fee["loan_id"]]
            account = books.accounts[lent.id, fee["kind"]]
            charged = books.charged(lent, fee["kind"], self.today)
        assert fee["amount"]["amount"] == str(charged)
        assert fee["outstanding"]["amount"] == str(charged - account.settled)
        return account

    def _recent(self) -> list[Lent]:
        """Some loans that may cost something: late ones, and the last ones that ended."""
        now = datetime.combine(self.today, OPENS, ZONE)
        ended = [lent for lent in [*self.books.loans.values()][-2000:] if lent.returned_at]
        late = [*self.books.overdue(now)]
        return self._chance.sample(ended, min(len(ended), 100)) + late[:50]

    def _find_something(self) -> None:
        """A copy lies about, which may be lent, given up, or just where it should be."""
        self._return(self._pick(self.books.items) or self.books.items[0])

    def _lose(self) -> None:
        """Staff give up what is late for long, or what somebody says to have lost."""
        now = datetime.combine(self.today - timedelta(days=40), OPENS, ZONE)
        lent = next(self.books.overdue(now), None) or self._pick([*self.books.open_loans.values()])
        if lent is None:
            return
        done = self._try(f"/api/loans/{lent.id}/losses")
        assert (done is not None) == (lent.status in ("open", "claimed_returned"))
        if done is None:
            return
        self._stop(lent)
        lent.status = lent.item.status = "lost"
        lent.was_lost = True
        self.books.events["loan.declare_lost"] += 1
        if self._chance.random() < 0.3:
            self._plan_to_bring(lent, self._chance.randint(1, 60))

    def _claim(self) -> None:
        lent = self._pick([*self.books.open_loans.values()])
        if lent is None:
            return
        done = self._try(f"/api/loans/{lent.id}/claims")
        assert (done is not None) == (lent.status == "open")
        if done is not None:
            self._stop(lent)
            lent.status, lent.item.status = "claimed_returned", "missing"
            self.books.events["loan.claim_returned"] += 1
            self._plan_to_bring(lent, self._chance.randint(1, 20))

    def _stop(self, lent: Lent) -> None:
        """From now on being overdue costs nothing more."""
        if lent.periods[-1].until is None:
            lent.periods[-1].until = self.today

    def _recover(self) -> None:
        """Somebody has found what was given up, and keeps it a little longer."""
        given_up = [each for each in self.books.open_loans.values() if each.status != "open"]
        lent = self._pick(given_up)
        if lent is None:
            return
        done = self._do(f"/api/loans/{lent.id}/recoveries")
        self.actions += 1
        assert done["refund"]["amount"] == str(self._release(lent))
        lent.status, lent.item.status = "open", "on_loan"
        self.books.events["loan.recover"] += 1
        if lent.due < datetime.combine(self.today, OPENS, ZONE):
            # The time for which nobody knew where it was costs nothing.
            lent.periods.append(Period(self.books.branch.closing(self.today)))
        else:
            lent.periods[-1].until = None
        assert moment(done["loan"]["due_at"]) == lent.due
        self._plan_return(lent)

    def _charge(self) -> None:
        """A card is replaced."""
        member = self._member()
        body = {"user": f"card:{member.card}", "amount": "2.50", "reason": "A new card."}
        done = self._try("/api/fees", body)
        assert done is not None
        self.books.manual[done["fee"]["id"]] = (member, Decimal("2.50"))
        self.books.events["fee.create"] += 1

    def _block(self) -> None:
        member = self._member()
        ends = datetime.combine(self.today + 14 * DAY, OPENS, ZONE).astimezone(UTC)
        body = {"reason": "Loud.", "expires_at": f"{ends:%Y-%m-%dT%H:%M:%SZ}"}
        done = self._try(f"/api/users/card:{member.card}/blocks", body)
        assert done is not None
        self._blocks.append((member, done["id"]))
        self.books.events["block.create"] += 1

    def _lift(self) -> None:
        if self._blocks:
            member, block = self._blocks.pop()
            self.actions += 1
            answer = self._send("DELETE", f"/api/users/card:{member.card}/blocks/{block}")
            assert answer.status_code == 204, answer.text
            self.books.events["block.lift"] += 1
