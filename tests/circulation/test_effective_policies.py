"""Which policies match, and which of them decides, on both databases."""

from collections.abc import Callable
from itertools import product
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy.orm import Session

from circdesk.circulation.models import LoanPolicy
from circdesk.circulation.policies.matching import find_rules, scope_of
from circdesk.circulation.policies.rulebook import Rulebook
from tests.circulation.conftest import RULE, Library
from tests.people import MEMBER_ID

JSON = dict[str, Any]
Expected = Callable[..., JSON]

PATH = "/api/loan-policies/effective"
UNKNOWN = "019b8d2b-8c00-7009-8000-0000000000ff"
# The most specific first: a branch counts 4, a category 2, a kind of material 1.
ORDER = [
    ("branch", "teacher", "video"),
    ("branch", "teacher", None),
    ("branch", None, "video"),
    ("branch", None, None),
    (None, "teacher", "video"),
    (None, "teacher", None),
    (None, None, "video"),
    (None, None, None),
]


class Rules:
    """A rule for each of the eight scopes of one branch, category and material, and then some."""

    def __init__(self, library: Library) -> None:
        self.branch = library.branch(code="north")
        self.elsewhere = library.branch(code="south")
        self.ids = {
            scope: library.policy(
                name="/".join(str(part) for part in scope),
                user_category=scope[1],
                material_type=scope[2],
                branch_id=scope[0] and self.branch,
            )
            # Stored the other way round, as the order is not that of their age.
            for scope in reversed(ORDER)
        }
        library.policy(branch_id=self.elsewhere)
        library.policy(user_category="child")
        library.policy(material_type="book")

    def named(self, *scopes: tuple[str | None, ...]) -> list[str]:
        return ["/".join(str(part) for part in scope) for scope in scopes]


@pytest.fixture
def rules(library: Library) -> Rules:
    return Rules(library)


def names(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [policy["name"] for policy in response.json()["items"]]


class TestListEffectivePolicies:
    def test_all_that_match_are_there_in_the_order_in_which_they_decide(
        self, librarian: httpx.Client, library: Library, rules: Rules
    ) -> None:
        copy = library.copy(library.book(), rules.branch, barcode="30001", material_type="video")
        library.user(category="teacher", card_number="70001")

        response = librarian.get(f"{PATH}?user=card:70001&copy=barcode:30001")

        assert names(response) == rules.named(*ORDER)
        body = response.json()
        assert body == {
            "user_category": "teacher",
            "material_type": "video",
            "branch_id": str(rules.branch),
            "items": body["items"],
        }
        first = librarian.get(f"/api/loan-policies/{rules.ids[ORDER[0]]}").json()
        assert body["items"][0] == first
        assert names(librarian.get(f"{PATH}?copy={copy}")) == rules.named(
            ("branch", None, "video"),
            ("branch", None, None),
            (None, None, "video"),
            (None, None, None),
        )

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("", [(None, None, None)]),
            ("user_category=teacher", [(None, "teacher", None), (None, None, None)]),
            ("material_type=video", [(None, None, "video"), (None, None, None)]),
            ("branch=code:north", [("branch", None, None), (None, None, None)]),
            ("user_category=nobody&material_type=map", [(None, None, None)]),
        ],
    )
    def test_what_is_left_open_matches_rules_that_leave_it_open(
        self, librarian: httpx.Client, rules: Rules, query: str, found: list[tuple[str | None, ...]]
    ) -> None:
        assert names(librarian.get(f"{PATH}?{query}")) == rules.named(*found)

    def test_what_is_named_itself_counts_before_user_and_copy(
        self, librarian: httpx.Client, library: Library, rules: Rules
    ) -> None:
        library.copy(library.book(), rules.branch, barcode="30001")
        library.user(card_number="70001")
        keys = "user=card:70001&copy=barcode:30001"

        response = librarian.get(
            f"{PATH}?{keys}&user_category=teacher&material_type=video&branch=code:south"
        )

        assert response.json()["user_category"] == "teacher"
        assert names(response)[1:] == rules.named(*ORDER[4:])

    def test_members_may_ask_about_themselves_and_nobody_else(
        self, member: httpx.Client, library: Library, problem: Expected
    ) -> None:
        library.policy()
        other = library.user()

        assert names(member.get(f"{PATH}?user={MEMBER_ID}")) == ["Everything else"]
        for key in (other, UNKNOWN):
            response = member.get(f"{PATH}?user={key}")
            assert response.status_code == 404
            message = f"No user has the key {key}."
            assert response.json() == problem(response, "not_found", message)

    @pytest.mark.parametrize(
        ("query", "noun", "key"),
        [
            (f"user={UNKNOWN}", "user", UNKNOWN),
            ("user=card:99999", "user", "card:99999"),
            ("copy=barcode:99999", "copy", "barcode:99999"),
            ("branch=code:nowhere", "branch", "code:nowhere"),
        ],
    )
    def test_what_is_not_there_is_not_found(
        self, librarian: httpx.Client, problem: Expected, query: str, noun: str, key: str
    ) -> None:
        response = librarian.get(f"{PATH}?{query}")

        assert response.status_code == 404
        assert response.json() == problem(response, "not_found", f"No {noun} has the key {key}.")

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get(PATH)

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestRulebook:
    def test_it_decides_as_the_database_does(self, rules: Rules, session: Session) -> None:
        rulebook = Rulebook.load(session)
        categories, materials = ("teacher", "child", "standard"), ("video", "book", "map")
        for asked in product(categories, materials, (rules.branch, rules.elsewhere, None)):
            assert rulebook.deciding(*asked) is next(iter(find_rules(session, *asked)), None)

    def test_a_rule_takes_the_place_of_the_one_for_the_same(
        self, rules: Rules, session: Session
    ) -> None:
        before = Rulebook.load(session)
        new = LoanPolicy(
            **RULE | {"scope": scope_of(None, "video", None), "material_type": "video"}
        )

        after = before.with_rule(new)

        south = UUID(UNKNOWN)
        assert after.deciding("standard", "video", south) is new
        assert before.deciding("standard", "video", south) is not new
        assert after.deciding("teacher", "video", rules.branch) is before.deciding(
            "teacher", "video", rules.branch
        )

    def test_without_rules_nothing_decides(self) -> None:
        assert Rulebook([]).deciding("standard", "book", None) is None
