"""What the tests of check-out share: a desk to lend at, and what its answers say."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx

from tests.circulation.conftest import Library

JSON = dict[str, Any]

PATH = "/api/loans"
# A Monday morning in Berlin.
NOW = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
LATER = NOW + timedelta(seconds=1)
NOBODY = "019b8d2b-8c00-7009-8000-0000000000ff"


@dataclass(frozen=True)
class Desk:
    """A library with one rule, one branch, a book with a copy, and a user who wants it."""

    library: Library
    branch: UUID
    policy: UUID
    book: UUID
    copy: UUID
    user: UUID

    @property
    def body(self) -> JSON:
        return {"user": str(self.user), "copy": str(self.copy)}

    @classmethod
    def of(cls, library: Library) -> "Desk":
        """A desk in an empty library."""
        branch, policy, book = library.branch(), library.policy(), library.book()
        return cls(library, branch, policy, book, library.copy(book, branch), library.user())


def blockers(response: httpx.Response) -> list[JSON]:
    """The blockers of a refusal."""
    assert response.status_code == 409, response.text
    found: list[JSON] = response.json()["decision"]["blockers"]
    return found


def codes(response: httpx.Response) -> list[str]:
    return [blocker["code"] for blocker in blockers(response)]


def values(response: httpx.Response) -> JSON:
    """The values of the only blocker."""
    [blocker] = blockers(response)
    found: JSON = blocker["values"]
    return found


def warnings(response: httpx.Response) -> list[JSON]:
    assert response.status_code == 201, response.text
    found: list[JSON] = response.json()["warnings"]
    return found
