"""What a schema comes to once its references and compositions are taken apart."""

from typing import Any

from circdesk.contract.rules.positions import alternatives, find_positions

JSON = dict[str, Any]

TEXT: JSON = {"type": "string", "maxLength": 5}
DOCUMENT: JSON = {
    "components": {
        "schemas": {
            "Text": TEXT,
            "Named": {"type": "object", "properties": {"name": TEXT}},
            "Loop": {"allOf": [{"$ref": "#/components/schemas/Loop"}]},
        }
    }
}
REF: JSON = {"$ref": "#/components/schemas/Text"}


class TestAlternatives:
    def test_a_reference_comes_to_what_it_refers_to(self) -> None:
        assert alternatives(DOCUMENT, REF) == [TEXT]

    def test_what_a_schema_says_itself_counts_before_its_parts(self) -> None:
        schema = {"allOf": [REF, {"minLength": 1}], "maxLength": 3}
        assert alternatives(DOCUMENT, schema) == [
            {"type": "string", "maxLength": 3, "minLength": 1}
        ]

    def test_properties_of_the_parts_are_joined(self) -> None:
        parts = [{"$ref": "#/components/schemas/Named"}, {"properties": {"age": {}}}]
        assert alternatives(DOCUMENT, {"allOf": parts}) == [
            {"type": "object", "properties": {"name": TEXT, "age": {}}}
        ]

    def test_each_branch_is_a_choice_and_null_is_none(self) -> None:
        null = {"type": "object", "nullable": True, "enum": [None]}
        schema = {"description": "x", "anyOf": [REF, {"type": "boolean"}, null]}
        assert alternatives(DOCUMENT, schema) == [
            {"description": "x", **TEXT},
            {"description": "x", "type": "boolean"},
        ]

    def test_a_schema_made_of_itself_comes_to_nothing(self) -> None:
        assert alternatives(DOCUMENT, {"$ref": "#/components/schemas/Loop"}) == []


class TestFindPositions:
    def test_every_schema_within_is_found_with_its_place_and_the_nearest_name(self) -> None:
        schema: JSON = {
            "properties": {"tags": {"items": TEXT}},
            "additionalProperties": REF,
            "anyOf": [{"required": ["tags"]}],
            "not": {"required": ["name"]},
        }
        assert list(find_positions("component", "/x", "Thing", schema)) == [
            ("component", "/x", "Thing", schema),
            ("property", "/x/properties/tags", "tags", {"items": TEXT}),
            ("item", "/x/properties/tags/items", "tags", TEXT),
            ("value", "/x/additionalProperties", "Thing", REF),
            ("branch", "/x/anyOf/0", "Thing", {"required": ["tags"]}),
            ("branch", "/x/not", "Thing", {"required": ["name"]}),
        ]
