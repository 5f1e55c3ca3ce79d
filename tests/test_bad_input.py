"""Bad input over raw sockets: each gets its status and its reason, and nothing is stored."""

import http.client
import json
import re
import socket
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import Engine, exists, literal, select, union_all

from circdesk.contract.documents import resolve
from circdesk.contract.operations import Operation
from circdesk.db.models import Base
from tests import contracts
from tests.people import SEEDED_TABLES

JSON = {"Content-Type": "application/json"}
POST = {"title": "News", "body": "Text", "author": "Somebody"}
UNKNOWN = "019b8d2b-8c00-7001-8000-0000000000ff"
LIMIT = 1024**2


class Reply(NamedTuple):
    """What the service sent, told by its parts."""

    status: int
    headers: http.client.HTTPMessage
    body: Any

    @property
    def problem(self) -> tuple[int, str, list[dict[str, Any]]]:
        """Status, code and details; the form of a problem is asserted on the way."""
        assert self.headers["Content-Type"] == "application/problem+json"
        assert self.body["status"] == self.status
        assert self.body["type"] == f"/problems/{self.body['code']}"
        assert self.body["request_id"] == self.headers["X-Request-Id"]
        return self.status, self.body["code"], self.body["details"]


Ask = Callable[..., Reply]


@pytest.fixture
def ask(client: httpx.Client, admin_headers: dict[str, str]) -> Ask:
    """Sends exactly these bytes with a good key, as no well-behaved client would."""
    address = urlsplit(str(client.base_url))
    host, port = str(address.hostname), address.port

    def send(method: str, target: str | bytes, headers: Any = (), body: bytes = b"") -> Reply:
        lines = {"Host": host, "Connection": "close", **admin_headers, **dict(headers)}
        if body and "Transfer-Encoding" not in lines:
            lines["Content-Length"] = str(len(body))
        raw = target.encode() if isinstance(target, str) else target
        head = b"%b %b HTTP/1.1\r\n" % (method.encode(), raw)
        head += "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode()
        with socket.create_connection((host, port), timeout=10) as connection:
            connection.sendall(head + b"\r\n" + body)
            response = http.client.HTTPResponse(connection, method=method)
            response.begin()
            content = response.read()
        is_json = response.headers.get_content_type().endswith("json")
        body = json.loads(content) if is_json else content
        return Reply(response.status, response.headers, body)

    return send


@pytest.fixture(autouse=True)
def _nothing_is_stored(engine: Engine) -> Iterator[None]:
    yield
    tables = [
        select(literal(table.name)).where(exists(table))
        for table in Base.metadata.sorted_tables
        if table.name not in SEEDED_TABLES
    ]
    with engine.connect() as connection:
        assert connection.scalars(union_all(*tables)).all() == []


def body_fault(rule: str, message: str, **allowed: Any) -> dict[str, Any]:
    return {"in": "body", "pointer": "", "rule": rule, "message": message, **allowed}


BAD_CHARACTER = "The body has a NUL or a lone surrogate in a string."
TOO_DEEP = "The body is nested deeper than 32."
NO_UTF8 = "The body is not UTF-8."
NO_INT64 = "The body has an integer beyond 64 bits."
NO_DOUBLE = "The body has a number beyond a double."
TWICE = "The body has an object with the same key twice."


class TestBodiesThatAreNotJson:
    @pytest.mark.parametrize(
        ("body", "rule", "message"),
        [
            pytest.param(rb'{"title": "\u0000"}', "character", BAD_CHARACTER, id="escaped NUL"),
            pytest.param(rb'{"\u0000": 1}', "character", BAD_CHARACTER, id="NUL in a key"),
            pytest.param(rb'["\ud800"]', "character", BAD_CHARACTER, id="first half of a pair"),
            pytest.param(rb'["\udc00"]', "character", BAD_CHARACTER, id="second half of a pair"),
            pytest.param(rb'["\udc00\ud800"]', "character", BAD_CHARACTER, id="pair turned round"),
            pytest.param(
                rb'[{"a": {"\udead": 1}}]', "character", BAD_CHARACTER, id="half in a key"
            ),
            pytest.param(b'["\xed\xa0\x80"]', "encoding", NO_UTF8, id="raw surrogate"),
            pytest.param(b'["\xff"]', "encoding", NO_UTF8, id="no UTF-8"),
            pytest.param(b'["\xc0\x80"]', "encoding", NO_UTF8, id="overlong NUL"),
            pytest.param('{"a": 1}'.encode("utf-16"), "encoding", NO_UTF8, id="UTF-16"),
            pytest.param(b"[9223372036854775808]", "integer_range", NO_INT64, id="2^63"),
            pytest.param(b"[-9223372036854775809]", "integer_range", NO_INT64, id="-2^63-1"),
            pytest.param(b"[1%b]" % (b"0" * 5000), "integer_range", NO_INT64, id="5001 digits"),
            pytest.param(b"[1e400]", "number_range", NO_DOUBLE, id="beyond a double"),
            pytest.param(b"[-1e400]", "number_range", NO_DOUBLE, id="below a double"),
            pytest.param(
                b"[NaN]", "constant", "The body has NaN, which JSON does not know.", id="NaN"
            ),
            pytest.param(
                b"[-Infinity]",
                "constant",
                "The body has -Infinity, which JSON does not know.",
                id="Infinity",
            ),
            pytest.param(b"[" * 33 + b"]" * 33, "depth", TOO_DEEP, id="33 lists"),
            pytest.param(b"[" * 500_000, "depth", TOO_DEEP, id="half a million lists"),
            pytest.param(b'{"a":' * 100_000, "depth", TOO_DEEP, id="100,000 objects"),
            pytest.param(b'{"a": 1, "a": 1}', "duplicate_key", TWICE, id="key twice"),
            pytest.param(
                b'[{"b": {"a": 1, "a": 2}}]', "duplicate_key", TWICE, id="inner key twice"
            ),
            pytest.param(
                rb'{"a": 1, "\u0061": 2}', "duplicate_key", TWICE, id="key twice, escaped"
            ),
        ],
    )
    def test_each_is_told_apart(self, ask: Ask, body: bytes, rule: str, message: str) -> None:
        reply = ask("POST", "/api/posts", JSON, body)

        assert reply.problem == (400, "malformed_body", [body_fault(rule, message)])
        assert reply.body["message"] == message

    @pytest.mark.parametrize(
        "body",
        [
            pytest.param(b'["\x00"]', id="raw NUL"),
            pytest.param(b'["\n"]', id="raw line break"),
            pytest.param(b" ", id="blank"),
            pytest.param(b"\xef\xbb\xbf{}", id="byte order mark"),
            pytest.param(b"{'a': 1}", id="single quotes"),
            pytest.param(b'{"a": 1,}', id="trailing comma"),
            pytest.param(b"[01]", id="leading zero"),
            pytest.param(b"[+1]", id="plus sign"),
            pytest.param(b"{} {}", id="two values"),
            pytest.param(b'{"a": 1', id="no end"),
            pytest.param(b"title=News", id="a form"),
        ],
    )
    def test_syntax_errors_tell_their_place(self, ask: Ask, body: bytes) -> None:
        reply = ask("POST", "/api/posts", JSON, body)

        message = reply.body["message"]
        assert re.fullmatch(r"The body is not JSON: .+ at line \d+, column \d+\.", message)
        assert reply.problem == (400, "malformed_body", [body_fault("syntax", message)])

    @pytest.mark.parametrize("body", [b"null", b"[]", b'"text"', b"1", b"true"])
    def test_other_values_than_objects_break_the_contract(self, ask: Ask, body: bytes) -> None:
        reply = ask("POST", "/api/posts", JSON, body)

        message = 'the value is not of type "object"'
        fault = body_fault("type", message, allowed=["object"])
        assert reply.problem == (400, "invalid_request", [fault])

    @pytest.mark.parametrize(
        "headers",
        [
            pytest.param({}, id="nothing announced"),
            pytest.param({**JSON, "Content-Length": "0"}, id="length 0"),
            pytest.param({"Content-Length": "0"}, id="length 0 of no media type"),
        ],
    )
    def test_an_empty_body_is_a_missing_one(self, ask: Ask, headers: dict[str, str]) -> None:
        reply = ask("POST", "/api/posts", headers)

        fault = body_fault("required", "the body is missing")
        assert reply.problem == (400, "invalid_request", [fault])

    def test_an_empty_chunked_body_is_a_missing_one(self, ask: Ask) -> None:
        reply = ask("POST", "/api/posts", JSON | {"Transfer-Encoding": "chunked"}, b"0\r\n\r\n")

        fault = body_fault("required", "the body is missing")
        assert reply.problem == (400, "invalid_request", [fault])

    def test_a_number_is_an_integer_however_it_is_written(self, ask: Ask) -> None:
        body = json.dumps(POST).encode()[:-1] + b', "tags": [1.0, 9223372036854775807, 1e2]}'
        reply = ask("POST", "/api/posts", JSON, body)

        assert [(d["pointer"], d["allowed"]) for d in reply.problem[2]] == [
            (f"/tags/{place}", ["string"]) for place in range(3)
        ]


@cache
def writes() -> list[tuple[str, str, str, str]]:
    """Method, path with unknown keys, media type and example of each JSON body."""
    bundle = contracts.bundle()
    found = []
    for operation in contracts.contract().operations.values():
        if operation.body is None:
            continue
        node = bundle.document["paths"][operation.path][operation.method.lower()]
        for media_type, content in resolve(bundle.document, node["requestBody"])["content"].items():
            if media_type.endswith("json"):
                schema = resolve(bundle.document, content["schema"])
                example = json.dumps(_example(bundle.document, schema))
                found.append((operation.method, address(operation), media_type, example))
    return found


def _example(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    """An example of an object: its own where it is one of several, else those of its properties."""
    if "oneOf" in schema:
        return schema["example"]
    properties = {n: resolve(document, node) for n, node in schema.get("properties", {}).items()}
    return {
        name: node["example"] if "example" in node else _example(document, node)
        for name, node in properties.items()
        if "example" in node or "properties" in node
    }


# Where a string ends in a JSON text that has no quotes in its strings, and is no name.
STRING_END = re.compile(r'"(?=[,\]}])')


def address(operation: Operation) -> str:
    """The operation's path, with well-formed keys that nothing has."""
    return re.sub(r"\{code\}", "unheard_of", re.sub(r"\{\w+_id\}", UNKNOWN, operation.path))


class TestEveryBody:
    @pytest.mark.parametrize(
        ("method", "target", "media_type", "example"),
        [
            pytest.param(*write, id=" ".join(write[:3]))
            for write in writes()
            if STRING_END.search(write[3])
        ],
    )
    def test_no_string_takes_a_bad_character(
        self, ask: Ask, method: str, target: str, media_type: str, example: str
    ) -> None:
        ends = STRING_END.finditer(example)
        for end, bad in product(ends, (r"\u0000", r"\ud800")):
            body = (example[: end.start()] + bad + example[end.start() :]).encode()
            reply = ask(method, target, {"Content-Type": media_type}, body)

            assert reply.problem == (
                400,
                "malformed_body",
                [body_fault("character", BAD_CHARACTER)],
            )

    @pytest.mark.parametrize(
        ("method", "target", "media_type", "example"),
        [pytest.param(*write, id=" ".join(write[:3])) for write in writes()],
    )
    def test_unknown_properties_are_refused(
        self, ask: Ask, method: str, target: str, media_type: str, example: str
    ) -> None:
        body = (example[:-1] + ', "colour": "red"}').encode()
        reply = ask(method, target, {"Content-Type": media_type}, body)

        status, code, details = reply.problem
        assert (status, code) == (400, "invalid_request")
        assert details == [
            {
                "in": "body",
                "pointer": "/colour",
                "rule": "additionalProperties",
                "message": "the property is unknown",
            }
        ]


class TestMediaTypes:
    @pytest.mark.parametrize(
        "headers",
        [
            pytest.param({}, id="none"),
            pytest.param({"Content-Type": ""}, id="empty"),
            pytest.param({"Content-Type": "json"}, id="no media type"),
            pytest.param({"Content-Type": "text/plain"}, id="text"),
            pytest.param({"Content-Type": "application/jsonp"}, id="nearly JSON"),
            pytest.param({"Content-Type": "application/x-www-form-urlencoded"}, id="form"),
            pytest.param({"Content-Type": "multipart/form-data; boundary=x"}, id="multipart"),
            pytest.param({"Content-Type": "application/merge-patch+json"}, id="a patch"),
            pytest.param({"Content-Type": "application/json, application/json"}, id="two"),
            pytest.param({"Content-Type": "application/json; charset=latin-1"}, id="Latin-1"),
            pytest.param(JSON | {"Content-Encoding": "gzip"}, id="compressed"),
        ],
    )
    def test_what_is_not_taken_is_told_with_what_is(
        self, ask: Ask, headers: dict[str, str]
    ) -> None:
        reply = ask("POST", "/api/posts", headers, json.dumps(POST).encode())

        message = "The body must be sent as application/json, in UTF-8 and not compressed."
        detail = {
            "in": "header",
            "pointer": "/Content-Type",
            "rule": "media_type",
            "message": message,
            "allowed": ["application/json"],
        }
        assert reply.problem == (415, "unsupported_media_type", [detail])

    @pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "image/*"])
    def test_an_answer_that_nobody_accepts(self, ask: Ask, accept: str) -> None:
        reply = ask("GET", "/api/posts", {"Accept": accept})

        detail = {
            "in": "header",
            "pointer": "/Accept",
            "rule": "media_type",
            "message": "The answer can be application/json.",
            "allowed": ["application/json"],
        }
        assert reply.problem == (406, "not_acceptable", [detail])


class TestLargeBodies:
    TOO_LARGE = (
        413,
        "content_too_large",
        [body_fault("size", f"The body is longer than {LIMIT} bytes.", allowed=LIMIT)],
    )

    @pytest.mark.parametrize("length", [LIMIT + 1, 10**15])
    def test_an_announced_length_is_refused_before_the_body_comes(
        self, ask: Ask, length: int
    ) -> None:
        reply = ask("POST", "/api/posts", JSON | {"Content-Length": str(length)})

        assert reply.problem == self.TOO_LARGE

    def test_chunks_are_counted(self, ask: Ask) -> None:
        body = b"%x\r\n%b\r\n" % (LIMIT + 1, b" " * (LIMIT + 1))
        reply = ask("POST", "/api/posts", JSON | {"Transfer-Encoding": "chunked"}, body)

        assert reply.problem == self.TOO_LARGE

    def test_the_limit_itself_is_taken(self, ask: Ask) -> None:
        body = json.dumps({}).encode().ljust(LIMIT)
        reply = ask("POST", "/api/posts", JSON, body)

        assert [entry["rule"] for entry in reply.problem[2]] == ["required"] * 3

    def test_a_length_that_is_no_number_is_no_request(self, ask: Ask) -> None:
        assert ask("POST", "/api/posts", JSON | {"Content-Length": "-1"}).status == 400


def query_fault(name: str, rule: str, message: str, **allowed: Any) -> dict[str, Any]:
    pointer = f"/{name}" if name else ""
    return {"in": "query", "pointer": pointer, "rule": rule, "message": message, **allowed}


NO_INTEGER = {"message": 'the value is not of type "integer"', "allowed": ["integer"]}
UNKNOWN_PARAMETER = {
    "message": "the query parameter is unknown",
    "allowed": [
        "page",
        "per_page",
        "cursor",
        "sort",
        "tag",
        "author",
        "published_after",
        "published_before",
    ],
}
MANY = {"message": "the parameter stands more than once"}
UNDECODABLE = "the query cannot be decoded: "


class TestQueries:
    @pytest.mark.parametrize(
        ("query", "name", "rule", "facts"),
        [
            ("colour=red", "colour", "unknown", UNKNOWN_PARAMETER),
            ("Page=1", "Page", "unknown", UNKNOWN_PARAMETER),
            ("page=1&page=1", "page", "repeated", MANY),
            ("tag=a&author=b&tag=a", "tag", "repeated", MANY),
            (
                "page=-1",
                "page",
                "minimum",
                {"message": "the value is less than the minimum of 1", "allowed": 1},
            ),
            (
                "page=0",
                "page",
                "minimum",
                {"message": "the value is less than the minimum of 1", "allowed": 1},
            ),
            (
                "per_page=101",
                "per_page",
                "maximum",
                {"message": "the value is greater than the maximum of 100", "allowed": 100},
            ),
            *(
                (f"page={text}", "page", "type", NO_INTEGER)
                for text in (
                    "",
                    "one",
                    "1.0",
                    "1e3",
                    "%201",
                    "%2B1",
                    "01",
                    "0x10",
                    "1_0",
                    "%D9%A3",
                    "9223372036854775808",
                    "1" * 5000,
                    "NaN",
                )
            ),
            ("page", "page", "type", NO_INTEGER),
            ("tag=%00", "", "encoding", {"message": f"{UNDECODABLE}a NUL character"}),
            ("tag=%ff", "", "encoding", {"message": f"{UNDECODABLE}it is not UTF-8"}),
            ("tag=%c0%80", "", "encoding", {"message": f"{UNDECODABLE}it is not UTF-8"}),
            ("tag=%ed%a0%80", "", "encoding", {"message": f"{UNDECODABLE}it is not UTF-8"}),
            ("%ff=1", "", "encoding", {"message": f"{UNDECODABLE}it is not UTF-8"}),
            (
                "tag=100%",
                "",
                "encoding",
                {"message": f"{UNDECODABLE}a percent sign that starts no escape"},
            ),
        ],
    )
    def test_each_fault_is_named(
        self, ask: Ask, query: str, name: str, rule: str, facts: dict[str, Any]
    ) -> None:
        reply = ask("GET", f"/api/posts?{query}")

        assert reply.problem == (400, "invalid_request", [query_fault(name, rule, **facts)])

    @pytest.mark.parametrize("query", [b"tag=\xff", b"tag=\x00", b"tag= "])
    def test_what_is_no_uri_is_no_request(self, ask: Ask, query: bytes) -> None:
        assert ask("GET", b"/api/posts?" + query).status == 400

    def test_faults_of_all_places_come_together(self, ask: Ask) -> None:
        body = json.dumps({"title": 1, "year": 0}).encode()
        reply = ask("PUT", "/api/books/none?colour=red", JSON, body)

        status, code, details = reply.problem
        assert (status, code) == (400, "invalid_request")
        assert [(entry["in"], entry["pointer"], entry["rule"]) for entry in details] == [
            ("path", "/book_id", "pattern"),
            ("query", "/colour", "unknown"),
            ("body", "/title", "type"),
            ("body", "/year", "minimum"),
        ]

    def test_a_thousand_parameters_are_enough(self, ask: Ask) -> None:
        reply = ask("GET", "/api/posts?" + "&".join(f"p{n}=1" for n in range(1001)))

        message = "the query has more than 1000 parameters"
        fault = query_fault("", "maxItems", message, allowed=1000)
        assert reply.problem == (400, "invalid_request", [fault])

    def test_a_page_out_of_reach_is_told_the_cursor(self, ask: Ask) -> None:
        reply = ask("GET", "/api/posts?page=101&per_page=100&sort=title&tag=a")

        message = "page * per_page is more than 10,000."
        assert reply.problem == (
            400,
            "page_out_of_reach",
            [query_fault("page", "reach", message)],
        )
        (suggestion,) = reply.body["suggestions"]
        parameters: dict[str, str | int] = {
            "per_page": 100,
            "sort": "title",
            "tag": "a",
            "cursor": "start",
        }
        assert suggestion["operation_id"] == "list_posts"
        assert suggestion["parameters"] == parameters
        assert ask("GET", "/api/posts?" + str(httpx.QueryParams(parameters))).status == 200


@cache
def readable_texts() -> list[tuple[str, str]]:
    """Address and name of each text parameter in a query, of operations that only read."""
    bundle = contracts.bundle()
    return [
        (address(operation), parameter["name"])
        for operation in contracts.contract().operations.values()
        if operation.method == "GET"
        for reference in bundle.document["paths"][operation.path]["get"].get("parameters", ())
        if (parameter := resolve(bundle.document, reference))["in"] == "query"
        if resolve(bundle.document, parameter["schema"]).get("type") == "string"
    ]


class TestEveryTextParameter:
    @pytest.mark.parametrize(("target", "name"), readable_texts())
    def test_it_takes_text_only(self, ask: Ask, target: str, name: str) -> None:
        for bad in ("a%00", "%ff", "%ed%a0%80", "%zz"):
            status, code, details = ask("GET", f"{target}?{name}={bad}").problem

            assert (status, code) == (400, "invalid_request")
            assert [(entry["in"], entry["rule"]) for entry in details] == [("query", "encoding")]


class TestCursors:
    DAMAGED = "The cursor is damaged, or was given for another list, sort or filter."

    @pytest.fixture
    def cursor(self, admin: httpx.Client) -> Iterator[str]:
        """A good one: it stands between two posts with the tag, sorted by title."""
        ids = [
            admin.post("/api/posts", json=POST | {"title": title, "tags": ["a"]}).json()["id"]
            for title in ("One", "Two")
        ]
        found = admin.get("/api/posts?per_page=1&sort=title&tag=a").json()["next_cursor"]
        assert admin.get(f"/api/posts?sort=title&tag=a&cursor={found}").json()["items"]
        yield found
        for post_id in ids:
            admin.delete(f"/api/posts/{post_id}")

    @pytest.mark.parametrize(
        "target",
        [
            "/api/posts?sort=-title&tag=a",
            "/api/posts?sort=title&tag=b",
            "/api/posts?sort=title",
            "/api/posts?tag=a",
            "/api/posts?sort=title&tag=a&author=Somebody",
            "/api/branches?",
            "/api/copies?",
        ],
    )
    def test_one_of_another_list_is_refused(self, ask: Ask, cursor: str, target: str) -> None:
        reply = ask("GET", f"{target}&cursor={cursor}")

        assert reply.problem == (
            400,
            "cursor_invalid",
            [query_fault("cursor", "cursor", self.DAMAGED)],
        )

    def test_one_that_is_altered_is_refused(self, ask: Ask, cursor: str) -> None:
        middle = len(cursor) // 2
        other = "A" if cursor[middle] != "A" else "B"
        damaged = (
            cursor[:-4],
            f"{cursor}AAAA",
            cursor[4:],
            cursor[:middle] + other + cursor[middle + 1 :],
            "AAAA",
            "start.",
        )
        for text in damaged:
            status, code, details = ask("GET", f"/api/posts?sort=title&tag=a&cursor={text}").problem
            assert (status, code) == (400, "cursor_invalid")
            assert [(entry["pointer"], entry["rule"]) for entry in details] == [
                ("/cursor", "cursor")
            ]

    def test_one_goes_with_any_page_size(self, ask: Ask, cursor: str) -> None:
        target = f"/api/posts?sort=title&tag=a&cursor={cursor}"

        assert ask("GET", f"{target}&per_page=7").status == 200

    def test_it_knows_no_pages(self, ask: Ask) -> None:
        reply = ask("GET", "/api/posts?cursor=start&page=2")

        message = "Send either a cursor or a page, not both."
        assert reply.problem == (
            400,
            "cursor_invalid",
            [query_fault("cursor", "cursor", message)],
        )

    @pytest.mark.parametrize("text", ["", "a%20b", "%F0%9F%93%9A", "a%2Fb"])
    def test_what_no_cursor_looks_like_breaks_the_contract(self, ask: Ask, text: str) -> None:
        status, code, details = ask("GET", f"/api/posts?cursor={text}").problem

        assert (status, code) == (400, "invalid_request")
        assert {entry["pointer"] for entry in details} == {"/cursor"}


class TestPaths:
    @pytest.mark.parametrize(
        ("segment", "rule"),
        [
            ("a%2Fb", "format"),
            (f"..%2Fposts%2F{UNKNOWN}", "maxLength format"),
            ("..", "format"),
            ("%2e%2e", "format"),
            (f"{UNKNOWN}%2F", "maxLength format"),
            (f"{UNKNOWN}%20", "maxLength format"),
            (UNKNOWN.replace("-", ""), "format"),
            ("1", "format"),
            ("null", "format"),
            ("%zz", "encoding"),
            ("%", "encoding"),
            ("%2", "encoding"),
            ("%ff", "encoding"),
            ("%ed%a0%80", "encoding"),
            ("%c0%af", "encoding"),
            (f"{UNKNOWN}%00", "encoding"),
        ],
    )
    def test_an_id_that_is_none(self, ask: Ask, segment: str, rule: str) -> None:
        status, code, details = ask("GET", f"/api/posts/{segment}").problem

        assert (status, code) == (400, "invalid_request")
        assert [(entry["in"], entry["pointer"]) for entry in details] == [
            ("path", "/post_id") for _ in details
        ]
        assert " ".join(entry["rule"] for entry in details) == rule

    @pytest.mark.parametrize(
        "target",
        [
            "/api/posts/",
            "/api//posts",
            "//api/posts",
            f"/api/posts//{UNKNOWN}",
            f"/api/posts/{UNKNOWN}/",
            f"/api/posts/a/{UNKNOWN}",
            "/api%2Fposts",
            "/API/posts",
            "/api/posts;v=1",
            "/nowhere",
        ],
    )
    def test_a_path_that_is_none(self, ask: Ask, target: str) -> None:
        reply = ask("GET", target)

        assert reply.problem == (404, "not_found", [])
        assert reply.body["instance"] == target

    def test_what_is_no_uri_is_no_request(self, ask: Ask) -> None:
        assert ask("GET", b"/api/posts/\xff").status == 400

    @pytest.mark.parametrize(
        ("target", "name"),
        [
            ("/api/books/isbn:", "book_id"),
            ("/api/books/isbn:abc", "book_id"),
            ("/api/books/ISBN:9780441478125", "book_id"),
            ("/api/books/isbn:9780441478125%2Fcopies", "book_id"),
            ("/api/branches/code:", "branch_id"),
            ("/api/branches/code:Central", "branch_id"),
            ("/api/branches/code:a%2Fb", "branch_id"),
            ("/api/copies/barcode:", "copy_id"),
            ("/api/copies/barcode:a%2Fb", "copy_id"),
            ("/api/copies/barcode:%20", "copy_id"),
        ],
    )
    def test_a_natural_key_that_is_none(self, ask: Ask, target: str, name: str) -> None:
        status, code, details = ask("GET", target).problem

        assert (status, code) == (400, "invalid_request")
        assert {(entry["in"], entry["pointer"]) for entry in details} == {("path", f"/{name}")}

    def test_a_colon_may_be_encoded(self, ask: Ask) -> None:
        assert ask("GET", "/api/books/isbn%3A9780441478125").problem == (404, "not_found", [])


class TestIsbns:
    WRONG, RIGHT = "9780441478120", "9780441478125"
    HELP = "The check digit is right here; see whether this is the book that was meant."

    def fault(self, place: str, pointer: str, text: str, **allowed: str) -> dict[str, Any]:
        message = f"'{text}' {'has a wrong check digit' if allowed else 'is not an ISBN'}"
        return {"in": place, "pointer": pointer, "rule": "isbn", "message": message, **allowed}

    @pytest.mark.parametrize("text", [WRONG, "978-0-441-47812-0", "0441478120"])
    def test_a_wrong_check_digit_in_a_path(self, ask: Ask, text: str) -> None:
        reply = ask("GET", f"/api/books/isbn:{text}")

        fault = self.fault("path", "/book_id", text, allowed=self.RIGHT)
        assert reply.problem == (422, "isbn_invalid", [fault])
        assert reply.body["suggestions"] == [
            {
                "operation_id": "get_book",
                "parameters": {"book_id": f"isbn:{self.RIGHT}"},
                "reason": self.HELP,
            }
        ]

    @pytest.mark.parametrize(
        ("target", "operation_id"),
        [("/api/books", "list_books"), ("/api/books/facets", "get_book_facets")],
    )
    def test_a_wrong_check_digit_in_a_query(self, ask: Ask, target: str, operation_id: str) -> None:
        reply = ask("GET", f"{target}?isbn={self.WRONG}")

        fault = self.fault("query", "/isbn", self.WRONG, allowed=self.RIGHT)
        assert reply.problem == (422, "isbn_invalid", [fault])
        assert reply.body["suggestions"] == [
            {
                "operation_id": operation_id,
                "parameters": {"isbn": self.RIGHT},
                "reason": self.HELP,
            }
        ]

    def test_every_wrong_one_in_a_body(self, ask: Ask) -> None:
        isbns = [self.WRONG, "978-0-441-47812-5", "1234567890128"]
        body = json.dumps({"title": "A book", "isbns": isbns}).encode()

        reply = ask("POST", "/api/books", JSON, body)

        assert reply.problem == (
            422,
            "book_invalid",
            [
                self.fault("body", "/isbns/0", self.WRONG, allowed=self.RIGHT),
                self.fault("body", "/isbns/2", "1234567890128"),
            ],
        )
