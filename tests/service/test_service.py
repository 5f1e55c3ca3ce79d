"""The service about itself over HTTP, and what every answer has, on both databases."""

import gzip
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import yaml
from sqlalchemy import Engine, text
from structlog.testing import capture_logs

from circdesk.contract.contract import Contract
from circdesk.contract.documents import with_addresses
from circdesk.contract.problems import Problem, registered_problems
from circdesk.news import posts
from tests import contracts
from tests.access_lines import access_lines, logs_of_requests

Expected = Callable[..., dict[str, Any]]

POST = {"title": "News", "body": "Text", "author": "Somebody"}
UNKNOWN = "019b8d2b-8c00-7001-8000-0000000000ff"


@pytest.fixture(scope="module")
def contract() -> Contract:
    """The contract as its files have it."""
    return contracts.contract()


@pytest.fixture(scope="module")
def document(contract: Contract) -> dict[str, Any]:
    """The contract's document."""
    return contract.document


class TestGetIndex:
    def test_it_links_to_everything(self, client: httpx.Client) -> None:
        response = client.get("/api")

        assert response.status_code == 200
        assert response.json() == {
            "name": "Circdesk",
            "links": {
                "authors": "/api/authors",
                "books": "/api/books",
                "branches": "/api/branches",
                "copies": "/api/copies",
                "events": "/api/events",
                "fees": "/api/fees",
                "holds": "/api/holds",
                "imports": "/api/imports",
                "loans": "/api/loans",
                "loan_policies": "/api/loan-policies",
                "posts": "/api/posts",
                "subjects": "/api/subjects",
                "users": "/api/users",
                "me": "/api/me",
                "capabilities": "/api/me/capabilities",
                "contract": "/openapi.json",
                "documentation": "/docs",
                "health": "/api/health",
                "problems": "/problems",
                "rate_limit": "/api/rate-limit",
            },
        }

    def test_every_link_answers(self, admin: httpx.Client) -> None:
        for link in admin.get("/api").json()["links"].values():
            assert admin.get(link).status_code == 200, link


class TestProbes:
    def test_the_service_is_healthy(self, client: httpx.Client) -> None:
        response = client.get("/api/health")

        assert response.status_code == 200
        body = response.json()
        assert body.pop("uptime_seconds") >= 0
        assert body == {
            "status": "healthy",
            "version": "0.1.0",
            "parts": {
                "database": "The database answers.",
                "migrations": "The database has the schema of this release.",
                "worker": "A worker does imports, chores and mail.",
            },
        }

    def test_the_process_lives(self, client: httpx.Client) -> None:
        response = client.get("/healthz")

        assert response.status_code == 200
        assert response.json() == {"status": "alive"}

    def test_the_service_is_ready(self, client: httpx.Client) -> None:
        response = client.get("/readiness")

        assert response.status_code == 200
        assert response.json() == {
            "status": "ready",
            "checks": {"database": "ok", "migrations": "ok", "worker": "ok"},
        }

    @pytest.fixture
    def _unmigrated(self, engine: Engine) -> Iterator[None]:
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE alembic_version RENAME TO set_aside"))
        yield
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE set_aside RENAME TO alembic_version"))

    @pytest.mark.usefixtures("_unmigrated")
    def test_without_migrations_it_lives_and_is_not_ready(
        self, client: httpx.Client, problem: Expected
    ) -> None:
        response = client.get("/readiness")

        assert response.status_code == 503
        assert response.headers["Retry-After"] == "5"
        assert response.json() == problem(
            response,
            "not_ready",
            "The database lacks migrations of this release.",
            checks={"database": "ok", "migrations": "missing", "worker": "ok"},
        )
        assert client.get("/healthz").status_code == 200
        assert client.get("/api/health").json()["status"] == "degraded"


class TestListProblems:
    def test_every_registered_problem_is_listed_by_its_code(self, client: httpx.Client) -> None:
        response = client.get("/problems")

        assert response.status_code == 200
        assert response.json() == {
            "items": [
                {
                    "type": f"/problems/{known.code}",
                    "code": known.code,
                    "status": known.status,
                    "title": known.title,
                    "advice": known.advice,
                }
                for known in registered_problems()
            ]
        }
        codes = [entry["code"] for entry in response.json()["items"]]
        assert codes == sorted(set(codes))


class TestGetProblem:
    def test_each_is_explained_where_its_type_points(self, client: httpx.Client) -> None:
        for entry in client.get("/problems").json()["items"]:
            assert client.get(entry["type"]).json() == entry

    def test_an_unknown_code_is_not_found(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get("/problems/unheard_of")

        assert response.status_code == 404
        message = "No problem has the code 'unheard_of'."
        assert response.json() == problem(response, "not_found", message)

    @pytest.mark.parametrize(
        "known", [pytest.param(known, id=known.code) for known in registered_problems()]
    )
    def test_its_status_is_documented(self, known: type[Problem], contract: Contract) -> None:
        # A method that a path does not take is refused without any operation.
        assert known.status == 405 or any(
            known.status in operation.responses for operation in contract.operations.values()
        )

    def test_examples_speak_of_registered_problems(self, document: dict[str, Any]) -> None:
        known = {problem.code: problem for problem in registered_problems()}
        for response in document["components"]["responses"].values():
            content = response.get("content", {}).get("application/problem+json")
            if content is not None:
                example = content["example"]
                assert example["code"] in known
                assert example["title"] == known[example["code"]].title
                assert example["status"] == known[example["code"]].status


class TestContract:
    def test_both_forms_are_the_contract_as_its_files_have_it_at_this_address(
        self, client: httpx.Client, base_url: str, document: dict[str, Any]
    ) -> None:
        document = with_addresses(document, base_url)
        as_json, as_yaml = client.get("/openapi.json"), client.get("/openapi.yaml")

        assert as_json.headers["Content-Type"] == "application/json"
        assert as_yaml.headers["Content-Type"] == "application/yaml"
        assert as_json.json() == document
        assert yaml.load(as_yaml.text, yaml.CSafeLoader) == document

    def test_it_stands_alone_and_keeps_its_names(self, client: httpx.Client) -> None:
        response = client.get("/openapi.json")

        references = set(re.findall(r'"\$ref": "([^"]*)"', response.text))
        assert references
        assert {name.partition("/components/")[0] for name in references} == {"#"}
        body = response.json()
        for reference in references:
            _, _, kind, name = reference.split("/")
            assert name in body["components"][kind]
        assert {"Book", "BookInput", "Copy", "Post", "Problem"} <= body["components"][
            "schemas"
        ].keys()

    @pytest.mark.parametrize("path", ["/openapi.json", "/openapi.yaml"])
    def test_who_has_it_is_told_so(self, client: httpx.Client, path: str) -> None:
        whole = client.get(path)
        entity_tag = whole.headers["ETag"]
        response = client.get(path, headers={"If-None-Match": f'"other", {entity_tag}'})

        assert response.status_code == 304
        assert response.content == b""
        assert response.headers["ETag"] == entity_tag
        assert response.headers["Cache-Control"] == "no-cache"
        assert response.headers["Vary"] == "Accept-Encoding"
        assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200

    @pytest.mark.parametrize("path", ["/openapi.json", "/openapi.yaml"])
    def test_it_is_compressed_for_those_who_take_it(self, client: httpx.Client, path: str) -> None:
        plain = client.get(path, headers={"Accept-Encoding": "identity"})
        with client.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as response:
            packed = b"".join(response.iter_raw())

        assert response.headers["Content-Encoding"] == "gzip"
        assert response.headers["Content-Length"] == str(len(packed))
        assert len(packed) < len(plain.content) / 4
        assert gzip.decompress(packed) == plain.content
        assert "Content-Encoding" not in plain.headers
        assert response.headers["ETag"] != plain.headers["ETag"]


class TestDocs:
    def test_the_page_is_html_and_loads_from_here_only(self, client: httpx.Client) -> None:
        response = client.get("/docs")

        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        links = re.findall(r'(?:src|href)="([^"]+)"', response.text)
        assert links
        for link in links:
            assert link.startswith(("/docs/", "/openapi."))
            assert client.get(link).status_code == 200

    def test_head_is_get_without_the_body(self, client: httpx.Client) -> None:
        whole, head = client.get("/docs"), client.head("/docs")

        assert head.status_code == 200
        assert head.content == b""
        for name in ("Content-Type", "Content-Length", "ETag", "Content-Security-Policy"):
            assert head.headers[name] == whole.headers[name]


ALLOWED = [
    ("/api", "GET, HEAD, OPTIONS"),
    ("/api/posts", "GET, HEAD, OPTIONS, POST"),
    (f"/api/posts/{UNKNOWN}", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
    ("/openapi.json", "GET, HEAD, OPTIONS"),
    ("/docs", "GET, HEAD, OPTIONS"),
]


class TestMethods:
    @pytest.mark.parametrize(("path", "allow"), ALLOWED)
    def test_options_tells_them_all(self, client: httpx.Client, path: str, allow: str) -> None:
        response = client.options(path)

        assert response.status_code == 204
        assert response.content == b""
        assert response.headers["Allow"] == allow

    @pytest.mark.parametrize(("path", "allow"), ALLOWED)
    @pytest.mark.parametrize("method", ["TRACE", "QUERY"])
    def test_others_are_refused_with_what_there_is(
        self, client: httpx.Client, problem: Expected, path: str, allow: str, method: str
    ) -> None:
        response = client.request(method, path)

        assert response.status_code == 405
        assert response.headers["Allow"] == allow
        message = f"This path takes {allow}."
        assert response.json() == problem(response, "method_not_allowed", message)

    @pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "TRACE"])
    def test_a_path_that_is_none_has_no_methods(
        self, client: httpx.Client, problem: Expected, method: str
    ) -> None:
        response = client.request(method, "/api/nowhere")

        assert response.status_code == 404
        message = "No resource has this path."
        assert response.json() == problem(response, "not_found", message)

    def test_head_is_get_without_the_body(self, client: httpx.Client) -> None:
        whole, head = client.get("/api/posts"), client.head("/api/posts")

        assert head.status_code == 200
        assert head.content == b""
        for name in ("Content-Type", "Content-Length", "Link"):
            assert head.headers[name] == whole.headers[name]

    def test_head_of_what_is_missing_says_so(self, client: httpx.Client) -> None:
        head = client.head(f"/api/posts/{UNKNOWN}")

        assert head.status_code == 404
        assert head.content == b""
        assert head.headers["Content-Type"] == "application/problem+json"


class TestRequestIds:
    @pytest.mark.parametrize("given", ["a", "5f1c9be7-a1d0", "A.b_c-9", "x" * 64])
    def test_a_well_formed_one_is_kept(self, client: httpx.Client, given: str) -> None:
        for path in ("/api/health", "/api/nowhere", "/docs"):
            response = client.get(path, headers={"X-Request-Id": given})

            assert response.headers["X-Request-Id"] == given

    @pytest.mark.parametrize("given", [b"", b"x" * 65, b"a b", b"a\tb", b"a;b", b"\xc3\xbc"])
    def test_any_other_is_replaced(self, client: httpx.Client, given: bytes) -> None:
        response = client.get("/api/nowhere", headers={b"X-Request-Id": given})

        assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Request-Id"])
        assert response.json()["request_id"] == response.headers["X-Request-Id"]

    def test_each_request_has_its_own(self, client: httpx.Client) -> None:
        ids = {client.get("/api/health").headers["X-Request-Id"] for _ in range(3)}

        assert len(ids) == 3

    def test_the_log_has_it(self, client: httpx.Client) -> None:
        with logs_of_requests() as logs:
            response = client.get("/api/nowhere", headers={"X-Request-Id": "abc"})

        (line,) = access_lines(logs)
        assert line.pop("milliseconds") >= 0
        assert line == {
            "event": "request",
            "log_level": "info",
            "request_id": "abc",
            "method": "GET",
            "route": None,
            "operation": None,
            "status": 404,
            "bytes": len(response.content),
            "caller": "anonymous",
            "caller_id": None,
            "credential": None,
            "client": "127.0.0.1",
        }

    def test_no_answer_is_guessed_at(self, client: httpx.Client) -> None:
        for path in ("/api/health", "/api/nowhere", "/docs", "/openapi.json"):
            assert client.get(path).headers["X-Content-Type-Options"] == "nosniff"


class TestCrashes:
    def test_a_crash_tells_its_request_id_and_nothing_else(
        self, admin: httpx.Client, problem: Expected, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        create = posts.create_post

        def store_and_crash(*args: Any) -> None:
            create(*args)
            raise ZeroDivisionError("secret")

        monkeypatch.setattr(posts, "create_post", store_and_crash)
        with capture_logs() as logs:
            response = admin.post("/api/posts", json=POST)

        assert response.status_code == 500
        assert response.json() == problem(response, "internal_error", "Something broke.")
        (entry,) = [entry for entry in logs if entry["event"] == "request_failed"]
        assert entry["log_level"] == "error"
        assert str(entry["exc_info"]) == "secret"
        # What was stored before the crash is gone.
        assert admin.get("/api/posts").json()["total"] == 0

    def test_an_answer_that_breaks_the_contract_never_leaves(
        self, admin: httpx.Client, problem: Expected, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        create = posts.create_post
        monkeypatch.setattr(posts, "create_post", lambda *args: create(*args) | {"colour": "red"})
        with capture_logs() as logs:
            response = admin.post("/api/posts", json=POST)

        assert response.status_code == 500
        assert response.json() == problem(response, "internal_error", "Something broke.")
        (entry,) = [entry for entry in logs if entry["event"] == "request_failed"]
        assert str(entry["exc_info"]) == (
            "create_post 201: body /colour additionalProperties: the property is unknown"
        )
        assert admin.get("/api/posts").json()["total"] == 0

    def test_a_problem_that_the_operation_does_not_declare_is_a_crash(
        self, client: httpx.Client, problem: Expected, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Teapot(Problem):
            status = 418
            title = "I am a teapot."
            advice = "Ask for tea."

        Teapot.code = "teapot"

        def brew(*_args: Any) -> None:
            raise Teapot("Short and stout.")

        monkeypatch.setattr(posts, "read_post", brew)
        with capture_logs() as logs:
            response = client.get(f"/api/posts/{UNKNOWN}")

        assert response.status_code == 500
        assert response.json() == problem(response, "internal_error", "Something broke.")
        (entry,) = [entry for entry in logs if entry["event"] == "request_failed"]
        assert str(entry["exc_info"]) == "get_post 418: the status is not declared"

    def test_the_service_goes_on(
        self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(posts, "list_posts", lambda *_: 1 / 0)
            with capture_logs():
                # More than there are threads and connections.
                statuses = [client.get("/api/posts").status_code for _ in range(20)]

        assert statuses == [500] * 20
        assert client.get("/api/posts").status_code == 200
