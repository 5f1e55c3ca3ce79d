"""The desk through SQLAlchemy's ORM: entities are locked, looked at, changed and flushed.

The session's transaction is the caller's to commit.
"""

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Select, case, func, or_, select
from sqlalchemy.orm import Session, contains_eager
from uuid_utils.compat import uuid7

from rivals.catalog_models import Book, Copy
from rivals.credentials import Actor
from rivals.desk_models import AuditEntry, Block, Event, Fee, Hold, Loan, LoanPolicy, User
from rivals.lending import (
    JSON,
    UNDO_WINDOW,
    ActionRefused,
    compensation,
    data_of,
    due_at,
    raise_unless_lendable,
    returned,
    terms_of,
    undo_of,
)


def check_out(
    session: Session, actor: Actor, user_id: UUID, copy_id: UUID, request_id: str, address: str
) -> JSON:
    """Lend the copy to the user. Raises ActionRefused."""
    user = session.get(User, user_id, with_for_update={"key_share": True})
    copy = _locked_copy(session, copy_id)
    if user is None or copy is None:
        raise ActionRefused("copy_unknown" if copy is None else "user_unknown")
    now = datetime.now(UTC)
    today = now.astimezone(ZoneInfo(copy.branch.time_zone)).date()
    policy = session.scalar(_policy_for(user, copy))
    if policy is None:
        raise ActionRefused("no_loan_policy")
    raise_unless_lendable(_facts(session, user, copy, policy, now, today), today)
    loan = Loan(
        id=uuid7(), user_id=user.id, copy_id=copy.id, book_id=copy.book_id,
        branch_id=copy.branch_id, user_category=user.category, material_type=copy.material_type,
        status="open", lent_at=now, policy_id=policy.id, terms=terms_of(vars(policy)),
        due_at=due_at(policy.period_length, copy.branch.time_zone, now),
        created_at=now, updated_at=now,
    )  # fmt: skip
    before = {"status": copy.status, "event_id": copy.event_id and str(copy.event_id)}
    undo = undo_of(loan.id, None, copy.id, before)
    data = data_of(copy.id, copy.status, "on_loan")
    event = _event("loan.check_out", actor, loan, now, data, undo)
    loan.event_id = event.id
    _move(copy, "on_loan", event)
    entry = _entry(event, request_id, address, {})
    session.add_all([loan, event, entry])
    session.flush()
    return {"loan": loan, "warnings": [], "compensation": compensation(event.id, now)}


def give_back(session: Session, actor: Actor, copy_id: UUID, request_id: str, address: str) -> JSON:
    """Take the copy back where it belongs. Raises ActionRefused."""
    copy = _locked_copy(session, copy_id)
    found = select(Loan).where(Loan.copy_id == copy_id, Loan.returned_at.is_(None))
    loan = session.scalar(found.with_for_update(key_share=True))
    if copy is None or loan is None:
        raise ActionRefused("copy_unknown" if copy is None else "copy_not_on_loan")
    now = datetime.now(UTC)
    today = now.astimezone(ZoneInfo(copy.branch.time_zone)).date()
    if session.scalar(_next_hold(copy, today)) is not None:
        raise ActionRefused("held_for_another")
    images = {"status": loan.status, "returned_at": None, "event_id": str(loan.event_id)}
    undo = undo_of(
        loan.id, images, copy.id, {"status": copy.status, "event_id": str(copy.event_id)}
    )
    here = {"branch_id": str(copy.branch_id)}
    data = data_of(copy.id, copy.status, "available") | here
    event = _event("loan.return", actor, loan, now, data, undo)
    loan.status, loan.returned_at, loan.updated_at, loan.event_id = "returned", now, now, event.id
    _move(copy, "available", event)
    session.add_all([event, _entry(event, request_id, address, here)])
    session.flush()
    return returned({"copy_id": copy.id}, compensation(event.id, now)) | {"loan": loan}


def _locked_copy(session: Session, copy_id: UUID) -> Copy | None:
    """The copy with its branch; it and its book stay locked."""
    found = (
        select(Copy)
        .join(Book, Book.id == Copy.book_id)
        .join(Copy.branch)
        .options(contains_eager(Copy.branch))
        .where(Copy.id == copy_id)
        .with_for_update(key_share=True, of=[Book, Copy])
    )
    return session.scalar(found)


def _policy_for(user: User, copy: Copy) -> Select[tuple[LoanPolicy]]:
    """The most specific policy for this user, material and branch."""
    named = (
        (LoanPolicy.branch_id, copy.branch_id, 4),
        (LoanPolicy.user_category, user.category, 2),
        (LoanPolicy.material_type, copy.material_type, 1),
    )
    weights = [case((column.is_not(None), weight), else_=0) for column, _, weight in named]
    fits = [or_(column.is_(None), column == value) for column, value, _ in named]
    return select(LoanPolicy).where(*fits).order_by(sum(weights[1:], weights[0]).desc()).limit(1)


def _facts(
    session: Session, user: User, copy: Copy, policy: LoanPolicy, now: datetime, today: date
) -> JSON:
    """What the rules ask, the numbers in one statement."""
    mine = select(func.count()).where(Loan.user_id == user.id, Loan.returned_at.is_(None))
    kept = mine.where(Loan.status != "lost")
    active = or_(Block.expires_at.is_(None), Block.expires_at > now)
    waiting = or_(Hold.suspended_until.is_(None), Hold.suspended_until <= today)
    numbers = {
        "debt": select(func.sum(Fee.outstanding)).where(
            Fee.user_id == user.id, Fee.outstanding > 0
        ),
        "overdue": mine.where(Loan.status == "open", Loan.due_at < now),
        "block": select(Block.reason)
        .where(Block.user_id == user.id, Block.lifted_at.is_(None), active)
        .limit(1),
        "loans": kept,
        "same_title": kept.where(Loan.book_id == copy.book_id),
        "lent_until": select(Loan.due_at).where(
            Loan.copy_id == copy.id, Loan.returned_at.is_(None)
        ),
        "ahead": select(func.count()).where(
            Hold.book_id == copy.book_id,
            Hold.user_id != user.id,
            Hold.ended_at.is_(None),
            Hold.status == "waiting",
            waiting,
            or_(Hold.copy_id.is_(None), Hold.copy_id == copy.id),
        ),
        "available": select(func.count()).where(
            Copy.book_id == copy.book_id, Copy.status == "available", Copy.loanable
        ),
    }
    asked = select(*(number.scalar_subquery().label(name) for name, number in numbers.items()))
    facts: dict[str, Any] = dict(session.execute(asked).one()._mapping)
    person = {"user_status": user.status, "expires_on": user.expires_on}
    limits = {name: getattr(policy, name) for name in ("max_loans", "max_overdue", "max_debt")}
    item = {"status": copy.status, "loanable": copy.loanable, "lends": policy.lends}
    return facts | person | limits | item


def _next_hold(copy: Copy, today: date) -> Select[tuple[Hold]]:
    """The hold that the copy is for."""
    eligible = or_(Hold.suspended_until.is_(None), Hold.suspended_until <= today)
    fits = or_(Hold.copy_id.is_(None), Hold.copy_id == copy.id)
    set_aside = Hold.trapped_copy_id == copy.id
    return (
        select(Hold)
        .where(Hold.book_id == copy.book_id, Hold.ended_at.is_(None))
        .where(or_(set_aside, (Hold.status == "waiting") & eligible & fits))
        .order_by(func.coalesce(set_aside, False).desc(), Hold.rank)
        .limit(1)
        .with_for_update(key_share=True)
    )


def _event(
    kind: str, actor: Actor, loan: Loan, now: datetime, data: JSON, undo: list[JSON]
) -> Event:
    return Event(
        id=uuid7(), kind=kind, subject_type="loan", subject_id=loan.id, actor_type=actor.kind,
        actor_id=actor.id, user_id=loan.user_id, data=data, occurred_at=now, undo=undo,
        undo_until=now + UNDO_WINDOW,
    )  # fmt: skip


def _entry(event: Event, request_id: str, address: str, details: JSON) -> AuditEntry:
    return AuditEntry(
        occurred_at=event.occurred_at, action=event.kind, outcome="success",
        actor_type=event.actor_type, actor_id=event.actor_id, target_type="loan",
        target_id=event.subject_id, request_id=request_id, address=address, details=details,
    )  # fmt: skip


def _move(copy: Copy, status: str, event: Event) -> None:
    copy.status, copy.event_id, copy.updated_at = status, event.id, event.occurred_at
