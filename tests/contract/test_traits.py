from typing import Any

from circdesk.contract.documents import find_operations
from circdesk.contract.traits import apply_traits

JSON = dict[str, Any]


def applied(*traits: JSON, shared: JSON | None = None, **operation: Any) -> JSON:
    """A document with one GET, after the traits have been put in."""
    node = {"operationId": "get_thing", "responses": {"200": {}}, **operation}
    document = {
        "paths": {"/thing": {"get": node}},
        "components": {"responses": shared or {}},
        "x-traits": [*traits],
    }
    apply_traits(document, [*find_operations(document)])
    return document


def operation(*traits: JSON, **own: Any) -> JSON:
    node: JSON = applied(*traits, **own)["paths"]["/thing"]["get"]
    return node


class TestApplyTraits:
    def test_a_document_keeps_nothing_of_them(self) -> None:
        assert "x-traits" not in applied({})

    def test_parameters_come_after_the_own_ones_and_before_the_body(self) -> None:
        node = operation(
            {"parameters": [{"name": "b"}]}, parameters=[{"name": "a"}], requestBody={}
        )

        assert node["parameters"] == [{"name": "a"}, {"name": "b"}]
        assert [*node] == ["operationId", "parameters", "requestBody", "responses"]

    def test_responses_stand_in_order(self) -> None:
        node = operation({"responses": {"304": {}, "429": {}}}, responses={"200": {}, "404": {}})

        assert [*node["responses"]] == ["200", "304", "404", "429"]

    def test_what_the_operation_says_itself_wins(self) -> None:
        node = operation(
            {"responses": {"200": {"description": "theirs"}}, "success_headers": {"A": 1, "B": 2}},
            responses={"200": {"description": "own", "headers": {"A": 0}}},
        )

        assert node["responses"] == {"200": {"description": "own", "headers": {"A": 0, "B": 2}}}

    def test_headers_are_those_of_every_answer_and_success_headers_only_of_successes(self) -> None:
        document = applied(
            {"headers": {"Id": 1}, "success_headers": {"Tag": 2}},
            shared={"NotFound": {"headers": {"Own": 0}}},
            responses={"200": {}, "404": {"$ref": "#/components/responses/NotFound"}},
        )

        assert document["paths"]["/thing"]["get"]["responses"] == {
            "200": {"headers": {"Id": 1, "Tag": 2}},
            "404": {"$ref": "#/components/responses/NotFound"},
        }
        assert document["components"]["responses"] == {"NotFound": {"headers": {"Id": 1, "Own": 0}}}

    def test_a_trait_is_for_its_methods_operations_and_scheme_only(self) -> None:
        added = {"parameters": [{"name": "a"}]}

        for selection in (
            {"methods": ["post"]},
            {"operations": ["get_other"]},
            {"except": ["get_thing"]},
            {"security": "Session"},
        ):
            assert "parameters" not in operation({**selection, **added})
        for selection in (
            {"methods": ["get"]},
            {"operations": ["get_thing"]},
            {"except": ["get_other"]},
            {"security": "Session"},
        ):
            assert operation({**selection, **added}, security=[{"Session": []}, {}])["parameters"]
