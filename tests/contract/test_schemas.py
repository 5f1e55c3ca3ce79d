import time
from typing import Any, ClassVar

import pytest

from circdesk.contract.documents import ContractError
from circdesk.contract.schemas import (
    Schemas,
    Violation,
    json_pointer,
    to_json_schema,
)


class TestToJsonSchema:
    @pytest.mark.parametrize(
        ("schema", "translated"),
        [
            pytest.param({"type": "string"}, {"type": "string"}, id="what is the same stays"),
            pytest.param(
                {"type": "string", "nullable": True}, {"type": ["string", "null"]}, id="nullable"
            ),
            pytest.param(
                {"type": "string", "nullable": False}, {"type": "string"}, id="not nullable"
            ),
            pytest.param(
                {"type": "string", "enum": ["a"], "nullable": True},
                {"type": ["string", "null"], "enum": ["a", None]},
                id="nullable with an enum",
            ),
            pytest.param(
                {"type": "string", "enum": ["a", None], "nullable": True},
                {"type": ["string", "null"], "enum": ["a", None]},
                id="nullable with an enum that has null already",
            ),
            pytest.param(
                {"allOf": [{"$ref": "#/components/schemas/A"}], "nullable": True},
                {
                    "anyOf": [
                        {"allOf": [{"$ref": "urn:circdesk:contract#/components/schemas/A"}]},
                        {"type": "null"},
                    ]
                },
                id="nullable around a reference",
            ),
            pytest.param(
                {"type": "integer", "minimum": 1, "exclusiveMinimum": True},
                {"type": "integer", "exclusiveMinimum": 1},
                id="an exclusive minimum",
            ),
            pytest.param(
                {"type": "integer", "maximum": 9, "exclusiveMaximum": False},
                {"type": "integer", "maximum": 9},
                id="a maximum that is not exclusive",
            ),
            pytest.param(
                {"type": "integer", "exclusiveMaximum": True},
                {"type": "integer"},
                id="an exclusive maximum without maximum",
            ),
            pytest.param(
                {
                    "type": "object",
                    "title": "A",
                    "description": "a",
                    "example": {},
                    "properties": {"title": {"type": "string", "nullable": True, "example": "x"}},
                    "additionalProperties": {"type": "integer", "deprecated": True},
                },
                {
                    "type": "object",
                    "properties": {"title": {"type": ["string", "null"]}},
                    "additionalProperties": {"type": "integer"},
                },
                id="annotations go and properties of their names stay",
            ),
            pytest.param(
                {"type": "array", "items": {"oneOf": [{"type": "string", "nullable": True}]}},
                {"type": "array", "items": {"oneOf": [{"type": ["string", "null"]}]}},
                id="nested schemas",
            ),
        ],
    )
    def test_keywords_are_translated(self, schema: Any, translated: Any) -> None:
        assert to_json_schema(schema) == translated


class TestSchemas:
    DOCUMENT: ClassVar[Any] = {
        "components": {
            "schemas": {
                "A": {"type": "string", "maxLength": 3, "nullable": True},
                "B": {"type": "array", "items": {"$ref": "#/components/schemas/A"}},
            }
        }
    }

    def test_schemas_share_the_components(self) -> None:
        check = Schemas(self.DOCUMENT).compile({"$ref": "#/components/schemas/B"})
        assert check.is_valid(["abc", None])
        assert [*check.violations(["abcd"])] == [
            Violation("/0", "maxLength", "the value is longer than 3 characters", 3)
        ]

    @pytest.mark.parametrize(
        ("schema", "message"),
        [
            pytest.param(
                {"pattern": "("},
                'a schema cannot be compiled: the value is not a "regex"',
                id="pattern",
            ),
            pytest.param(
                {"$ref": "#/components/parameters/A"},
                "a schema cannot be compiled: Pointer '/components/parameters/A' does not exist",
                id="a reference to no schema",
            ),
        ],
    )
    def test_a_schema_that_cannot_be_compiled_is_an_error_of_the_contract(
        self, schema: Any, message: str
    ) -> None:
        with pytest.raises(ContractError) as caught:
            Schemas(self.DOCUMENT).compile(schema)
        assert str(caught.value) == message


OBJECT = {
    "type": "object",
    "required": ["title", "year"],
    "additionalProperties": False,
    "properties": {
        "title": {"type": "string", "maxLength": 5},
        "year": {"type": "integer", "minimum": 0},
        "kind": {"type": "string", "enum": ["book", "map"], "nullable": True},
        "tags": {
            "type": "array",
            "maxItems": 2,
            "items": {"type": "string", "pattern": "^[a-z]+$"},
        },
        "key": {
            "anyOf": [{"type": "string", "format": "uuid"}, {"type": "string", "pattern": "^isbn:"}]
        },
    },
}


class TestViolations:
    @pytest.mark.parametrize(
        ("value", "violations"),
        [
            pytest.param({"title": "a", "year": 1.0, "kind": None}, [], id="none"),
            pytest.param(
                [],
                [Violation("", "type", 'the value is not of type "object"', ["object"])],
                id="a list",
            ),
            pytest.param(
                {},
                [
                    Violation("/title", "required", "a value is missing", None),
                    Violation("/year", "required", "a value is missing", None),
                ],
                id="each missing property",
            ),
            pytest.param(
                {"title": "a", "year": 1, "a/b": 1, "~": 1},
                [
                    Violation("/a~1b", "additionalProperties", "the property is unknown", None),
                    Violation("/~0", "additionalProperties", "the property is unknown", None),
                ],
                id="each unknown property",
            ),
            pytest.param(
                {"title": "abcdef", "year": -1, "kind": "x", "tags": ["a", "B", "c"], "key": "?"},
                [
                    Violation(
                        "/key",
                        "anyOf",
                        "the value is not valid under any of the schemas listed in the 'anyOf'"
                        " keyword",
                        ["uuid", "^isbn:"],
                    ),
                    Violation(
                        "/kind",
                        "enum",
                        'the value is not one of "book", "map" or null',
                        ["book", "map", None],
                    ),
                    Violation("/tags", "maxItems", "the value has more than 2 items", 2),
                    Violation(
                        "/tags/1", "pattern", 'the value does not match "^[a-z]+$"', "^[a-z]+$"
                    ),
                    Violation("/title", "maxLength", "the value is longer than 5 characters", 5),
                    Violation("/year", "minimum", "the value is less than the minimum of 0", 0),
                ],
                id="one for each rule",
            ),
        ],
    )
    def test_every_violation_is_told(self, value: Any, violations: list[Violation]) -> None:
        check = Schemas({}).compile(OBJECT)
        assert check.is_valid(value) == (not violations)
        assert sorted(check.violations(value), key=lambda v: v.pointer) == sorted(
            violations, key=lambda v: v.pointer
        )

    @pytest.mark.parametrize(
        ("value", "violations"),
        [
            pytest.param(
                {"action": "renew", "user": "a"},
                [("/loan", "required", None), ("/user", "additionalProperties", None)],
                id="the one that it claims to be",
            ),
            pytest.param(
                {"action": "burn"}, [("/action", "enum", ["lend", "renew"])], id="none of them"
            ),
        ],
    )
    def test_a_property_with_one_value_names_the_alternative(
        self, value: Any, violations: list[tuple[str, str, Any]]
    ) -> None:
        named = [_action("lend", "user"), _action("renew", "loan")]
        told = Schemas({}).compile({"oneOf": named}).violations(value)

        assert [(one.pointer, one.rule, one.allowed) for one in told] == violations

    def test_the_value_itself_is_never_told(self) -> None:
        (violation,) = Schemas({}).compile({"type": "integer"}).violations("a secret")
        assert "secret" not in repr(violation)

    def test_of_a_very_large_value_one_violation_is_told_at_once(self) -> None:
        check = Schemas({}).compile({"type": "array", "items": {"type": "string"}})
        value = [0] * 500_000
        started = time.process_time()
        assert [*check.violations(value)] == [
            Violation("/0", "type", 'the value is not of type "string"', ["string"])
        ]
        # All of them would take seconds.
        assert time.process_time() - started < 0.5

    def test_of_very_many_unknown_properties_the_first_are_told(self) -> None:
        check = Schemas({}).compile(OBJECT | {"required": []})
        violations = [*check.violations({f"x{number}": 0 for number in range(900)})]
        assert {violation.message for violation in violations} == {"the property is unknown"}
        assert len(violations) == 100


def _action(name: str, subject: str) -> dict[str, Any]:
    """An object that names its kind."""
    kinds = {"action": {"type": "string", "enum": [name]}, subject: {"type": "string"}}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["action", subject],
        "properties": kinds,
    }


def test_a_json_pointer_has_escapes() -> None:
    assert json_pointer(["a/b", 0, "~1", ""]) == "/a~1b/0/~01/"
