"""Swagger UI as it is packaged and served."""

import hashlib
import re
from importlib.resources import files

import pytest

from circdesk.contract.pages import docs_pages, read_release

FOLDER = files("circdesk.contract") / "swagger_ui"
PAGES = docs_pages()


def get(path: str) -> tuple[dict[str, str], str]:
    """The headers and the text of a page that must answer 200."""
    status, headers, body = PAGES[path].respond({})
    assert status == 200
    return dict(headers), body.decode()


class TestRelease:
    def test_the_packaged_files_are_those_of_the_release_byte_by_byte(self) -> None:
        packaged = {
            file.name: hashlib.sha256(file.read_bytes()).hexdigest()
            for file in (FOLDER / "release").iterdir()
        }
        assert packaged == read_release()["files"]

    def test_the_release_names_its_version_and_licence(self) -> None:
        release = read_release()
        assert release["package"] == "swagger-ui-dist"
        assert re.fullmatch(r"5\.\d+\.\d+", release["version"])
        assert release["license"] == "Apache-2.0"
        assert {"LICENSE", "NOTICE"} <= release["files"].keys()


class TestPage:
    def test_the_page_is_checked_on_each_visit_and_may_do_little(self) -> None:
        headers, _ = get("/docs")
        assert headers["content-type"] == "text/html; charset=utf-8"
        assert headers["cache-control"] == "no-cache"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["content-security-policy"].split("; ") == [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "style-src-attr 'unsafe-inline'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]

    def test_the_page_loads_only_what_is_served_beside_it(self) -> None:
        _, page = get("/docs")
        loaded = re.findall(r'<(?:script|link|img)\b[^>]*\b(?:src|href)="([^"]*)"', page)
        assert len(loaded) == 5
        for address in loaded:
            path, _, version = address.partition("?v=")
            _, _, body = PAGES[path].respond({})
            assert hashlib.sha256(body).hexdigest().startswith(version)
            assert len(version) == 12

    def test_the_page_names_the_client_that_it_signs_people_in_with(self) -> None:
        _, _, body = docs_pages('a "client"')["/docs"].respond({})
        assert b'data-client-id="a &quot;client&quot;"' in body
        # Elsewhere than in a demo people type in one of their own.
        assert 'data-client-id=""' in get("/docs")[1]

    def test_the_page_has_no_inline_script_or_style(self) -> None:
        _, page = get("/docs")
        assert re.findall(r"<script\b[^>]*>[^<]", page) == []
        assert re.findall(r"<style|\bstyle=|\bon\w+=", page) == []

    @pytest.mark.parametrize("path", ["/docs", "/docs/initializer.js"])
    def test_our_own_files_name_no_other_origin(self, path: str) -> None:
        assert re.findall(r"(?:https?:)?//\w[\w.]*\.\w", get(path)[1]) == []

    def test_the_style_sheet_loads_nothing(self) -> None:
        _, style = get("/docs/swagger-ui.css")
        assert re.findall(r"@import|url\(\s*['\"]?(?!data:|['\"])", style) == []

    def test_the_initializer_asks_for_the_contract_and_for_no_validator(self) -> None:
        _, script = get("/docs/initializer.js")
        assert 'url: "/openapi.json"' in script
        assert "validatorUrl: null" in script

    def test_the_initializer_signs_in_by_code_with_pkce_and_keeps_no_token(self) -> None:
        _, script = get("/docs/initializer.js")
        assert "usePkceWithAuthorizationCodeGrant: true" in script
        assert "`${window.location.origin}/docs/oauth2-redirect.html`" in script
        assert "persistAuthorization: false" in script
        assert "clientSecret" not in script


class TestRedirectPage:
    """Where the authorization server sends the browser back to."""

    def test_it_runs_the_script_beside_it_and_may_do_nothing_more(self) -> None:
        headers, page = get("/docs/oauth2-redirect.html")
        assert headers["content-type"] == "text/html; charset=utf-8"
        assert headers["cache-control"] == "no-cache"
        # Its address has the code.
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["content-security-policy"].split("; ") == [
            "default-src 'none'",
            "script-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
        assert re.findall(r"<script\b[^>]*>", page) == ['<script src="oauth2-redirect.js">']


class TestAssets:
    @pytest.mark.parametrize(
        ("name", "media_type"),
        [
            ("swagger-ui.css", "text/css; charset=utf-8"),
            ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
            ("initializer.js", "text/javascript; charset=utf-8"),
            ("oauth2-redirect.js", "text/javascript; charset=utf-8"),
            ("favicon-16x16.png", "image/png"),
            ("favicon-32x32.png", "image/png"),
            ("swagger-ui-bundle.js.LICENSE.txt", "text/plain; charset=utf-8"),
            ("LICENSE", "text/plain; charset=utf-8"),
            ("NOTICE", "text/plain; charset=utf-8"),
        ],
    )
    def test_each_asset_has_its_type_and_may_be_kept_for_a_day(
        self, name: str, media_type: str
    ) -> None:
        status, fields, _ = PAGES[f"/docs/{name}"].respond({})
        headers = dict(fields)
        assert (status, headers["content-type"]) == (200, media_type)
        assert headers["cache-control"] == "public, max-age=86400"

    def test_the_page_and_every_asset_are_all_that_is_served(self) -> None:
        names = {*read_release()["files"], "initializer.js"}
        assert PAGES.keys() == {"/docs", *(f"/docs/{name}" for name in names)}

    def test_the_script_travels_compressed(self) -> None:
        _, plain, _ = PAGES["/docs/swagger-ui-bundle.js"].respond({})
        _, small, _ = PAGES["/docs/swagger-ui-bundle.js"].respond({"accept-encoding": "gzip"})
        assert int(dict(small)["content-length"]) < int(dict(plain)["content-length"]) / 3
