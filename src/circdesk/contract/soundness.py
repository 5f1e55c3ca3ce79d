"""A quick verdict on the document: it is sound, or the validator has to look into it.

The validator takes a second for a contract of this size and tells what is wrong and where; what it
is made of takes 0.3 s and 15 MB to import. Nobody waits for that where nothing is wrong. Whatever
the validator refuses is not sound here; what is not sound here it may allow.
"""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson

from circdesk.contract.documents import ContractError, resolve
from circdesk.contract.schemas import Schemas

JSON = dict[str, Any]

_DRAFT_4 = "http://json-schema.org/draft-04/schema#"
_UNIQUE = {"items": {"uniqueItems": True}}
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


def is_sound(document: JSON) -> bool:
    """Whether a document, whose references all lead somewhere, surely is valid OpenAPI 3.0."""
    if not _structure().is_valid(document):
        return False
    try:
        return (
            _are_unique([tag["name"] for tag in document.get("tags", ())])
            and all(_has_its_parameters(*each) for each in _operations(document))
            and _has_sound_schemas(document)
        )
    except (ContractError, AttributeError, LookupError, RecursionError, TypeError):
        # A reference may lead to another kind of part than it should, or into a circle.
        return False


def _structure() -> jsonschema_rs.Draft4Validator:
    """OpenAPI's own schema, which the validator carries; to find it imports nothing of that."""
    package = find_spec("openapi_spec_validator")
    places = package and package.submodule_search_locations
    if not places:
        raise ModuleNotFoundError("openapi_spec_validator")
    schema = Path(places[0], "resources", "schemas", "v3.0", "schema.json").read_bytes()
    return jsonschema_rs.Draft4Validator(orjson.loads(schema), validate_formats=True)


def _operations(document: JSON) -> Iterator[tuple[str, list[JSON], list[JSON]]]:
    """The path of each operation, the parameters of all on that path, and its own."""

    def parameters(node: JSON) -> list[JSON]:
        return [resolve(document, parameter) for parameter in node.get("parameters", ())]

    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                yield path, parameters(item), parameters(item[method])


def _has_its_parameters(path: str, common: list[JSON], own: list[JSON]) -> bool:
    """Whether the parameters of the path are declared, and none is twice in one list."""
    declared = {each["name"] for each in (*common, *own) if each["in"] == "path"}
    return declared == set(re.findall(r"\{([^{}]*)\}", path)) and all(
        _are_unique([(each["name"], each["in"]) for each in some]) for some in (common, own)
    )


def _are_unique(names: list[Any]) -> bool:
    return len({*names}) == len(names)


def _has_sound_schemas(document: JSON) -> bool:
    """Whether each is a schema also by the rules of JSON Schema, and its default fits it."""
    outer = [*_find_schemas(document)]
    definitions = {str(place): schema for place, schema in enumerate(outer)}
    if not jsonschema_rs.meta.is_valid({"$schema": _DRAFT_4, "definitions": definitions}):
        return False
    inner = [each for schema in outer for each in _with_inner(schema)]
    return (
        # The library's own copy of those rules is silent on equal values.
        jsonschema_rs.is_valid(_UNIQUE, [each["enum"] for each in inner if "enum" in each])
        and _have_sound_defaults(document, [each for each in inner if "default" in each])
        and all(
            set(each["required"]) <= _properties(document, each)
            for each in inner
            if "allOf" in each and "required" in each
        )
    )


def _have_sound_defaults(document: JSON, schemas: list[JSON]) -> bool:
    # One schema for all of them: to compile each by itself would take ten times as long.
    named = {str(place): schema for place, schema in enumerate(schemas)}
    check = Schemas(document).compile({"type": "object", "properties": named})
    return check.is_valid({name: schema["default"] for name, schema in named.items()})


def _find_schemas(node: Any) -> Iterator[JSON]:
    """Every schema that stands in no other one."""
    if isinstance(node, list):
        for each in node:
            yield from _find_schemas(each)
    elif isinstance(node, dict):
        for key, each in node.items():
            if key == "schema":
                yield each
            elif key == "schemas":
                yield from each.values()
            else:
                yield from _find_schemas(each)


def _with_inner(schema: JSON) -> Iterator[JSON]:
    """The schema, and those that stand in it."""
    yield schema
    several = [*schema.get("properties", {}).values()]
    for key in ("allOf", "anyOf", "oneOf"):
        several += schema.get(key, ())
    several += [schema[key] for key in ("not", "items", "additionalProperties") if key in schema]
    for each in several:
        if isinstance(each, dict):
            yield from _with_inner(each)


def _properties(document: JSON, schema: JSON) -> set[str]:
    """The names of the properties that an object has, by itself and by `allOf`."""
    plain = resolve(document, schema)
    names = {*plain.get("properties", ())}
    return names.union(*(_properties(document, part) for part in plain.get("allOf", ())))
