from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from circdesk.circulation.decisions import ActionRefused, Consent, Decision, PlanOutdated
from circdesk.circulation.reasons import Reason
from circdesk.visits import Caller

KEY = b"a key that only tests know"
COPY = UUID(int=1)
LIMIT = Reason("loan_limit", {"current": 15, "allowed": 15})
ON_LOAN = Reason("copy_on_loan")
TITLE = Reason("same_title_on_loan")


def decision(**more: Any) -> Decision:
    return Decision("check_out", {"copy_id": COPY}, **more)


def staff(*scopes: str) -> Caller:
    return Caller(frozenset(scopes), "api_key", UUID(int=2))


class TestSettle:
    def test_nothing_in_the_way_is_allowed(self) -> None:
        assert decision(warnings=[Reason("fulfils_hold")]).settle(Consent(), staff()).allowed

    def test_a_confirmation_is_in_the_way_until_it_is_given(self) -> None:
        assert not decision(confirmations=[TITLE]).settle(Consent(), staff()).allowed
        consent = Consent(confirm=frozenset(("same_title_on_loan",)))
        assert decision(confirmations=[TITLE]).settle(consent, staff()).allowed

    def test_staff_lift_what_they_name_and_may_lift(self) -> None:
        consent = Consent(override=frozenset(("loan_limit", "copy_on_loan")))

        settled = decision(blockers=[LIMIT, ON_LOAN]).settle(consent, staff("circulation:override"))

        assert (settled.overridden, settled.blockers) == ([LIMIT], [ON_LOAN])

    def test_without_the_permission_nothing_is_lifted(self) -> None:
        consent = Consent(override=frozenset(("loan_limit",)))
        assert not decision(blockers=[LIMIT]).settle(consent, staff("circulation:write")).allowed

    def test_consent_is_read_from_a_body(self) -> None:
        body = {
            "confirm": ["same_title_on_loan"],
            "override": {"codes": ["loan_limit"], "comment": "For school."},
            "plan_token": "0" * 64,
        }
        assert Consent.of(body) == Consent(
            frozenset(("same_title_on_loan",)), frozenset(("loan_limit",)), "For school.", "0" * 64
        )
        assert Consent.of({}) == Consent()


class TestPlanToken:
    def test_it_is_the_same_for_the_same_state_whatever_is_consented(self) -> None:
        plain = decision(blockers=[LIMIT], seen=[1]).settle(Consent(), staff())
        consent = Consent(override=frozenset(("loan_limit",)))
        lifted = decision(blockers=[LIMIT], seen=[1])
        lifted.settle(consent, staff("circulation:override"))

        assert plain.plan_token(KEY) == lifted.plan_token(KEY)

    @pytest.mark.parametrize(
        "other",
        [
            {"blockers": [Reason("loan_limit", {"current": 14, "allowed": 15})], "seen": [1]},
            {"warnings": [LIMIT], "seen": [1]},
            {"blockers": [LIMIT], "seen": [2]},
        ],
    )
    def test_it_is_another_for_another_state(self, other: dict[str, Any]) -> None:
        token = decision(blockers=[LIMIT], seen=[1]).plan_token(KEY)
        assert decision(**other).plan_token(KEY) != token

    def test_time_and_result_are_not_bound(self) -> None:
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        later = decision(result={"due_at": "x"}, when_allowed=lambda _blockers: moment)
        assert later.plan_token(KEY) == decision().plan_token(KEY)

    def test_it_needs_the_key(self) -> None:
        assert decision().plan_token(KEY) != decision().plan_token(b"another key")


class TestRaiseUnlessAllowed:
    def test_what_is_allowed_passes_with_its_own_token(self) -> None:
        good = decision()
        good.raise_unless_allowed(Consent(plan_token=good.plan_token(KEY)), KEY)

    def test_a_refusal_carries_the_decision(self) -> None:
        refused = decision(blockers=[ON_LOAN], confirmations=[TITLE])

        with pytest.raises(ActionRefused) as caught:
            refused.raise_unless_allowed(Consent(), KEY)

        problem = caught.value.body(instance="/api/loans", request_id="r")
        assert problem["decision"] == refused.present(KEY)
        assert problem["details"] == [
            {
                "in": "body",
                "pointer": "",
                "rule": "copy_on_loan",
                "message": "The copy is on loan.",
            },
            {
                "in": "body",
                "pointer": "",
                "rule": "same_title_on_loan",
                "message": "The user has another copy of this title on loan.",
            },
        ]

    def test_another_decision_than_the_one_seen_is_told_first(self) -> None:
        refused = decision(blockers=[ON_LOAN])

        with pytest.raises(PlanOutdated) as caught:
            refused.raise_unless_allowed(Consent(plan_token=decision().plan_token(KEY)), KEY)

        assert caught.value.decision == refused.present(KEY)
        assert caught.value.status == 412
