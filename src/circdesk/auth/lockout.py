"""Lock-out: after failures the next attempt has to wait, longer each time, and never for good.

Three things are counted: an account from one address, an address, and an account from everywhere.
The last one makes attempts from new addresses wait a little, and nobody at an address from which
the account has signed in before, so that no stranger locks its owner out.

An attempt counts before its password is looked at and is taken back if it succeeds, so that many
at once are no more than many one after the other.
"""

import hmac
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import case, delete, exists, literal, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from circdesk import clock
from circdesk.accounts.models import User
from circdesk.audit.models import AuditEntry
from circdesk.auth.models import SignInFailure, WebSession
from circdesk.contract.problems import Problem
from circdesk.db.base import UtcDateTime
from circdesk.db.engine import CURSOR_KEY
from circdesk.visits import network_of

# The id of nobody, so that an unknown account takes the same way as a known one.
_NOBODY = UUID(int=0)

# Without a failure for so long, what was counted counts no more.
_FADES_AFTER = timedelta(hours=1)
# By more than this the clocks of two processes never differ.
_CLOCKS_DIFFER = timedelta(minutes=1)


class TooManyAttempts(Problem):
    """There were many failures; the password was not looked at, and nothing was counted."""

    code = "too_many_attempts"
    status = 429
    title = "There were too many failed attempts."
    advice = "Wait for the seconds in Retry-After, then try again with the right password."


@dataclass(frozen=True, slots=True)
class _Limit:
    """So many failures are free; then the wait doubles from a second to `longest` seconds."""

    free: int
    longest: int

    def wait(self, count: int) -> timedelta:
        doublings = min(count - self.free, 10)
        return timedelta(seconds=min(2**doublings, self.longest) if doublings >= 0 else 0)


_PAIR = _Limit(free=5, longest=15 * 60)
_ADDRESS = _Limit(free=50, longest=15 * 60)
_ACCOUNT = _Limit(free=100, longest=30)


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that counts as failed until it is taken back.

    Attributes:
        pair: The subject that a success clears.
        counted: When each subject had failed before.
        at: When this one was counted.
    """

    pair: str
    counted: dict[str, datetime]
    at: datetime


def count_attempt(session: Session, email: str, user: User | None, address: str | None) -> Attempt:
    """Count an attempt to prove who one is.

    Args:
        session: A unit of work that ends before the password is looked at.
        email: The account, by what was sent; nobody's counts like anybody's.
        user: Whose it is.
        address: Where the attempt comes from.

    Raises:
        TooManyAttempts: It comes too early; it does not count.
    """
    now, limits = clock.now(), _limits(session, email, user, address)
    counted = {}
    for failure in _lock(session, sorted(limits), now):
        if failure.last_failed_at <= now - _FADES_AFTER:
            failure.count = 0
        _raise_if_too_early(failure, limits[failure.subject], now)
        counted[failure.subject] = failure.last_failed_at
        failure.count += 1
        failure.last_failed_at = now
    return Attempt(next(iter(limits)), counted, now)


def take_back(session: Session, attempt: Attempt) -> None:
    """Let an attempt that succeeded count as none, and forget the failures of its pair."""
    for subject, failed_at in sorted(attempt.counted.items()):
        mine = SignInFailure.subject == subject
        if subject == attempt.pair:
            session.execute(delete(SignInFailure).where(mine))
            continue
        # Where somebody else failed meanwhile, that is when the last one was.
        last = case(
            (SignInFailure.last_failed_at == attempt.at, literal(failed_at, UtcDateTime())),
            else_=SignInFailure.last_failed_at,
        )
        session.execute(
            update(SignInFailure)
            .where(mine, SignInFailure.count > 0)
            .values(count=SignInFailure.count - 1, last_failed_at=last)
        )


def forget_failures(session: Session, user: User, address: str | None) -> None:
    """Let the account start afresh at this address, as after a reset of its password."""
    pair = _subject(session, "pair", (user.email or str(user.id)).lower(), network_of(address))
    session.execute(delete(SignInFailure).where(SignInFailure.subject == pair))


def _limits(
    session: Session, email: str, user: User | None, address: str | None
) -> dict[str, _Limit]:
    """What counts for this attempt, the pair first."""
    account, network = email.lower(), network_of(address)
    limits = {
        _subject(session, "pair", account, network): _PAIR,
        _subject(session, "address", network): _ADDRESS,
    }
    if not _is_familiar(session, user.id if user else _NOBODY, address):
        limits[_subject(session, "account", account)] = _ACCOUNT
    return limits


def _subject(session: Session, *parts: str) -> str:
    """A subject tells nobody which account or address it is."""
    key: bytes = session.get_bind().get_execution_options()[CURSOR_KEY]
    text = "\0".join(("lockout", *parts)).encode(errors="surrogatepass")
    return hmac.new(key, text, "sha256").hexdigest()


def _is_familiar(session: Session, user_id: UUID, address: str | None) -> bool:
    signed_in = exists().where(
        AuditEntry.actor_id == user_id,
        AuditEntry.action == "session.create",
        AuditEntry.outcome == "success",
        AuditEntry.address == address,
    )
    open_session = exists().where(WebSession.user_id == user_id, WebSession.address == address)
    return bool(session.scalar(select(or_(open_session, signed_in))))


def _lock(session: Session, subjects: Sequence[str], now: datetime) -> Sequence[SignInFailure]:
    """The rows of the subjects, each made where there is none, held until the session ends.

    They are held in one order, so that no two attempts wait for each other.
    """
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    rows = [{"subject": subject, "count": 0, "last_failed_at": now} for subject in subjects]
    session.execute(insert(SignInFailure).on_conflict_do_nothing(), rows)
    found = select(SignInFailure).where(SignInFailure.subject.in_(subjects))
    return session.scalars(found.order_by(SignInFailure.subject).with_for_update()).all()


def _raise_if_too_early(failure: SignInFailure, limit: _Limit, now: datetime) -> None:
    wait = limit.wait(failure.count)
    ahead = failure.last_failed_at - now
    # Another process, whose clock is ahead, may have counted a moment ago what is still free. What
    # is further ahead was counted before the clock was set back, and would lock out until then.
    if wait and -wait < ahead <= _CLOCKS_DIFFER:
        seconds = math.ceil((wait + ahead).total_seconds())
        raise TooManyAttempts(
            f"Wait {seconds} s before the next attempt.",
            headers={"Retry-After": str(seconds)},
        )
