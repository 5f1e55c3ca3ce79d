from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from circdesk.contract.answers import (
    Answer,
    ContractBroken,
    Stream,
    make_answer,
    problem_answer,
    raw_header_fields,
    to_json,
)
from circdesk.contract.compiling import compile_operation
from circdesk.contract.operations import Operation
from circdesk.contract.representations import Representation
from circdesk.contract.requests import InternalError, NotFound
from circdesk.contract.schemas import Schemas

DOCUMENT: Any = {
    "paths": {
        "/a": {
            "get": {
                "operationId": "get_a",
                "tags": ["a"],
                "responses": {
                    "200": {
                        "headers": {
                            "X-Request-Id": {"required": True, "schema": {"type": "string"}},
                            "X-Count": {"schema": {"type": "integer", "maximum": 9}},
                        },
                        "content": {
                            "application/json": {
                                "schema": {
                                    "type": "object",
                                    "required": ["id"],
                                    "additionalProperties": False,
                                    "properties": {
                                        "id": {"type": "string", "format": "uuid"},
                                        "at": {"type": "string", "format": "date-time"},
                                        "size": {"type": "number"},
                                    },
                                }
                            },
                            "text/csv": {"schema": {}},
                        },
                    },
                    "201": {
                        "headers": {"Location": {"required": True, "schema": {"type": "string"}}},
                        "content": {"application/json": {"schema": {}}},
                    },
                    "204": {},
                    "304": {"headers": {"ETag": {"schema": {}}, "Cache-Control": {"schema": {}}}},
                    "404": {
                        "content": {
                            "application/problem+json": {
                                "schema": {"properties": {"code": {"enum": ["not_found"]}}}
                            }
                        }
                    },
                },
            }
        }
    }
}
ID = "0198f2a0-0000-7000-8000-000000000000"
BODY = {"id": UUID(ID)}
JSON = b'{"id":"0198f2a0-0000-7000-8000-000000000000"}'


@pytest.fixture(scope="module")
def operation() -> Operation:
    return compile_operation(DOCUMENT, "/a", "get", Schemas(DOCUMENT))


class TestMakeAnswer:
    @pytest.mark.parametrize(
        ("returned", "answer"),
        [
            pytest.param(BODY, Answer(200, "application/json", JSON), id="a body"),
            pytest.param((BODY, 200), Answer(200, "application/json", JSON), id="a status"),
            pytest.param(
                (BODY, 200, {"X-Count": "9"}),
                Answer(200, "application/json", JSON, {"X-Count": "9"}),
                id="headers",
            ),
            pytest.param(
                ({}, 201, {"location": "/b"}),
                Answer(201, "application/json", b"{}", {"location": "/b"}),
                id="a required header in another case",
            ),
            pytest.param((None, 204), Answer(204, None, b""), id="no content"),
        ],
    )
    def test_what_a_handler_returns_becomes_an_answer(
        self, operation: Operation, returned: Any, answer: Answer
    ) -> None:
        assert make_answer(operation, returned) == answer

    def test_a_stream_is_handed_on_unread(self, operation: Operation) -> None:
        chunks = iter([b"a", b"b"])
        answer = make_answer(operation, Stream("text/csv", chunks))
        assert answer == Answer(200, "text/csv", chunks)
        assert [*chunks] == [b"a", b"b"]

    def test_a_representation_answers_with_its_own_headers(self) -> None:
        page = Representation(b"{}", "application/json; charset=utf-8", "no-cache")
        document: Any = {"paths": {"/a": {"get": {**DOCUMENT["paths"]["/a"]["get"]}}}}
        headers: Any = {"ETag": {"schema": {}}, "Cache-Control": {"schema": {}}}
        document["paths"]["/a"]["get"]["responses"] = {
            "200": {
                "headers": headers,
                "content": {"application/json": {"schema": {"type": "array"}}},
            },
            "304": {"headers": headers},
        }
        operation = compile_operation(document, "/a", "get", Schemas(document))
        answer = make_answer(operation, page)
        assert (answer.status, answer.media_type, answer.body) == (200, "application/json", b"{}")
        assert {*answer.headers} == {"etag", "cache-control"}
        unchanged = make_answer(operation, page, lambda: {"if-none-match": answer.headers["etag"]})
        assert unchanged == Answer(304, None, b"", answer.headers)

    @pytest.mark.parametrize(
        ("returned", "message"),
        [
            pytest.param(({}, 202), "get_a 202: the status is not declared", id="a status"),
            pytest.param(None, "get_a 200: a body is declared and none was made", id="no body"),
            pytest.param(
                ({}, 204), "get_a 204: application/json is not declared", id="a body too much"
            ),
            pytest.param(
                Stream("text/html", []), "get_a 200: text/html is not declared", id="a media type"
            ),
            pytest.param(
                {"x": 1},
                "get_a 200: body /x additionalProperties: the property is unknown;"
                " body /id required: a value is missing",
                id="a body",
            ),
            pytest.param(
                {"id": "x"}, 'get_a 200: body /id format: the value is not a "uuid"', id="a format"
            ),
            pytest.param(
                {"id": ID, "at": datetime(2026, 1, 1)},  # noqa: DTZ001  It is what must not leave.
                'get_a 200: body /at format: the value is not a "date-time"',
                id="a time without zone",
            ),
            pytest.param(
                {"id": ID, "size": float("nan")},
                'get_a 200: body /size type: the value is not of type "number"',
                id="NaN",
            ),
            pytest.param(
                (BODY, 200, {"X-Other": "1"}),
                "get_a 200: header /x-other unknown: the header parameter is unknown",
                id="a header",
            ),
            pytest.param(
                (BODY, 200, {"X-Count": "10"}),
                "get_a 200: header /X-Count maximum: the value is greater than the maximum of 9",
                id="the value of a header",
            ),
            pytest.param(
                ({}, 201),
                "get_a 201: header /Location required: a value is missing",
                id="a header missing",
            ),
        ],
    )
    def test_what_the_contract_does_not_allow_does_not_leave(
        self, operation: Operation, returned: Any, message: str
    ) -> None:
        with pytest.raises(ContractBroken) as caught:
            make_answer(operation, returned)
        assert str(caught.value) == message

    def test_a_lone_surrogate_does_not_leave(self, operation: Operation) -> None:
        with pytest.raises(TypeError):
            make_answer(operation, {"id": "\ud800"})


class TestProblemAnswer:
    def test_a_declared_problem_is_an_answer(self, operation: Operation) -> None:
        answer = problem_answer(operation, NotFound("No a."), instance="/a", request_id="r")
        assert answer == Answer(
            404,
            "application/problem+json",
            b'{"type":"/problems/not_found","title":"There is nothing here.","status":404,'
            b'"instance":"/a","request_id":"r","code":"not_found","message":"No a.","details":[]}',
            {},
        )

    def test_an_undeclared_one_breaks_the_contract(self, operation: Operation) -> None:
        problem = NotFound("No a.", headers={"Retry-After": "1"})
        with pytest.raises(ContractBroken) as caught:
            problem_answer(operation, problem, instance="/a", request_id="r")
        assert str(caught.value) == (
            "get_a 404: header /retry-after unknown: the header parameter is unknown"
        )

    @pytest.mark.parametrize("known", [True, False])
    def test_an_internal_error_is_always_one(self, operation: Operation, *, known: bool) -> None:
        problem = InternalError("Something broke.")
        answer = problem_answer(
            operation if known else None, problem, instance="/a", request_id="r"
        )
        assert (answer.status, answer.media_type) == (500, "application/problem+json")


def test_json_has_times_in_utc_with_z() -> None:
    value = {"at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "id": UUID(ID), "ä": None}
    assert to_json(value) == (
        b'{"at":"2026-01-02T03:04:05Z","id":"0198f2a0-0000-7000-8000-000000000000","'
        + "ä".encode()
        + b'":null}'
    )


class TestRawHeaderFields:
    def test_a_whole_body_has_its_length(self) -> None:
        assert raw_header_fields(Answer(200, "text/plain", b"abc", {"ETag": '"1"'})) == [
            (b"etag", b'"1"'),
            (b"content-type", b"text/plain"),
            (b"content-length", b"3"),
        ]

    @pytest.mark.parametrize("status", [204, 304])
    def test_what_never_has_a_body_has_no_length(self, status: int) -> None:
        assert raw_header_fields(Answer(status, None, b"")) == []

    def test_a_stream_has_none(self) -> None:
        assert raw_header_fields(Answer(200, "text/csv", iter([b"a"]))) == [
            (b"content-type", b"text/csv")
        ]

    @pytest.mark.parametrize("value", ["a\nX-Other: b", "a\rb"])
    def test_no_header_becomes_two(self, value: str) -> None:
        with pytest.raises(ValueError, match="a line break in a header"):
            raw_header_fields(Answer(200, None, b"", {"X-One": value}))


@pytest.mark.parametrize(("name", "has"), [("ETag", True), ("Age", True), ("Vary", False)])
def test_a_header_is_found_in_both_spellings(name: str, *, has: bool) -> None:
    answer = Answer(200, None, b"", {"ETag": '"1"', "age": "1"})
    assert answer.has_header(name) is has
