from copy import deepcopy
from typing import Any

import pytest

from circdesk.contract.compiling import compile_operation
from circdesk.contract.documents import ContractError
from circdesk.contract.parameters import Faults
from circdesk.contract.schemas import Schemas
from tests.contract.loans_document import DOCUMENT, compile_one


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
