"""Renewals, one and many: what decides, what changes, and what they cost, on both databases."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import func, select

from circdesk import clock
from circdesk.audit.models import AuditEntry
from circdesk.circulation.models import Block, Fee, Hold, Loan
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.events.models import Event
from tests.circulation.conftest import Library
from tests.conftest import CountQueries
from tests.people import MEMBER_ID

JSON = dict[str, Any]
Expected = Callable[..., JSON]

# A Monday, noon in Berlin.
NOW = datetime(2026, 3, 2, 11, tzinfo=UTC)
# At six in Berlin, whose clocks are changed on the 29th of March.
SOON = datetime(2026, 3, 9, 17, tzinfo=UTC)
RENEWED = "2026-03-30T16:00:00Z"
NOTHING = {"amount": "0.00", "currency": "EUR"}
UNKNOWN = "019b8d2b-8c00-7012-8000-0000000000ff"


class Desk:
    """The present moment, which a test may move."""

    now = NOW


@pytest.fixture(autouse=True)
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    present = Desk()
    monkeypatch.setattr(clock, "now", lambda: present.now)
    return present


@pytest.fixture
def branch(library: Library) -> UUID:
    return library.branch()


@pytest.fixture
def lend(library: Library, branch: UUID) -> Callable[..., UUID]:
    """`lend(user)`: a new copy of a new book on loan to the member, or to another user."""

    def make(user: UUID = MEMBER_ID, **values: Any) -> UUID:
        copy = library.copy(library.book(), branch, status="on_loan")
        return library.loan(user, copy, **{"due_at": SOON, **values})

    return make


@pytest.fixture
def find(sessions: Sessions) -> Callable[..., Any]:
    """`find(Loan, id)`: the row as it is stored."""

    def read(model: Any, identity: UUID) -> Any:
        with unit_of_work(sessions, writing=False) as session:
            return session.get_one(model, identity)

    return read


def renew(client: httpx.Client, loan: UUID, **body: Any) -> JSON:
    response = client.post(f"/api/loans/{loan}/renewals", json=body)
    assert response.status_code == 200, response.text
    answer: JSON = response.json()
    return answer


def decide(client: httpx.Client, loan: UUID | str, **more: Any) -> JSON:
    question = {"action": "renew", "loan": str(loan), **more}
    response = client.post("/api/decisions", json=question)
    assert response.status_code == 200, response.text
    answer: JSON = response.json()
    return answer


def refused(client: httpx.Client, loan: UUID, **body: Any) -> list[JSON]:
    """The blockers of a renewal, which the live call and the decision agree on."""
    decision = decide(client, loan, **{k: v for k, v in body.items() if k != "plan_token"})
    response = client.post(f"/api/loans/{loan}/renewals", json=body)
    assert (response.status_code, response.json()["code"]) == (409, "action_refused")
    assert response.json()["decision"] == decision
    assert not decision["allowed"]
    blockers: list[JSON] = decision["blockers"]
    return blockers


class TestRenewLoan:
    def test_the_loan_begins_anew_by_the_rule_that_decides_now(
        self,
        member: httpx.Client,
        library: Library,
        lend: Callable[..., UUID],
        find: Callable[..., Any],
        audit: Callable[[str], list[AuditEntry]],
    ) -> None:
        loan = lend()
        policy = library.policy(fee_per_day=Decimal("0.30"), lost_fee=Decimal("30.00"))

        answer = renew(member, loan)

        compensation, shown = answer.pop("compensation"), answer.pop("loan")
        assert answer == {"fee": NOTHING, "refund": NOTHING, "warnings": []}
        assert (shown["due_at"], shown["renewals"]) == (RENEWED, 1)
        assert (shown["renewed_at"], shown["policy_id"]) == ("2026-03-02T11:00:00Z", str(policy))
        stored = find(Loan, loan)
        assert (stored.renewals, stored.policy_id, stored.status) == (1, policy, "open")
        assert stored.terms == {
            "fee_per_day": "0.30",
            "fee_cap": "10.00",
            "grace_days": 0,
            "lost_fee": "30.00",
        }
        event = find(Event, UUID(compensation["parameters"]["event_id"]))
        assert (event.kind, event.subject_id, event.user_id) == ("loan.renew", loan, MEMBER_ID)
        assert stored.event_id == event.id
        (entry,) = audit("loan.renew")
        assert (entry.target_id, entry.actor_id, entry.details) == (loan, MEMBER_ID, {})

    def test_no_body_is_a_body_that_says_nothing(
        self, member: httpx.Client, library: Library, lend: Callable[..., UUID]
    ) -> None:
        loan = lend()
        library.policy()
        assert member.post(f"/api/loans/{loan}/renewals").status_code == 200

    def test_it_was_decided_before(
        self, member: httpx.Client, library: Library, lend: Callable[..., UUID]
    ) -> None:
        loan = lend()
        policy = library.policy()

        decision = decide(member, loan)

        token = decision.pop("plan_token")
        assert decision == {
            "action": "renew",
            "allowed": True,
            "blockers": [],
            "confirmations": [],
            "warnings": [],
            "rule": {
                "policy_id": str(policy),
                "name": "Everything else",
                "user_category": None,
                "material_type": None,
                "branch_id": None,
            },
            "result": {"due_at": RENEWED, "renewals_left": 1, "fee": NOTHING},
            "next_allowed_at": None,
        }
        assert renew(member, loan, plan_token=token)["loan"]["due_at"] == RENEWED

    def test_a_plan_is_outdated_once_the_loan_was_renewed(
        self, member: httpx.Client, library: Library, lend: Callable[..., UUID]
    ) -> None:
        loan = lend()
        library.policy()
        token = decide(member, loan)["plan_token"]
        renew(member, loan)

        response = member.post(f"/api/loans/{loan}/renewals", json={"plan_token": token})

        assert (response.status_code, response.json()["code"]) == (412, "plan_outdated")
        assert response.json()["decision"]["blockers"][0]["code"] == "would_not_change"

    def test_what_was_overdue_is_charged_and_what_comes_is_charged_on_top(
        self,
        member: httpx.Client,
        librarian: httpx.Client,
        library: Library,
        lend: Callable[..., UUID],
        desk: Desk,
        sessions: Sessions,
    ) -> None:
        loan = lend(due_at=datetime(2026, 2, 27, 17, tzinfo=UTC))
        library.policy()
        decision = decide(member, loan)

        answer = renew(member, loan)

        owed = {"amount": "0.60", "currency": "EUR"}
        assert answer["fee"] == decision["result"]["fee"] == owed
        assert [reason["code"] for reason in answer["warnings"]] == ["loan_overdue"]
        desk.now = datetime(2026, 4, 1, 11, tzinfo=UTC)
        copy = answer["loan"]["copy_id"]
        back = librarian.post("/api/returns", json={"copy": copy}).json()
        assert back["fee"]["amount"] == "0.40"
        with unit_of_work(sessions, writing=False) as session:
            assert session.scalars(select(Fee.outstanding)).all() == [Decimal("1.00")]

    def test_it_can_be_taken_back(
        self,
        member: httpx.Client,
        library: Library,
        lend: Callable[..., UUID],
        find: Callable[..., Any],
        sessions: Sessions,
    ) -> None:
        loan = lend(due_at=datetime(2026, 2, 27, 17, tzinfo=UTC))
        library.policy(fee_per_day=Decimal("0.30"))
        before = find(Loan, loan)
        event = renew(member, loan)["compensation"]["parameters"]["event_id"]

        member.post(f"/api/events/{event}/reversals", json={}).raise_for_status()

        after = find(Loan, loan)
        columns = ("due_at", "renewals", "renewed_at", "policy_id", "terms")
        assert [getattr(after, each) for each in columns] == [
            getattr(before, each) for each in columns
        ]
        with unit_of_work(sessions, writing=False) as session:
            assert session.scalars(select(Fee.outstanding)).all() == [Decimal("0.00")]

    @pytest.mark.parametrize("status", ["claimed_returned", "lost"])
    def test_a_loan_that_is_not_open(
        self, librarian: httpx.Client, library: Library, lend: Callable[..., UUID], status: str
    ) -> None:
        library.policy()
        (blocker,) = refused(librarian, lend(status=status))
        assert (blocker["code"], blocker["values"]) == ("loan_not_open", {"status": status})

    def test_no_rule(self, librarian: httpx.Client, lend: Callable[..., UUID]) -> None:
        (blocker,) = refused(librarian, lend())
        assert blocker["code"] == "no_loan_policy"

    def test_the_rule_for_the_user_the_material_and_the_branch_decides(
        self, member: httpx.Client, library: Library, branch: UUID, lend: Callable[..., UUID]
    ) -> None:
        loan = lend()
        library.policy(renewals=0)
        library.policy(material_type="music", renewals=0)
        library.policy(user_category="child", renewals=0)
        right = library.policy(branch_id=branch, period_length=14)

        assert renew(member, loan)["loan"]["policy_id"] == str(right)

    def test_as_often_as_the_rule_allows(
        self, librarian: httpx.Client, library: Library, lend: Callable[..., UUID]
    ) -> None:
        policy = library.policy(renewals=2)
        loan = lend(renewals=2)

        (blocker,) = refused(librarian, loan)

        assert blocker == {
            "code": "renewal_limit",
            "message": "The loan was renewed as often as the rule allows.",
            "values": {"current": 2, "allowed": 2, "policy_id": str(policy)},
            "permission": "circulation:override",
        }
        override = {"codes": ["renewal_limit"], "comment": "Snow."}
        answer = renew(librarian, loan, override=override)
        assert answer["loan"]["renewals"] == 3

    def test_what_was_lifted_is_kept_in_the_audit_log(
        self,
        librarian: httpx.Client,
        library: Library,
        lend: Callable[..., UUID],
        audit: Callable[[str], list[AuditEntry]],
    ) -> None:
        library.policy(renewals=0)
        override = {"codes": ["renewal_limit"], "comment": "Snow."}
        renew(librarian, lend(), override=override)

        (entry,) = audit("loan.renew")
        assert entry.details == {"overridden": ["renewal_limit"], "comment": "Snow."}

    def test_members_lift_nothing(
        self, member: httpx.Client, library: Library, lend: Callable[..., UUID]
    ) -> None:
        library.policy(renewals=0)
        override = {"codes": ["renewal_limit"], "comment": "Please."}
        assert refused(member, lend(), override=override)[0]["code"] == "renewal_limit"

    def test_too_soon_says_from_when_on(
        self, librarian: httpx.Client, library: Library, lend: Callable[..., UUID], desk: Desk
    ) -> None:
        library.policy(renewable_days=3)
        loan = lend()

        (blocker,) = refused(librarian, loan)

        # Three days before the ninth, when the day begins in Berlin.
        begins = "2026-03-05T23:00:00Z"
        assert (blocker["code"], blocker["values"]["renewable_from"]) == ("too_soon", begins)
        assert decide(librarian, loan)["next_allowed_at"] == begins
        desk.now = datetime.fromisoformat(begins)
        assert renew(librarian, loan)["loan"]["renewals"] == 1

    def test_what_would_not_change_the_date_says_when_it_would(
        self, librarian: httpx.Client, library: Library, lend: Callable[..., UUID], desk: Desk
    ) -> None:
        library.policy(period_length=7)
        loan = lend(due_at=datetime(2026, 3, 12, 17, tzinfo=UTC))

        (blocker,) = refused(librarian, loan)

        assert blocker["code"] == "would_not_change"
        assert blocker["values"] == {"due_at": "2026-03-12T17:00:00Z"}
        changes_at = decide(librarian, loan)["next_allowed_at"]
        assert changes_at == "2026-03-05T23:00:00Z"
        desk.now = datetime.fromisoformat(changes_at) - timedelta(seconds=1)
        assert not decide(librarian, loan)["allowed"]
        desk.now = datetime.fromisoformat(changes_at)
        assert renew(librarian, loan)["loan"]["due_at"] == "2026-03-13T17:00:00Z"

    def test_what_is_lifted_does_not_put_that_off(
        self, librarian: httpx.Client, library: Library, lend: Callable[..., UUID]
    ) -> None:
        library.policy(period_length=7, renewable_days=0)
        loan = lend(due_at=datetime(2026, 3, 12, 17, tzinfo=UTC))
        override = {"codes": ["too_soon"], "comment": "Please."}

        (blocker,) = refused(librarian, loan, override=override)

        assert blocker["code"] == "would_not_change"
        decision = decide(librarian, loan, override=override)
        # The rule lets it be renewed on the twelfth only, but that was lifted.
        assert decision["next_allowed_at"] == "2026-03-05T23:00:00Z"

    def test_of_hours_and_of_a_fixed_date_too(
        self, librarian: httpx.Client, library: Library, branch: UUID, lend: Callable[..., UUID]
    ) -> None:
        keep = {"closed_days": "keep"}
        library.policy(period_unit="hours", period_length=4, **keep)
        due_at = NOW + timedelta(hours=4)
        by_hours = decide(librarian, lend(due_at=due_at))
        assert by_hours["blockers"][0]["code"] == "would_not_change"
        assert by_hours["next_allowed_at"] == "2026-03-02T11:00:01Z"
        fixed = {"period_unit": "fixed_date", "period_length": None, "branch_id": branch}
        library.policy(**fixed, period_date=date(2026, 3, 9), **keep)

        decision = decide(librarian, lend())

        assert [each["code"] for each in decision["blockers"]] == ["would_not_change"]
        assert decision["next_allowed_at"] is None

    def test_a_fixed_date_that_has_passed(
        self, librarian: httpx.Client, library: Library, lend: Callable[..., UUID]
    ) -> None:
        fixed = {"period_unit": "fixed_date", "period_length": None}
        library.policy(**fixed, period_date=date(2026, 2, 27))
        loan = lend()

        (blocker,) = refused(librarian, loan)

        assert blocker["code"] == "loan_period_over"
        assert decide(librarian, loan)["result"] is None

    def test_what_others_wait_for_is_not_renewed(
        self, librarian: httpx.Client, library: Library, branch: UUID, lend: Callable[..., UUID]
    ) -> None:
        library.policy()
        loan = lend()
        book = UUID(librarian.get(f"/api/loans/{loan}").json()["book_id"])
        library.hold(library.user(), book, branch)

        (blocker,) = refused(librarian, loan)

        assert blocker["code"] == "held_by_others"
        assert blocker["values"] == {"waiting": 1, "available": 0}
        # One copy on the shelf is enough for the one who waits.
        library.copy(book, branch)
        assert decide(librarian, loan)["allowed"]

    @pytest.mark.parametrize(
        "hold",
        [
            {"user_id": MEMBER_ID},
            {"status": "ready"},
            {"status": "cancelled", "ended_at": NOW},
            {"suspended_until": date(2026, 3, 3)},
        ],
    )
    def test_these_do_not_wait_for_it(
        self,
        librarian: httpx.Client,
        library: Library,
        branch: UUID,
        lend: Callable[..., UUID],
        hold: JSON,
    ) -> None:
        library.policy()
        loan = lend()
        book = UUID(librarian.get(f"/api/loans/{loan}").json()["book_id"])
        library.hold(**{"user_id": library.user(), **hold}, book_id=book, branch_id=branch)
        other = library.copy(book, branch, status="in_repair")
        library.hold(library.user(), book, branch, copy_id=other)

        assert decide(librarian, loan)["allowed"]

    def test_a_recalled_loan(
        self, librarian: httpx.Client, library: Library, lend: Callable[..., UUID]
    ) -> None:
        library.policy()
        (blocker,) = refused(librarian, lend(recalled_at=NOW))
        assert (blocker["code"], blocker["permission"]) == ("loan_recalled", None)

    def test_a_copy_that_is_not_for_loan_any_more(
        self, librarian: httpx.Client, library: Library, branch: UUID
    ) -> None:
        library.policy()
        copy = library.copy(library.book(), branch, status="on_loan", loanable=False)
        loan = library.loan(MEMBER_ID, copy, due_at=SOON)
        assert [each["code"] for each in refused(librarian, loan)] == ["not_for_loan"]

    def test_what_lies_in_the_person(
        self, member: httpx.Client, library: Library, lend: Callable[..., UUID]
    ) -> None:
        library.policy(max_overdue=0)
        overdue = lend(due_at=datetime(2026, 2, 27, 17, tzinfo=UTC))
        until = NOW + timedelta(days=3)
        library.store(Block(user_id=MEMBER_ID, reason="Noise", expires_at=until))

        blockers = refused(member, overdue)

        assert [each["code"] for each in blockers] == ["user_blocked", "overdue_limit"]
        # What staff have noted is theirs.
        assert blockers[0]["values"] == {"until": "2026-03-05T11:00:00Z"}

    def test_warnings(
        self, librarian: httpx.Client, library: Library, lend: Callable[..., UUID]
    ) -> None:
        library.policy()
        user = library.user(expires_on=date(2026, 3, 29))

        answer = renew(librarian, lend(user))

        (warning,) = answer["warnings"]
        assert warning["code"] == "card_expires_first"
        assert warning["values"] == {"expires_on": "2026-03-29"}

    def test_a_date_that_was_moved_off_a_closed_day(
        self, librarian: httpx.Client, library: Library
    ) -> None:
        library.policy()
        branch = library.branch(closed_days=["2026-03-30"])
        copy = library.copy(library.book(), branch, status="on_loan")
        loan = library.loan(MEMBER_ID, copy, due_at=SOON)

        answer = renew(librarian, loan)

        assert answer["loan"]["due_at"] == "2026-03-31T16:00:00Z"
        assert [each["code"] for each in answer["warnings"]] == ["due_date_moved"]

    def test_nobody_renews_what_is_somebody_elses_or_nobodys(
        self, member: httpx.Client, library: Library, lend: Callable[..., UUID], problem: Expected
    ) -> None:
        library.policy()
        others = lend(library.user())
        for loan in (str(others), UNKNOWN):
            response = member.post(f"/api/loans/{loan}/renewals", json={})
            message = f"No loan has the id {loan}."
            assert response.json() == problem(response, "not_found", message)
            decision = decide(member, loan)
            assert [each["code"] for each in decision["blockers"]] == ["loan_unknown"]
            assert decision["result"] is None

    def test_an_anonymous_caller_is_401(self, client: httpx.Client) -> None:
        assert client.post(f"/api/loans/{UNKNOWN}/renewals", json={}).status_code == 401


class TestRenewLoans:
    def test_each_has_an_outcome_of_its_own(
        self,
        member: httpx.Client,
        library: Library,
        lend: Callable[..., UUID],
        find: Callable[..., Any],
        audit: Callable[[str], list[AuditEntry]],
    ) -> None:
        library.policy()
        good, late = lend(), lend(due_at=datetime(2026, 2, 27, 17, tzinfo=UTC))
        often, others = lend(renewals=2), lend(library.user())
        ids = [str(each) for each in (good, often, others, late)]

        response = member.post("/api/bulk-renewals", json={"loans": [*ids, UNKNOWN]})

        assert response.status_code == 207
        items = response.json()["items"]
        assert [item["loan_id"] for item in items] == [*ids, UNKNOWN]
        assert [item["status"] for item in items] == [200, 409, 404, 200, 404]
        assert items[0]["result"]["loan"]["due_at"] == RENEWED
        assert items[3]["result"]["fee"]["amount"] == "0.60"
        assert items[0]["problem"] is None
        refusal = items[1]["problem"]
        assert (refusal["code"], refusal["instance"]) == ("action_refused", "/api/bulk-renewals")
        assert refusal["decision"]["blockers"][0]["code"] == "renewal_limit"
        assert items[2]["problem"]["message"] == f"No loan has the id {others}."
        assert [find(Loan, each).renewals for each in (good, often, others, late)] == [1, 2, 0, 1]
        assert {entry.target_id for entry in audit("loan.renew")} == {good, late}
        events = {
            item["result"]["compensation"]["parameters"]["event_id"]
            for item in (items[0], items[3])
        }
        assert len(events) == 2

    def test_staff_lift_the_same_for_all(
        self, librarian: httpx.Client, library: Library, lend: Callable[..., UUID]
    ) -> None:
        library.policy(renewals=0)
        ids = [str(lend()), str(lend(library.user()))]
        override = {"codes": ["renewal_limit"], "comment": "We are closed next week."}

        response = librarian.post("/api/bulk-renewals", json={"loans": ids, "override": override})

        assert [item["status"] for item in response.json()["items"]] == [200, 200]

    def test_a_loan_that_is_named_twice_in_two_ways_is_renewed_once(
        self,
        member: httpx.Client,
        library: Library,
        lend: Callable[..., UUID],
        find: Callable[..., Any],
    ) -> None:
        library.policy()
        loan = lend()
        ids = [str(loan), str(loan).upper()]

        items = member.post("/api/bulk-renewals", json={"loans": ids}).json()["items"]

        assert [item["status"] for item in items] == [200, 200]
        assert find(Loan, loan).renewals == 1

    def test_a_hundred_cost_as_many_statements_as_twenty(
        self,
        librarian: httpx.Client,
        library: Library,
        lend: Callable[..., UUID],
        count_queries: CountQueries,
        sessions: Sessions,
    ) -> None:
        library.policy()
        users = [library.user() for _ in range(5)]
        late = datetime(2026, 2, 27, 17, tzinfo=UTC)
        loans = [str(lend(users[n % 5], due_at=late if n % 2 else SOON)) for n in range(100)]
        librarian.get("/api/me").raise_for_status()
        counts = []
        # A few loans cost fewer on PostgreSQL, where their rows go into one statement.
        for ids in (loans[:20], loans[20:]):
            with count_queries() as statements:
                items = librarian.post("/api/bulk-renewals", json={"loans": ids}).json()["items"]
            assert {item["status"] for item in items} == {200}
            counts.append(len(statements))

        # Two kinds of rows are changed here: loans that were overdue have a new fee each.
        assert counts[0] == counts[1] <= 14
        with unit_of_work(sessions, writing=False) as session:
            total = select(func.sum(Fee.outstanding))
            assert session.scalar(total) == 50 * Decimal("0.60")
            assert session.scalar(select(func.count()).select_from(Event)) == 100

    def test_only_those_who_may(self, client: httpx.Client) -> None:
        response = client.post("/api/bulk-renewals", json={"loans": [str(uuid4())]})
        assert response.status_code == 401

    def test_more_than_a_hundred_are_too_many(self, member: httpx.Client) -> None:
        ids = [str(uuid4()) for _ in range(101)]
        assert member.post("/api/bulk-renewals", json={"loans": ids}).status_code == 400


def test_whoever_renews_reads_the_queue_as_it_is(
    member: httpx.Client, library: Library, branch: UUID, lend: Callable[..., UUID]
) -> None:
    library.policy()
    loan = lend()
    assert decide(member, loan)["allowed"]
    book = UUID(member.get(f"/api/loans/{loan}").json()["book_id"])
    hold = library.hold(library.user(), book, branch)

    response = member.post(f"/api/loans/{loan}/renewals", json={})

    assert response.status_code == 409
    # Not who waits, nor which hold it is.
    assert str(hold) not in response.text
    assert Hold.__tablename__ not in response.text
