"""The quick verdict, held against the validator's: it allows nothing that the validator refuses."""

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
import yaml

from circdesk.contract.documents import ContractError, resolve
from circdesk.contract.explanations import find_errors
from circdesk.contract.soundness import is_sound
from tests.contracts import bundle

JSON = dict[str, Any]

PEARS: JSON = yaml.safe_load("""\
    openapi: "3.0.3"
    info: {title: Pears, version: "1"}
    tags: [{name: fruit}, {name: tree}]
    paths:
      /pears/{pear_id}:
        parameters:
          - {$ref: "#/components/parameters/PearId"}
        patch:
          operationId: change_pear
          tags: [fruit]
          parameters:
            - {name: limit, in: query, schema: {type: integer, minimum: 1, default: 5}}
            - {name: ripe, in: query, schema: {type: boolean, default: true}}
          requestBody:
            content: {application/json: {schema: {$ref: "#/components/schemas/Ripe"}}}
          responses:
            "200": {$ref: "#/components/responses/Pear"}
            "204":
              description: Nothing has changed.
              headers: {ETag: {schema: {type: string, pattern: '^"', nullable: true}}}
    components:
      parameters:
        PearId: {name: pear_id, in: path, required: true, schema: {type: string}}
      responses:
        Pear:
          description: A pear.
          content: {application/json: {schema: {$ref: "#/components/schemas/Ripe"}}}
      schemas:
        Pear:
          type: object
          properties:
            name: {type: string, maxLength: 9, pattern: "^[a-z]+$", default: anna}
            colours: {type: array, items: {type: string, enum: [green, red], default: red}}
            eaten: {type: string, format: date, nullable: true, default: null}
        Ripe:
          allOf:
            - {$ref: "#/components/schemas/Pear"}
            - {type: object, properties: {ripe: {type: boolean}}}
          required: [name, ripe]
    """)

OTHERS: tuple[Any, ...] = (None, 7, [])
MORE: JSON = {
    "twins among tags": (["tags"], [{"name": "fruit"}, {"name": "fruit"}]),
    "twins among parameters": (
        ["components", "parameters", "PearId"],
        {"name": "limit", "in": "query", "schema": {}},
    ),
    "a default of an inner schema": (
        ["components", "schemas", "Pear"],
        {"not": {"anyOf": [{"type": "integer", "default": "seven"}]}},
    ),
    "equal values of an enum": (["components", "schemas", "Pear", "enum"], [1, 1]),
    "no part": (["components", "schemas", "Ripe", "allOf"], []),
    "a method that the house does not use": (
        ["paths", "/pears/{pear_id}", "head"],
        {"operationId": "a", "parameters": [], "responses": {"200": {"description": 7}}},
    ),
}


def places(node: Any) -> Iterator[list[Any]]:
    """Where each part of a document stands."""
    if isinstance(node, dict | list):
        for key, part in node.items() if isinstance(node, dict) else enumerate(node):
            yield [key]
            yield from ([key, *rest] for rest in places(part))


def changed(place: list[Any], value: Any) -> JSON:
    document = deepcopy(PEARS)
    *path, last = place
    node: Any = document
    for key in path:
        node = node[key]
    node[last] = value
    return document


def leads_nowhere(document: JSON) -> bool:
    try:
        for reference in re.findall(r'"\$ref": "(.*?)"', json.dumps(document)):
            resolve(document, {"$ref": reference})
    except ContractError:
        return True
    return False


def test_the_contract_of_the_service_is_sound_to_both() -> None:
    document = bundle().document
    assert (is_sound(document), find_errors(document)) == (True, [])


def test_what_is_used_here_is_sound_to_both() -> None:
    assert (is_sound(PEARS), find_errors(PEARS)) == (True, [])


@pytest.mark.parametrize("other", OTHERS, ids=repr)
def test_nothing_that_the_validator_refuses_is_sound(other: Any) -> None:
    refused = 0
    for place in places(PEARS):
        document = changed(place, other)
        if leads_nowhere(document):
            # The bundler has refused it before.
            continue
        if is_sound(document):
            assert not find_errors(document), place
        else:
            refused += 1
    assert refused > 20


@pytest.mark.parametrize(("place", "value"), MORE.values(), ids=MORE)
def test_faults_beyond_the_form_are_not_sound(place: list[Any], value: Any) -> None:
    document = changed(place, value)
    assert find_errors(document)
    assert not is_sound(document)


def test_a_parameter_that_is_a_schema_is_not_sound() -> None:
    parameters = ["paths", "/pears/{pear_id}", "patch", "parameters"]
    assert not is_sound(changed(parameters, [{"$ref": "#/components/schemas/Pear"}]))


def test_parts_in_a_circle_are_not_sound() -> None:
    parts = [{"$ref": "#/components/schemas/Ripe"}]
    assert not is_sound(changed(["components", "schemas", "Pear", "allOf"], parts))


def test_a_document_without_operations_is_sound() -> None:
    assert is_sound(PEARS | {"paths": {}})
