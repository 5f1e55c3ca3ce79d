"""All rules at once, to decide about many loans without asking the database for each."""

from collections.abc import Iterable
from itertools import product
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from circdesk.circulation.models import LoanPolicy
from circdesk.circulation.policies.matching import scope_of


class Rulebook:
    """Rules, one for each scope; it decides as `find_rules` does."""

    def __init__(self, rules: Iterable[LoanPolicy]) -> None:
        self._rules = {rule.scope: rule for rule in rules}
        self._decided: dict[tuple[str, str, UUID | None], LoanPolicy | None] = {}

    @classmethod
    def load(cls, session: Session) -> "Rulebook":
        """All rules that there are; one statement."""
        return cls(session.scalars(select(LoanPolicy)))

    def with_rule(self, rule: LoanPolicy) -> "Rulebook":
        """The same with one rule more, which takes the place of the one for the same."""
        return Rulebook([*self._rules.values(), rule])

    def deciding(
        self, user_category: str, material_type: str, branch_id: UUID | None
    ) -> LoanPolicy | None:
        """The most specific of the rules that match, or None."""
        key = (user_category, material_type, branch_id)
        if key not in self._decided:
            # The order of the product is that of the weights: branch, category, material.
            scopes = (
                scope_of(category, material, branch)
                for branch, category, material in product(
                    (branch_id, None), (user_category, None), (material_type, None)
                )
            )
            self._decided[key] = next(filter(None, map(self._rules.get, scopes)), None)
        return self._decided[key]
