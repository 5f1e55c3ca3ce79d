"""What users have besides their account, for tests of what becomes of it."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from circdesk import clock
from circdesk.auth.models import Consent, Grant, OAuthClient, PasswordReset, WebSession
from circdesk.db.unit_of_work import Sessions, unit_of_work


def give_credentials(sessions: Sessions, user_id: UUID) -> UUID:
    """Let the user be signed in, about to choose a new password, and known to an application.

    Returns the id of the application.
    """
    now = clock.now()
    soon = now + timedelta(hours=1)
    client = OAuthClient(
        name="An application",
        type="public",
        grant_types=["authorization_code"],
        redirect_uris=["http://127.0.0.1/"],
        scopes=["profile:read"],
    )
    with unit_of_work(sessions, writing=True) as session:
        session.add(client)
        session.flush()
        own: dict[str, Any] = {"user_id": user_id}
        granted: dict[str, Any] = {"client_id": client.id, "scopes": ["profile:read"]}
        session.add_all(
            (
                WebSession(
                    token_hash="sha256-a",
                    last_used_at=now,
                    expires_at=soon,
                    address="192.0.2.1",
                    user_agent="A browser",
                    **own,
                ),
                PasswordReset(token_hash="sha256-b", created_at=now, expires_at=soon, **own),
                Consent(**own, **granted),
                Grant(resource="http://127.0.0.1/api", expires_at=soon, **own, **granted),
            )
        )
    return client.id
