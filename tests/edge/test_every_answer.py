"""What every answer has, whoever made it: an id, and what browsers must be told."""

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from circdesk.edge.request_ids import add_ids
from circdesk.news import posts
from circdesk.settings import Settings
from tests.access_lines import logs_of_requests
from tests.auth.serving import serving

Expected = Callable[..., dict[str, Any]]
DATA = "default-src 'none'; frame-ancestors 'none'"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class TestSecurityHeaders:
    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/api/posts", 200),
            ("HEAD", "/api/posts", 200),
            ("OPTIONS", "/api/posts", 204),
            ("POST", "/api/posts", 401),
            ("GET", "/nowhere", 404),
            ("DELETE", "/api/posts", 405),
            ("GET", "/healthz", 200),
            ("POST", "/oauth/token", 400),
            ("GET", "/docs/swagger-ui.css", 200),
        ],
    )
    def test_data_may_do_nothing_in_a_browser(
        self, client: httpx.Client, method: str, path: str, status: int
    ) -> None:
        answer = client.request(method, path)

        assert answer.status_code == status
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Content-Security-Policy"] == DATA
        # Who is reached without TLS cannot ask for it.
        assert "Strict-Transport-Security" not in answer.headers

    @pytest.mark.parametrize("path", ["/docs", "/docs/oauth2-redirect.html", "/oauth/sign-in"])
    def test_pages_have_a_policy_of_their_own(self, client: httpx.Client, path: str) -> None:
        answer = client.get(path)

        (policy,) = answer.headers.get_list("Content-Security-Policy")
        assert policy != DATA
        assert "frame-ancestors 'none'" in policy
        assert answer.headers.get_list("Referrer-Policy") == ["no-referrer"]
        assert answer.headers["X-Frame-Options"] == "DENY"

    def test_a_crash_has_them_too(
        self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(posts, "list_posts", lambda *_: 1 / 0)
        answer = client.get("/api/posts")

        assert answer.status_code == 500
        assert answer.headers["Content-Security-Policy"] == DATA

    @pytest.mark.usefixtures("migrated_engine")
    def test_who_is_reached_by_tls_asks_for_nothing_else(self, settings: Settings) -> None:
        with serving(settings, public_url="https://library.example", env="staging") as url:
            answer = httpx.get(f"{url}/healthz")
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


class TestRequestIds:
    @pytest.mark.parametrize("sent", ["a", "Trace_1.b-C", "x" * 64])
    def test_a_sane_one_is_taken(self, client: httpx.Client, sent: str) -> None:
        answer = client.get("/nowhere", headers={"X-Request-ID": sent})
        assert answer.headers.get_list("X-Request-Id") == [sent]
        assert answer.json()["request_id"] == sent

    @pytest.mark.parametrize("sent", ["", "x" * 65, "a b", "a\tb", "a,b", "<script>", "\xe4"])
    def test_another_one_is_made_instead(self, client: httpx.Client, sent: str) -> None:
        answer = client.get("/nowhere", headers={b"X-Request-ID": sent.encode("latin-1")})
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-Id"])
        assert answer.json()["request_id"] == answer.headers["X-Request-Id"]

    def test_it_stands_in_every_line_of_the_log_and_so_does_the_trace(
        self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(posts, "list_posts", lambda *_: 1 / 0)
        headers = {"X-Request-ID": "mine", "Traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
        with logs_of_requests(2, processors=[add_ids]) as lines:
            client.get("/api/posts", headers=headers)
            client.get("/healthz")

        failed, access, other = lines
        assert (failed["event"], access["status"]) == ("request_failed", 500)
        for line in (failed, access):
            assert (line["request_id"], line["trace_id"]) == ("mine", TRACE)
        assert other["request_id"] != "mine"
        assert "trace_id" not in other


class TestCeilings:
    @pytest.mark.parametrize("path", ["/api/books/" + "x" * 9000, "/" + "%22" * 5000])
    def test_a_long_address_is_refused_and_told_in_part(
        self, client: httpx.Client, problem: Expected, path: str
    ) -> None:
        answer = client.get(path)

        assert answer.status_code == 414
        message = "Path and query have more than 8192 bytes."
        fault = {"in": "path", "pointer": "", "rule": "size", "message": message, "allowed": 8192}
        expected = problem(answer, "uri_too_long", message, details=[fault])
        instance = answer.json()["instance"]
        assert path.startswith(instance)
        assert 8189 < len(instance) <= 8192
        assert answer.json() == expected | {"instance": instance}
        assert answer.headers["Connection"] == "close"

    def test_an_address_at_the_limit_is_looked_at(self, client: httpx.Client) -> None:
        path = "/api/books/" + "x" * (8192 - 11)
        assert client.get(path).status_code == 400
        assert client.get(path + "x").status_code == 414

    def test_many_headers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        answer = client.get("/api/posts", headers={f"X-{number}": "" for number in range(100)})

        message = "The head has more than 100 headers."
        fault = {"in": "header", "pointer": "", "rule": "count", "message": message, "allowed": 100}
        assert answer.status_code == 431
        assert answer.json() == problem(answer, "headers_too_large", message, details=[fault])

    def test_as_many_as_may_be_are_not(self, client: httpx.Client) -> None:
        # httpx sends five of its own.
        headers = {f"X-{number}": "x" * 300 for number in range(95)}
        assert client.get("/api/posts", headers=headers).status_code == 200
