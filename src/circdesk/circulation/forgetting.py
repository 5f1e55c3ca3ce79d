"""Forgetting: whose a loan or a hold was is kept no longer than the person wants.

Once it has ended, and can no longer be taken back, it stays for what is counted, and the person
is gone from it: from its row, its events, its notices, and its fees that are settled.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session

from circdesk.accounts.models import User
from circdesk.circulation.chores import Chore
from circdesk.circulation.deeds import UNDO_WINDOW
from circdesk.circulation.models import Fee, Hold, Loan, Notice
from circdesk.circulation.money import NOTHING
from circdesk.events.models import Event
from circdesk.events.recording import forget_whose

# More than that in one run would only keep the other chores waiting.
_MOST = 10_000

Past = type[Loan] | type[Hold]


def find_past(session: Session, now: datetime, *, model: Past) -> Sequence[UUID]:
    """The loans or holds whose persons are to be forgotten."""
    found = select(model.id).join(User, User.id == model.user_id).where(*_is_past(model, now))
    return session.scalars(found.order_by(model.id).limit(_MOST)).all()


def forget_persons(session: Session, now: datetime, ids: Sequence[UUID], *, model: Past) -> int:
    """Forget whose these loans or holds were; answers how many of them are nobody's now."""
    found = (
        select(model.id)
        .join(User, User.id == model.user_id)
        .where(model.id.in_(ids), *_is_past(model, now))
        .with_for_update(of=model, skip_locked=True)
    )
    past = session.scalars(found).all()
    unchanged = {"updated_at": model.updated_at}
    session.execute(update(model).where(model.id.in_(past)).values(user_id=None, **unchanged))
    if model is Loan:
        settled = update(Fee).where(Fee.loan_id.in_(past))
        session.execute(settled.values(loan_id=None, updated_at=Fee.updated_at))
    session.execute(delete(Notice).where(Notice.subject_id.in_(past)))
    session.execute(forget_whose(Event.subject_id.in_(past)))
    return len(past)


def find_undone(session: Session, now: datetime) -> Sequence[UUID]:
    """The events that cannot be taken back any more, and still know how."""
    found = select(Event.id).where(Event.undo.is_not(None), Event.undo_until < now)
    return session.scalars(found.order_by(Event.undo_until).limit(_MOST)).all()


def forget_undo(session: Session, _now: datetime, ids: Sequence[UUID]) -> int:
    """Forget how things were before these events; answers how many there were."""
    session.execute(update(Event).where(Event.id.in_(ids)).values(undo=None))
    return len(ids)


def _is_past(model: Past, now: datetime) -> list[ColumnElement[bool]]:
    ended = Loan.returned_at if model is Loan else Hold.ended_at
    conditions = [~User.keeps_history, ended < now - UNDO_WINDOW]
    if model is Loan:
        owed = select(Fee.id).where(Fee.loan_id == Loan.id, Fee.outstanding > NOTHING)
        conditions.append(~owed.exists())
    return conditions


FORGETTING = (
    Chore("forget_undo", find_undone, forget_undo, batch=500),
    *(
        Chore(
            f"forget_{model.__tablename__}",
            partial(find_past, model=model),
            partial(forget_persons, model=model),
        )
        for model in (Loan, Hold)
    ),
)
