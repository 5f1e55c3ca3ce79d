"""Authorization requests: which are good, and where the answer to the others goes."""

from collections.abc import Callable
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from sqlalchemy import select, update

from circdesk.accounts.models import User
from circdesk.auth.models import AuthorizationCode, Consent, Grant, OAuthClient
from circdesk.auth.oauth.authorization import (
    AuthorizationRequest,
    PageError,
    RedirectError,
    approve,
    deny,
    is_consented,
    read_authorization_request,
)
from circdesk.auth.oauth.requests import read_pairs
from tests.auth.oauth.registered import CHALLENGE, REDIRECT_URI, VERIFIER, Flow
from tests.people import MEMBER_ID

Read = Callable[..., AuthorizationRequest]
Refused = Callable[..., dict[str, str]]
Consented = Callable[[AuthorizationRequest], bool]


@pytest.fixture
def read(flow: Flow) -> Read:
    """Read the request of the public client, with changes."""

    def read(more: str = "", **changes: str | None) -> AuthorizationRequest:
        with flow.work() as session:
            query = flow.query(**changes) + more
            return read_authorization_request(session, query, issuer=flow.issuer)

    return read


@pytest.fixture
def refused(read: Read) -> Refused:
    """What the client is told of a request, by a redirect to its own address."""

    def refused(more: str = "", **changes: str | None) -> dict[str, str]:
        with pytest.raises(RedirectError) as caught:
            read(more, **changes)
        address, _, query = caught.value.location.partition("?")
        assert address == REDIRECT_URI
        return dict(parse_qsl(query))

    return refused


@pytest.fixture
def consented(flow: Flow) -> Consented:
    """Whether the member has agreed to a request before."""

    def consented(request: AuthorizationRequest) -> bool:
        with flow.work() as session:
            return is_consented(session, MEMBER_ID, request)

    return consented


class TestRequest:
    def test_a_good_one_says_who_asks_for_what(self, read: Read, flow: Flow) -> None:
        request = read()

        assert request.client.id == flow.client_id
        assert request.redirect_uri == REDIRECT_URI
        assert request.scopes == {"profile:read", "profile:write"}
        assert request.destination.state == "a state"
        assert request.resource == f"{flow.issuer}/api"
        assert request.code_challenge == CHALLENGE

    def test_without_scopes_it_asks_for_all_of_the_clients(self, read: Read) -> None:
        assert "catalog:write" in read(scope=None).scopes

    def test_unknown_parameters_are_ignored(self, read: Read) -> None:
        assert read("&colour=green&prompt=login&nonce=x").scopes == read().scopes

    def test_the_only_redirect_uri_need_not_be_named(self, read: Read, flow: Flow) -> None:
        with flow.work() as session:
            session.execute(update(OAuthClient).values(redirect_uris=[REDIRECT_URI]))

        assert read(redirect_uri=None).redirect_uri == REDIRECT_URI


class TestRefusalsOnPages:
    """Nobody is sent anywhere while client and redirect URI are not known to be good."""

    @pytest.mark.parametrize(
        "client_id", [None, "", "nobody", "019b8d2b-8c00-7200-8000-0000000000ff"]
    )
    def test_an_unknown_client(self, read: Read, client_id: str | None) -> None:
        with pytest.raises(PageError, match="not registered"):
            read(client_id=client_id)

    @pytest.mark.parametrize(
        "redirect_uri",
        [
            "https://client.example/callback/",
            "https://client.example/callback?x=1",
            "https://client.example/callback#here",
            "https://client.example/CALLBACK",
            "https://client.example/other",
            "https://client.example/callback/../other",
            "https://client.example/%63allback",
            "https://client.example",
            "https://client.example:8443/callback",
            "https://user@client.example/callback",
            "https://client.example@evil.example/callback",
            "https://client.example.evil.example/callback",
            "https://evil.example/callback",
            "https://evil.example/https://client.example/callback",
            "https://CLIENT.example/callback",
            "http://client.example/callback",
            "//client.example/callback",
            "/callback",
            "javascript:alert(1)",
            " https://client.example/callback",
            "https://client.example/callback\r\nSet-Cookie: x=1",
            "https://client.example/callback\\",
            'https://client.example/"é\\',
        ],
    )
    def test_a_redirect_uri_that_is_nearly_right(self, read: Read, redirect_uri: str) -> None:
        with pytest.raises(PageError, match="did not say where"):
            read(redirect_uri=redirect_uri)

    @pytest.mark.parametrize("redirect_uri", [None, ""])
    def test_a_missing_redirect_uri_of_a_client_with_several(
        self, read: Read, redirect_uri: str | None
    ) -> None:
        with pytest.raises(PageError, match="did not say where"):
            read(redirect_uri=redirect_uri)

    @pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
    def test_two_clients_or_two_addresses(self, read: Read, flow: Flow, name: str) -> None:
        value = dict(read_pairs(flow.query()))[name]

        with pytest.raises(PageError, match="more than once"):
            read(f"&{name}={quote(value)}")

    @pytest.mark.parametrize("more", ["&x=%ff", "&x=1" * 200])
    def test_a_query_that_cannot_be_read(self, read: Read, more: str) -> None:
        with pytest.raises(PageError, match="cannot be read"):
            read(more)


class TestLoopback:
    @pytest.mark.parametrize(
        "redirect_uri",
        [
            "http://127.0.0.1/callback",
            "http://127.0.0.1:1/callback",
            "http://127.0.0.1:51004/callback",
            "http://127.0.0.1:65535/callback",
            "http://[::1]:51004/callback",
        ],
    )
    def test_any_port_is_good(self, read: Read, redirect_uri: str) -> None:
        assert read(redirect_uri=redirect_uri).redirect_uri == redirect_uri

    @pytest.mark.parametrize(
        "redirect_uri",
        [
            "http://127.0.0.1:51004/other",
            "http://127.0.0.1:51004/callback/",
            "http://127.0.0.1:51004/callback?x=1",
            "http://127.0.0.1:51004",
            "http://127.0.0.1:65536/callback",
            "http://127.0.0.1:051004/callback",
            "http://127.0.0.1:/callback",
            "http://127.0.0.1:80@evil.example/callback",
            "http://user@127.0.0.1:51004/callback",
            "https://127.0.0.1:51004/callback",
            "http://localhost:51004/callback",
            "http://127.0.0.2:51004/callback",
            "http://127.1:51004/callback",
            "http://0.0.0.0:51004/callback",
            "http://127.0.0.1.evil.example:51004/callback",
            "http://[::ffff:127.0.0.1]:51004/callback",
        ],
    )
    def test_anything_else_is_not(self, read: Read, redirect_uri: str) -> None:
        with pytest.raises(PageError):
            read(redirect_uri=redirect_uri)


class TestRefusalsByRedirect:
    def test_they_carry_the_error_the_state_and_the_issuer(
        self, refused: Refused, flow: Flow
    ) -> None:
        assert refused(response_type="token") == {
            "error": "unsupported_response_type",
            "error_description": "The only response_type is code.",
            "state": "a state",
            "iss": flow.issuer,
        }

    def test_a_missing_state_stays_missing(self, refused: Refused) -> None:
        assert "state" not in refused(response_type="token", state=None)

    @pytest.mark.parametrize("state", ["é\r\n&error=none#", "x" * 2000, "a+b c%20d"])
    def test_the_state_comes_back_as_it_was(self, refused: Refused, state: str) -> None:
        assert refused(response_type="token", state=state)["state"] == state

    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            ({"response_type": None}, "invalid_request"),
            ({"response_type": "token"}, "unsupported_response_type"),
            ({"response_type": "code id_token"}, "unsupported_response_type"),
            ({"response_type": 'é"'}, "unsupported_response_type"),
            ({"response_mode": "fragment"}, "invalid_request"),
            ({"response_mode": "form_post"}, "invalid_request"),
            ({"scope": "unheard-of"}, "invalid_scope"),
            ({"scope": "profile:read users:read"}, "invalid_scope"),
            ({"resource": "https://other.example/api"}, "invalid_target"),
            ({"prompt": "none"}, "interaction_required"),
        ],
    )
    def test_what_else_is_wrong_is_told_to_the_client(
        self, refused: Refused, changes: dict[str, str | None], error: str
    ) -> None:
        assert refused(**changes)["error"] == error

    @pytest.mark.parametrize(
        "changes",
        [
            {"code_challenge": None, "code_challenge_method": None},
            {"code_challenge": None},
            {"code_challenge_method": None},
            {"code_challenge_method": "plain"},
            {"code_challenge_method": "plain", "code_challenge": VERIFIER},
            {"code_challenge_method": "s256"},
            {"code_challenge": CHALLENGE[:-1]},
            {"code_challenge": f"{CHALLENGE}="},
            {"code_challenge": f"{CHALLENGE[:-1]}+"},
        ],
    )
    def test_without_a_challenge_by_s256_no_client_gets_a_code(
        self, refused: Refused, changes: dict[str, str | None]
    ) -> None:
        assert refused(**changes)["error"] == "invalid_request"

    @pytest.mark.parametrize("name", ["scope", "code_challenge", "response_type", "colour"])
    def test_a_repeated_parameter_is_an_invalid_request(self, refused: Refused, name: str) -> None:
        assert refused(f"&{name}=a&{name}=a")["error"] == "invalid_request"

    def test_a_repeated_state_is_an_invalid_request_and_is_not_guessed_at(
        self, refused: Refused
    ) -> None:
        answer = refused("&state=another")

        assert answer["error"] == "invalid_request"
        assert "state" not in answer

    def test_a_client_without_the_grant_gets_no_code(self, refused: Refused, flow: Flow) -> None:
        with flow.work() as session:
            session.execute(update(OAuthClient).values(grant_types=["client_credentials"]))

        assert refused()["error"] == "unauthorized_client"


class TestApproval:
    def test_the_answer_has_a_code_the_state_and_the_issuer(self, flow: Flow) -> None:
        answer = flow.approve()

        assert answer.pop("code").startswith("cdc_")
        assert answer == {"state": "a state", "iss": flow.issuer}

    def test_a_missing_state_stays_missing(self, flow: Flow) -> None:
        assert flow.approve(state=None).keys() == {"code", "iss"}

    def test_the_same_state_twice_gives_two_codes(self, flow: Flow) -> None:
        assert flow.approve()["code"] != flow.approve()["code"]

    def test_the_query_of_a_redirect_uri_stays(self, flow: Flow) -> None:
        redirect_uri = "https://client.example/callback?tenant=a%20b"
        with flow.work() as session:
            session.execute(update(OAuthClient).values(redirect_uris=[redirect_uri]))
            query = flow.query(redirect_uri=redirect_uri)
            request = read_authorization_request(session, query, issuer=flow.issuer)
            location = approve(session, request, MEMBER_ID)

        assert location.startswith(f"{redirect_uri}&code=cdc_")
        assert urlsplit(location).query.count("?") == 0

    def test_the_grant_has_only_what_the_users_role_has(self, flow: Flow) -> None:
        flow.approve(scope="profile:read catalog:write")

        with flow.work() as session:
            assert session.scalars(select(Grant)).one().scopes == ["profile:read"]

    def test_who_has_nothing_of_it_grants_nothing(self, flow: Flow) -> None:
        assert flow.approve(scope="catalog:write")["error"] == "access_denied"

        with flow.work() as session:
            assert session.scalars(select(AuthorizationCode)).all() == []

    def test_a_closed_account_grants_nothing(self, flow: Flow) -> None:
        with flow.work() as session:
            session.execute(update(User).where(User.id == MEMBER_ID).values(status="blocked"))

        assert flow.approve()["error"] == "access_denied"


class TestDenial:
    def test_the_client_is_told(self, read: Read, flow: Flow) -> None:
        location = deny(read())

        assert location.startswith(f"{REDIRECT_URI}?")
        assert dict(parse_qsl(urlsplit(location).query)) == {
            "error": "access_denied",
            "error_description": "The resource owner or authorization server denied the request",
            "state": "a state",
            "iss": flow.issuer,
        }


class TestConsent:
    def test_nothing_is_consented_before_the_user_was_asked(
        self, read: Read, consented: Consented
    ) -> None:
        assert not consented(read())

    def test_what_was_approved_is_not_asked_again(
        self, read: Read, flow: Flow, consented: Consented
    ) -> None:
        flow.approve()

        assert consented(read())
        assert consented(read(scope="profile:read"))

    def test_more_than_that_is_asked(self, read: Read, flow: Flow, consented: Consented) -> None:
        flow.approve(scope="profile:read")

        assert not consented(read())

    def test_consents_add_up(self, read: Read, flow: Flow, consented: Consented) -> None:
        flow.approve(scope="profile:read")
        flow.approve(scope="profile:write")

        assert consented(read())
        with flow.work() as session:
            consent = session.scalars(select(Consent)).one()
            assert consent.scopes == ["profile:read", "profile:write"]

    def test_a_consent_is_for_one_client(
        self, flow: Flow, confidential: Flow, consented: Consented
    ) -> None:
        flow.approve()

        with flow.work() as session:
            query = confidential.query()
            request = read_authorization_request(session, query, issuer=flow.issuer)
        assert not consented(request)
