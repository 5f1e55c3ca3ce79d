"""Schemas in their places: the walk down to the last property, and what a schema comes to."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from circdesk.contract.documents import resolve

JSON = dict[str, Any]

_BRANCHES = ("allOf", "anyOf", "oneOf")


class Position(NamedTuple):
    """A schema where it is written.

    `kind` is component, parameter, header, body, property, item, value (of a map) or
    branch (of a composition); `name` is that of the nearest property, parameter or
    component around it.
    """

    kind: str
    place: str
    name: str
    schema: JSON


def find_positions(kind: str, place: str, name: str, schema: JSON) -> Iterator[Position]:
    """The schema itself and every schema within it; references are not followed."""
    yield Position(kind, place, name, schema)
    for key, child in schema.get("properties", {}).items():
        yield from find_positions("property", f"{place}/properties/{key}", key, child)
    if "items" in schema:
        yield from find_positions("item", f"{place}/items", name, schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        child = schema["additionalProperties"]
        yield from find_positions("value", f"{place}/additionalProperties", name, child)
    for word in _BRANCHES:
        for index, child in enumerate(schema.get(word, ())):
            yield from find_positions("branch", f"{place}/{word}/{index}", name, child)
    if "not" in schema:
        yield from find_positions("branch", f"{place}/not", name, schema["not"])


def alternatives(document: JSON, schema: JSON, seen: frozenset[str] = frozenset()) -> list[JSON]:
    """What a schema comes to, without references and compositions: one schema for each choice.

    Parts of an `allOf` are merged, each branch of an `anyOf` or `oneOf` is a choice of its
    own; a branch that only allows null is left out. What the schema says itself counts
    before what its parts say.
    """
    reference = schema.get("$ref")
    if reference in seen:
        return []
    inside = seen | {reference} if reference else seen
    whole = resolve(document, schema)
    found = [{key: value for key, value in whole.items() if key not in _BRANCHES}]
    for part in whole.get("allOf", ()):
        parts = alternatives(document, part, inside)
        found = [_merge(own, other) for own in found for other in parts]
    choices = [*whole.get("anyOf", ()), *whole.get("oneOf", ())]
    branches = [
        branch
        for choice in choices
        for branch in alternatives(document, choice, inside)
        if branch.get("enum") != [None]
    ]
    return [_merge(own, branch) for own in found for branch in branches] if choices else found


def _merge(own: JSON, other: JSON) -> JSON:
    merged = {**other, **own}
    if "properties" in own and "properties" in other:
        merged["properties"] = {**other["properties"], **own["properties"]}
    return merged
