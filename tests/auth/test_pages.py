"""The sign-in page and the consent page, as a browser sees them."""

import base64
import hashlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import httpx
import pytest
from sqlalchemy import select, update

from circdesk import clock
from circdesk.accounts.models import User
from circdesk.auth.models import Consent, Grant, OAuthClient, SignInFailure, WebSession
from circdesk.auth.passwords import hash_password
from circdesk.auth.secrets import hash_secret, new_secret
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.settings import Settings
from tests.auth.html import Html
from tests.auth.oauth.registered import LOOPBACK, REDIRECT_URI, Flow, audited, register_clients
from tests.auth.serving import serving
from tests.people import MEMBER_ID, api_key

Expected = Callable[..., dict[str, Any]]

PASSWORD = "a quiet evening by the harbour"
HASH = hash_password(PASSWORD)
WRONG = "The email or the password is wrong."
OTHER_FORM = "This form is too old, or of another browser; load it again."


@pytest.fixture(autouse=True)
def with_passwords(sessions: Sessions) -> None:
    """Give everybody the same password, and register clients."""
    with unit_of_work(sessions, writing=True) as session:
        register_clients(session)
        session.execute(update(User).values(password_hash=HASH))


@pytest.fixture
def flow(sessions: Sessions, client: httpx.Client, base_url: str) -> Flow:
    """The flow of the public client."""
    return Flow(lambda: unit_of_work(sessions, writing=True), client, base_url)


@pytest.fixture
def browser(client: httpx.Client, sessions: Sessions) -> httpx.Client:
    """A browser in which the member is signed in."""
    return signed_in(client, sessions)


@pytest.fixture
def other_browser(base_url: str, sessions: Sessions) -> Iterator[httpx.Client]:
    """Another browser of the same person."""
    with httpx.Client(base_url=base_url, timeout=10) as client:
        yield signed_in(client, sessions)


def signed_in(client: httpx.Client, sessions: Sessions) -> httpx.Client:
    token, now = new_secret(), clock.now()
    with unit_of_work(sessions, writing=True) as session:
        session.add(
            WebSession(
                user_id=MEMBER_ID,
                token_hash=hash_secret(token),
                last_used_at=now,
                expires_at=now + timedelta(hours=1),
            )
        )
    client.cookies.set("circdesk_session", token, domain="127.0.0.1", path="/")
    return client


def submit(client: httpx.Client, following: str = "/docs", **changes: str) -> httpx.Response:
    """Load the sign-in page and send its form."""
    page = client.get("/oauth/sign-in", params={"next": following})
    fields = Html(page).fields() | {"email": "member@example.org", "password": PASSWORD}
    return client.post("/oauth/sign-in", data=fields | changes)


def decide(client: httpx.Client, query: str, decision: str, **changes: str) -> httpx.Response:
    """Load the consent page and press one of its buttons."""
    fields = Html(client.get(f"/oauth/authorize?{query}")).fields()
    return client.post("/oauth/authorize", data=fields | {"decision": decision} | changes)


def answer_of(response: httpx.Response, redirect_uri: str = REDIRECT_URI) -> dict[str, str]:
    """What a redirect tells the client."""
    assert response.status_code == 303, response.text
    address, _, query = response.headers["Location"].partition("?")
    assert address == redirect_uri
    assert response.content == b""
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    return dict(parse_qsl(query, strict_parsing=True))


def policy_of(response: httpx.Response) -> dict[str, str]:
    """The directives of the Content-Security-Policy."""
    directives = response.headers["Content-Security-Policy"].split("; ")
    return dict(directive.split(" ", 1) for directive in directives)


def alert(response: httpx.Response, status: int) -> str:
    """The sentence of a page that tells what is wrong; it leads nowhere."""
    assert response.status_code == status, response.text
    assert "Location" not in response.headers
    (text,) = Html(response).texts("p", role="alert")
    return text


def stored(sessions: Sessions, model: type[Any]) -> list[Any]:
    with unit_of_work(sessions, writing=False) as session:
        return list(session.scalars(select(model)))


class TestEveryPage:
    @pytest.fixture(params=["sign-in", "consent", "error"])
    def page(
        self, request: pytest.FixtureRequest, flow: Flow, sessions: Sessions
    ) -> httpx.Response:
        if request.param == "sign-in":
            return flow.http.get("/oauth/sign-in")
        if request.param == "consent":
            return signed_in(flow.http, sessions).get(f"/oauth/authorize?{flow.query()}")
        return flow.http.get("/oauth/authorize")

    def test_it_may_do_nothing_but_send_its_form(self, page: httpx.Response) -> None:
        (style,) = Html(page).all("style")
        digest = base64.b64encode(hashlib.sha256(style.text.encode()).digest()).decode()
        policy = policy_of(page)

        assert policy.pop("form-action").split()[0] == "'self'"
        assert policy == {
            "default-src": "'none'",
            "style-src": f"'sha256-{digest}'",
            "img-src": "data:",
            "frame-ancestors": "'none'",
            "base-uri": "'none'",
        }
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert page.headers["X-Request-Id"]

    def test_it_is_read_out_well_and_needs_no_script(self, page: httpx.Response) -> None:
        html = Html(page)

        assert [element.attributes for element in html.all("html")] == [{"lang": "en"}]
        assert len(html.all("h1")) == len(html.all("title")) == len(html.all("main")) == 1
        assert html.all("script") == []
        shown = [e for e in html.all("input") if e.attributes.get("type") != "hidden"]
        labelled = {element.attributes["for"] for element in html.all("label")}
        assert {element.attributes["id"] for element in shown} == labelled


class TestShowAuthorization:
    def test_who_is_not_signed_in_is_asked_to(self, flow: Flow) -> None:
        response = flow.http.get(f"/oauth/authorize?{flow.query()}")

        following = quote(f"/oauth/authorize?{flow.query()}", safe="")
        address = answer_of(response, "/oauth/sign-in")
        assert address == {"next": f"/oauth/authorize?{flow.query()}"}
        assert following in response.headers["Location"]

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"client_id": None}, "The application that sent you here is not registered."),
            ({"client_id": "nobody"}, "The application that sent you here is not registered."),
            (
                {"redirect_uri": "https://evil.example/"},
                "The application that sent you here did not say where it is registered.",
            ),
        ],
    )
    def test_nobody_is_sent_to_a_bad_client(
        self, flow: Flow, changes: dict[str, str | None], message: str
    ) -> None:
        response = flow.http.get(f"/oauth/authorize?{flow.query(**changes)}")

        assert alert(response, 400) == message
        assert policy_of(response)["form-action"] == "'self'"
        assert "evil" not in response.text

    @pytest.mark.parametrize(
        ("changes", "more", "error", "description"),
        [
            (
                {"code_challenge_method": "plain"},
                "",
                "invalid_request",
                "PKCE with the code_challenge_method S256 is required.",
            ),
            ({}, "&scope=x", "invalid_request", "A parameter is sent more than once."),
            (
                {"response_type": "token"},
                "",
                "unsupported_response_type",
                "The only response_type is code.",
            ),
            (
                {"scope": "everything"},
                "",
                "invalid_scope",
                "The client has not all of the scopes that were requested.",
            ),
        ],
    )
    def test_a_good_client_is_told_of_other_errors(
        self, flow: Flow, changes: dict[str, str | None], more: str, error: str, description: str
    ) -> None:
        response = flow.http.get(f"/oauth/authorize?{flow.query(**changes)}{more}")

        assert answer_of(response) == {
            "error": error,
            "error_description": description,
            "state": "a state",
            "iss": flow.issuer,
        }

    def test_without_interaction_nothing_is_granted(
        self, browser: httpx.Client, flow: Flow
    ) -> None:
        flow.approve()
        response = browser.get(f"/oauth/authorize?{flow.query(prompt='none')}")

        assert answer_of(response)["error"] == "interaction_required"

    def test_the_page_says_who_asks_for_what(self, browser: httpx.Client, flow: Flow) -> None:
        response = browser.get(f"/oauth/authorize?{flow.query()}")
        html = Html(response)

        assert response.status_code == 200
        assert html.texts("title")[0].startswith("Allow The public client?")
        assert html.texts("h1") == ["Allow The public client to act for you?"]
        assert html.texts("li") == [
            "Read one's own account. (profile:read)",
            "Change one's own contact, privacy choices and password. (profile:write)",
        ]
        assert html.texts("p")[0] == "You are signed in as The member (member@example.org)."
        assert f"The answer goes to {REDIRECT_URI}." in html.texts("p")[2]
        assert html.texts("button") == ["Allow", "Deny"]
        (form,) = html.all("form")
        assert form.attributes == {"method": "post", "action": "/oauth/authorize"}
        csrf_token = html.fields()["csrf_token"]
        assert csrf_token == browser.get("/api/session").json()["csrf_token"]
        assert html.fields() == {"request": flow.query(), "csrf_token": csrf_token}
        (link,) = html.all("a")
        following = f"/oauth/authorize?{flow.query()}"
        assert link.attributes == {"href": f"/oauth/sign-in?{urlencode({'next': following})}"}

    @pytest.mark.parametrize(
        ("redirect_uri", "source"),
        [
            (REDIRECT_URI, "https://client.example"),
            ("https://client.example:8443/a/b?c=d", "https://client.example:8443"),
            ("http://127.0.0.1:5000/callback", "http://127.0.0.1:5000"),
            # No browser takes an IPv6 address in a policy.
            ("http://[::1]:5000/callback", "http:"),
            ("com.example.app:/callback", "com.example.app:"),
            ("com.example.app://a;script-src%20*/callback", "com.example.app:"),
        ],
    )
    def test_the_form_may_lead_to_the_client_alone(
        self, browser: httpx.Client, flow: Flow, redirect_uri: str, source: str
    ) -> None:
        with flow.work() as session:
            uris = [redirect_uri, LOOPBACK, "http://[::1]/callback"]
            session.execute(update(OAuthClient).values(redirect_uris=uris))
        response = browser.get(f"/oauth/authorize?{flow.query(redirect_uri=redirect_uri)}")

        assert policy_of(response)["form-action"] == f"'self' {source}"
        answer = decide(browser, flow.query(redirect_uri=redirect_uri), "deny")
        assert answer.headers["Location"].startswith(redirect_uri)

    def test_what_others_have_written_stays_text(self, browser: httpx.Client, flow: Flow) -> None:
        evil = "\"'><script>alert(1)</script>"
        with flow.work() as session:
            session.execute(update(OAuthClient).values(name=evil))
            session.execute(update(User).values(name=evil))
        query = flow.query(state=evil) + "&x=\"'><script>"
        html = Html(browser.get(f"/oauth/authorize?{query}"))

        assert html.all("script") == []
        assert html.texts("h1") == [f"Allow {evil} to act for you?"]
        assert html.texts("p")[0] == f"You are signed in as {evil} (member@example.org)."
        assert answer_of(decide(browser, query, "deny"))["state"] == evil

    def test_only_what_the_role_has_is_asked_and_granted(
        self, browser: httpx.Client, flow: Flow, sessions: Sessions
    ) -> None:
        query = flow.query(scope="catalog:write profile:read")
        html = Html(browser.get(f"/oauth/authorize?{query}"))

        assert html.texts("li") == ["Read one's own account. (profile:read)"]
        tokens = flow.redeem(answer_of(decide(browser, query, "allow"))["code"]).json()
        assert tokens["scope"] == "profile:read"
        assert [consent.scopes for consent in stored(sessions, Consent)] == [["profile:read"]]

    def test_what_the_role_has_not_at_all_cannot_be_allowed(
        self, browser: httpx.Client, flow: Flow, sessions: Sessions
    ) -> None:
        query = flow.query(scope="catalog:write")
        html = Html(browser.get(f"/oauth/authorize?{query}"))

        (warning,) = html.texts("p", role="alert")
        assert warning.startswith("It asks for nothing that your account may do,")
        assert html.texts("button") == ["Deny"]
        assert answer_of(decide(browser, query, "allow"))["error"] == "access_denied"
        assert stored(sessions, Grant) == stored(sessions, Consent) == []

    def test_a_key_is_no_session(self, client: httpx.Client, flow: Flow) -> None:
        headers = {"X-API-Key": api_key("member")}
        response = client.get(f"/oauth/authorize?{flow.query()}", headers=headers)

        assert answer_of(response, "/oauth/sign-in").keys() == {"next"}

    def test_a_session_that_has_ended_counts_no_more(
        self, browser: httpx.Client, flow: Flow
    ) -> None:
        browser.cookies.set("circdesk_session", "stale", domain="127.0.0.1", path="/")
        response = browser.get(f"/oauth/authorize?{flow.query()}")

        assert answer_of(response, "/oauth/sign-in").keys() == {"next"}


class TestDecideAuthorization:
    def test_who_allows_sends_a_code_that_the_client_exchanges(
        self, browser: httpx.Client, flow: Flow, sessions: Sessions
    ) -> None:
        answer = answer_of(decide(browser, flow.query(), "allow"))

        assert answer.keys() == {"code", "state", "iss"}
        assert (answer["state"], answer["iss"]) == ("a state", flow.issuer)
        token = flow.redeem(answer["code"]).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        me = httpx.get(f"{flow.issuer}/api/me", headers=headers).json()
        assert me["user"]["id"] == str(MEMBER_ID)
        assert me["credential"]["scopes"] == ["profile:read", "profile:write"]
        (consent,) = stored(sessions, Consent)
        assert (consent.user_id, consent.client_id) == (MEMBER_ID, flow.client_id)

    def test_what_was_allowed_is_not_asked_again(self, browser: httpx.Client, flow: Flow) -> None:
        decide(browser, flow.query(), "allow")
        narrower = flow.query(scope="profile:read")

        for query in (flow.query(), narrower):
            again = browser.get(f"/oauth/authorize?{query}")
            assert answer_of(again).keys() == {"code", "state", "iss"}

    def test_who_denies_sends_nothing(
        self, browser: httpx.Client, flow: Flow, sessions: Sessions
    ) -> None:
        answer = answer_of(decide(browser, flow.query(), "deny"))

        assert answer.pop("error_description")
        assert answer == {"error": "access_denied", "state": "a state", "iss": flow.issuer}
        assert stored(sessions, Grant) == stored(sessions, Consent) == []

    def test_who_denies_is_heard_also_after_having_allowed(
        self, browser: httpx.Client, flow: Flow
    ) -> None:
        fields = Html(browser.get(f"/oauth/authorize?{flow.query()}")).fields()
        flow.approve()
        denied = browser.post("/oauth/authorize", data=fields | {"decision": "deny"})

        assert answer_of(denied)["error"] == "access_denied"

    def test_without_a_decision_it_is_asked_again(self, browser: httpx.Client, flow: Flow) -> None:
        again = decide(browser, flow.query(), "whatever")

        assert again.status_code == 200
        assert Html(again).texts("button") == ["Allow", "Deny"]

    @pytest.mark.parametrize("token", ["", "0" * 64, "ä", "another session's"])
    def test_a_form_of_another_session_is_refused(
        self,
        browser: httpx.Client,
        other_browser: httpx.Client,
        flow: Flow,
        sessions: Sessions,
        token: str,
    ) -> None:
        if token == "another session's":
            token = other_browser.get("/api/session").json()["csrf_token"]
        response = decide(browser, flow.query(), "allow", csrf_token=token)

        assert alert(response, 403) == "This form belongs to another session; load it again."
        assert stored(sessions, Grant) == stored(sessions, Consent) == []

    def test_a_form_without_a_token_is_refused(
        self, browser: httpx.Client, flow: Flow, sessions: Sessions
    ) -> None:
        form = {"request": flow.query(), "decision": "allow"}

        assert alert(browser.post("/oauth/authorize", data=form), 403)
        assert stored(sessions, Grant) == []

    def test_without_a_session_it_leads_to_the_sign_in(
        self, flow: Flow, sessions: Sessions
    ) -> None:
        form = {"request": flow.query(), "decision": "allow"}
        response = flow.http.post("/oauth/authorize", data=form)

        following = answer_of(response, "/oauth/sign-in")["next"]
        assert following == f"/oauth/authorize?{flow.query()}"
        assert stored(sessions, Grant) == []

    def test_the_request_is_read_again(self, browser: httpx.Client, flow: Flow) -> None:
        evil = flow.query(redirect_uri="https://evil.example/")
        response = decide(browser, flow.query(), "allow", request=evil)

        assert "where it is registered" in alert(response, 400)

    @pytest.mark.parametrize(
        ("media_type", "body", "message"),
        [
            ("application/json", b"{}", "The form was sent with another media type."),
            (
                "application/x-www-form-urlencoded",
                b"request=%ff",
                "The form is not text in UTF-8.",
            ),
            ("application/x-www-form-urlencoded", b"\xff", "The form is not text in UTF-8."),
            ("application/x-www-form-urlencoded", b"a&" * 30, "The form is not text in UTF-8."),
            (
                "application/x-www-form-urlencoded",
                b"decision=deny&decision=allow",
                "A field of the form was sent twice.",
            ),
        ],
    )
    @pytest.mark.parametrize("path", ["/oauth/authorize", "/oauth/sign-in"])
    def test_what_no_page_of_ours_sends_is_refused(
        self, client: httpx.Client, path: str, media_type: str, body: bytes, message: str
    ) -> None:
        headers = {"Content-Type": media_type}

        assert alert(client.post(path, content=body, headers=headers), 400) == message


class TestShowSignIn:
    def test_the_form_helps_password_managers_and_keyboards(self, client: httpx.Client) -> None:
        response = client.get("/oauth/sign-in")
        html = Html(response)

        assert response.status_code == 200
        assert html.texts("h1") == ["Sign in to the library"]
        assert html.texts("p", role="alert") == []
        (form,) = html.all("form")
        assert form.attributes == {"method": "post", "action": "/oauth/sign-in"}
        (email,) = html.all("input", name="email")
        assert email.attributes["autocomplete"] == "username"
        assert "autofocus" in email.attributes
        (password,) = html.all("input", name="password")
        assert password.attributes["type"] == "password"
        assert password.attributes["autocomplete"] == "current-password"
        assert html.texts("button", type="submit") == ["Sign in"]
        assert html.fields()["next"] == "/docs"
        assert policy_of(response)["form-action"] == "'self'"

    def test_its_cookie_is_the_forms_alone(self, client: httpx.Client) -> None:
        cookie = client.get("/oauth/sign-in").headers["Set-Cookie"]
        value, *attributes = cookie.split("; ")

        assert attributes == ["Path=/oauth", "HttpOnly", "SameSite=Lax"]
        assert value.startswith("circdesk_form=")
        # A second window has the same, so that the form in the first one stays good.
        assert client.get("/oauth/sign-in").headers["Set-Cookie"] == cookie

    @pytest.mark.parametrize("value", ["", "x", '"a\\015\\012Set-Cookie: b=c"', "é", "a" * 44])
    def test_a_cookie_that_is_not_ours_is_replaced(self, client: httpx.Client, value: str) -> None:
        headers = {b"Cookie": f"circdesk_form={value}".encode()}
        response = client.get("/oauth/sign-in", headers=headers)

        assert response.status_code == 200
        assert len(client.cookies["circdesk_form"]) == 43
        assert client.cookies["circdesk_form"] != value

    def test_it_names_the_client_that_asks(self, client: httpx.Client, flow: Flow) -> None:
        following = f"/oauth/authorize?{flow.query()}"
        response = client.get("/oauth/sign-in", params={"next": following})

        assert "You will go on to The public client." in Html(response).texts("p")
        assert Html(response).fields()["next"] == following
        assert policy_of(response)["form-action"] == "'self' https://client.example"

    @pytest.mark.parametrize(
        "following",
        [
            "https://evil.example/",
            "//evil.example/",
            "/\\evil.example",
            "javascript:alert(1)",
            "/oauth/authorize",
            "/oauth/authorize.evil.example/?x",
            "/oauth/authorize?\r\nSet-Cookie: a=b",
            "/oauth/authorize?é",
            "/docs/../evil",
            "/docs?x",
            " /docs",
            "@evil.example",
        ],
    )
    def test_it_leads_nowhere_else(
        self, client: httpx.Client, sessions: Sessions, following: str
    ) -> None:
        shown = client.get("/oauth/sign-in", params={"next": following})
        sent = submit(client, next=following)

        for response in (shown, sent):
            assert alert(response, 400)
            assert "evil" not in response.text
        assert stored(sessions, WebSession) == []

    def test_a_request_that_is_not_good_names_nobody(
        self, client: httpx.Client, flow: Flow
    ) -> None:
        for changes in ({"client_id": "nobody"}, {"code_challenge": None}):
            following = f"/oauth/authorize?{flow.query(**changes)}"
            response = client.get("/oauth/sign-in", params={"next": following})

            assert response.status_code == 200
            assert policy_of(response)["form-action"] == "'self'"


class TestSubmitSignIn:
    def test_who_signs_in_goes_on_with_a_session(
        self, client: httpx.Client, flow: Flow, sessions: Sessions
    ) -> None:
        following = f"/oauth/authorize?{flow.query()}"
        response = submit(client, following)

        assert response.status_code == 303
        assert response.headers["Location"] == following
        assert response.headers["Cache-Control"] == "no-store"
        token, *attributes = response.headers["Set-Cookie"].split("; ")
        assert attributes == ["Path=/", "Max-Age=43200", "HttpOnly", "SameSite=Lax"]
        (web_session,) = stored(sessions, WebSession)
        assert web_session.token_hash == hash_secret(token.partition("=")[2])
        assert web_session.user_id == MEMBER_ID
        with flow.work() as session:
            (entry,) = audited(session, "session.create")
        assert entry["outcome"] == "success"
        assert entry["actor"] == entry["target"] == ("user", MEMBER_ID)

    def test_who_has_allowed_the_client_before_goes_on_to_it(
        self, client: httpx.Client, flow: Flow
    ) -> None:
        flow.approve()
        response = submit(client, f"/oauth/authorize?{flow.query()}")

        assert "code" in answer_of(client.get(response.headers["Location"]))

    def test_a_session_that_was_there_before_ends(
        self, browser: httpx.Client, sessions: Sessions
    ) -> None:
        before = browser.cookies["circdesk_session"]
        submit(browser, email="librarian@example.org")

        assert browser.cookies["circdesk_session"] != before
        assert len(stored(sessions, WebSession)) == 1
        cookies = {"circdesk_session": before}
        fixed = httpx.get(browser.base_url.join("/api/session"), cookies=cookies)
        assert fixed.status_code == 401

    def test_a_token_that_somebody_else_chose_is_not_taken(self, client: httpx.Client) -> None:
        client.cookies.set("circdesk_session", "chosen", domain="127.0.0.1", path="/")
        assert submit(client).status_code == 303

        cookies = {"circdesk_session": "chosen"}
        fixed = httpx.get(client.base_url.join("/api/session"), cookies=cookies)
        assert fixed.status_code == 401

    @pytest.mark.parametrize("visits", [0, 1])
    def test_another_site_cannot_sign_people_in(
        self,
        client: httpx.Client,
        other_browser: httpx.Client,
        sessions: Sessions,
        visits: int,
    ) -> None:
        """Its form may be one of ours, and has not the cookie that belongs to it."""
        form = Html(other_browser.get("/oauth/sign-in")).fields()
        for _ in range(visits):
            client.get("/oauth/sign-in")
        form |= {"email": "librarian@example.org", "password": PASSWORD}
        response = client.post("/oauth/sign-in", data=form)

        assert alert(response, 403) == OTHER_FORM
        assert [each.user_id for each in stored(sessions, WebSession)] == [MEMBER_ID]

    @pytest.mark.parametrize("token", ["", "ä", "0" * 64])
    def test_a_form_without_its_token_is_refused(self, client: httpx.Client, token: str) -> None:
        assert alert(submit(client, form_token=token), 403) == OTHER_FORM

    @pytest.mark.parametrize(
        ("email", "password"),
        [
            ("member@example.org", "another evening elsewhere"),
            ("nobody@example.org", PASSWORD),
            ('"><script>alert(1)</script>', PASSWORD),
            ("mémber@example.org", PASSWORD),
            ("member@example.org\0", PASSWORD),
            ("", PASSWORD),
            ("member@example.org", ""),
            ("member@example.org", "x" * 1025),
            ("m" * 321, PASSWORD),
        ],
    )
    def test_what_is_wrong_is_not_told(
        self, client: httpx.Client, sessions: Sessions, email: str, password: str
    ) -> None:
        response = submit(client, email=email, password=password)
        html = Html(response)

        assert alert(response, 401) == WRONG
        assert response.headers["WWW-Authenticate"] == (
            'Cookie realm="circdesk", cookie-name="circdesk_session"'
        )
        assert html.texts("title")[0].startswith("Sign-in failed")
        assert html.all("script") == []
        assert html.fields()["email"] == email[:320]
        assert "value" not in html.all("input", name="password")[0].attributes
        assert "circdesk_session" not in client.cookies
        assert stored(sessions, WebSession) == []

    def test_a_failure_is_audited_and_the_form_is_still_good(
        self, client: httpx.Client, flow: Flow
    ) -> None:
        failed = submit(client, password="another evening elsewhere")
        fields = Html(failed).fields() | {"password": PASSWORD}
        response = client.post("/oauth/sign-in", data=fields)

        assert response.status_code == 303
        with flow.work() as session:
            outcomes = [entry["outcome"] for entry in audited(session, "session.create")]
        assert outcomes == ["failure", "success"]

    def test_who_is_blocked_hears_the_same(self, client: httpx.Client, flow: Flow) -> None:
        with flow.work() as session:
            session.execute(update(User).values(status="blocked"))

        assert alert(submit(client), 401) == WRONG

    def test_after_failures_one_has_to_wait(self, client: httpx.Client, sessions: Sessions) -> None:
        for _ in range(6):
            assert submit(client, password="another evening").status_code in (401, 429)
        with unit_of_work(sessions, writing=True) as session:
            session.execute(update(SignInFailure).values(count=12))
        response = submit(client)

        assert alert(response, 429) == (
            "There were too many failed attempts. Try again in 3 minutes."
        )
        assert 120 < int(response.headers["Retry-After"]) <= 128
        assert Html(response).fields()["email"] == "member@example.org"
        assert "circdesk_session" not in client.cookies

    def test_an_overlong_password_is_not_even_looked_at(
        self, client: httpx.Client, sessions: Sessions
    ) -> None:
        assert submit(client, password="x" * 1025).status_code == 401
        assert stored(sessions, SignInFailure) == []

        huge = submit(client, password="x" * 1_000_000)
        assert huge.status_code == 413
        assert huge.json()["code"] == "content_too_large"


class TestBeyondThePages:
    def test_other_methods_and_paths_are_problems(
        self, client: httpx.Client, problem: Expected
    ) -> None:
        response = client.put("/oauth/sign-in")
        assert response.status_code == 405
        assert response.headers["Allow"] == "GET, HEAD, OPTIONS, POST"
        message = "This path takes GET, HEAD, OPTIONS, POST."
        assert response.json() == problem(response, "method_not_allowed", message)

        response = client.get("/oauth/sign-in/")
        assert response.status_code == 404
        assert response.json() == problem(response, "not_found", "No resource has this path.")

    def test_head_answers_without_a_body(self, client: httpx.Client) -> None:
        response = client.head("/oauth/sign-in")

        assert response.status_code == 200
        assert response.content == b""
        assert policy_of(response)["frame-ancestors"] == "'none'"

    @pytest.mark.usefixtures("engine")
    def test_over_tls_cookies_are_for_tls_alone(self, settings: Settings) -> None:
        public = {"env": "production", "public_url": "https://library.example"}
        with serving(settings, **public) as url, httpx.Client(base_url=url) as client:
            page = client.get("/oauth/sign-in")
            cookie = page.headers["Set-Cookie"]
            assert "Secure" in cookie.split("; ")
            form = Html(page).fields() | {"email": "member@example.org", "password": PASSWORD}
            # No browser would send it back here, where TLS ends at a proxy.
            headers = {"Cookie": cookie.partition(";")[0]}
            signed = client.post("/oauth/sign-in", data=form, headers=headers)

            assert signed.status_code == 303
            assert "Secure" in signed.headers["Set-Cookie"].split("; ")
            assert urlsplit(signed.headers["Location"]).netloc == ""
