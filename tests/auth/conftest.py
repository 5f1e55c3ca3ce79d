"""People and tokens that several tests of access share."""

from collections.abc import Iterator

import pytest

from circdesk.auth.models import Consent, OAuthClient
from circdesk.auth.tokens import AccessTokens
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.settings import Settings
from tests.auth.columns import BLOCKED_ID, CLIENT_ID, OTHER_MEMBER_ID, add_member, add_session
from tests.people import MEMBER_ID, PEOPLE


@pytest.fixture
def people(sessions: Sessions) -> None:
    """Another member, one who is blocked, and what belongs to them."""
    with unit_of_work(sessions, writing=True) as session:
        add_member(session, OTHER_MEMBER_ID, "other", "active")
        add_member(session, BLOCKED_ID, "blocked", "blocked")
        session.add(
            OAuthClient(
                id=CLIENT_ID,
                name="Client",
                type="public",
                grant_types=[],
                redirect_uris=[],
                scopes=[],
            )
        )
        session.flush()
        session.add(Consent(user_id=MEMBER_ID, client_id=CLIENT_ID, scopes=["profile:read"]))
        for user_id in PEOPLE.values():
            add_session(session, user_id, f"session-of-{user_id}")


@pytest.fixture
def tokens(settings: Settings, sessions: Sessions, base_url: str) -> Iterator[AccessTokens]:
    """What issues access tokens of the running service."""
    tokens = AccessTokens(sessions, settings.model_copy(update={"public_url": base_url}))
    yield tokens
    tokens.close()
