"""People at the sign-in page and the consent page: each form is loaded, filled in and sent."""

import httpx

from tests.auth.html import Html


def sign_in(
    browser: httpx.Client, address: str = "/oauth/sign-in", *, email: str, password: str
) -> httpx.Response:
    """Load the sign-in page and send its form."""
    fields = _fields(browser, address) | {"email": email, "password": password}
    return browser.post("/oauth/sign-in", data=fields)


def decide(browser: httpx.Client, address: str, decision: str) -> httpx.Response:
    """Load the consent page and press one of its buttons."""
    fields = _fields(browser, address) | {"decision": decision}
    return browser.post("/oauth/authorize", data=fields)


def redirected(response: httpx.Response) -> str:
    """Where the answer leads the browser."""
    assert response.status_code == 303, response.text
    return response.headers["Location"]


def _fields(browser: httpx.Client, address: str) -> dict[str, str]:
    page = browser.get(address)
    assert page.status_code == 200, page.text
    return Html(page).fields()
