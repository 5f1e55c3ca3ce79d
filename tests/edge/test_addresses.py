"""One address for people: in development a browser is led from each name to the public one."""

import httpx
import pytest
from sqlalchemy import Engine

from circdesk.settings import Settings
from tests.auth.serving import serving


def elsewhere(client: httpx.Client, host: str = "localhost") -> dict[str, str]:
    """The Host header of a browser that knows the service by another name."""
    return {"Host": f"{host}:{client.base_url.port}"}


@pytest.mark.parametrize("host", ["localhost", "[::1]"])
@pytest.mark.parametrize(
    "path",
    [
        "/docs",
        "/docs/oauth2-redirect.html?code=a%20b&state=c",
        "/oauth/authorize?client_id=x&scope=a+b",
        "/oauth/sign-in",
    ],
)
def test_pages_are_shown_at_the_public_address(client: httpx.Client, host: str, path: str) -> None:
    response = client.get(path, headers=elsewhere(client, host))

    assert response.status_code == 307
    assert response.headers["Location"] == f"{str(client.base_url).rstrip('/')}{path}"
    assert response.content == b""
    assert response.headers["X-Request-Id"]


@pytest.mark.parametrize(
    "path", ["/api/posts", "/openapi.json", "/.well-known/jwks.json", "/healthz", "/docsx"]
)
def test_machines_are_answered_where_they_ask(client: httpx.Client, path: str) -> None:
    response = client.get(path, headers=elsewhere(client))

    assert response.status_code in (200, 404)


def test_a_form_is_never_redirected(client: httpx.Client) -> None:
    response = client.post("/oauth/sign-in", data={}, headers=elsewhere(client))

    assert response.status_code == 400


@pytest.mark.parametrize(
    "host", ["evil.example", "library.example:80", "", "127.0.0.1.evil.example"]
)
def test_names_that_are_not_this_machines_are_left_alone(client: httpx.Client, host: str) -> None:
    assert client.get("/oauth/sign-in", headers={"Host": host}).status_code == 200


def test_the_public_address_itself_is_not_redirected(client: httpx.Client) -> None:
    assert client.get("/oauth/sign-in").status_code == 200


def test_in_production_the_proxy_knows_better(settings: Settings, engine: Engine) -> None:
    with serving(settings, env="production") as url, httpx.Client(base_url=url) as client:
        assert client.get("/oauth/sign-in", headers=elsewhere(client)).status_code == 200
