"""CORS: pages of other origins read nothing, unless their origin is named."""

from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import Engine

from circdesk.news import posts
from circdesk.settings import Settings
from tests.auth.serving import serving

OURS, OTHER = "https://desk.example", "https://evil.example"
ORIGINS = f"{OURS}, http://localhost:5173"


@pytest.fixture(scope="module")
def url(settings: Settings, migrated_engine: Engine) -> Iterator[str]:
    with serving(settings, cors_origins=ORIGINS) as url:
        yield url


@pytest.fixture
def page(url: str, engine: Engine) -> Iterator[httpx.Client]:
    """A page of an origin that is named."""
    with httpx.Client(base_url=url, headers={"Origin": OURS}) as client:
        yield client


def cors(answer: httpx.Response) -> dict[str, str]:
    names = [name for name in answer.headers if name.startswith("access-control-")]
    return {name: answer.headers[name] for name in names}


def preflight(
    page: httpx.Client, method: str = "POST", path: str = "/api/posts", **more: str
) -> httpx.Response:
    headers = {"Access-Control-Request-Method": method} | more
    return page.options(path, headers={n.replace("_", "-"): v for n, v in headers.items()})


class TestClosed:
    def test_without_origins_nothing_is_said_of_any(self, client: httpx.Client) -> None:
        client.headers["Origin"] = OURS
        for answer in (client.get("/api/posts"), preflight(client)):
            assert cors(answer) == {}
            assert "Origin" not in answer.headers.get("Vary", "")


class TestAnswers:
    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/api/posts", 200),
            ("POST", "/api/posts", 401),
            ("GET", "/nowhere", 404),
            ("GET", f"/api/posts?tag={'x' * 8192}", 414),
        ],
    )
    def test_a_named_origin_reads_any_answer(
        self, page: httpx.Client, method: str, path: str, status: int
    ) -> None:
        answer = page.request(method, path)

        assert answer.status_code == status
        assert answer.headers["Access-Control-Allow-Origin"] == OURS
        assert "Origin" in answer.headers["Vary"]
        exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
        assert {"ETag", "Link", "Location", "Retry-After", "X-Request-Id"} <= {*exposed}
        # No cookie goes along.
        assert "Access-Control-Allow-Credentials" not in answer.headers

    def test_a_crash_can_be_read(self, page: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(posts, "list_posts", lambda *_: 1 / 0)
        answer = page.get("/api/posts")
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (500, OURS)

    @pytest.mark.parametrize("origin", [OTHER, "null", f"{OURS}.evil.example", f"{OURS}:444", ""])
    def test_no_other_does(self, page: httpx.Client, origin: str) -> None:
        answer = page.get("/api/posts", headers={"Origin": origin})
        assert (answer.status_code, cors(answer)) == (200, {})
        # A cache must not give this answer to a page that may read it.
        assert "Origin" in answer.headers["Vary"]


class TestPreflights:
    def test_a_page_hears_what_the_path_takes(self, page: httpx.Client) -> None:
        answer = preflight(
            page, "PATCH", "/api/posts/1", access_control_request_headers="authorization,if-match"
        )

        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["X-Request-Id"]
        allowed = cors(answer)
        assert allowed["access-control-allow-origin"] == OURS
        assert allowed["access-control-allow-methods"] == answer.headers["Allow"]
        assert "PATCH" in allowed["access-control-allow-methods"]
        assert {"Authorization", "Content-Type", "Idempotency-Key", "If-Match", "X-API-Key"} <= {
            *allowed["access-control-allow-headers"].split(", ")
        }

    @pytest.mark.parametrize(
        ("method", "path", "more"),
        [
            ("PATCH", "/api/posts", {}),
            ("BREW", "/api/posts", {}),
            ("GET", "/nowhere", {}),
            ("POST", "/api/posts", {"origin": OTHER}),
            ("POST", "/api/posts", {"access_control_request_headers": "x-made-up"}),
        ],
    )
    def test_what_is_not_allowed_is_not_granted(
        self, page: httpx.Client, method: str, path: str, more: dict[str, str]
    ) -> None:
        answer = preflight(page, method, path, **more)
        assert cors(answer) == {}
        assert answer.headers["Vary"] == "Origin"

    def test_options_of_its_own_is_answered_as_ever(self, page: httpx.Client) -> None:
        answer = page.options("/api/posts")
        assert (answer.status_code, answer.headers["Allow"]) == (204, "GET, HEAD, OPTIONS, POST")
        assert answer.headers["Access-Control-Allow-Origin"] == OURS
