"""A desk of a service of several processes: what is prepared there, and what is called for."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx

from circdesk import clock
from circdesk.circulation.models import Loan
from tests.circulation.conftest import Library
from tests.circulation.races.service import Call, Headers, Service

JSON = dict[str, Any]
Check = Callable[..., None]

LONG = bool(os.environ.get("TEST_LONG"))


@dataclass(frozen=True)
class Desk:
    """One branch, whose staff may do everything; borrowers have keys of their own."""

    library: Library
    service: Service
    branch: UUID
    staff: Headers
    change: Callable[..., None]

    def copy(self, status: str = "available") -> UUID:
        """A copy of a new title."""
        return self.library.copy(self.library.book(), self.branch, status=status)

    def do(self, call: Call) -> JSON:
        """The answer to a call that succeeds."""
        answer = self.service.send(call)
        assert answer.is_success, answer.text
        body: JSON = answer.json()
        return body

    def lend(self, user: UUID, copy: UUID, *, due_in: timedelta | None = None) -> UUID:
        """Lend a copy; the loan's id. With `due_in` it was lent a month before it is due."""
        loan = UUID(self.do(self.check_out(user, copy))["loan"]["id"])
        if due_in is not None:
            due_at = clock.now() + due_in
            self.change(Loan, loan, lent_at=due_at - timedelta(days=30), due_at=due_at)
        return loan

    def check_out(self, user: UUID, copy: UUID, headers: Headers | None = None) -> Call:
        body = {"user": str(user), "copy": str(copy), "confirm": ["same_title_on_loan"]}
        return self._call("/api/loans", headers, body)

    def return_(self, copy: UUID) -> Call:
        return self._call("/api/returns", None, {"copy": str(copy)})

    def renew(self, loan: UUID, headers: Headers | None = None) -> Call:
        return self._call(f"/api/loans/{loan}/renewals", headers, {})

    def hold(self, user: UUID, book: UUID, headers: Headers | None = None) -> Call:
        body = {"user": str(user), "book": str(book), "pickup_branch": str(self.branch)}
        return self._call("/api/holds", headers, body | {"confirm": ["copy_available"]})

    def cancel(self, hold: UUID | str, headers: Headers | None = None) -> Call:
        return self._call(f"/api/holds/{hold}/cancellations", headers, {})

    def pay(self, fee: UUID | str, amount: str) -> Call:
        return self._call(f"/api/fees/{fee}/payments", None, {"amount": amount})

    def undo(self, answer: JSON) -> Call:
        """The call that takes back what was answered so."""
        event = answer["compensation"]["parameters"]["event_id"]
        return Call("POST", f"/api/events/{event}/reversals", self.staff)

    def post(self, path: str, body: JSON | None = None) -> Call:
        return self._call(path, None, body)

    def queue(self, book: UUID) -> list[JSON]:
        """The holds of a title, in the order of their positions."""
        page = self.do(Call("GET", f"/api/books/{book}/holds", self.staff))
        items: list[JSON] = page["items"]
        return items

    def _call(self, path: str, headers: Headers | None, body: JSON | None) -> Call:
        return Call("POST", path, headers or self.staff, body)


def statuses(answers: Sequence[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


def only_success(answers: Sequence[httpx.Response]) -> int:
    """Which of the calls succeeded, where one does alone."""
    places = [place for place, answer in enumerate(answers) if answer.is_success]
    assert len(places) == 1, [answer.text for answer in answers]
    return places[0]


def moment(value: str) -> datetime:
    return datetime.fromisoformat(value)
