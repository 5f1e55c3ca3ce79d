"""The invariants find what they are there to find; a check that finds nothing proves nothing."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import pytest

from circdesk.catalog.models import Copy
from circdesk.circulation.models import Fee, Hold, Loan
from circdesk.db.unit_of_work import Sessions, unit_of_work
from tests.circulation.conftest import Library
from tests.circulation.invariants import broken_invariants

Change = Callable[..., None]
Rows = dict[str, UUID]

NOW = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)


def told(sessions: Sessions) -> list[str]:
    """The beginnings of what is found to be wrong, up to the ids."""
    with unit_of_work(sessions, writing=False) as session:
        return [*broken_invariants(session, written_down=True)]


@pytest.fixture
def rows(library: Library, librarian: httpx.Client) -> Rows:
    """A loan, a hold that waits for it, a hold whose copy is on the shelf, and a fee."""
    branch = library.branch()
    library.policy()
    books, (borrower, holder) = [library.book(), library.book()], [library.user(), library.user()]
    lent, shelved = (library.copy(book, branch) for book in books)

    def post(path: str, **body: Any) -> Any:
        answer = librarian.post(path, json={name: str(value) for name, value in body.items()})
        assert answer.is_success, answer.text
        return answer.json()

    loan = post("/api/loans", user=borrower, copy=lent)["loan"]["id"]
    post("/api/loans", user=borrower, copy=shelved)
    waits, ready = (
        post("/api/holds", user=holder, book=book, pickup_branch=branch)["hold"]["id"]
        for book in books
    )
    post("/api/returns", copy=shelved)
    fee = post("/api/fees", user=borrower, amount="2.00", reason="Coffee")["fee"]["id"]
    names = {"loan": loan, "waits": waits, "ready": ready, "fee": fee}
    made = {name: UUID(row_id) for name, row_id in names.items()}
    return {**made, "lent": lent, "shelved": shelved}


def test_nothing_is_wrong_where_nothing_is(sessions: Sessions, rows: Rows) -> None:
    assert rows
    assert told(sessions) == []


@pytest.mark.parametrize(
    ("model", "row", "values", "sentence"),
    [
        (Loan, "loan", {"status": "returned"}, "loans in no state that there is"),
        (Loan, "loan", {"returned_at": NOW}, "loans in no state that there is"),
        (Loan, "loan", {"renewals": 1}, "loans whose renewals do not agree with when"),
        (Copy, "lent", {"status": "available"}, "open loans whose copy is not on loan"),
        (Copy, "shelved", {"status": "on_loan"}, "copies on loan to nobody"),
        (Copy, "shelved", {"status": "available"}, "copies that are set aside"),
        (Copy, "shelved", {"status": "available"}, "copies whose events do not lead"),
        (Hold, "ready", {"status": "waiting"}, "holds that neither wait nor have"),
        (Hold, "ready", {"ended_at": NOW}, "holds in no state that there is"),
        (Hold, "ready", {"trapped_copy_id": None}, "copies on the hold shelf for nobody"),
        (Hold, "waits", {"status": "ready"}, "holds on the shelf without a last day"),
        (Fee, "fee", {"outstanding": Decimal("1.00")}, "outstanding of"),
        (Fee, "fee", {"outstanding": Decimal("1.00")}, "balance of"),
        (Fee, "fee", {"amount": Decimal("3.00")}, "amount of"),
    ],
)
def test_what_is_wrong_is_told(
    sessions: Sessions,
    rows: Rows,
    change: Change,
    model: Any,
    row: str,
    values: dict[str, Any],
    sentence: str,
) -> None:
    change(model, rows[row], **values)

    assert [found for found in told(sessions) if found.startswith(sentence)]


def test_what_was_not_written_down_is_told(sessions: Sessions, library: Library) -> None:
    branch = library.branch()
    copy = library.copy(library.book(), branch, status="on_loan")
    library.loan(library.user(), copy)

    [sentence] = told(sessions)

    assert sentence.startswith("loans without one event loan.check_out")
