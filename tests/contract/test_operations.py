from datetime import UTC, datetime
from typing import Any

import pytest

from circdesk.contract.compiling import compile_operation
from circdesk.contract.documents import find_operations
from circdesk.contract.operations import argument_name
from circdesk.contract.parameters import Faults
from circdesk.contract.schemas import Schemas
from tests.contract.loans_document import DOCUMENT, compile_one


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
