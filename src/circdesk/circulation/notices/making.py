"""Making notices: each cause is looked for time and again, and told of once."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Insert, Row, Table
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from circdesk import clock
from circdesk.circulation.chores import Chore
from circdesk.circulation.fees.fees import currency_of
from circdesk.circulation.models import Notice
from circdesk.circulation.money import present_money
from circdesk.circulation.notices.causes import CAUSES, Cause, find_untold

JSON = dict[str, Any]

# More than that in one run would only keep the other chores waiting.
_MOST = 10_000

_NOUNS = {"loans": "loan", "holds": "hold", "fees": "fee"}


def find_subjects(session: Session, now: datetime, *, cause: Cause) -> Sequence[UUID]:
    """The loans, holds or fees that a notice is to be made of."""
    untold = find_untold(cause, now).with_only_columns(cause.subject.id)
    return session.scalars(untold.order_by(cause.subject.id).limit(_MOST)).all()


def make_notices(session: Session, now: datetime, ids: Sequence[UUID], *, cause: Cause) -> int:
    """Make the notices of these loans, holds or fees; answers how many are new.

    What another process has told in the meantime is not told twice: the database sees to it.
    """
    rows = session.execute(find_untold(cause, now).where(cause.subject.id.in_(ids))).all()
    if not rows:
        return 0
    currency = currency_of(session)
    values = [_notice(cause, row, now, currency) for row in rows]
    # Rows are counted, because `rowcount` says -1 where a driver cannot tell.
    made = session.connection().execute(_insert(session).returning(Notice.id), values)
    return len(made.all())


def _notice(cause: Cause, row: Row[*tuple[Any, ...]], now: datetime, currency: str) -> JSON:
    amount = None if row.amount is None else present_money(row.amount, currency)
    data = {
        "title": row.title,
        "branch_name": row.branch_name,
        "time_zone": row.time_zone,
        "due_at": _text(row.due_at),
        "expires_at": _text(row.expires_at),
        "amount": amount,
    }
    return {
        "id": uuid7(),
        "user_id": row.user_id,
        "kind": cause.kind,
        "subject_type": _NOUNS[cause.subject.__tablename__],
        "subject_id": row.subject_id,
        "since": row.since,
        "data": data,
        "created_at": now,
        "next_attempt_at": None if row.email is None else clock.now(),
        "attempts": 0,
    }


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


def _insert(session: Session) -> Insert:
    insert = postgresql_insert if session.get_bind().dialect.name == "postgresql" else sqlite_insert
    return insert(cast("Table", Notice.__table__)).on_conflict_do_nothing()


NOTICES = tuple(
    Chore(
        f"notices_{cause.kind}",
        partial(find_subjects, cause=cause),
        partial(make_notices, cause=cause),
    )
    for cause in CAUSES
)
