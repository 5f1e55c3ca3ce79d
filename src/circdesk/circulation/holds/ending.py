"""Ending a hold before its title was lent: it is cancelled, or nobody came for the copy."""

from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from circdesk.audit.entries import record
from circdesk.circulation.decisions import Consent, Decision, plan_key
from circdesk.circulation.deeds import Deed, record_deeds
from circdesk.circulation.facts import STAFF
from circdesk.circulation.holds.destinations import Destination, find_destination, send
from circdesk.circulation.holds.locking import Held, find_held, unknown_hold
from circdesk.circulation.holds.presenting import present_hold
from circdesk.circulation.reasons import Reason
from circdesk.circulation.time import now as desk_now
from circdesk.visits import Caller

JSON = dict[str, Any]


def decide_cancel_hold(session: Session, caller: Caller | None, question: JSON) -> Decision:
    """Whether `hold` may be cancelled, and what becomes of its copy; nothing is locked."""
    held = find_held(session, caller, STAFF, UUID(str(question["hold"])))
    if held is None:
        return Decision("cancel_hold", {"hold_id": None}, blockers=[Reason("hold_unknown")])
    return _decide(session, held)[0]


def cancel_hold(session: Session, caller: Caller | None, hold_id: UUID, body: JSON | None) -> JSON:
    """End a hold; answers it, what becomes of the copy that was set aside, and the way back.

    Raises:
        NotFound: There is no such hold, or it is somebody else's.
        ActionRefused: It has ended already.
        PlanOutdated: The decision that the caller has seen would be another one now.
    """
    consent = Consent.of(body or {})
    held = find_held(session, caller, STAFF, hold_id, locking=True)
    if held is None:
        raise unknown_hold(hold_id)
    decision, destination = _decide(session, held)
    decision.settle(consent, caller).raise_unless_allowed(consent, plan_key(session))
    deed = Deed("hold.cancel", now=desk_now(session), user_id=held.hold.user_id)
    end(session, deed, held, destination, status="cancelled")
    record(session, "hold.cancel", "hold", held.hold.id)
    return {
        "hold": present_hold(held.hold, None),
        "result": decision.result,
        "warnings": [reason.present() for reason in decision.warnings],
        "compensation": deed.present_compensation(),
    }


def end(
    session: Session, deed: Deed, held: Held, destination: Destination | None, *, status: str
) -> None:
    """End a hold that is locked with its queue, let its copy go, and write it down.

    Args:
        session: A writing unit of work.
        deed: What does it.
        held: The hold.
        destination: Where the copy goes that was set aside, as `destination_of` tells.
        status: cancelled or expired.
    """
    # Once the hold has ended, it does not tell any more where its copy is.
    copy_at = held.copy_at
    deed.change(held.hold, status=status, trapped_copy_id=None, ended_at=deed.now)
    if held.copy is not None and destination is not None:
        # No two holds have a copy, not even for the time between two statements.
        session.flush()
        send(deed, held.copy, destination, copy_at, held.calendar, deed.now)
    record_deeds(session, [(deed, held.hold)])


def destination_of(session: Session, held: Held) -> Destination | None:
    """Where the copy goes once the hold has ended; None where none is set aside."""
    if held.copy is None:
        return None
    today = held.calendar.local_day(desk_now(session))
    return find_destination(session, held.copy, held.copy_at, today, passing_over=held.hold.id)


def _decide(session: Session, held: Held) -> tuple[Decision, Destination | None]:
    hold = held.hold
    decision = Decision("cancel_hold", {"hold_id": hold.id})
    if hold.ended_at is not None:
        decision.blockers = [Reason("hold_not_active", {"status": hold.status})]
        return decision, None
    destination = destination_of(session, held)
    decision.result = {"hold_id": hold.id, **_present(destination)}
    decision.seen = [hold.event_id, hold.status, *_seen(destination)]
    return decision, destination


def _seen(destination: Destination | None) -> list[object]:
    if destination is None:
        return []
    following = destination.hold
    return [destination.status, destination.branch_id, following and following.id]


def _present(destination: Destination | None) -> JSON:
    if destination is None:
        return {}
    return {
        "copy_status": destination.status,
        "next_step": destination.next_step,
        "branch_id": destination.branch_id,
    }
