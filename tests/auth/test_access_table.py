"""Who may call what: every operation of the contract, tried with every kind of credential.

The expectations are read from the contract's `security`. Each request has a query parameter that
no operation knows, so that a caller who passes the door is answered 400 and nothing is changed.
"""

import httpx
import jwt
import pytest
from sqlalchemy import Engine, select

from circdesk import clock
from circdesk.auth.models import ApiKey
from circdesk.auth.revocations import revoke
from circdesk.auth.scopes import ROLE_SCOPES
from circdesk.auth.secrets import hash_secret
from circdesk.auth.sessions import COOKIE, csrf_token
from circdesk.auth.tokens import AccessTokens
from circdesk.contract.operations import Operation
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.settings import Settings
from tests.auth.columns import (
    BLOCKED_ID,
    LENIENT,
    NARROW,
    OPERATIONS,
    STRICT,
    UNKNOWN_ID,
    Headers,
    add_key,
    bad,
    basic,
    bearer,
    good,
    issue,
    mismatches,
    nobody,
    send_to_all,
    takes,
)
from tests.people import MEMBER_ID, PEOPLE, api_key


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
