"""What can be wrong with a JSON body: how it is sent and written, and what it says."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from circdesk.contract.documents import resolve
from tests.contract.differential.examples import DOCUMENT, content_of, rule_of
from tests.contract.differential.requests import JSON, Request
from tests.contract.differential.texts import announced, written

Path = tuple[str | int, ...]
_OF_ANOTHER_TYPE = {
    "string": 17,
    "integer": "17",
    "number": "1.5",
    "boolean": "true",
    "array": {},
    "object": [],
}


def bodies(request: Request) -> Iterator[Request]:
    """The request with a body that is announced, written, or made otherwise."""
    if not request.media_type.endswith("json"):
        if not request.body:
            yield (
                request.but(kind="a body that nobody asked for")
                .with_headers(content_type="application/json")
                .with_value({"colour": "red"})
            )
        return
    yield from announced(request)
    yield from written(request)
    yield from _of_other_values(request)
    schema = content_of(request.operation)[request.media_type]["schema"]
    for path, node, value in _members(schema, request.value, ()):
        for kind, other in _values(node, value):
            yield request.but(kind=kind).with_value(_with(request.value, path, other))


def _of_other_values(request: Request) -> Iterator[Request]:
    for kind, value in (
        ("a list for an object", []),
        ("null for an object", None),
        ("a text for an object", "text"),
    ):
        yield request.but(kind=kind).with_value(value)
    yield request.but(kind="an unknown member").with_value({**request.value, "colour": "red"})
    schema = resolve(DOCUMENT, content_of(request.operation)[request.media_type]["schema"])
    for name in schema.get("required", ()):
        left = {key: value for key, value in request.value.items() if key != name}
        yield request.but(kind="a member that is missing").with_value(left)


def _members(schema: JSON, value: Any, path: Path) -> Iterator[tuple[Path, JSON, Any]]:
    """Every member of the value, however deep, with its schema."""
    schema = resolve(DOCUMENT, schema)
    for part in schema.get("allOf", ()):
        yield from _members(part, value, path)
    if isinstance(value, dict):
        for name, node in schema.get("properties", {}).items():
            if name in value:
                yield (*path, name), resolve(DOCUMENT, node), value[name]
                yield from _members(node, value[name], (*path, name))
    elif isinstance(value, list) and value and "items" in schema:
        yield (*path, 0), resolve(DOCUMENT, schema["items"]), value[0]
        yield from _members(schema["items"], value[0], (*path, 0))


def _values(schema: JSON, value: Any) -> Iterator[tuple[str, Any]]:
    """Values for a member that break one word of its schema, or that could be taken to."""
    if schema.get("type") in _OF_ANOTHER_TYPE:
        yield "a value of another type", _OF_ANOTHER_TYPE[schema["type"]]
        yield "null" if schema.get("nullable") else "null where there must be a value", None
    if "enum" in schema:
        yield "none of the values in a body", "no_such_value"
    elif isinstance(value, str):
        yield from _texts(schema, value)
    elif isinstance(value, list):
        yield from _lists(schema, value)
    elif schema.get("type") == "integer" and value is not None:
        yield "a boolean for an integer", True
        yield "a whole fraction in a body", float(value)
        yield "a fraction in a body", value + 0.5
        for word, step in (("minimum", -1), ("maximum", 1)):
            if word in schema:
                yield f"a number beyond its {word}", schema[word] + step


def _texts(schema: JSON, value: str) -> Iterator[tuple[str, Any]]:
    for kind, text in (
        ("NUL in a body", f"{value}\0"),
        ("half a surrogate pair in a body", f"{value}\ud800"),
        ("an accent in a body", f"{value}é"),
        ("a control character in a body", "\x01"),
        ("a word in a body", "nonsense"),
        ("nothing for a text in a body", ""),
    ):
        yield f"{kind}, {rule_of(schema, text)}", text
    if "maxLength" in schema:
        yield "a long text in a body", "a" * (schema["maxLength"] + 1)
    if "pattern" in schema:
        yield "a line break behind a text in a body", f"{value}\n"


def _lists(schema: JSON, value: list[Any]) -> Iterator[tuple[str, Any]]:
    if value and "maxItems" in schema:
        yield "a list that is too long", value[:1] * (schema["maxItems"] + 1)
    if schema.get("minItems"):
        yield "a list that is too short", []
    if value and schema.get("uniqueItems"):
        yield "a list with an item twice", value[:1] * 2


def _with(value: Any, path: Path, member: Any) -> Any:
    """A copy of the value with another member at the end of the path."""
    copied = holder = deepcopy(value)
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = member
    return copied
