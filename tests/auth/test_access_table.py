"""Who may call what: every operation of the contract, tried with every kind of credential.

The expectations are read from the contract's `security`. Each request has a query parameter that
no operation knows, so that a caller who passes the door is answered 400 and nothing is changed.
"""

import base64
import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from circdesk import clock
from circdesk.accounts.models import User
from circdesk.auth.credentials import required_scopes
from circdesk.auth.models import ApiKey, Consent, OAuthClient, WebSession
from circdesk.auth.revocations import revoke
from circdesk.auth.scopes import ROLE_SCOPES
from circdesk.auth.secrets import hash_secret
from circdesk.auth.sessions import COOKIE, csrf_token
from circdesk.auth.signing_keys import find_signer
from circdesk.auth.tokens import AccessTokens
from circdesk.catalog.demo.identities import Kind, demo_id
from circdesk.catalog.demo.seeding import seed_demo
from circdesk.circulation.models import Fee, Hold, Loan, Notice
from circdesk.contract.contract import Contract
from circdesk.contract.documents import load_bundle
from circdesk.contract.operations import Operation
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.events.models import Event
from circdesk.resources import directory
from circdesk.settings import Settings
from tests.contract.documented_desk import store_documented_desk
from tests.people import LIBRARIAN_ID, MEMBER_ID, PEOPLE, api_key

OPERATIONS = list(Contract(load_bundle(directory("openapi"))).operations.values())
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


def deed_of_the_member() -> Event:
    """What the member did: placed the hold of the documented desk."""
    return Event(
        id=demo_id(Kind.EVENT, 3),
        kind="hold.place",
        subject_type="hold",
        subject_id=demo_id(Kind.HOLD, 1),
        actor_type="user",
        actor_id=MEMBER_ID,
        data={},
        occurred_at=clock.now(),
    )


@pytest.fixture
def tokens(settings: Settings, sessions: Sessions, base_url: str) -> Iterator[AccessTokens]:
    """What issues access tokens of the running service."""
    tokens = AccessTokens(sessions, settings.model_copy(update={"public_url": base_url}))
    yield tokens
    tokens.close()


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


class TestTheTable:
    @pytest.fixture(autouse=True)
    def _people(self, people: None, client: httpx.Client) -> None:
        """Everybody is there, and the service runs."""

    def test_nobody(self, base_url: str) -> None:
        assert mismatches(send_to_all(base_url, STRICT, {}), nobody) == []

    @pytest.mark.parametrize("role", PEOPLE)
    def test_the_key_of_each_role(self, base_url: str, role: str) -> None:
        answers = send_to_all(base_url, STRICT, {"X-API-Key": api_key(role)})
        assert mismatches(answers, good(ROLE_SCOPES[role], "ApiKey", "Basic")) == []

    def test_the_key_of_another_member(self, base_url: str) -> None:
        answers = send_to_all(base_url, STRICT, {"X-API-Key": api_key("other")})
        assert mismatches(answers, good(ROLE_SCOPES["member"], "ApiKey", "Basic")) == []

    def test_a_key_by_basic(self, base_url: str, engine: Engine) -> None:
        with engine.connect() as connection:
            found = select(ApiKey.id).where(ApiKey.secret_hash == hash_secret(api_key("admin")))
            key_id = connection.execute(found).scalar_one()
        answers = send_to_all(base_url, STRICT, basic(key_id, api_key("admin")))
        assert mismatches(answers, good(ROLE_SCOPES["admin"], "ApiKey", "Basic")) == []

    def test_a_narrow_key(self, base_url: str, sessions: Sessions) -> None:
        with unit_of_work(sessions, writing=True) as session:
            add_key(session, PEOPLE["admin"], "a narrow key", NARROW)
        answers = send_to_all(base_url, STRICT, {"X-API-Key": "a narrow key"})
        assert mismatches(answers, good(NARROW, "ApiKey", "Basic")) == []

    def test_a_key_with_more_scopes_than_its_owner(self, base_url: str, sessions: Sessions) -> None:
        with unit_of_work(sessions, writing=True) as session:
            add_key(session, MEMBER_ID, "a wide key", ROLE_SCOPES["admin"])
        answers = send_to_all(base_url, STRICT, {"X-API-Key": "a wide key"})
        assert mismatches(answers, good(ROLE_SCOPES["member"], "ApiKey", "Basic")) == []

    @pytest.mark.parametrize("role", PEOPLE)
    def test_the_session_of_each_role(self, base_url: str, settings: Settings, role: str) -> None:
        token = f"session-of-{PEOPLE[role]}"
        csrf = csrf_token(settings.secret_key.get_secret_value(), hash_secret(token))
        headers = {"Cookie": f"{COOKIE}={token}", "X-CSRF-Token": csrf}
        answers = send_to_all(base_url, STRICT, headers)
        assert mismatches(answers, good(ROLE_SCOPES[role], "Session")) == []

    def test_a_session_without_its_csrf_token(self, base_url: str) -> None:
        token = f"session-of-{PEOPLE['admin']}"

        def expected(operation: Operation) -> int:
            guarded = takes(operation, "CsrfToken")
            return 403 if guarded else good(ROLE_SCOPES["admin"], "Session")(operation)

        for headers in ({}, {"X-CSRF-Token": hash_secret(token)}):
            answers = send_to_all(base_url, STRICT, {"Cookie": f"{COOKIE}={token}", **headers})
            assert mismatches(answers, expected) == []

    @pytest.mark.parametrize("token", ["of-nobody", f"session-of-{BLOCKED_ID}"])
    def test_a_session_that_is_not_good_counts_as_none(self, base_url: str, token: str) -> None:
        answers = send_to_all(base_url, STRICT, {"Cookie": f"{COOKIE}={token}"})
        assert mismatches(answers, nobody) == []

    @pytest.mark.parametrize("role", PEOPLE)
    def test_the_access_token_of_each_role(
        self, base_url: str, sessions: Sessions, tokens: AccessTokens, role: str
    ) -> None:
        token = issue(sessions, tokens, PEOPLE[role], ROLE_SCOPES[role])
        answers = send_to_all(base_url, STRICT, bearer(token))
        assert mismatches(answers, good(ROLE_SCOPES[role], "OAuth2")) == []

    def test_a_narrow_access_token(
        self, base_url: str, sessions: Sessions, tokens: AccessTokens
    ) -> None:
        token = issue(sessions, tokens, PEOPLE["admin"], NARROW)
        answers = send_to_all(base_url, STRICT, bearer(token))
        assert mismatches(answers, good(NARROW, "OAuth2")) == []

    def test_the_access_token_of_a_client_for_itself(
        self, base_url: str, sessions: Sessions, tokens: AccessTokens
    ) -> None:
        scopes = frozenset({"catalog:write", "users:read"})
        token = issue(sessions, tokens, None, scopes)
        answers = send_to_all(base_url, STRICT, bearer(token))
        assert mismatches(answers, good(scopes, "OAuth2")) == []

    def test_a_revoked_access_token(
        self, base_url: str, sessions: Sessions, tokens: AccessTokens
    ) -> None:
        token = issue(sessions, tokens, PEOPLE["admin"], ROLE_SCOPES["admin"])
        with unit_of_work(sessions, writing=True) as session:
            revoke(session, jwt.decode(token, options={"verify_signature": False})["jti"])
        assert mismatches(send_to_all(base_url, STRICT, bearer(token)), bad) == []

    @pytest.mark.parametrize("kind", ["unknown", "expired", "of a blocked user", "twice", "empty"])
    def test_a_key_that_is_not_good(self, base_url: str, sessions: Sessions, kind: str) -> None:
        with unit_of_work(sessions, writing=True) as session:
            scopes = ROLE_SCOPES["admin"]
            add_key(session, PEOPLE["admin"], "an old key", scopes, expires_at=clock.now())
        secrets = {
            "expired": "an old key",
            "of a blocked user": api_key("blocked"),
            "twice": f"{api_key('admin')}, {api_key('admin')}",
            "empty": "",
        }
        headers = {"X-API-Key": secrets.get(kind, "cdk_unknown")}
        assert mismatches(send_to_all(base_url, STRICT, headers), bad) == []

    @pytest.mark.parametrize(
        "headers",
        [
            pytest.param(basic("member@example.org", "a person's password"), id="a password"),
            pytest.param(basic(UNKNOWN_ID, api_key("admin")), id="the key of another id"),
            pytest.param({"Authorization": "Basic !"}, id="no base64"),
            pytest.param({"Authorization": "Digest x"}, id="another scheme"),
            pytest.param({"Authorization": ""}, id="nothing"),
            pytest.param(
                {"X-API-Key": api_key("admin"), "Authorization": "Bearer x"},
                id="a bad token beside a good key",
            ),
        ],
    )
    def test_an_authorization_that_is_not_good(self, base_url: str, headers: Headers) -> None:
        assert mismatches(send_to_all(base_url, STRICT, headers), bad) == []


def encoded(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


class TestForgedTokens:
    """Each is a good token of the administrator's but for one thing."""

    @pytest.fixture
    def key(
        self, settings: Settings, sessions: Sessions, client: httpx.Client
    ) -> tuple[str, Ed25519PrivateKey]:
        """The service's own signing key, with its id."""
        del client
        with unit_of_work(sessions, writing=True) as session:
            return find_signer(session, settings.encryption_key)

    @pytest.fixture
    def claims(self, tokens: AccessTokens, base_url: str) -> dict[str, Any]:
        """The claims of a good token."""
        now = int(clock.now().timestamp())
        return {
            "iss": base_url,
            "aud": tokens.resource,
            "sub": str(PEOPLE["admin"]),
            "client_id": str(CLIENT_ID),
            "iat": now,
            "exp": now + 600,
            "jti": str(uuid4()),
            "scope": " ".join(ROLE_SCOPES["admin"]),
            "grant_id": str(uuid4()),
            "roles": ["admin"],
        }

    def test_unforged_it_would_be_good(
        self, base_url: str, key: tuple[str, Ed25519PrivateKey], claims: dict[str, Any]
    ) -> None:
        kid, private = key
        token = jwt.encode(claims, private, "EdDSA", headers={"typ": "at+jwt", "kid": kid})
        answers = send_to_all(base_url, STRICT, bearer(token))
        assert mismatches(answers, good(ROLE_SCOPES["admin"], "OAuth2")) == []

    @pytest.mark.parametrize(
        ("headers", "changes"),
        [
            pytest.param({}, {"exp": 1_700_000_000}, id="expired"),
            pytest.param({}, {"aud": "https://other.example.org/api"}, id="wrong audience"),
            pytest.param({}, {"aud": None}, id="no audience"),
            pytest.param({}, {"iss": "https://other.example.org"}, id="wrong issuer"),
            pytest.param({}, {"jti": None}, id="no id"),
            pytest.param({}, {"scope": None}, id="no scope"),
            pytest.param({"typ": "JWT"}, {}, id="another type"),
            pytest.param({"kid": str(UNKNOWN_ID)}, {}, id="unknown kid"),
            pytest.param({"kid": "../../etc/passwd"}, {}, id="a path for a kid"),
        ],
    )
    def test_signed_by_the_service_itself(
        self,
        base_url: str,
        key: tuple[str, Ed25519PrivateKey],
        claims: dict[str, Any],
        headers: dict[str, str],
        changes: dict[str, Any],
    ) -> None:
        kid, private = key
        changed = {name: value for name, value in {**claims, **changes}.items() if value}
        head = {"typ": "at+jwt", "kid": kid, **headers}
        token = jwt.encode(changed, private, "EdDSA", headers=head)
        assert mismatches(send_to_all(base_url, STRICT, bearer(token)), bad) == []

    @pytest.mark.parametrize("algorithm", ["none", "HS256", "EdDSA", "EdDSA of a sent key"])
    def test_signed_by_somebody_else(
        self,
        base_url: str,
        key: tuple[str, Ed25519PrivateKey],
        claims: dict[str, Any],
        algorithm: str,
    ) -> None:
        kid, private = key
        other = Ed25519PrivateKey.generate()
        head: dict[str, Any] = {"typ": "at+jwt", "kid": kid, "alg": algorithm.split(maxsplit=1)[0]}
        if "sent" in algorithm:
            raw = other.public_key().public_bytes_raw()
            x = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
            head["jwk"] = {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid}
        signed = f"{encoded(head)}.{encoded(claims)}".encode()
        public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        signatures = {"none": b"", "HS256": hmac.digest(public, signed, "sha256")}
        signature = signatures.get(algorithm, other.sign(signed))
        text = base64.urlsafe_b64encode(signature).rstrip(b"=").decode()
        token = f"{signed.decode()}.{text}"
        assert mismatches(send_to_all(base_url, STRICT, bearer(token)), bad) == []


class TestWhatIsSomebodyElses:
    @pytest.fixture
    def ids(self, people: None, engine: Engine, sessions: Sessions) -> dict[str, UUID]:
        """The member's account, and one of each thing that belongs to the member."""
        del people
        seed_demo(sessions)
        with unit_of_work(sessions, writing=True) as session:
            store_documented_desk(session, member=MEMBER_ID, librarian=LIBRARIAN_ID)
            session.add(deed_of_the_member())
        owned: dict[str, Any] = {
            "key_id": ApiKey,
            "session_id": WebSession,
            "consent_id": Consent,
            "loan_id": Loan,
            "hold_id": Hold,
            "fee_id": Fee,
            "notice_id": Notice,
        }
        with engine.connect() as connection:
            found = {
                name: connection.execute(
                    select(model.id).where(model.user_id == MEMBER_ID)
                ).scalar_one()
                for name, model in owned.items()
            }
        return {"user_id": MEMBER_ID, "event_id": demo_id(Kind.EVENT, 3), **found}

    def test_it_is_as_if_it_were_not_there(
        self, ids: dict[str, UUID], client: httpx.Client, engine: Engine
    ) -> None:
        client.headers["X-API-Key"] = api_key("other")
        before = self.count(engine)
        wrong = []
        for operation in self.operations():
            answers = {
                self.ask(client, operation, ids),
                self.ask(client, operation, dict.fromkeys(ids, UNKNOWN_ID)),
            }
            if len(answers) > 1 or {status for status, *_ in answers} != {404}:
                wrong.append((operation.operation_id, answers))
        assert wrong == []
        assert self.count(engine) == before

    def test_there_are_such_operations(self) -> None:
        names = {operation.operation_id for operation in self.operations()}
        assert names == {
            *("get_user", "export_user"),
            *("list_user_loans", "list_user_holds", "list_user_fees", "get_user_balance"),
            *("get_loan", "renew_loan", "get_hold", "update_hold", "cancel_hold"),
            *("get_fee", "list_fee_entries", "update_my_notice", "reverse_event"),
            *("get_api_key", "update_api_key", "revoke_api_key", "rotate_api_key"),
            *("delete_my_session", "delete_my_consent"),
        }

    def operations(self) -> list[Operation]:
        """Those that a member may call, and that lead to what belongs to somebody."""
        passes = good(ROLE_SCOPES["member"], "ApiKey")
        return [
            operation
            for operation in STRICT
            if OWNED.intersection(operation.path_parameters.names) and passes(operation) == 400
        ]

    def ask(
        self, client: httpx.Client, operation: Operation, ids: Mapping[str, UUID]
    ) -> tuple[int, str, str]:
        """Status, code and message, the latter without the id."""
        (name,) = operation.path_parameters.names
        path = operation.path.replace(f"{{{name}}}", str(ids[name]))
        headers = {}
        if operation.body is not None:
            headers["Content-Type"] = next(iter(operation.body.checks))
        content = b"{}" if operation.body else None
        response = client.request(operation.method, path, content=content, headers=headers)
        body = response.json() if response.content else {"code": "", "message": ""}
        return response.status_code, body["code"], body["message"].replace(str(ids[name]), "")

    def count(self, engine: Engine) -> list[int]:
        with engine.connect() as connection:
            return [
                connection.execute(select(func.count()).select_from(model)).scalar_one()
                for model in (User, ApiKey, WebSession, Consent, Loan, Hold, Fee, Notice, Event)
            ]


class TestOAuthsEndpoints:
    """They stand apart from the table, by a rule: they are those below `/oauth/`."""

    def test_they_are_those_that_read_requests_by_rules_of_their_own(self) -> None:
        below = [each for each in OPERATIONS if each.path.startswith("/oauth/")]
        assert [each.operation_id for each in LENIENT] == [each.operation_id for each in below]

    @pytest.mark.parametrize(
        "headers",
        [
            pytest.param({}, id="nothing"),
            pytest.param({"X-API-Key": api_key("admin")}, id="a key"),
            pytest.param(basic(UNKNOWN_ID, "secret"), id="an unknown client"),
            pytest.param(bearer("x"), id="a bad token"),
        ],
    )
    def test_no_credential_of_a_user_is_one_of_a_client(
        self, base_url: str, client: httpx.Client, headers: Headers
    ) -> None:
        del client
        for name, response in send_to_all(base_url, LENIENT, headers).items():
            assert response.status_code in {400, 401}, name
            assert response.json()["error"] in {"invalid_client", "invalid_request"}, name
