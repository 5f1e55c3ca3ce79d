from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest

from circdesk.contract.documents import ContractError, find_operations
from circdesk.contract.operations import Operation, argument_name, compile_operation
from circdesk.contract.parameters import Faults
from circdesk.contract.schemas import Schemas

LOAN = {"$ref": "#/components/schemas/Loan"}
DOCUMENT: Any = {
    "security": [{"key": []}],
    "components": {
        "parameters": {
            "Page": {"name": "page", "in": "query", "schema": {"type": "integer", "default": 1}}
        },
        "requestBodies": {
            "Loan": {"required": True, "content": {"application/json": {"schema": LOAN}}}
        },
        "responses": {"Gone": {"content": {"application/problem+json": {"schema": {}}}}},
        "headers": {"Tag": {"required": True, "schema": {"type": "string", "maxLength": 3}}},
        "schemas": {
            "Loan": {
                "type": "object",
                "allOf": [{"$ref": "#/components/schemas/Term"}],
                "required": ["card"],
                "properties": {
                    "card": {"type": "string"},
                    "notes": {"type": "array", "items": {"type": "string"}, "default": []},
                    "nested": {"type": "object", "properties": {"x": {"default": 1}}},
                },
            },
            "Term": {
                "properties": {
                    "due": {"type": "string", "format": "date-time", "nullable": True},
                    "days": {"type": "integer", "default": 28},
                }
            },
        },
    },
    "paths": {
        "/loans/{loan_id}": {
            "parameters": [
                {"name": "loan_id", "in": "path", "required": True, "schema": {"type": "string"}},
                {"name": "sort", "in": "query", "required": True, "schema": {"type": "string"}},
            ],
            "get": {
                "operationId": "get_loan",
                "tags": ["loans"],
                "security": [{}],
                "parameters": [
                    {"$ref": "#/components/parameters/Page"},
                    {"name": "sort", "in": "query", "schema": {"type": "string"}},
                    {"name": "If-None-Match", "in": "header", "schema": {"type": "string"}},
                ],
                "responses": {
                    "200": {
                        "headers": {
                            "X-Request-Id": {"required": True, "schema": {"type": "string"}},
                            "ETag": {"$ref": "#/components/headers/Tag"},
                        },
                        "content": {"application/json": {"schema": {}}, "text/csv": {"schema": {}}},
                    },
                    "304": {"headers": {}},
                    "410": {"$ref": "#/components/responses/Gone"},
                },
            },
            "put": {
                "operationId": "replace_loan",
                "tags": ["loans"],
                "requestBody": {"$ref": "#/components/requestBodies/Loan"},
                "responses": {"303": {}, "404": {}},
            },
            "patch": {
                "operationId": "update_loan",
                "tags": ["loans"],
                "requestBody": {
                    "content": {
                        "application/merge-patch+json": {"schema": LOAN},
                        "text/csv": {},
                    }
                },
                "responses": {"200": {}},
            },
        }
    },
}  # fmt: skip


def compile_one(method: str) -> Operation:
    return compile_operation(DOCUMENT, "/loans/{loan_id}", method, Schemas(DOCUMENT))


class TestCompileOperation:
    def test_an_operation_knows_what_its_contract_says(self) -> None:
        operation = compile_one("get")
        assert {
            "operation_id": operation.operation_id,
            "tag": operation.tag,
            "method": operation.method,
            "path": operation.path,
            "security": operation.security,
            "arguments": operation.arguments,
            "body": operation.body,
            "success": operation.success,
            "produces": operation.produces,
            "safe": operation.safe,
            "responses": {status: [*r.checks] for status, r in operation.responses.items()},
        } == {
            "operation_id": "get_loan",
            "tag": "loans",
            "method": "GET",
            "path": "/loans/{loan_id}",
            "security": ({},),
            "arguments": {"loan_id", "page", "sort", "if_none_match"},
            "body": None,
            "success": 200,
            "produces": {"application/json", "text/csv"},
            "safe": True,
            "responses": {
                200: ["application/json", "text/csv"],
                304: [],
                410: ["application/problem+json"],
            },
        }

    def test_security_is_the_documents_where_the_operation_has_none(self) -> None:
        assert compile_one("put").security == ({"key": []},)

    def test_without_a_2xx_the_first_status_is_the_answer(self) -> None:
        operation = compile_one("put")
        assert (operation.success, operation.produces, operation.safe) == (
            303,
            frozenset(),
            False,
        )

    def test_an_operation_is_lenient_where_the_contract_says_so(self) -> None:
        document = deepcopy(DOCUMENT)
        document["paths"]["/loans/{loan_id}"]["put"]["x-lenient"] = True
        marked = compile_operation(document, "/loans/{loan_id}", "put", Schemas(document))
        assert (marked.lenient, compile_one("put").lenient) == (True, False)

    def test_a_post_only_reads_where_the_contract_says_so(self) -> None:
        document = deepcopy(DOCUMENT)
        document["paths"]["/loans/{loan_id}"]["put"]["x-safe"] = True
        marked = compile_operation(document, "/loans/{loan_id}", "put", Schemas(document))
        assert (marked.safe, compile_one("put").safe) == (True, False)

    @pytest.mark.parametrize("name", ["X-Request-Id", "X-Content-Type-Options", "Set-Cookie"])
    def test_headers_that_the_edge_adds_are_not_asked_of_a_handler(self, name: str) -> None:
        document = deepcopy(DOCUMENT)
        header = {"required": True, "schema": {"type": "string"}}
        responses = {"200": {"headers": {name: header, "Link": header}}}
        document["paths"]["/loans/{loan_id}"]["put"]["responses"] = responses
        operation = compile_operation(document, "/loans/{loan_id}", "put", Schemas(document))
        faults: Faults = []
        operation.responses[200].headers.read_headers({}, faults)
        assert [fault["pointer"] for fault in faults] == ["/Link"]

    def test_what_is_for_the_edge_is_no_argument_of_the_handler(self) -> None:
        document = deepcopy(DOCUMENT)
        key = {"x-edge": True, "schema": {"type": "string"}}
        document["paths"]["/loans/{loan_id}"]["put"]["parameters"] = [
            {"name": "Idempotency-Key", "in": "header", **key},
            {"name": "idempotency_key", "in": "query", **key},
        ]
        operation = compile_operation(document, "/loans/{loan_id}", "put", Schemas(document))

        assert operation.edge == {"idempotency_key"}
        assert operation.arguments == {"loan_id", "sort", "body"}
        for query, headers in ((b"idempotency_key=a", {}), (b"", {b"idempotency-key": b"a"})):
            arguments = operation.read_parameters({"loan_id": ["1"]}, query, headers, [])
            assert arguments["idempotency_key"] == "a"

    def test_what_is_sent_in_two_places_must_be_the_same(self) -> None:
        document = deepcopy(DOCUMENT)
        key = {"x-edge": True, "schema": {"type": "string", "format": "idempotency-key"}}
        document["paths"]["/loans/{loan_id}"]["put"]["parameters"] = [
            {"name": "Idempotency-Key", "in": "header", **key},
            {"name": "idempotency_key", "in": "query", **key},
        ]
        operation = compile_operation(document, "/loans/{loan_id}", "put", Schemas(document))

        found = []
        for text in (b"a", b'"a"', b"b"):
            faults: Faults = []
            headers = {b"idempotency-key": text}
            operation.read_parameters({"loan_id": ["1"]}, b"idempotency_key=a", headers, faults)
            found.append([each["pointer"] for each in faults if each["rule"] == "contradiction"])
        assert found == [[], [], ["/Idempotency-Key"]]

    def test_a_body_is_an_argument(self) -> None:
        assert compile_one("put").arguments == {"loan_id", "sort", "body"}

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            pytest.param(
                {"parameters": [{"name": "c", "in": "cookie", "schema": {}}]},
                "the parameter 'c' is a cookie",
                id="a cookie",
            ),
            pytest.param(
                {"parameters": [{"name": "loan_id", "in": "query", "schema": {}}]},
                "more than one parameter or body becomes the argument ['loan_id']",
                id="one name in two places",
            ),
            pytest.param(
                {"responses": {"4XX": {}}},
                "the response '4XX' has no status of its own",
                id="a range",
            ),
            pytest.param(
                {"responses": {"default": {}}},
                "the response 'default' has no status of its own",
                id="the default",
            ),
            pytest.param(
                {
                    "responses": {
                        "200": {"content": {"application/json": {"schema": {"pattern": "("}}}}
                    }
                },
                'a schema cannot be compiled: the value is not a "regex"',
                id="a schema",
            ),
        ],
    )
    def test_what_cannot_be_served_is_an_error(self, change: dict[str, Any], message: str) -> None:
        item = DOCUMENT["paths"]["/loans/{loan_id}"]
        document = {
            **DOCUMENT,
            "paths": {"/loans/{loan_id}": {**item, "get": item["get"] | change}},
        }
        with pytest.raises(ContractError) as caught:
            compile_operation(document, "/loans/{loan_id}", "get", Schemas(document))
        assert str(caught.value) == message


class TestReadParameters:
    def test_arguments_come_from_all_places(self) -> None:
        faults: Faults = []
        arguments = compile_one("get").read_parameters(
            {"loan_id": ["7"]}, b"page=2", {b"if-none-match": b'"a"', b"accept": b"*/*"}, faults
        )
        assert (arguments, faults) == (
            {"loan_id": "7", "page": 2, "sort": None, "if_none_match": '"a"'},
            [],
        )

    def test_faults_come_from_all_places(self) -> None:
        faults: Faults = []
        compile_one("put").read_parameters({"loan_id": ["7"]}, b"x=1", {}, faults)
        assert faults == [
            {
                "in": "query",
                "pointer": "/x",
                "rule": "unknown",
                "message": "the query parameter is unknown",
                "allowed": ["sort"],
            },
            {
                "in": "query",
                "pointer": "/sort",
                "rule": "required",
                "message": "a value is missing",
            },
        ]


class TestReadBody:
    def read(self, method: str, media_type: str, value: Any) -> tuple[Any, Faults]:
        faults: Faults = []
        body = compile_one(method).body
        assert body is not None
        return body.read(media_type, value, faults), faults

    def test_defaults_are_filled_in_and_formats_parsed(self) -> None:
        sent = {"card": "1", "due": "2026-01-02T03:04:05Z", "nested": {}}
        assert self.read("put", "application/json", sent) == (
            {
                "card": "1",
                "due": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
                "days": 28,
                "notes": [],
                "nested": {},
            },
            [],
        )
        assert sent["due"] == "2026-01-02T03:04:05Z"

    def test_null_is_not_parsed(self) -> None:
        value, faults = self.read("put", "application/json", {"card": "1", "due": None})
        assert (value["due"], faults) == (None, [])

    def test_a_merge_patch_has_no_defaults(self) -> None:
        sent = {"card": "1"}
        media_type = "application/merge-patch+json"
        assert self.read("patch", media_type, sent) == ({"card": "1"}, [])

    def test_what_is_streamed_is_left_alone(self) -> None:
        assert self.read("patch", "text/csv", None) == (None, [])

    @pytest.mark.parametrize("value", [[], "text", None, 1])
    def test_what_is_no_object_is_a_fault(self, value: Any) -> None:
        assert self.read("put", "application/json", value)[1][0] == {
            "in": "body",
            "pointer": "",
            "rule": "type",
            "message": 'the value is not of type "object"',
            "allowed": ["object"],
        }

    def test_a_body_may_be_anything_else_where_the_contract_says_so(self) -> None:
        document: Any = {
            "paths": {
                "/a": {
                    "post": {
                        "operationId": "a",
                        "tags": ["a"],
                        "requestBody": {
                            "content": {"application/json": {"schema": {"type": "array"}}}
                        },
                        "responses": {"200": {}},
                    }
                }
            }
        }
        body = compile_operation(document, "/a", "post", Schemas(document)).body
        assert body is not None
        assert body.read("application/json", [1], []) == [1]


def test_operations_are_found_in_the_contracts_order() -> None:
    found = [
        (path, method, node["operationId"]) for path, method, node in find_operations(DOCUMENT)
    ]
    assert found == [
        ("/loans/{loan_id}", "get", "get_loan"),
        ("/loans/{loan_id}", "put", "replace_loan"),
        ("/loans/{loan_id}", "patch", "update_loan"),
    ]


def test_a_header_has_a_python_name() -> None:
    assert argument_name("Idempotency-Key") == "idempotency_key"
