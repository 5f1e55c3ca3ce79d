"""What is always so at the desk, whatever was done, by how many at once, and who was killed at it.

Written against the tables alone, so that nothing that the service reckons is believed.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from operator import ge, le
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, exists, func, not_, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from circdesk.audit.models import AuditEntry
from circdesk.catalog.copy_states import TRANSITIONS
from circdesk.catalog.models import Copy
from circdesk.circulation.models import Fee, Hold, LedgerEntry, Loan
from circdesk.circulation.money import NOTHING
from circdesk.events.models import Event

_Ids = Select[Any]
_OPEN = Loan.returned_at.is_(None)
_ACTIVE = Hold.ended_at.is_(None)
_ENDED_HOLDS = ("fulfilled", "cancelled", "expired")
_HELD_AS = {"in_transit": "in_transit", "ready": "on_hold_shelf"}
# What staff can bring a copy to by hand that its borrower has lost, or says to have returned.
_GIVEN_UP = ("missing", "lost", "available", "on_order", "in_repair", "withdrawn")
# A reversal has the opposite sign of what it reverses, which may be another one.
_WRONG_SIGNS = {"charge": le, "refund": le, "payment": ge, "waiver": ge}
# What leaves an entry in the audit log wherever it leaves an event, about the same.
_AUDITED = (
    "copy.return",
    "fee.create",
    "fee.pay",
    "fee.refund",
    "fee.waive",
    "hold.cancel",
    "hold.place",
    "hold.update",
    "loan.change_due_date",
    "loan.check_out",
    "loan.claim_returned",
    "loan.declare_lost",
    "loan.recover",
    "loan.renew",
    "loan.return",
)
# At most so many ids are told of each; the first ones say enough.
_TOLD = 5


def assert_invariants(session: Session, *, written_down: bool = False) -> None:
    """Fail with everything that is not as it always has to be.

    Args:
        session: A unit of work, reading or not, that sees what is to be judged.
        written_down: Whether all loans, holds and fees were made by the service, so that each has
            its event and its entry in the audit log; those that a test has stored have neither.
    """
    broken = [*broken_invariants(session, written_down=written_down)]
    assert not broken, "\n".join(broken)


def broken_invariants(session: Session, *, written_down: bool = False) -> Iterator[str]:
    """What is not as it has to be, a sentence each; nothing where all is well."""
    for sentence, wrong in _wrong_rows().items():
        ids = session.scalars(wrong).all()
        if ids:
            yield f"{sentence}: {', '.join(map(str, ids))}"
    yield from _ledger(session)
    if written_down:
        yield from _records(session)
        yield from _histories(session)


# To build these statements takes as long as to run them, so they are built once.
@cache
def _wrong_rows() -> dict[str, _Ids]:
    """Statements that find ids, each under the sentence that is true of what it finds."""
    found = {
        **_wrong_loans(),
        **_wrong_holds(),
        **_wrong_copies(),
        **_wrong_money(),
        **_dangling(),
    }
    return {sentence: wrong.limit(_TOLD) for sentence, wrong in found.items()}


def _wrong_loans() -> dict[str, _Ids]:
    lent = exists().where(Copy.id == Loan.copy_id, Copy.status == "on_loan")
    elsewhere = exists().where(Copy.id == Loan.copy_id, Copy.status.not_in(_GIVEN_UP))
    still = ("open", "claimed_returned", "lost")
    return {
        "copies with several open loans": (
            select(Loan.copy_id).where(_OPEN).group_by(Loan.copy_id).having(func.count() > 1)
        ),
        "loans in no state that there is": _ids(
            Loan, not_(or_(_OPEN & Loan.status.in_(still), ~_OPEN & (Loan.status == "returned")))
        ),
        "open loans whose copy is not on loan": _ids(Loan, _OPEN, Loan.status == "open", ~lent),
        "lost or claimed loans whose copy is in circulation": _ids(
            Loan, _OPEN, Loan.status != "open", elsewhere
        ),
        "loans that end before they begin": _ids(
            Loan, or_(Loan.due_at <= Loan.lent_at, Loan.returned_at < Loan.lent_at)
        ),
        "loans whose renewals do not agree with when": _ids(
            Loan, (Loan.renewals > 0) != Loan.renewed_at.is_not(None)
        ),
    }


def _wrong_holds() -> dict[str, _Ids]:
    set_aside = or_(*(_is_set_aside(*pair) for pair in _HELD_AS.items()))
    on_shelf = and_(Hold.ready_at.is_not(None), Hold.shelf_expires_at.is_not(None))
    waits = and_(
        Hold.status == "waiting",
        Hold.trapped_copy_id.is_(None),
        Hold.ready_at.is_(None),
        Hold.shelf_expires_at.is_(None),
    )
    return {
        "holds in no state that there is": _ids(
            Hold,
            not_(
                or_(
                    _ACTIVE & Hold.status.in_(("waiting", *_HELD_AS)),
                    ~_ACTIVE & Hold.status.in_(_ENDED_HOLDS),
                )
            ),
        ),
        "holds that neither wait nor have their copy set aside": _ids(
            Hold, _ACTIVE, not_(or_(waits, set_aside))
        ),
        "holds on the shelf without a last day": _ids(Hold, Hold.status == "ready", ~on_shelf),
        "cancelled or expired holds that keep a copy": _ids(
            Hold, Hold.status.in_(("cancelled", "expired")), Hold.trapped_copy_id.is_not(None)
        ),
        "titles with two holds in one place": _twice(Hold.book_id, Hold.rank),
        "titles that one person holds twice": _twice(Hold.book_id, Hold.user_id),
        "copies set aside for two": _twice(Hold.trapped_copy_id),
    }


def _wrong_copies() -> dict[str, _Ids]:
    lent = exists().where(Loan.copy_id == Copy.id, _OPEN, Loan.status == "open")
    ready = exists().where(Hold.trapped_copy_id == Copy.id, Hold.status == "ready", _ACTIVE)
    sent = exists().where(Hold.trapped_copy_id == Copy.id, Hold.status == "in_transit", _ACTIVE)
    return {
        "copies in no state that there is": _ids(Copy, Copy.status.not_in([*TRANSITIONS])),
        "copies on loan to nobody": _ids(Copy, Copy.status == "on_loan", ~lent),
        "copies on the hold shelf for nobody": _ids(Copy, Copy.status == "on_hold_shelf", ~ready),
        "copies that are set aside and somewhere else": _ids(
            Copy,
            or_(ready & (Copy.status != "on_hold_shelf"), sent & (Copy.status != "in_transit")),
        ),
    }


def _wrong_money() -> dict[str, _Ids]:
    wrong_sign = or_(
        *(
            and_(LedgerEntry.kind == kind, has_wrong(LedgerEntry.amount, NOTHING))
            for kind, has_wrong in _WRONG_SIGNS.items()
        )
    )
    return {
        "fees that are more or less than nothing and all": _ids(
            Fee, or_(Fee.outstanding < NOTHING, Fee.outstanding > Fee.amount)
        ),
        "fees of a loan with two of a kind": (
            select(Fee.loan_id)
            .where(Fee.loan_id.is_not(None))
            .group_by(Fee.loan_id, Fee.kind)
            .having(func.count() > 1)
        ),
        "ledger entries with the wrong sign": _ids(LedgerEntry, wrong_sign),
        "ledger entries of no kind that there is": _ids(
            LedgerEntry, LedgerEntry.kind.not_in((*_WRONG_SIGNS, "reversal"))
        ),
        "ledger entries that reverse and do not say what": _ids(
            LedgerEntry, (LedgerEntry.kind == "reversal") != LedgerEntry.reverses.is_not(None)
        ),
        "ledger entries on somebody else's account": (
            select(LedgerEntry.id)
            .join(Fee, Fee.id == LedgerEntry.fee_id)
            .where(LedgerEntry.user_id != Fee.user_id)
        ),
        "ledger entries of no event": _ids(
            LedgerEntry, ~exists().where(Event.id == LedgerEntry.event_id)
        ),
    }


def _dangling() -> dict[str, _Ids]:
    """Rows that name an event which was never stored with them."""
    return {
        f"{model.__tablename__} whose last event is not there": select(model.id).where(
            model.event_id.is_not(None), ~exists().where(Event.id == model.event_id)
        )
        for model in (Copy, Loan, Hold, Fee)
    }


def _ledger(session: Session) -> Iterator[str]:
    """Entries add up to what is outstanding, charges to the amount, all of a person to a balance.

    Reckoned here, in decimals, for what the database sums up is not to be believed either.
    """
    sums: defaultdict[tuple[str, UUID], Decimal] = defaultdict(Decimal)
    paid: defaultdict[UUID, Decimal] = defaultdict(Decimal)
    for entry in session.execute(
        select(
            LedgerEntry.fee_id,
            LedgerEntry.user_id,
            LedgerEntry.amount,
            func.coalesce(LedgerEntry.reverses, LedgerEntry.kind).label("counts_for"),
        )
    ):
        sums["outstanding", entry.fee_id] += entry.amount
        sums["balance", entry.user_id] += entry.amount
        if entry.counts_for == "charge":
            sums["amount", entry.fee_id] += entry.amount
        elif entry.counts_for in ("payment", "refund"):
            paid[entry.fee_id] -= entry.amount
    told: defaultdict[tuple[str, UUID], Decimal] = defaultdict(Decimal)
    for fee in session.execute(select(Fee.id, Fee.user_id, Fee.amount, Fee.outstanding)):
        told["outstanding", fee.id] += fee.outstanding
        told["amount", fee.id] += fee.amount
        told["balance", fee.user_id] += fee.outstanding
    wrong = sorted(key for key in {*sums, *told} if sums[key] != told[key])
    for name, row_id in wrong[:_TOLD]:
        key = (name, row_id)
        yield f"{name} of {row_id} is {told[key]}, and its entries make {sums[key]}"
    for fee_id in [fee_id for fee_id, left in paid.items() if left < 0][:_TOLD]:
        yield f"more was refunded of the fee {fee_id} than was paid"


def _records(session: Session) -> Iterator[str]:
    """Whatever is there was written down once, as an event and in the audit log."""
    for made, model in (("loan.check_out", Loan), ("hold.place", Hold)):
        events = (
            select(func.count())
            .where(Event.subject_id == model.id, Event.kind == made)
            .scalar_subquery()
        )
        ids = session.scalars(select(model.id).where(events != 1).limit(_TOLD)).all()
        if ids:
            yield f"{model.__tablename__} without one event {made}: {', '.join(map(str, ids))}"
    done = select(Event.kind, Event.subject_id).where(
        Event.kind.in_(_AUDITED),
        Event.actor_type != "system",
        # Holds of who leaves the library end with that, which has an entry of its own.
        or_(Event.kind != "hold.cancel", Event.undo_until.is_not(None)),
    )
    events_of = _counted(session, done)
    audited = select(AuditEntry.action, AuditEntry.target_id).where(AuditEntry.action.in_(_AUDITED))
    entries_of = _counted(session, audited)
    # A copy that is looked at where it is already has an entry, and no event.
    more = [key for key in entries_of - events_of if key[0] != "copy.return"]
    for sentence, keys in (
        ("events without an entry in the audit log", [*(events_of - entries_of)]),
        ("entries in the audit log without an event", more),
    ):
        if keys:
            yield f"{sentence}: {', '.join(f'{kind} of {row_id}' for kind, row_id in keys[:_TOLD])}"
    undone = select(Event.undoes_id).where(Event.undoes_id.is_not(None))
    reversed_ = select(AuditEntry.target_id).where(AuditEntry.action == "event.reverse")
    if Counter(session.scalars(undone)) != Counter(session.scalars(reversed_)):
        yield "reversals in the audit log are not those of the events"


def _histories(session: Session) -> Iterator[str]:
    """The events of a copy lead, one after the other, to the status that it has.

    Which was first is not asked, for transactions that run at the same time have no order: each
    status has to be left as often as it is come to, but for the first one and the last.
    """
    surplus: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for data in session.scalars(select(Event.data)):
        if "copy_status" in data:
            before, after = data["copy_status"]
            surplus[data["copy_id"]][after] += 1
            surplus[data["copy_id"]][before] -= 1
    broken = []
    for copy_id, status in session.execute(select(Copy.id, Copy.status)):
        left = {name: count for name, count in surplus[str(copy_id)].items() if count}
        ends_there = left.pop(status, 0) == 1 and sorted(left.values()) == [-1]
        if left and not ends_there:
            broken.append(f"{copy_id} is {status}, its events tell {left}")
    if broken:
        yield f"copies whose events do not lead to their status: {'; '.join(broken[:_TOLD])}"


def _counted(session: Session, pairs: Select[str, UUID | None]) -> Counter[tuple[str, UUID | None]]:
    return Counter((kind, row_id) for kind, row_id in session.execute(pairs))


def _ids(model: Any, *conditions: ColumnElement[bool]) -> _Ids:
    return select(model.id).where(*conditions)


def _twice(*columns: InstrumentedAttribute[Any]) -> _Ids:
    """What more than one active hold has."""
    found = select(columns[0]).where(_ACTIVE, columns[0].is_not(None))
    return found.group_by(*columns).having(func.count() > 1)


def _is_set_aside(hold_status: str, copy_status: str) -> ColumnElement[bool]:
    """Whether a hold has a copy of its title, and both say the same of where it is."""
    there = exists().where(
        Copy.id == Hold.trapped_copy_id,
        Copy.status == copy_status,
        Copy.book_id == Hold.book_id,
        or_(Hold.copy_id.is_(None), Hold.copy_id == Copy.id),
    )
    return and_(Hold.status == hold_status, there)
