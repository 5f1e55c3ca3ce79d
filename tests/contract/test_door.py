import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from circdesk.contract.bridge import BODY
from circdesk.contract.contract import Contract
from circdesk.contract.documents import Bundle
from circdesk.contract.door import Call, Door, Limits
from circdesk.contract.environ import CALL
from circdesk.contract.forms import LONGEST_FORM, FormRequest, Reply, WebPage
from circdesk.contract.headers import RawHeaders
from circdesk.contract.operations import Operation
from circdesk.contract.problems import Problem
from circdesk.contract.representations import Representation
from circdesk.contract.requests import NotFound, Overloaded

Ask = Callable[..., Any]
Serve = Callable[[ASGIApp], AbstractContextManager[Callable[[], socket.socket]]]


class Unknown(NotFound):
    """Not registered, having no code of its own."""

    status = 401


JSON_ANSWER: Any = {"200": {"content": {"application/json": {"schema": {}}}}}
PEAR: Any = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "maxLength": 5},
        "weight": {"type": "integer", "maximum": 999, "default": 100},
        "inner": {},
    },
}
DOCUMENT: Any = {
    "paths": {
        "/pears": {
            "get": {
                "operationId": "list_pears",
                "tags": ["fruit"],
                "parameters": [
                    {"name": "q", "in": "query", "schema": {"type": "string", "maxLength": 5}},
                    {"name": "page", "in": "query", "schema": {"type": "integer", "default": 1}},
                    {"name": "If-Match", "in": "header", "schema": {"type": "string"}},
                ],
                "responses": {
                    "200": {
                        "content": {"application/json": {"schema": {}}, "text/csv": {"schema": {}}}
                    }
                },
            },
            "post": {
                "operationId": "create_pear",
                "tags": ["fruit"],
                "security": [{"key": []}],
                "parameters": [{"name": "dry", "in": "query", "schema": {"type": "boolean"}}],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {"schema": PEAR},
                        "text/csv": {"schema": {"type": "string"}},
                    },
                },
                "responses": {"201": {"content": {"application/json": {"schema": {}}}}},
            },
        },
        "/pears/{pear_id}": {
            "parameters": [
                {
                    "name": "pear_id",
                    "in": "path",
                    "required": True,
                    "schema": {"type": "string", "maxLength": 9},
                }
            ],
            "get": {"operationId": "get_pear", "tags": ["fruit"], "responses": JSON_ANSWER},
            "delete": {
                "operationId": "delete_pear",
                "tags": ["fruit"],
                "requestBody": {"content": {"application/json": {"schema": PEAR}}},
                "responses": {"204": {}},
            },
        },
        "/plant": {
            "post": {
                "operationId": "plant_tree",
                "tags": ["fruit"],
                "security": [],
                "x-lenient": True,
                "requestBody": {
                    "required": True,
                    "content": {"application/x-www-form-urlencoded": {"schema": PEAR}},
                },
                "responses": JSON_ANSWER,
            },
        },
    }
}
HELP = Representation(b"<p>Help</p>", "text/html; charset=utf-8", "no-cache")


def show(_form: FormRequest) -> Reply:
    return Reply(200, {"Content-Type": "text/html"})


READ_MAP = WebPage("read_map", "GET", "/map", show)
SEND_MAP = WebPage("send_map", "POST", "/map", show)


class Inside:
    """What stands behind the door, and remembers the call that came through."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.scope: Scope = {}

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        if self.error is not None:
            raise self.error
        self.scope = scope
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"in"})

    @property
    def call(self) -> Call:
        call = self.scope[CALL]
        assert isinstance(call, Call)
        return call

    @property
    def operation_id(self) -> str:
        operation = self.call.operation
        assert operation is not None
        return operation.operation_id


async def authenticate(
    target: Operation | WebPage, _scope: Scope, headers: RawHeaders
) -> str | None:
    if isinstance(target, WebPage):
        return headers.get(b"cookie", b"nobody").decode()
    if not target.security:
        return None
    if headers.get(b"x-api-key") != b"good":
        raise Unknown("Who is there?", headers={"WWW-Authenticate": "ApiKey"})
    return "admin"


async def refuse(
    _scope: Scope, _receive: Receive, send: Send, problem: Problem, operation: Operation | None
) -> None:
    body = {
        "status": problem.status,
        "code": problem.code,
        "message": problem.message,
        "details": problem.details,
        "operation": operation and operation.operation_id,
    }
    headers = [(name.encode(), value.encode()) for name, value in problem.headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


class House(NamedTuple):
    door: Door
    inside: Inside


@pytest.fixture
def house() -> House:
    return make_house()


def make_house(*, error: Exception | None = None, seconds: float = 10) -> House:
    inside = Inside(error)
    door = Door(
        inside,
        contract=Contract(Bundle(DOCUMENT, dict.fromkeys(DOCUMENT["paths"], "openapi.yaml"))),
        documents={"/help": HELP},
        pages=[READ_MAP, SEND_MAP],
        authenticate=authenticate,
        refuse=refuse,
        limits=Limits(body_bytes=10_000, stream_bytes=100_000, body_seconds=seconds),
    )
    return House(door, inside)


KEY = (b"x-api-key", b"good")
JSON = (b"content-type", b"application/json")


def fault(
    place: str, pointer: str, rule: str, message: str, allowed: object = None
) -> dict[str, Any]:
    entry = {"in": place, "pointer": pointer, "rule": rule, "message": message}
    return entry if allowed is None else {**entry, "allowed": allowed}


def refusal(
    status: int, code: str, message: str, *details: Any, operation: str | None = None
) -> dict[str, Any]:
    return {
        "status": status,
        "code": code,
        "message": message,
        "details": [*details],
        "operation": operation,
    }


def length(body: bytes) -> tuple[bytes, bytes]:
    return (b"content-length", str(len(body)).encode())


class TestRouting:
    def test_a_request_is_let_in_with_its_checked_call(self, house: House, ask: Ask) -> None:
        headers = [(b"if-match", b'"a"'), (b"if-match", b'"b"'), (b"x-other", b"?")]
        assert ask(house.door, "GET", b"/pears?q=a%20b", headers=headers) == (200, {}, b"in")
        assert house.inside.call == Call(
            target=house.inside.call.target,
            arguments={"q": "a b", "page": 1, "if_match": '"a", "b"'},
            visit=None,
            media_type=None,
        )
        assert house.inside.operation_id == "list_pears"
        assert house.inside.scope[BODY] == b""

    def test_head_is_let_in_as_get(self, house: House, ask: Ask) -> None:
        assert ask(house.door, "HEAD", b"/pears").status == 200
        assert house.inside.operation_id == "list_pears"

    @pytest.mark.parametrize(
        ("path", "pear_id"),
        [
            pytest.param(b"/pears/a%2Fb", "a/b", id="an encoded slash"),
            pytest.param(b"/pears/%C3%A4", "ä", id="UTF-8"),
            pytest.param("/pears/ä".encode(), "ä", id="raw UTF-8"),
            pytest.param(b"/pears/a+b", "a+b", id="a plus sign"),
            pytest.param(b"/pears/%252F", "%2F", id="a percent sign"),
            pytest.param(b"/pears/..", "..", id="dots"),
            pytest.param(b"/pears/isbn:1", "isbn:1", id="a natural key"),
        ],
    )
    def test_a_segment_is_decoded_once(
        self, house: House, ask: Ask, path: bytes, pear_id: str
    ) -> None:
        assert ask(house.door, "GET", path).status == 200
        assert house.inside.call.arguments == {"pear_id": pear_id}

    @pytest.mark.parametrize(
        "path",
        [b"/", b"/plums", b"/pears/", b"//pears", b"/pears/a/b", b"/pears%2Fa", b"*", b"/\xff"],
    )
    @pytest.mark.parametrize("method", ["GET", "OPTIONS", "BREW"])
    def test_what_is_not_there_is_404(
        self, house: House, ask: Ask, path: bytes, method: str
    ) -> None:
        reply = ask(house.door, method, path)
        assert reply.json == refusal(404, "not_found", "No resource has this path.")

    @pytest.mark.parametrize(
        ("path", "method", "allow"),
        [
            (b"/pears", "PUT", "GET, HEAD, OPTIONS, POST"),
            (b"/pears", "get", "GET, HEAD, OPTIONS, POST"),
            (b"/pears/1", "POST", "DELETE, GET, HEAD, OPTIONS"),
            (b"/pears/1", "TRACE", "DELETE, GET, HEAD, OPTIONS"),
            (b"/help", "POST", "GET, HEAD, OPTIONS"),
            (b"/map", "PUT", "GET, HEAD, OPTIONS, POST"),
        ],
    )
    def test_another_method_is_405_with_a_complete_allow(
        self, house: House, ask: Ask, path: bytes, method: str, allow: str
    ) -> None:
        reply = ask(house.door, method, path)
        assert reply.headers == {"Allow": allow}
        assert reply.json == refusal(405, "method_not_allowed", f"This path takes {allow}.")

    @pytest.mark.parametrize(
        ("path", "allow"),
        [
            (b"/pears", "GET, HEAD, OPTIONS, POST"),
            (b"/help", "GET, HEAD, OPTIONS"),
            (b"/map", "GET, HEAD, OPTIONS, POST"),
        ],
    )
    def test_options_is_answered_with_allow(
        self, house: House, ask: Ask, path: bytes, allow: str
    ) -> None:
        assert ask(house.door, "OPTIONS", path) == (204, {"allow": allow}, b"")

    def test_a_document_outside_the_contract_is_answered(self, house: House, ask: Ask) -> None:
        reply = ask(house.door, "GET", b"/help")
        assert (reply.status, reply.headers["content-type"], reply.body) == (
            200,
            "text/html; charset=utf-8",
            b"<p>Help</p>",
        )
        head = ask(house.door, "HEAD", b"/help")
        assert head == (200, reply.headers, b"")
        unchanged = ask(
            house.door,
            "GET",
            b"/help",
            headers=[(b"if-none-match", reply.headers["etag"].encode())],
        )
        assert (unchanged.status, unchanged.body) == (304, b"")

    def test_a_websocket_is_closed(self, house: House) -> None:
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "websocket.connect"}

        async def send(message: Message) -> None:
            sent.append(message)

        asyncio.run(house.door({"type": "websocket"}, receive, send))
        assert sent == [{"type": "websocket.close"}]

    def test_the_lifespan_passes(self, house: House, ask: Ask) -> None:
        assert ask(house.door, scope={"type": "lifespan"}).body == b"in"
        assert house.inside.scope["type"] == "lifespan"

    def test_a_problem_from_inside_is_refused_like_any_other(self, ask: Ask) -> None:
        house = make_house(error=Overloaded("Full.", headers={"Retry-After": "1"}))
        reply = ask(house.door, "GET", b"/pears")
        assert reply.headers == {"Retry-After": "1"}
        assert reply.json == refusal(503, "overloaded", "Full.", operation="list_pears")

    def test_an_error_from_inside_goes_out(self, ask: Ask) -> None:
        with pytest.raises(LookupError):
            ask(make_house(error=LookupError()).door, "GET", b"/pears")


class TestCredentials:
    def post(self, ask: Ask, *headers: tuple[bytes, bytes], query: bytes = b"") -> Any:
        house = make_house()
        body = b'{"name": "a"}'
        target = b"/pears" + query
        more = [JSON, length(body), *headers]
        reply = ask(house.door, "POST", target, headers=more, pieces=[body])
        return house.inside.call.visit if reply.status == 200 else reply.json

    def test_who_is_known_is_the_caller(self, ask: Ask) -> None:
        assert self.post(ask, KEY) == "admin"

    @pytest.mark.parametrize(
        "headers",
        [
            pytest.param([], id="none"),
            pytest.param([(b"x-api-key", b"bad")], id="a bad one"),
            pytest.param([KEY, (b"x-api-key", b"bad")], id="a good one and then a bad one"),
            pytest.param([(b"x-api-key", b"bad"), KEY], id="a bad one and then a good one"),
            pytest.param([(b"x_api_key", b"good")], id="one with underscores"),
        ],
    )
    def test_who_is_not_hears_nothing_else(
        self, ask: Ask, headers: list[tuple[bytes, bytes]]
    ) -> None:
        assert self.post(ask, *headers, query=b"?unknown=1") == refusal(
            401, "not_found", "Who is there?", operation="create_pear"
        )


class TestAccept:
    @pytest.mark.parametrize(
        "accept",
        [
            pytest.param([], id="nothing"),
            pytest.param([b""], id="an empty header"),
            pytest.param([b"*/*"], id="anything"),
            pytest.param([b"*/*;q=0.1"], id="anything, without joy"),
            pytest.param([b"application/json"], id="the media type"),
            pytest.param(
                [b"Application/JSON; charset=utf-8"], id="in another case, with a charset"
            ),
            pytest.param([b"text/html, application/*;q=0.001"], id="its kind"),
            pytest.param([b"text/*"], id="the kind of another that is offered"),
            pytest.param([b"text/html;q=0, */*"], id="anything but another"),
            pytest.param([b"text/html", b"application/json"], id="in a second header"),
            pytest.param([b"application/json;q=0, */*"], id="anything but one of the two"),
        ],
    )
    def test_what_fits_is_let_in(self, house: House, ask: Ask, accept: list[bytes]) -> None:
        headers = [(b"accept", value) for value in accept]
        assert ask(house.door, "GET", b"/pears", headers=headers).status == 200

    @pytest.mark.parametrize(
        "accept",
        [
            pytest.param(b"text/html", id="another"),
            pytest.param(b"image/*", id="another kind"),
            pytest.param(b"*/*;q=0", id="nothing at all"),
            pytest.param(b"*/*; q=0.000, image/png", id="nothing but another"),
            pytest.param(b"application/json;q=0, text/*;q=0.0, */*", id="anything but both"),
            pytest.param(b"json", id="no media type"),
            pytest.param(b";;,,;q=,=", id="rubbish"),
        ],
    )
    def test_what_does_not_is_406(self, house: House, ask: Ask, accept: bytes) -> None:
        reply = ask(house.door, "GET", b"/pears", headers=[(b"accept", accept)])
        message = "The answer can be application/json or text/csv."
        allowed = ["application/json", "text/csv"]
        assert reply.json == refusal(
            406,
            "not_acceptable",
            message,
            fault("header", "/Accept", "media_type", message, allowed),
            operation="list_pears",
        )

    def test_an_operation_without_content_takes_any(self, house: House, ask: Ask) -> None:
        headers = [(b"accept", b"image/png")]
        assert ask(house.door, "DELETE", b"/pears/1", headers=headers).status == 200


class TestParameters:
    @pytest.mark.parametrize(
        ("target", "details"),
        [
            pytest.param(
                b"/pears?x=1",
                [fault("query", "/x", "unknown", "the query parameter is unknown", ["q", "page"])],
                id="unknown",
            ),
            pytest.param(
                b"/pears?q=1&q=2",
                [fault("query", "/q", "repeated", "the parameter stands more than once")],
                id="repeated",
            ),
            pytest.param(
                b"/pears?page=1.0",
                [
                    fault(
                        "query", "/page", "type", 'the value is not of type "integer"', ["integer"]
                    )
                ],
                id="a float for an integer",
            ),
            pytest.param(
                b"/pears?page=99999999999999999999",
                [
                    fault(
                        "query", "/page", "type", 'the value is not of type "integer"', ["integer"]
                    )
                ],
                id="an integer beyond 64 bits",
            ),
            pytest.param(
                b"/pears?q=%ED%A0%80",
                [fault("query", "", "encoding", "the query cannot be decoded: it is not UTF-8")],
                id="a lone surrogate",
            ),
            pytest.param(
                b"/pears?q=%00",
                [fault("query", "", "encoding", "the query cannot be decoded: a NUL character")],
                id="NUL",
            ),
            pytest.param(
                b"/pears/%FF?x=1",
                [
                    fault(
                        "path",
                        "/pear_id",
                        "encoding",
                        "the segment cannot be decoded as UTF-8 without NUL",
                    ),
                    fault("query", "/x", "unknown", "the query parameter is unknown", []),
                ],
                id="a path that is not UTF-8, and more",
            ),
            pytest.param(
                b"/pears/%zz",
                [
                    fault(
                        "path",
                        "/pear_id",
                        "encoding",
                        "the segment cannot be decoded as UTF-8 without NUL",
                    )
                ],
                id="a broken escape in the path",
            ),
            pytest.param(
                b"/pears/1234567890",
                [
                    fault(
                        "path", "/pear_id", "maxLength", "the value is longer than 9 characters", 9
                    )
                ],
                id="a path parameter too long",
            ),
        ],
    )
    def test_each_fault_is_told(
        self, house: House, ask: Ask, target: bytes, details: list[dict[str, Any]]
    ) -> None:
        reply = ask(house.door, "GET", target)
        count = "1 fault" if len(details) == 1 else f"{len(details)} faults"
        assert (reply.status, reply.json["message"]) == (400, f"The request has {count}.")
        assert (reply.json["code"], reply.json["details"]) == ("invalid_request", details)

    def test_of_very_many_faults_the_first_are_told(self, house: House, ask: Ask) -> None:
        query = b"&".join(b"x%d=" % number for number in range(1000))
        reply = ask(house.door, "GET", b"/pears?" + query)
        assert reply.json["message"] == "The request has 1000 faults."
        assert [f["pointer"] for f in reply.json["details"]] == [f"/x{n}" for n in range(100)]


def post(
    house: House,
    ask: Ask,
    body: bytes,
    *headers: tuple[bytes, bytes],
    target: bytes = b"/pears",
    method: str = "POST",
    pieces: list[bytes] | None = None,
) -> Any:
    return ask(house.door, method, target, headers=[KEY, *headers], pieces=pieces or [body])


class TestJsonBodies:
    @pytest.mark.parametrize(
        "content_type",
        [
            b"application/json",
            b"Application/JSON",
            b"application/json; charset=UTF-8",
            b'application/json;charset="utf-8"',
        ],
    )
    def test_a_body_is_read_checked_and_filled_in(
        self, house: House, ask: Ask, content_type: bytes
    ) -> None:
        body = b'{"name": "ab", "inner": 1.0}'
        reply = post(house, ask, body, (b"content-type", content_type), length(body))
        assert reply.status == 200
        assert house.inside.call.arguments == {
            "dry": None,
            "body": {"name": "ab", "weight": 100, "inner": 1},
        }
        assert house.inside.call.media_type == "application/json"
        assert house.inside.call.visit == "admin"
        assert house.inside.scope[BODY] == body

    def test_an_integer_may_be_written_as_a_float_and_is_an_int(
        self, house: House, ask: Ask
    ) -> None:
        body = b'{"name": "ab", "weight": 5.0}'
        assert post(house, ask, body, JSON, length(body)).status == 200
        weight = house.inside.call.arguments["body"]["weight"]
        assert (weight, type(weight)) == (5, int)

    def test_a_body_may_come_in_chunks(self, house: House, ask: Ask) -> None:
        pieces = [b'{"na', b"", b'me": "ab"}', b""]
        chunked = (b"transfer-encoding", b"chunked")
        assert post(house, ask, b"", JSON, chunked, pieces=pieces).status == 200
        assert house.inside.scope[BODY] == b'{"name": "ab"}'

    @pytest.mark.parametrize(
        ("body", "details"),
        [
            pytest.param(
                b'{"name": "abcdef", "x/y": 1, "weight": 1e20}',
                [
                    fault("body", "/name", "maxLength", "the value is longer than 5 characters", 5),
                    fault(
                        "body",
                        "/weight",
                        "maximum",
                        "the value is greater than the maximum of 999",
                        999,
                    ),
                    fault("body", "/x~1y", "additionalProperties", "the property is unknown"),
                ],
                id="many faults",
            ),
            pytest.param(
                b"[]",
                [fault("body", "", "type", 'the value is not of type "object"', ["object"])],
                id="a list",
            ),
            pytest.param(
                b"null",
                [fault("body", "", "type", 'the value is not of type "object"', ["object"])],
                id="null",
            ),
            pytest.param(
                b'{"weight": 1.5}',
                [
                    fault("body", "/name", "required", "a value is missing"),
                    fault(
                        "body", "/weight", "type", 'the value is not of type "integer"', ["integer"]
                    ),
                ],
                id="a fraction for an integer",
            ),
        ],
    )
    def test_all_faults_are_told(
        self, house: House, ask: Ask, body: bytes, details: list[dict[str, Any]]
    ) -> None:
        reply = post(house, ask, body, JSON, length(body))
        assert (reply.status, reply.json["code"]) == (400, "invalid_request")
        assert sorted(reply.json["details"], key=lambda f: f["pointer"]) == details

    def test_faults_of_parameters_and_body_are_told_together(self, house: House, ask: Ask) -> None:
        reply = post(house, ask, b"{}", JSON, length(b"{}"), target=b"/pears?dry=x")
        assert reply.json == refusal(
            400,
            "invalid_request",
            "The request has 2 faults.",
            fault("query", "/dry", "type", 'the value is not of type "boolean"', ["boolean"]),
            fault("body", "/name", "required", "a value is missing"),
            operation="create_pear",
        )

    @pytest.mark.parametrize(
        ("body", "rule", "message"),
        [
            pytest.param(
                b'{"name": "a", "name": "a"}',
                "duplicate_key",
                "The body has an object with the same key twice.",
                id="a duplicate key",
            ),
            pytest.param(
                b'{"name": "\xed\xa0\x80"}', "encoding", "The body is not UTF-8.", id="CESU-8"
            ),
            pytest.param(
                b'{"name": "\\u0000"}',
                "character",
                "The body has a NUL or a lone surrogate in a string.",
                id="NUL",
            ),
            pytest.param(
                b'{"name": NaN}',
                "constant",
                "The body has NaN, which JSON does not know.",
                id="NaN",
            ),
            pytest.param(
                b"[" * 9999, "depth", "The body is nested deeper than 32.", id="a depth bomb"
            ),
            pytest.param(
                b" ",
                "syntax",
                "The body is not JSON: Expecting value at line 1, column 2.",
                id="a space",
            ),
        ],
    )
    def test_what_is_not_json_is_malformed_whatever_else_is_wrong(
        self, house: House, ask: Ask, body: bytes, rule: str, message: str
    ) -> None:
        reply = post(house, ask, body, JSON, length(body), target=b"/pears?dry=x")
        assert reply.json == refusal(
            400,
            "malformed_body",
            message,
            fault("query", "/dry", "type", 'the value is not of type "boolean"', ["boolean"]),
            fault("body", "", rule, message),
            operation="create_pear",
        )

    @pytest.mark.parametrize(
        "headers",
        [
            pytest.param([], id="nothing said of it"),
            pytest.param([JSON], id="a media type alone"),
            pytest.param([JSON, (b"content-length", b"0")], id="a length of zero"),
            pytest.param([JSON, (b"transfer-encoding", b"chunked")], id="no chunk"),
        ],
    )
    def test_a_missing_body_is_a_fault(
        self, house: House, ask: Ask, headers: list[tuple[bytes, bytes]]
    ) -> None:
        reply = post(house, ask, b"", *headers)
        assert reply.json == refusal(
            400,
            "invalid_request",
            "The request has 1 fault.",
            fault("body", "", "required", "the body is missing"),
            operation="create_pear",
        )

    def test_a_body_that_may_be_missing_is_none(self, house: House, ask: Ask) -> None:
        reply = post(house, ask, b"", target=b"/pears/1", method="DELETE")
        assert reply.status == 200
        assert house.inside.call.arguments == {"pear_id": "1", "body": None}

    def test_a_body_that_the_operation_does_not_know_is_ignored(
        self, house: House, ask: Ask
    ) -> None:
        reply = post(house, ask, b"{", length(b"{"), target=b"/pears/1", method="GET")
        assert reply.status == 200
        assert house.inside.scope[BODY] == b""

    @pytest.mark.parametrize(
        "headers",
        [
            pytest.param([], id="none"),
            pytest.param([(b"content-type", b"text/plain")], id="another"),
            pytest.param([(b"content-type", b"application/x-www-form-urlencoded")], id="a form"),
            pytest.param([(b"content-type", b"application/json; charset=latin-1")], id="a charset"),
            pytest.param([(b"content-type", b"application/json, text/csv")], id="two"),
            pytest.param([JSON, JSON], id="one twice"),
            pytest.param([JSON, (b"content-encoding", b"gzip")], id="compressed"),
            pytest.param([(b"content_type", b"application/json")], id="with an underscore"),
        ],
    )
    def test_a_media_type_that_is_not_taken_is_415(
        self, house: House, ask: Ask, headers: list[tuple[bytes, bytes]]
    ) -> None:
        body = b'{"name": "a"}'
        message = (
            "The body must be sent as application/json or text/csv, in UTF-8 and not compressed."
        )
        assert post(house, ask, body, *headers, length(body)).json == refusal(
            415,
            "unsupported_media_type",
            message,
            fault(
                "header", "/Content-Type", "media_type", message, ["application/json", "text/csv"]
            ),
            operation="create_pear",
        )


class TestSizes:
    TOO_LARGE = refusal(
        413,
        "content_too_large",
        "The body is longer than 10000 bytes.",
        fault("body", "", "size", "The body is longer than 10000 bytes.", 10_000),
        operation="create_pear",
    )

    @pytest.mark.parametrize(
        "announced", [b"10001", b"9" * 18, b"9" * 19, b"9" * 5000], ids=["1", "18", "19", "5000"]
    )
    def test_what_announces_too_much_is_not_read(
        self, house: House, ask: Ask, announced: bytes
    ) -> None:
        reply = post(house, ask, b"", JSON, (b"content-length", announced), pieces=[])
        assert reply.json == self.TOO_LARGE

    def test_what_is_too_much_is_not_read_to_its_end(self, house: House, ask: Ask) -> None:
        pieces = [b" " * 10_000, b" ", b"never read"]
        reply = post(house, ask, b"", JSON, (b"transfer-encoding", b"chunked"), pieces=pieces)
        assert reply.json == self.TOO_LARGE

    def test_just_the_limit_is_let_in(self, house: House, ask: Ask) -> None:
        body = b'{"name": "a"}'.ljust(10_000)
        assert post(house, ask, body, JSON, length(body)).status == 200


class TestStreamedBodies:
    CSV = (b"content-type", b"text/csv")

    def test_it_is_left_to_the_handler(self, house: House, ask: Ask) -> None:
        reply = post(house, ask, b"a", self.CSV, (b"content-length", b"100000"))
        assert reply.status == 200
        assert house.inside.call.arguments == {"dry": None, "body": None}
        assert house.inside.call.media_type == "text/csv"
        assert house.inside.scope[BODY] is None

    def test_what_announces_too_much_is_413(self, house: House, ask: Ask) -> None:
        reply = post(house, ask, b"a", self.CSV, (b"content-length", b"100001"))
        assert reply.json == refusal(
            413,
            "content_too_large",
            "The body is longer than 100000 bytes.",
            fault("body", "", "size", "The body is longer than 100000 bytes.", 100_000),
            operation="create_pear",
        )

    def test_a_missing_one_is_a_fault(self, house: House, ask: Ask) -> None:
        reply = post(house, ask, b"", self.CSV, (b"content-length", b"0"))
        assert reply.json["details"] == [fault("body", "", "required", "the body is missing")]


FORM = (b"content-type", b"application/x-www-form-urlencoded")


class TestForms:
    """Pages, and operations that read the request by rules of their own."""

    TOO_LARGE = fault("body", "", "size", "The body is longer than 65536 bytes.", LONGEST_FORM)

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_a_page_gets_the_request_as_it_was_sent_and_its_visit(
        self, house: House, ask: Ask, method: str
    ) -> None:
        headers = [(b"cookie", b"a=b"), (b"accept", b"image/png"), (b"x-name", b"\xe4")]
        assert ask(house.door, method, b"/map?a=1&a=%zz", headers=headers).status == 200
        text = {"cookie": "a=b", "accept": "image/png", "x-name": "ä"}
        form = FormRequest(method, "a=1&a=%zz", text, b"")
        assert house.inside.call == Call(READ_MAP, {"body": form}, "a=b")
        assert house.inside.call.operation is None

    def test_each_method_of_a_path_may_have_a_page(self, house: House, ask: Ask) -> None:
        headers = [FORM, length(b"a=b")]
        assert ask(house.door, "POST", b"/map", headers=headers, pieces=[b"a=b"]).status == 200
        assert house.inside.call.target is SEND_MAP
        assert house.inside.call.arguments["body"].body == b"a=b"
        assert house.inside.scope[BODY] == b"a=b"

    @pytest.mark.parametrize(
        ("query", "headers", "body"),
        [
            pytest.param(b"", [], b"", id="nothing"),
            pytest.param(b"a=1&a=2&unknown", [FORM], b"a=b&a=c", id="what is unknown or repeated"),
            pytest.param(b"", [JSON], b"{", id="another media type"),
            pytest.param(b"", [(b"accept", b"image/png")], b"\xff", id="what it cannot answer"),
        ],
    )
    def test_a_lenient_operation_reads_whatever_was_sent(
        self,
        house: House,
        ask: Ask,
        query: bytes,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
    ) -> None:
        headers = [*headers, length(body)]
        target = b"/plant?" + query
        assert ask(house.door, "POST", target, headers=headers, pieces=[body]).status == 200
        assert house.inside.operation_id == "plant_tree"
        text = {name.decode(): value.decode() for name, value in headers}
        form = FormRequest("POST", query.decode(), text, body)
        assert house.inside.call.arguments == {"body": form}
        assert house.inside.scope[BODY] == body

    @pytest.mark.parametrize(("path", "operation"), [(b"/plant", "plant_tree"), (b"/map", None)])
    @pytest.mark.parametrize(
        ("header", "pieces"),
        [
            pytest.param((b"content-length", b"65537"), [], id="announced"),
            pytest.param(
                (b"transfer-encoding", b"chunked"),
                [b"a" * LONGEST_FORM, b"a", b"never read"],
                id="in chunks",
            ),
        ],
    )
    def test_a_long_form_is_413_and_not_read_to_its_end(
        self,
        house: House,
        ask: Ask,
        path: bytes,
        operation: str | None,
        header: tuple[bytes, bytes],
        pieces: list[bytes],
    ) -> None:
        reply = ask(house.door, "POST", path, headers=[FORM, header], pieces=pieces)
        assert reply.json == refusal(
            413,
            "content_too_large",
            "The body is longer than 65536 bytes.",
            self.TOO_LARGE,
            operation=operation,
        )

    def test_just_the_limit_is_let_in(self, house: House, ask: Ask) -> None:
        body = b"a" * LONGEST_FORM
        reply = ask(house.door, "POST", b"/plant", headers=[FORM, length(body)], pieces=[body])
        assert reply.status == 200

    @pytest.mark.parametrize("path", [b"/plant", b"/map"])
    def test_a_form_that_does_not_arrive_in_time_is_408(
        self, connect: Callable[[House], socket.socket], path: bytes
    ) -> None:
        head = b"POST %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 9\r\n\r\n"
        with connect(make_house(seconds=0.1)) as client:
            client.sendall(head % path + b"a=")
            reply = b"".join(iter(lambda: client.recv(65536), b""))
        assert reply.startswith(b"HTTP/1.1 408 ")
        assert b"The body did not arrive in time." in reply


@pytest.fixture
def connect(serve: Serve) -> Iterator[Callable[[House], socket.socket]]:
    closing: list[AbstractContextManager[Any]] = []

    def connect_to(house: House) -> socket.socket:
        server = serve(house.door)
        closing.append(server)
        return server.__enter__()()

    yield connect_to
    for server in closing:
        server.__exit__(None, None, None)


class TestPeers:
    HEAD = (
        b"POST /pears HTTP/1.1\r\nHost: localhost\r\nX-API-Key: good\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: 13\r\n\r\n"
    )

    def test_a_body_that_does_not_arrive_in_time_is_408(
        self, connect: Callable[[House], socket.socket]
    ) -> None:
        with connect(make_house(seconds=0.1)) as client:
            client.sendall(self.HEAD + b'{"name":')
            reply = b"".join(iter(lambda: client.recv(65536), b""))
        status, _, body = reply.partition(b"\r\n\r\n")
        assert status.startswith(b"HTTP/1.1 408 ")
        assert b"The body did not arrive in time." in body

    def test_a_body_that_is_given_up_never_comes_in(self, house: House) -> None:
        body_and_end = [b'{"name":', b""]

        async def knock() -> list[Message]:
            sent: list[Message] = []

            async def receive() -> Message:
                if len(body_and_end) == 1:
                    return {"type": "http.disconnect"}
                return {"type": "http.request", "body": body_and_end.pop(0), "more_body": True}

            async def send(message: Message) -> None:
                sent.append(message)

            scope = {
                "type": "http",
                "method": "POST",
                "raw_path": b"/pears",
                "query_string": b"",
                "headers": [KEY, JSON, (b"content-length", b"13")],
            }
            await house.door(scope, receive, send)
            return sent

        sent = asyncio.run(knock())
        assert [message["type"] for message in sent] == [
            "http.response.start",
            "http.response.body",
        ]
        assert json.loads(sent[1]["body"])["message"] == "The connection closed too early."
        assert house.inside.scope == {}

    def test_a_good_body_comes_in_piece_by_piece(
        self, connect: Callable[[House], socket.socket]
    ) -> None:
        house = make_house()
        with connect(house) as client:
            client.sendall(self.HEAD + b'{"name":')
            client.sendall(b' "a"}')
            reply = b"".join(iter(lambda: client.recv(65536), b""))
        assert reply.endswith(b"in\r\n0\r\n\r\n")
        assert house.inside.call.arguments["body"] == {"name": "a", "weight": 100}


HOSTILE = {
    "many headers": [(b"x-%d" % number, b"") for number in range(50_000)],
    "one header many times": [(b"accept", b"a/b")] * 50_000,
    "a long accept": [(b"accept", b"a/b;q=0.5," * 30_000)],
    "a long media type": [(b"content-type", b"application/json" + b"; charset=" * 30_000)],
    "many weights": [(b"accept", b"a/b" + b";q=0." * 50_000)],
}


@pytest.mark.parametrize("headers", HOSTILE.values(), ids=HOSTILE)
def test_hostile_headers_take_no_long_time(
    house: House, ask: Ask, headers: list[tuple[bytes, bytes]]
) -> None:
    started = time.process_time()
    reply = post(house, ask, b"x", *headers, length(b"x"))
    assert reply.status in (400, 406, 415)
    assert time.process_time() - started < 1


def test_hostile_paths_and_queries_take_no_long_time(house: House, ask: Ask) -> None:
    started = time.process_time()
    assert ask(house.door, "GET", b"/pears" + b"/%61" * 100_000).status == 404
    assert ask(house.door, "GET", b"/pears/" + b"%61" * 100_000).status == 400
    assert ask(house.door, "GET", b"/pears?" + b"a&" * 150_000).status == 400
    assert ask(house.door, "GET", b"/pears?q=" + quote("ä" * 50_000).encode()).status == 400
    assert time.process_time() - started < 1
