"""More callers: with keys of fewer scopes, and of users that a test makes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from circdesk.audit.models import AuditEntry
from circdesk.auth.models import ApiKey
from circdesk.auth.secrets import hash_secret
from circdesk.db.unit_of_work import Sessions, unit_of_work

Caller = Callable[..., httpx.Client]
Audit = Callable[..., list[AuditEntry]]


@pytest.fixture
def caller(base_url: str, sessions: Sessions) -> Iterator[Caller]:
    """`caller(user_id, *scopes)`: a client with a new key of this user, of these scopes."""
    with ExitStack() as stack:

        def make(user_id: UUID | str, *scopes: str) -> httpx.Client:
            owner = UUID(str(user_id))
            secret = f"cdk_{owner}_{'_'.join(scopes)}"
            with unit_of_work(sessions, writing=True) as session:
                session.add(
                    ApiKey(
                        user_id=owner,
                        name="For this test",
                        prefix=secret[:12],
                        secret_hash=hash_secret(secret),
                        scopes=sorted(scopes),
                    )
                )
            headers = {"X-API-Key": secret}
            return stack.enter_context(httpx.Client(base_url=base_url, timeout=10, headers=headers))

        yield make


@pytest.fixture
def audit(sessions: Sessions) -> Audit:
    """`audit("user.create")`: the entries of the audit log with this action, the oldest first."""

    def read(action: str) -> list[AuditEntry]:
        with unit_of_work(sessions, writing=False) as session:
            entries = select(AuditEntry).where(AuditEntry.action == action)
            return list(session.scalars(entries.order_by(AuditEntry.id)))

    return read
