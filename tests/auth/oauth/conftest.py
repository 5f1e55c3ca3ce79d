"""Registered clients and their flows, on both databases."""

from uuid import uuid4

import httpx
import pytest

from circdesk.db.unit_of_work import Sessions, unit_of_work
from tests.auth.oauth.registered import (
    CONFIDENTIAL_ID,
    OTHER_ID,
    OTHER_SECRET,
    SECRET,
    Flow,
    Work,
    register,
    register_clients,
)


@pytest.fixture
def work(sessions: Sessions) -> Work:
    """A writing unit of work beside the service, with the clients registered."""
    with unit_of_work(sessions, writing=True) as session:
        register_clients(session)
    return lambda: unit_of_work(sessions, writing=True)


@pytest.fixture
def flow(work: Work, client: httpx.Client, base_url: str) -> Flow:
    """The flow of the public client."""
    return Flow(work, client, base_url)


@pytest.fixture
def confidential(work: Work, client: httpx.Client, base_url: str) -> Flow:
    """The flow of the confidential client, whose secret stands in the body."""
    return Flow(work, client, base_url, CONFIDENTIAL_ID, SECRET)


@pytest.fixture
def other(work: Work, client: httpx.Client, base_url: str) -> Flow:
    """The flow of another confidential client."""
    return Flow(work, client, base_url, OTHER_ID, OTHER_SECRET)


@pytest.fixture
def newcomer(work: Work, client: httpx.Client, base_url: str) -> Flow:
    """The flow of a client in whose name nobody has failed before, in no other test either."""
    client_id = uuid4()
    with work() as session:
        register(session, client_id, "confidential", SECRET)
    return Flow(work, client, base_url, client_id, SECRET)
