"""Clients that tests register, and the flows that they run."""

import base64
import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import UUID

import httpx
from sqlalchemy import select
from sqlalchemy.orm import Session

from circdesk.audit.models import AuditEntry
from circdesk.auth.models import OAuthClient
from circdesk.auth.oauth.authorization import approve, read_authorization_request
from circdesk.auth.secrets import hash_secret
from tests.people import MEMBER_ID

CONFIDENTIAL_ID = UUID("019b8d2b-8c00-7200-8000-000000000001")
PUBLIC_ID = UUID("019b8d2b-8c00-7200-8000-000000000002")
OTHER_ID = UUID("019b8d2b-8c00-7200-8000-000000000003")
SECRET = "cds_a secret: that must be encoded + decoded %41 & kept"
OTHER_SECRET = "cds_another-secret"
REDIRECT_URI = "https://client.example/callback"
LOOPBACK = "http://127.0.0.1/callback"
SCOPES = ["catalog:write", "news:write", "profile:read", "profile:write"]
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"

Work = Callable[[], AbstractContextManager[Session]]


def register_clients(session: Session) -> None:
    """Store a confidential client, a public one, and another that is confidential."""
    for client_id, kind, secret in (
        (CONFIDENTIAL_ID, "confidential", SECRET),
        (PUBLIC_ID, "public", None),
        (OTHER_ID, "confidential", OTHER_SECRET),
    ):
        register(session, client_id, kind, secret)


def register(session: Session, client_id: UUID, kind: str, secret: str | None) -> None:
    """Store a client that may use every grant."""
    client = OAuthClient(
        id=client_id,
        name=f"The {kind} client",
        type=kind,
        secret_hash=hash_secret(secret) if secret else None,
        grant_types=["client_credentials", "authorization_code", "refresh_token"],
        redirect_uris=[REDIRECT_URI, LOOPBACK, "http://[::1]/callback"],
        scopes=SCOPES,
    )
    session.add(client)


@dataclass
class Flow:
    """The code flow of a user with a client, step by step."""

    work: Work
    http: httpx.Client
    issuer: str
    client_id: UUID = PUBLIC_ID
    secret: str | None = None
    user_id: UUID = MEMBER_ID

    def query(self, **changes: str | None) -> str:
        """The query of an authorization request; None leaves a parameter out."""
        parameters: dict[str, str | None] = {
            "response_type": "code",
            "client_id": str(self.client_id),
            "redirect_uri": REDIRECT_URI,
            "scope": "profile:read profile:write",
            "state": "a state",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
        chosen = (parameters | changes).items()
        return urlencode({name: value for name, value in chosen if value is not None})

    def approve(self, **changes: str | None) -> dict[str, str]:
        """What the redirect tells the client after the user has agreed."""
        with self.work() as session:
            request = read_authorization_request(session, self.query(**changes), issuer=self.issuer)
            location = approve(session, request, self.user_id)
        return dict(parse_qsl(urlsplit(location).query))

    def redeem(self, code: str, **changes: str | None) -> httpx.Response:
        """Exchange a code."""
        form: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT_URI,
            "code_verifier": VERIFIER,
        }
        return self.post("/oauth/token", **form | changes)

    def refresh(self, refresh_token: str, **changes: str | None) -> httpx.Response:
        """Use a refresh token."""
        form: dict[str, str | None] = {
            "grant_type": "refresh_token",
            "refresh_token": refresh_token,
        }
        return self.post("/oauth/token", **form | changes)

    def tokens(self, **changes: str | None) -> dict[str, Any]:
        """The tokens of a whole flow."""
        response = self.redeem(self.approve(**changes)["code"])
        assert response.status_code == 200, response.text
        tokens: dict[str, Any] = response.json()
        return tokens

    def post(self, path: str = "/oauth/token", /, **form: str | None) -> httpx.Response:
        """Post a form in the client's name."""
        named = {"client_id": str(self.client_id), "client_secret": self.secret} | form
        return self.http.post(path, data={k: v for k, v in named.items() if v is not None})


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a verifier."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def audited(session: Session, action: str) -> list[dict[str, Any]]:
    """The entries of the audit log with this action, in short."""
    entries = session.scalars(
        select(AuditEntry).where(AuditEntry.action == action).order_by(AuditEntry.id)
    )
    return [
        {
            "outcome": entry.outcome,
            "actor": (entry.actor_type, entry.actor_id),
            "target": (entry.target_type, entry.target_id),
            "details": entry.details,
        }
        for entry in entries
    ]
