"""The same requests through stock Connexion and through our door: the same verdicts.

The requests are made of the contract: those of its examples, and those with one thing wrong. A
verdict is the status of a refusal, or the operation that is reached and the arguments it is called
with. Where ours is another on purpose, it stands in `differential/intended.py` with the reason.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from sqlalchemy import Engine

from circdesk.auth.scopes import ROLE_SCOPES
from circdesk.auth.secrets import hash_secret
from circdesk.auth.sessions import csrf_token
from circdesk.db.unit_of_work import Sessions, make_sessions, unit_of_work
from circdesk.settings import Settings
from tests.auth.columns import add_session
from tests.contract.differential.generation import DOCUMENTED, requests
from tests.contract.differential.intended import INTENDED
from tests.contract.differential.ours import our_judge
from tests.contract.differential.requests import Credentials, Request
from tests.contract.differential.stock import stock_judge
from tests.contract.differential.verdicts import Judge, Verdict, difference
from tests.people import PEOPLE, api_key, api_key_id
from tests.tokens import Mint

# The contract is the same on every database; here it only knows who is calling.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")

# Each kind of request with what differs, and why.
EXPLAINED = {
    (kind, difference): entry.reason
    for entry in INTENDED
    for difference, kinds in entry.differences.items()
    for kind in kinds
}
ADMIN, MEMBER = (" ".join(sorted(ROLE_SCOPES[role])) for role in ("admin", "member"))


class Comparison(NamedTuple):
    """A request and both verdicts on it."""

    request: Request
    ours: Verdict
    theirs: Verdict

    @property
    def difference(self) -> tuple[str, str] | None:
        """The kind of the request and what differs; None where nothing does."""
        found = difference(self.ours, self.theirs)
        return (self.request.kind, found) if found else None


@pytest.fixture(scope="module")
def comparisons(
    settings: Settings, migrated_engine: Engine, restore: Callable[[], None]
) -> Iterator[list[Comparison]]:
    """All requests, judged twice."""
    sessions = make_sessions(migrated_engine)
    credentials = make_credentials(settings, sessions)
    scopes = {
        credentials.key: ADMIN,
        credentials.token: ADMIN,
        credentials.member_key: MEMBER,
        credentials.member_token: MEMBER,
        credentials.session: ADMIN,
        credentials.csrf_token: "",
    }
    with our_judge(settings, sessions) as ours, stock_judge(scopes) as theirs:
        yield asyncio.run(compare(requests(credentials), ours, theirs))
    restore()


def make_credentials(settings: Settings, sessions: Sessions) -> Credentials:
    """Good credentials of the administrator and of the member."""
    mint = Mint(sessions, settings.public_url or "", settings.encryption_key)
    session_token = "a-session-that-only-this-test-knows"
    with unit_of_work(sessions, writing=True) as session:
        add_session(session, PEOPLE["admin"], session_token)
    return Credentials(
        key=api_key("admin"),
        key_id=str(api_key_id("admin")),
        token=mint.for_user(PEOPLE["admin"], "admin", ADMIN),
        member_key=api_key("member"),
        member_token=mint.for_user(PEOPLE["member"], "member", MEMBER),
        session=session_token,
        csrf_token=csrf_token(settings.secret_key.get_secret_value(), hash_secret(session_token)),
    )


async def compare(sent: list[Request], ours: Judge, theirs: Judge) -> list[Comparison]:
    """Both verdicts on each request, one after the other."""
    return [Comparison(request, await ours(request), await theirs(request)) for request in sent]


def test_verdicts_are_the_same_but_for_what_is_intended(comparisons: list[Comparison]) -> None:
    unexplained = [
        f"{': '.join(found.difference)}: {found.request}"
        for found in comparisons
        if found.difference and found.difference not in EXPLAINED
    ]
    assert unexplained == []


def test_what_is_intended_still_differs(comparisons: list[Comparison]) -> None:
    differing = {found.difference for found in comparisons}
    over = {found: reason for found, reason in EXPLAINED.items() if found not in differing}
    assert over == {}


def test_a_thousand_requests_come_to_every_verdict(comparisons: list[Comparison]) -> None:
    assert len(comparisons) >= 1000
    statuses = {found.ours.status for found in comparisons}
    assert statuses >= {200, 400, 401, 403, 404, 405, 406, 413, 415}


def test_every_documented_request_reaches_its_operation(comparisons: list[Comparison]) -> None:
    documented = [found for found in comparisons if found.request.kind == DOCUMENTED]
    lost = [
        str(found.request)
        for found in documented
        if found.ours.operation_id != found.request.operation.operation_id
    ]
    assert documented
    assert lost == []
