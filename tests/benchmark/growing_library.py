"""A library of made-up books that lends: the same at each size, but for how much there is of it.

To the books come people, one for twenty books; loans that are open, one for twenty books; five
times as many that have ended; and holds, one for forty books. What is asked of it later is
remembered while the rows are made.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from made_up_books import TABLES as BOOK_TABLES  # type: ignore[import-not-found]  # Beside this.
from made_up_books import (
    Library,
    Row,
    Rows,
    made_up_id,
)

BOOKS_PER_PERSON = 20
BOOKS_PER_LOAN = 20
ENDED_PER_OPEN = 5
# So many of each are remembered.
SAMPLE = 400
# A page has 20 of the books of an author who has somewhat more, at each size.
BOOKS_OF_AUTHOR = 30
AUTHORS = 10

TABLES: dict[str, tuple[str, ...]] = BOOK_TABLES | {
    "users": (
        "id", "name", "sort_name", "card_number", "role", "category", "status", "keeps_history",
        "receives_news", "unwanted_notices", "created_at", "updated_at",
    ),
    "loans": (
        "id", "user_id", "copy_id", "book_id", "branch_id", "user_category", "material_type",
        "status", "lent_at", "due_at", "returned_at", "renewals", "policy_id", "terms",
        "created_at", "updated_at",
    ),
    "holds": (
        "id", "user_id", "book_id", "pickup_branch_id", "status", "rank", "placed_at",
        "shelf_days", "created_at", "updated_at",
    ),
}  # fmt: skip

_TERMS = json.dumps(
    {"fee_per_day": "0.20", "fee_cap": "10.00", "grace_days": 0, "lost_fee": "25.00"}
)
_STATUS, _AVAILABLE = TABLES["copies"].index("status"), "available"


@dataclass
class Sample:
    """What is asked for: keys of rows that are there, in no order.

    Attributes:
        books: Ids of books.
        isbns: ISBNs of books.
        barcodes: Barcodes of copies.
        free: Barcodes of copies on the shelves whose books nobody waits for.
        lent: Ids of books that are lent and that nobody waits for, each with that of somebody who
            might.
        people: Ids of people with loans.
        authors: Ids of authors with some 30 books that are available.
        words: How many books each word finds.
    """

    books: list[UUID] = field(default_factory=list)
    isbns: list[str] = field(default_factory=list)
    barcodes: list[str] = field(default_factory=list)
    free: list[str] = field(default_factory=list)
    lent: list[tuple[UUID, UUID]] = field(default_factory=list)
    people: list[UUID] = field(default_factory=list)
    authors: list[UUID] = field(default_factory=list)
    words: Counter[str] = field(default_factory=Counter)

    def finding(self, wanted: int, count: int) -> list[str]:
        """The words that find nearest to so many books."""
        return sorted(self.words, key=lambda word: (abs(self.words[word] - wanted), word))[:count]


class GrowingLibrary:
    """A library of `size` books; `sample` is complete when all its rows were made.

    Args:
        size: How many books there are.
        policy: The id of the rule by which everything was lent.
    """

    def __init__(self, size: int, policy: UUID) -> None:
        self.size, self.sample = size, Sample()
        self.people = max(50, size // BOOKS_PER_PERSON)
        self._policy, self._now = policy, datetime.now(UTC)
        self._random, self._of_authors = Random(7), Counter[UUID]()

    def rows(self) -> Iterator[Rows]:
        """All rows, in batches that keep to the order of foreign keys."""
        batches = Library(self.size).rows()
        yield {**next(batches), "users": [self._person(n) for n in range(self.people)]}
        for batch in batches:
            self._lend(batch)
            self._remember(batch)
            yield batch
        self._finish()

    def person(self, number: int) -> UUID:
        """The id of a person; neighbours have nothing in common."""
        identity: UUID = made_up_id(6, number * 7919 % self.people)
        return identity

    def _person(self, number: int) -> Row:
        name, card = f"Person {number}", str(20_000_000 + number)
        flags = ("member", "standard", "active", True, False, "")
        return (made_up_id(6, number), name, name.lower(), card, *flags, self._now, self._now)

    def _lend(self, batch: Rows) -> None:
        """Lend some of the copies on the shelves, let somebody wait for half of these."""
        batch |= {"loans": [], "holds": []}
        for place, copy in enumerate(batch["copies"]):
            number = int(copy[3][1:])
            if number % BOOKS_PER_LOAN:
                continue
            for earlier in range(1, 1 + ENDED_PER_OPEN):
                batch["loans"].append(self._loan(number + earlier, copy, ended=60 + 30 * earlier))
            if copy[_STATUS] != _AVAILABLE:
                continue
            lent = (*copy[:_STATUS], "on_loan", *copy[_STATUS + 1 :])
            batch["copies"][place] = lent
            batch["loans"].append(self._loan(number, copy))
            if number % (2 * BOOKS_PER_LOAN):
                batch["holds"].append(self._hold(number, copy))
            else:
                other = self.person(number // BOOKS_PER_LOAN + 1)
                self._keep(self.sample.lent, (copy[1], other))
            self._keep(self.sample.people, self.person(number // BOOKS_PER_LOAN))

    def _loan(self, number: int, copy: Row, ended: int | None = None) -> Row:
        """A loan that is open, or that ended so many days ago."""
        days = 2 if ended is None else ended + 14
        lent = self._now - timedelta(days=days)
        returned = None if ended is None else self._now - timedelta(days=ended)
        status = "open" if ended is None else "returned"
        user = self.person(number // BOOKS_PER_LOAN + number % BOOKS_PER_LOAN)
        return (
            made_up_id(7, number), user, copy[0], copy[1], copy[2], "standard", "book", status,
            lent, lent + timedelta(days=28), returned, 0, self._policy, _TERMS, lent, lent,
        )  # fmt: skip

    def _hold(self, number: int, copy: Row) -> Row:
        user = self.person(number // BOOKS_PER_LOAN + 1)
        moments = (self._now, 7, self._now, self._now)
        return (made_up_id(8, number), user, copy[1], copy[2], "waiting", 1, *moments)

    def _remember(self, batch: Rows) -> None:
        available = {copy[1] for copy in batch["copies"] if copy[_STATUS] == _AVAILABLE}
        for book, author, _ in batch["book_authors"]:
            self._of_authors[author] += book in available
        for _, title, people, subjects, _, _ in batch["book_texts"]:
            self.sample.words.update({*f"{title} {people} {subjects}".split()})
        for place in self._random.sample(range(len(batch["books"])), min(SAMPLE, self.size // 10)):
            copy = batch["copies"][place]
            self._keep(self.sample.books, batch["books"][place][0])
            self._keep(self.sample.isbns, batch["book_isbns"][place][1])
            self._keep(self.sample.barcodes, copy[3])
            if copy[_STATUS] == _AVAILABLE:
                self._keep(self.sample.free, copy[3])

    def _keep(self, kept: list[Any], key: Any) -> None:
        """Keep it, as long as there are few; later in the place of another one."""
        if len(kept) < SAMPLE:
            kept.append(key)
        else:
            kept[self._random.randrange(SAMPLE)] = key

    def _finish(self) -> None:
        def distance(author: UUID) -> int:
            return abs(self._of_authors[author] - BOOKS_OF_AUTHOR)

        self.sample.authors = sorted(self._of_authors, key=distance)[:AUTHORS]
