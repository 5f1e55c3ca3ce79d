"""What staff change of loans: the due date, and what became of a copy that is not there."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from circdesk.audit.entries import record
from circdesk.catalog.models import Book, Branch, Copy
from circdesk.circulation.deeds import Deed, record_deeds
from circdesk.circulation.fees.entries import lock_fees
from circdesk.circulation.fees.fees import currency_of
from circdesk.circulation.fees.ledger import charge, release_lost_fee, settle_overdue
from circdesk.circulation.loans import is_overdue, present_loan, unknown_loan
from circdesk.circulation.models import Loan
from circdesk.circulation.money import NOTHING, present_money
from circdesk.circulation.policies.calendars import Calendar
from circdesk.circulation.policies.terms import FeeTerms, overdue_fee
from circdesk.circulation.time import now as desk_now
from circdesk.contract.problems import Problem, fault
from circdesk.db.versions import raise_if_modified

JSON = dict[str, Any]

# Later than that nobody lends anything.
_LONGEST = timedelta(days=3660)
_DAY = timedelta(days=1)


class LoanStatusForbids(Problem):
    """The loan has another status than this can be done with."""

    code: ClassVar[str] = "loan_status_forbids"
    status: ClassVar[int] = 409
    title: ClassVar[str] = "The status of the loan does not allow this."
    advice: ClassVar[str] = "`details` lists the statuses that allow it in `allowed`."


class CopyGone(Problem):
    """What was lent is not there any more, not even as a record."""

    code: ClassVar[str] = "copy_gone"
    status: ClassVar[int] = 409
    title: ClassVar[str] = "The copy has left the catalogue."
    advice: ClassVar[str] = "Add the copy anew, and lend it."


class DueDateImpossible(Problem):
    """The loan cannot be due then."""

    code: ClassVar[str] = "due_date_impossible"
    status: ClassVar[int] = 422
    title: ClassVar[str] = "The loan cannot be due then."
    advice: ClassVar[str] = "Send a time after the loan was made, and within ten years from now."


@dataclass(frozen=True, slots=True)
class _Case:
    """A loan that is being changed, locked, with its copy where that changes too."""

    now: datetime
    loan: Loan
    calendar: Calendar
    copy: Copy | None
    deed: Deed


def change_due_date(session: Session, loan_id: UUID, changes: JSON) -> JSON:
    """Let an open loan be due at another time, and cost what it costs by that.

    Raises:
        NotFound: There is no such loan.
        PreconditionFailed: The caller knows an older version of it.
        LoanStatusForbids: It is not open.
        DueDateImpossible: It was lent later than that, or that is too far away.
    """
    case = _open_case(session, loan_id, "loan.change_due_date", ("open",))
    due_at: datetime = changes["due_at"]
    if not case.loan.lent_at < due_at <= case.now + _LONGEST:
        message = "The loan cannot be due before it was made, or in more than ten years."
        raise DueDateImpossible(message, details=[fault("body", "/due_at", "range", message)])
    fee = NOTHING
    if case.now > due_at:
        fee = overdue_fee(FeeTerms.of_loan(case.loan), case.calendar, due_at, case.now)
    settle_overdue(session, case.deed, case.loan, fee)
    # Staff have decided anew, and a loan that is asked back could not be renewed any more.
    case.deed.change(case.loan, due_at=due_at, recalled_at=None)
    return _close(session, case, fee=fee)


def declare_loan_lost(session: Session, loan_id: UUID) -> JSON:
    """Give a lent copy up, and charge for it as was agreed.

    Raises NotFound, and LoanStatusForbids for a loan that has ended or whose copy is lost already.
    """
    case = _open_case(
        session, loan_id, "loan.declare_lost", ("open", "claimed_returned"), with_copy=True
    )
    _settle(session, case)
    loan, user_id = case.loan, case.loan.user_id
    fee = NOTHING if user_id is None else FeeTerms.of_loan(loan).lost_fee
    if fee and user_id is not None:
        charge(session, case.deed, user_id=user_id, kind="lost", amount=fee, loan_id=loan.id)
    case.deed.change(case.loan, status="lost")
    if case.copy is not None:
        case.deed.changes_copy(case.copy, "lost")
    return _close(session, case, fee=fee)


def claim_loan_returned(session: Session, loan_id: UUID) -> JSON:
    """Note that the borrower says that the copy is back; what it costs grows no more.

    Raises NotFound, and LoanStatusForbids for a loan that is not open.
    """
    case = _open_case(session, loan_id, "loan.claim_returned", ("open",), with_copy=True)
    fee = _settle(session, case)
    case.deed.change(case.loan, status="claimed_returned")
    if case.copy is not None:
        case.deed.changes_copy(case.copy, "missing")
    return _close(session, case, fee=fee)


def recover_loan(session: Session, loan_id: UUID) -> JSON:
    """Open a loan again whose copy the borrower has found.

    What was charged for the loss is taken back. Where the loan is due already, it is due at the end
    of the day, and the time for which nobody knew where the copy was costs nothing more.

    Raises:
        NotFound: There is no such loan.
        LoanStatusForbids: Its copy is not lost, nor claimed to be returned.
        CopyStateRefused: The copy has been written off since.
        CopyGone: It has left the catalogue.
    """
    case = _open_case(
        session, loan_id, "loan.recover", ("lost", "claimed_returned"), with_copy=True
    )
    if case.copy is None:
        message = "The copy has left the catalogue."
        raise CopyGone(message, details=[fault("path", "/loan_id", "copy", message)])
    refund = release_lost_fee(session, case.deed, case.loan).refunded
    if case.loan.due_at < case.now:
        _forget_the_time(session, case)
    case.deed.change(case.loan, status="open")
    case.deed.changes_copy(case.copy, "on_loan")
    return _close(session, case, refund=refund)


def _open_case(
    session: Session,
    loan_id: UUID,
    kind: str,
    statuses: Collection[str],
    *,
    with_copy: bool = False,
) -> _Case:
    """The loan, locked, and before it its book and its copy if the deed changes that."""
    copy = None
    if with_copy:
        copy = session.scalar(
            select(Copy)
            .join_from(Book, Copy, Copy.book_id == Book.id)
            .join(Loan, Loan.copy_id == Copy.id)
            .where(Loan.id == loan_id)
            .with_for_update(key_share=True, of=[Book, Copy])
            .execution_options(populate_existing=True)
        )
    found = (
        select(Loan, Branch)
        .outerjoin(Branch, Branch.id == Loan.branch_id)
        .where(Loan.id == loan_id)
        .with_for_update(key_share=True, of=Loan)
        .execution_options(populate_existing=True)
    )
    row = session.execute(found).one_or_none()
    if row is None:
        raise unknown_loan(loan_id)
    loan, branch = row
    raise_if_modified(session, loan)
    if loan.status not in statuses:
        message = f"The loan is {loan.status.replace('_', ' ')}."
        details = [fault("path", "/loan_id", "status", message, [*statuses])]
        raise LoanStatusForbids(message, details=details)
    now = desk_now(session)
    deed = Deed(kind, now=now, user_id=loan.user_id)
    return _Case(now, loan, Calendar.of(branch), copy, deed)


def _settle(session: Session, case: _Case) -> Decimal:
    """Charge what the loan costs by now for being overdue; nothing once it was claimed."""
    if not is_overdue(case.loan, case.now):
        return NOTHING
    terms = FeeTerms.of_loan(case.loan)
    fee = overdue_fee(terms, case.calendar, case.loan.due_at, case.now)
    settle_overdue(session, case.deed, case.loan, fee)
    return fee


def _forget_the_time(session: Session, case: _Case) -> None:
    """Let a loan be due when the branch closes next, its fee for being overdue begin anew."""
    today = case.calendar.next_open_day(case.calendar.local_day(case.now))
    closing = case.calendar.closing(today)
    if closing <= case.now:
        closing = case.calendar.closing(case.calendar.next_open_day(today + _DAY))
    fee = lock_fees(session, [case.loan.id], "overdue").get(case.loan.id)
    if fee is not None:
        # What comes from now on is charged on top, as after a renewal.
        case.deed.change(fee, earlier=fee.amount, loan_renewals=case.loan.renewals)
    case.deed.change(case.loan, due_at=closing)


def _close(
    session: Session, case: _Case, *, fee: Decimal = NOTHING, refund: Decimal = NOTHING
) -> JSON:
    """Store it all, and answer."""
    loan, currency = case.loan, currency_of(session)
    record_deeds(session, [(case.deed, loan)])
    record(session, case.deed.kind, "loan", loan.id)
    return {
        "loan": present_loan(loan, case.now),
        "fee": present_money(fee, currency),
        "refund": present_money(refund, currency),
        "warnings": [],
        "compensation": case.deed.present_compensation(),
    }
