import time
from datetime import UTC, date, datetime
from typing import Any, ClassVar
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circdesk.contract.documents import ContractError
from circdesk.contract.schemas import (
    PARSERS,
    Schemas,
    Violation,
    json_pointer,
    parse_date,
    parse_date_time,
    parse_structured_string,
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


class TestParseDateTime:
    @pytest.mark.parametrize(
        ("text", "parsed"),
        [
            ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
            ("2026-01-02t03:04:05z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
            ("2026-01-02T03:04:05.678901234+01:30", datetime(2026, 1, 2, 1, 34, 5, 678901, UTC)),
            ("0001-01-01T00:00:00-00:01", datetime(1, 1, 1, 0, 1, tzinfo=UTC)),
        ],
    )
    def test_a_time_is_read_in_utc(self, text: str, parsed: datetime) -> None:
        assert parse_date_time(text) == parsed
        assert parse_date_time(text).tzinfo is UTC

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("2026-01-02", id="a date"),
            pytest.param("2026-01-02T03:04:05", id="no offset"),
            pytest.param("2026-01-02 03:04:05Z", id="a space"),
            pytest.param("2026-02-30T03:04:05Z", id="no such day"),
            pytest.param("2026-01-02T24:00:00Z", id="hour 24"),
            pytest.param("2026-01-02T23:59:60Z", id="a leap second"),
            pytest.param("2026-01-02T03:04:05+12:75", id="an offset of 75 minutes"),
            pytest.param("2026-01-02T03:04:05+24:00", id="an offset of a day"),
            pytest.param("0000-01-01T00:00:00Z", id="year 0"),
            pytest.param("0001-01-01T00:00:00+00:01", id="year 0 in UTC"),
            pytest.param("9999-12-31T23:59:59-00:01", id="year 10000 in UTC"),
            pytest.param("2026-01-02T03:04:05Z\n", id="a line feed"),
            pytest.param("٢٠٢٦-01-02T03:04:05Z", id="digits of another script"),
            pytest.param("", id="nothing"),
        ],
    )
    def test_anything_else_is_an_error(self, text: str) -> None:
        with pytest.raises(ValueError):
            parse_date_time(text)


class TestParseDate:
    def test_a_date_is_read(self) -> None:
        assert parse_date("2026-01-02") == date(2026, 1, 2)

    @pytest.mark.parametrize(
        "text", ["20260102", "2026-W01-1", "2026-1-2", "0000-01-01", "2026-02-30"]
    )
    def test_anything_else_is_an_error(self, text: str) -> None:
        with pytest.raises(ValueError):
            parse_date(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [("a-key", "a-key"), ('"a key"', "a key"), (r'"a \"b\" \\ c"', r'a "b" \ c'), ('""', "")],
)
def test_a_structured_string_says_what_is_within_it(text: str, said: str) -> None:
    assert parse_structured_string(text) == said


CHECKS = {name: Schemas({}).compile({"type": "string", "format": name}) for name in PARSERS}


class TestFormats:
    @pytest.mark.parametrize("name", PARSERS)
    @given(
        text=st.one_of(
            st.text(), st.from_regex(r"\A[0-9]{4}-[01][0-9]-[0-3][0-9]\Z"), st.uuids().map(str)
        )
    )
    def test_what_a_check_lets_pass_its_parser_reads(self, name: str, text: str) -> None:
        if CHECKS[name].is_valid(text):
            assert PARSERS[name](text) is not None

    @pytest.mark.parametrize(
        ("name", "good", "bad"),
        [
            ("date-time", "2026-01-02T03:04:05Z", "2026-01-02"),
            ("date-time", "2026-01-02T03:04:05Z", "0000-01-02T03:04:05Z"),
            ("date", "2026-01-02", "0000-01-01"),
            ("uuid", "0198f2a0-0000-7000-8000-000000000000", "0198f2a0000070008000000000000000"),
            ("uri", "https://example.org/a", "no uri"),
            ("email", "ada@example.org", "ada"),
            ("time-zone", "Europe/Berlin", "Europe/Nowhere"),
        ],
    )
    def test_formats_are_checked(self, name: str, good: str, bad: str) -> None:
        check = Schemas({}).compile({"type": "string", "format": name})
        assert (check.is_valid(good), check.is_valid(bad)) == (True, False)
        assert [*check.violations(bad)] == [
            Violation("", "format", f'the value is not a "{name}"', name)
        ]

    def test_unknown_formats_are_let_be(self) -> None:
        assert Schemas({}).compile({"type": "string", "format": "cursor"}).is_valid("x")

    def test_answers_are_checked_for_formats_too(self) -> None:
        check = Schemas({}).compile({"type": "string", "format": "date-time"}, answered=True)
        assert (check.is_valid("2026-01-02T03:04:05Z"), check.is_valid("today")) == (True, False)

    def test_parsers_make_python_values(self) -> None:
        text = "0198f2a0-0000-7000-8000-000000000000"
        assert PARSERS["uuid"](text) == UUID(text)


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
