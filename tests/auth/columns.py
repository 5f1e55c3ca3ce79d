"""The columns of the access table: who tries an operation, and what the contract says of it."""

import base64
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
from sqlalchemy.orm import Session

from circdesk import clock
from circdesk.accounts.models import User
from circdesk.auth.credentials import required_scopes
from circdesk.auth.models import ApiKey, WebSession
from circdesk.auth.scopes import ROLE_SCOPES
from circdesk.auth.secrets import hash_secret
from circdesk.auth.tokens import AccessTokens
from circdesk.contract.operations import Operation
from circdesk.db.unit_of_work import Sessions, unit_of_work
from tests.contracts import contract
from tests.people import api_key

OPERATIONS = list(contract().operations.values())
# OAuth's endpoints know clients, by credentials and errors of their own.
LENIENT = [operation for operation in OPERATIONS if operation.lenient]
STRICT = [operation for operation in OPERATIONS if not operation.lenient]

CLIENT_ID = UUID("019b8d2b-8c00-7102-8000-000000000001")
OTHER_MEMBER_ID = UUID("019b8d2b-8c00-7100-8000-000000000004")
BLOCKED_ID = UUID("019b8d2b-8c00-7100-8000-000000000005")
UNKNOWN_ID = UUID("019b8d2b-8c00-7100-8000-0000000000ff")
# Paths that lead to what belongs to somebody.
OWNED = {
    *("user_id", "key_id", "session_id", "consent_id"),
    *("loan_id", "hold_id", "fee_id", "notice_id", "event_id"),
}

Headers = Mapping[str, str]
Expect = Callable[[Operation], int]


def send_to_all(base_url: str, operations: list[Operation], headers: Headers) -> dict[str, Any]:
    """The answer of each operation to a request with these headers."""

    with httpx.Client(base_url=base_url, headers=headers, timeout=30) as client:

        def send(operation: Operation) -> tuple[str, httpx.Response]:
            answer = client.request(operation.method, address(operation))
            return operation.operation_id, answer

        with ThreadPoolExecutor(8) as pool:
            return dict(pool.map(send, operations))


def address(operation: Operation) -> str:
    path = operation.path
    for name in operation.path_parameters.names:
        path = path.replace(f"{{{name}}}", str(UNKNOWN_ID))
    return f"{path}?no_such_parameter=1"


def mismatches(answers: Mapping[str, httpx.Response], expect: Expect) -> list[str]:
    """The cells of one column of the table that are not as the contract says."""
    return [
        f"{operation.operation_id}: {answers[operation.operation_id].status_code}"
        f" instead of {expect(operation)}"
        for operation in STRICT
        if answers[operation.operation_id].status_code != expect(operation)
    ]


def takes(operation: Operation, *schemes: str) -> bool:
    return any(scheme in entry for entry in operation.security for scheme in schemes)


def nobody(operation: Operation) -> int:
    """The status for a caller without credentials, or with one that is not asked for."""
    return 400 if not operation.security or {} in operation.security else 401


def good(scopes: frozenset[str], *schemes: str) -> Expect:
    """The status for a caller with these scopes by a credential of one of these schemes."""

    def expected(operation: Operation) -> int:
        if not takes(operation, *schemes):
            return nobody(operation)
        needed = required_scopes(operation.security)
        return 400 if not needed or any(each <= scopes for each in needed) else 403

    return expected


def bad(operation: Operation) -> int:
    """The status for a caller whose credential in a header is not good."""
    return 401 if operation.security else 400


# A scope that every role has and next to no operation asks for.
NARROW = frozenset({"profile:read"})


def add_member(session: Session, user_id: UUID, name: str, status: str) -> None:
    email = f"{name}@example.org"
    user = User(id=user_id, name=name, sort_name=name, email=email, role="member", status=status)
    session.add(user)
    session.flush()
    add_key(session, user_id, api_key(name), ROLE_SCOPES["member"])
    add_session(session, user_id, f"session-of-{user_id}")


def add_key(
    session: Session, user_id: UUID, secret: str, scopes: frozenset[str], **more: Any
) -> ApiKey:
    key = ApiKey(
        user_id=user_id,
        name="Key",
        prefix=secret[:12],
        secret_hash=hash_secret(secret),
        scopes=sorted(scopes),
        **more,
    )
    session.add(key)
    session.flush()
    return key


def add_session(session: Session, user_id: UUID, token: str) -> None:
    now = clock.now()
    expires_at = now + timedelta(hours=1)
    web_session = WebSession(
        user_id=user_id, token_hash=hash_secret(token), last_used_at=now, expires_at=expires_at
    )
    session.add(web_session)


def issue(
    sessions: Sessions, tokens: AccessTokens, user_id: UUID | None, scopes: frozenset[str]
) -> str:
    with unit_of_work(sessions, writing=True) as session:
        return tokens.issue(
            session,
            subject=user_id or CLIENT_ID,
            client_id=CLIENT_ID,
            scopes=scopes,
            resource=tokens.resource,
            grant_id=uuid4() if user_id else None,
        )[0]


def bearer(token: str) -> Headers:
    return {"Authorization": f"Bearer {token}"}


def basic(user: object, password: str) -> Headers:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
