"""A small contract about loans, and its operations."""

from typing import Any

from circdesk.contract.compiling import compile_operation
from circdesk.contract.operations import Operation
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
