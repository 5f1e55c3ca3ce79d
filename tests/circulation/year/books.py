"""What the clerk knows by heart: the state of the branch, from what was sent and was answered."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from tests.circulation.year.rules import NOTHING, ZONE, Branch, Rule


@dataclass(eq=False)
class Member:
    id: str
    card: str
    category: str
    keeps_history: bool


@dataclass(eq=False)
class Item:
    """A copy, and where it is."""

    id: str
    barcode: str
    title: str
    material: str
    status: str = "available"


@dataclass
class Period:
    """A time for which a loan was agreed; `until` is the day on which it counts no more."""

    due: datetime
    until: date | None = None


@dataclass(eq=False)
class Lent:
    """A loan."""

    id: str
    member: Member
    item: Item
    rule: Rule
    periods: list[Period]
    status: str = "open"
    was_lost: bool = False
    renewals: int = 0
    returned_at: datetime | None = None

    @property
    def due(self) -> datetime:
        return self.periods[-1].due

    def growth(self, branch: Branch, today: date) -> list[Decimal]:
        """What was added to its overdue fee until today, each time that something was."""
        return [
            amount
            for period in self.periods
            for amount in branch.growth(
                self.rule, period.due.astimezone(ZONE).date(), period.until or today
            )
        ]


@dataclass(eq=False)
class Held:
    """A hold; `item` is the copy that was set aside for it."""

    id: str
    member: Member
    title: str
    status: str = "waiting"
    item: Item | None = None
    shelf_end: datetime | None = None
    ended_on: date | None = None


@dataclass(eq=False)
class Account:
    """What was paid of a fee, given back, and let go."""

    paid: Decimal = NOTHING
    refunded: Decimal = NOTHING
    waived: Decimal = NOTHING

    @property
    def settled(self) -> Decimal:
        return self.paid - self.refunded + self.waived


@dataclass
class Books:
    """The whole branch.

    Args:
        accounts: By the loan's id and `overdue` or `lost`, or by the id of another fee.
        manual: The fees that were charged by hand.
        events: How many of each kind there have to be.
        refusals: How often which reasons were told.
    """

    branch: Branch
    members: list[Member]
    items: list[Item]
    loans: dict[str, Lent] = field(default_factory=dict)
    holds: dict[str, Held] = field(default_factory=dict)
    open_loans: dict[Item, Lent] = field(default_factory=dict)
    queues: dict[str, list[Held]] = field(default_factory=lambda: defaultdict(list))
    shelf: dict[Held, None] = field(default_factory=dict)
    accounts: dict[tuple[str, str], Account] = field(default_factory=lambda: defaultdict(Account))
    manual: dict[str, tuple[Member, Decimal]] = field(default_factory=dict)
    events: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)

    def charged(self, lent: Lent, kind: str, today: date) -> Decimal:
        """What a loan costs by today."""
        if kind == "overdue":
            return sum(lent.growth(self.branch, today), NOTHING)
        return lent.rule.lost if lent.status == "lost" else NOTHING

    def outstanding(self, lent: Lent, today: date) -> Decimal:
        """What is still owed for a loan."""
        kinds = ("overdue", "lost")
        owed = (self.charged(lent, each, today) for each in kinds)
        settled = (self.accounts[lent.id, each].settled for each in kinds)
        return sum(owed, NOTHING) - sum(settled, NOTHING)

    def own_hold(self, member: Member, item: Item) -> Held | None:
        """The hold that ends if this person takes this copy."""
        for held in self.queues[item.title]:
            if held.member is member and held.item in (None, item):
                return held
        return None

    def leave(self, held: Held, status: str, today: date) -> None:
        """Let a hold end."""
        held.status, held.ended_on = status, today
        self.queues[held.title].remove(held)
        self.shelf.pop(held, None)

    def put_away(self, item: Item, today: date) -> Held | None:
        """Set a copy that is in hand aside for who waits first, or shelve it."""
        for held in self.queues[item.title]:
            if held.status == "waiting":
                held.status, held.item = "ready", item
                held.shelf_end = self.branch.shelf_end(today)
                self.shelf[held] = None
                item.status = "on_hold_shelf"
                return held
        item.status = "available"
        return None

    def clear_shelf(self, now: datetime, today: date) -> int:
        """Pass on what nobody came for; how many holds that ends."""
        over = [held for held in self.shelf if held.shelf_end and held.shelf_end <= now]
        for held in sorted(over, key=lambda held: (held.shelf_end, held.id)):
            item, held.item = held.item, None
            self.leave(held, "expired", today)
            assert item is not None
            self.put_away(item, today)
        return len(over)

    def overdue(self, now: datetime) -> Iterator[Lent]:
        return (
            lent for lent in self.open_loans.values() if lent.status == "open" and lent.due < now
        )
