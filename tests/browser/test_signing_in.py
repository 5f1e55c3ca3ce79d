"""People at a real browser: Swagger UI, the sign-in page and the consent page."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.auth.oauth.registered import CHALLENGE

Demo = dict[str, Any]

# Nobody listens there: the test itself answers in the client's place.
CALLBACK = "http://127.0.0.1:65001/callback"


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    """Machines under load are slow to show what is expected."""
    expect.set_options(timeout=30_000)
    yield
    expect.set_options(timeout=None)


def sign_in(page: Page, demo: Demo, role: str = "member") -> None:
    """Sign in by the keyboard alone; the cursor stands in the first field."""
    (user,) = (user for user in demo["users"] if user["role"] == role)
    expect(page.get_by_label("Email")).to_be_focused()
    page.keyboard.type(user["email"])
    page.keyboard.press("Tab")
    page.keyboard.type(user["password"])
    page.keyboard.press("Enter")


class SwaggerUI:
    """Swagger UI in a window."""

    def __init__(self, page: Page, demo: Demo) -> None:
        self.page = page
        # Whoever types in the other name of this machine is led to the public address.
        page.goto(demo["base_url"].replace("127.0.0.1", "localhost") + "/docs")
        assert page.url == demo["base_url"] + "/docs"

    def open_dialog(self) -> None:
        """Show the ways to authorize."""
        self.page.get_by_role("button", name="Authorize").first.click()

    def way(self, title: str) -> Locator:
        """A way to authorize, by its title in the dialog."""
        return self.page.locator(".dialog-ux .auth-container").filter(has_text=title).first

    def begin_code_flow(self) -> Page:
        """Ask for one's own account; the window that pops up."""
        self.open_dialog()
        flow = self.way("authorizationCode")
        flow.locator("label[for^='profile:read']").click()
        with self.page.expect_popup() as popup:
            flow.get_by_role("button", name="Apply given OAuth2 credentials").click()
        return popup.value

    def enter(self, scheme: str, value: str) -> None:
        """Type in a credential that is sent in a header."""
        self.open_dialog()
        way = self.way(scheme)
        # Swagger UI gives the fields of all schemes one id, so their labels all lead to the first.
        way.locator("input").fill(value)
        way.get_by_role("button", name="Apply credentials").click()
        self.close_dialog()

    def close_dialog(self) -> None:
        """Go back to the operations."""
        self.page.keyboard.press("Escape")
        expect(self.page.locator(".dialog-ux")).to_have_count(0)

    def try_out(self, tag: str, operation: str) -> tuple[str, str]:
        """Status and body of the answer to an operation.

        Swagger UI draws only what is in sight of a list as long as this; the tag leads there.
        """
        self.page.get_by_placeholder("Filter by tag").fill(tag)
        place = self.page.locator(f"[id$='-{operation}']")
        if "is-open" not in (place.get_attribute("class") or ""):
            place.click()
        with self.page.expect_response(lambda response: "/api/" in response.url):
            place.get_by_role("button", name="Execute").click()
        answer = place.locator(".live-responses-table .response").first
        return answer.locator(".response-col_status").inner_text(), answer.inner_text()


class TestSwaggerUI:
    def test_sign_in_consent_and_a_call(self, page: Page, demo: Demo) -> None:
        docs = SwaggerUI(page, demo)
        popup = docs.begin_code_flow()
        sign_in(popup, demo)

        expect(popup.get_by_role("heading")).to_have_text("Allow Swagger UI to act for you?")
        expect(popup.get_by_role("listitem")).to_have_text("Read one's own account. (profile:read)")
        popup.keyboard.press("Tab")
        expect(popup.get_by_role("button", name="Allow")).to_be_focused()
        with popup.expect_event("close"):
            popup.keyboard.press("Enter")
        expect(docs.way("authorizationCode").get_by_text("Authorized")).to_be_visible()
        docs.close_dialog()
        status, body = docs.try_out("accounts", "get_my_account")

        assert status.strip() == "200"
        assert '"email": "reader@example.org"' in body
        assert '"type": "bearer"' in body

        # The browser is signed in now, and its cookie does where no token is sent.
        docs.open_dialog()
        docs.way("authorizationCode").get_by_role("button", name="Remove authorization").click()
        docs.close_dialog()
        status, body = docs.try_out("accounts", "get_my_account")

        assert status.strip() == "200"
        assert '"type": "session"' in body

        # What changes something needs the session's CSRF token besides.
        session = page.request.get(f"{demo['base_url']}/api/session").json()
        docs.enter("CsrfToken", session["csrf_token"])
        status, _ = docs.try_out("auth", "delete_session")

        assert status.strip() == "204"

    def test_a_denied_consent_comes_back_as_an_error(self, page: Page, demo: Demo) -> None:
        docs = SwaggerUI(page, demo)
        popup = docs.begin_code_flow()
        sign_in(popup, demo, "librarian")
        expect(popup.get_by_role("button", name="Deny")).to_be_visible()
        with popup.expect_event("close"):
            popup.get_by_role("button", name="Deny").click()

        expect(docs.way("authorizationCode")).to_contain_text("access_denied")

    def test_an_api_key_in_the_dialog(self, page: Page, demo: Demo) -> None:
        docs = SwaggerUI(page, demo)
        docs.enter("ApiKey", demo["api_keys"]["member"])
        status, body = docs.try_out("accounts", "get_my_account")

        assert status.strip() == "200"
        assert '"type": "api_key"' in body


class TestPages:
    def test_they_need_no_scripts_and_fit_a_narrow_window(
        self, page_without_scripts: Page, demo: Demo, errors: list[str]
    ) -> None:
        page = page_without_scripts
        page.route(f"{CALLBACK}?*", lambda route: route.fulfill(body="Welcome back"))
        query = {
            "response_type": "code",
            "client_id": demo["clients"]["public"]["client_id"],
            "redirect_uri": CALLBACK,
            "state": "a state",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
        page.goto(f"{demo['base_url']}/oauth/authorize?{urlencode(query)}")
        expect(page.get_by_label("Email")).to_be_focused()
        page.keyboard.type("admin@example.org")
        page.get_by_label("Password").fill("another evening elsewhere")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_have_text("The email or the password is wrong.")
        expect(page.get_by_label("Email")).to_have_value("admin@example.org")
        expect(page.get_by_label("Password")).to_have_value("")
        expect(page.get_by_label("Password")).to_be_focused()
        # The browser tells of the status, which is 401.
        assert "401" in errors.pop()

        page.get_by_label("Email").fill("")
        page.get_by_label("Email").focus()
        sign_in(page, demo, "admin")
        # All that an administrator may do is a long list.
        expect(page.get_by_role("listitem")).to_have_count(23)
        box = page.get_by_role("main").bounding_box()
        assert box is not None
        assert box["x"] > 0
        assert box["x"] + box["width"] < 375
        page.get_by_role("button", name="Allow").click()
        page.wait_for_url(f"{CALLBACK}?*")

        answer = dict(parse_qsl(urlsplit(page.url).query))
        assert answer.keys() == {"code", "state", "iss"}
        assert (answer["state"], answer["iss"]) == ("a state", demo["base_url"])
