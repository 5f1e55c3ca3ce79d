"""Decisions: what the engine says about an action, before it is done and while it is done.

An action has one function that looks at what there is and returns a `Decision`. `POST
/api/decisions` shows it; the live operation calls the same function with everything locked, and
`raise_unless_allowed` stands between it and the deed.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal
from uuid import UUID

from sqlalchemy.orm import Session

from circdesk.circulation.models import LoanPolicy
from circdesk.circulation.reasons import OVERRIDE, Reason
from circdesk.contract.problems import Problem, fault
from circdesk.db.engine import CURSOR_KEY
from circdesk.visits import Caller

JSON = dict[str, Any]
Action = Literal["check_out", "return", "renew", "place_hold", "cancel_hold"]


class _Decided(Problem):
    """A problem that carries the decision behind it."""

    def __init__(self, message: str, decision: JSON, **more: Any) -> None:
        super().__init__(message, **more)
        self.decision = decision

    def body(self, *, instance: str, request_id: str) -> JSON:
        return {**super().body(instance=instance, request_id=request_id), "decision": self.decision}


class ActionRefused(_Decided):
    """The rules do not allow it."""

    code: ClassVar[str] = "action_refused"
    status: ClassVar[int] = 409
    title: ClassVar[str] = "The rules of the desk do not allow this."
    advice: ClassVar[str] = (
        "`decision` says what stands in the way. Send the codes of `confirmations` in `confirm`; "
        "staff may send those of `blockers` whose `permission` they have in `override`."
    )


class PlanOutdated(_Decided):
    """What the plan was made from is not so any more."""

    code: ClassVar[str] = "plan_outdated"
    status: ClassVar[int] = 412
    title: ClassVar[str] = "Something has changed since the decision."
    advice: ClassVar[str] = "`decision` is the fresh one; send its `plan_token`, or none."


@dataclass(frozen=True, slots=True)
class Consent:
    """What the caller has said yes to.

    Args:
        confirm: Codes of confirmations.
        override: Codes of blockers that staff lift.
        comment: Why staff lift them; kept in the audit log.
        plan_token: The token of the decision that the caller has seen.
    """

    confirm: frozenset[str] = frozenset()
    override: frozenset[str] = frozenset()
    comment: str | None = None
    plan_token: str | None = None

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "Consent":
        """The consent that a body of the contract's form holds; each part may be left out."""
        override = body.get("override") or {}
        return cls(
            confirm=frozenset(body.get("confirm") or ()),
            override=frozenset(override.get("codes") or ()),
            comment=override.get("comment"),
            plan_token=body.get("plan_token"),
        )


def _never(_blockers: Sequence[Reason]) -> None:
    """Time alone changes nothing."""


@dataclass(slots=True)
class Decision:
    """What the engine says.

    Args:
        action: Which action.
        subject: The ids of what it is about, by name: `{"user_id": …, "copy_id": …}`.
        reasons: Blockers, confirmations and warnings, in the order in which they matter.
        rule: The rule that decided; None where none was asked or none matches.
        result: What will be so once it is done; None where it cannot be told.
        when_allowed: Tells of blockers when time alone will have taken the last of them away, None
            where it does not. It is asked for those that are left once `settle` has seen the
            consent.
        seen: Whatever else the deed relies on; it is bound into the plan token, and shown nowhere.
            It holds what must not change between the decision and the deed, and never the time.
    """

    action: Action
    subject: Mapping[str, UUID | None]
    blockers: list[Reason] = field(default_factory=list)
    confirmations: list[Reason] = field(default_factory=list)
    warnings: list[Reason] = field(default_factory=list)
    rule: LoanPolicy | None = None
    result: JSON | None = None
    when_allowed: Callable[[Sequence[Reason]], datetime | None] = _never
    seen: Sequence[Any] = ()
    # Blockers that were lifted, once `settle` has seen the consent.
    overridden: list[Reason] = field(default_factory=list)
    # Blockers and confirmations as they were before that.
    _asked: tuple[Sequence[Reason], Sequence[Reason]] | None = None

    def settle(self, consent: Consent, caller: Caller | None) -> "Decision":
        """Take away what is confirmed, and what the caller lifts and may lift. Returns itself."""
        self._asked = self.blockers, self.confirmations
        lifted = [
            reason
            for reason in self.blockers
            # Who has another permission meets no such blocker in the first place.
            if reason.code in consent.override
            and reason.permission == OVERRIDE
            and (caller is None or caller.may(OVERRIDE))
        ]
        self.overridden = lifted
        self.blockers = [reason for reason in self.blockers if reason not in lifted]
        self.confirmations = [r for r in self.confirmations if r.code not in consent.confirm]
        return self

    @property
    def allowed(self) -> bool:
        """Whether the live call will succeed, sent as this was asked."""
        return not self.blockers and not self.confirmations

    def plan_token(self, key: bytes) -> str:
        """A token that is good as long as the same decision would be made from the same state."""
        return hmac.digest(key, b"plan:" + self._digest().encode(), "sha256").hex()

    def present(self, key: bytes) -> JSON:
        """The decision as the contract shows it; it names no person."""
        return {
            "action": self.action,
            "allowed": self.allowed,
            "blockers": [reason.present() for reason in self.blockers],
            "confirmations": [reason.present() for reason in self.confirmations],
            "warnings": [reason.present() for reason in self.warnings],
            "rule": None if self.rule is None else present_rule(self.rule),
            "result": self.result,
            "next_allowed_at": self.when_allowed(self.blockers),
            "plan_token": self.plan_token(key),
        }

    def raise_unless_allowed(self, consent: Consent, key: bytes) -> None:
        """Let the deed pass, or refuse it with the whole decision.

        Raises:
            PlanOutdated: The caller has seen another decision than this one.
            ActionRefused: The rules do not allow it, or something is not confirmed.
        """
        token = consent.plan_token
        if token is None and self.allowed:
            return
        shown = self.present(key)
        if token is not None and not hmac.compare_digest(token, shown["plan_token"]):
            message = "The decision would be another one now."
            raise PlanOutdated(
                message, shown, details=[fault("body", "/plan_token", "plan", message)]
            )
        if not self.allowed:
            reasons = [*self.blockers, *self.confirmations]
            details = [
                fault("body", "", reason.code, str(reason.present()["message"]))
                for reason in reasons
            ]
            raise ActionRefused(details[0]["message"], shown, details=details)

    def _digest(self) -> str:
        blockers, confirmations = self._asked or (self.blockers, self.confirmations)
        parts = [
            self.action,
            {name: str(value) for name, value in self.subject.items()},
            *(
                [(reason.code, dict(reason.values)) for reason in reasons]
                for reasons in (blockers, confirmations, self.warnings)
            ),
            None if self.rule is None else [str(self.rule.id), str(self.rule.updated_at)],
            [str(item) for item in self.seen],
        ]
        return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


def plan_key(session: Session) -> bytes:
    """What plan tokens are signed with; every session finds it through its engine."""
    key: bytes = session.get_bind().get_execution_options()[CURSOR_KEY]
    return hmac.digest(key, b"plans", "sha256")


def present_rule(rule: LoanPolicy) -> JSON:
    """A rule in short, with what it is for."""
    return {
        "policy_id": rule.id,
        "name": rule.name,
        "user_category": rule.user_category,
        "material_type": rule.material_type,
        "branch_id": rule.branch_id,
    }
