"""Rules for the form of schemas: types, names, objects, references."""

import re

from circdesk.contract.rules.exceptions import FOREIGN_ENUMS, OPEN_OBJECTS
from circdesk.contract.rules.names import SNAKE_CASE
from circdesk.contract.rules.positions import Position, alternatives
from circdesk.contract.rules.reading import Reading
from circdesk.contract.rules.registry import Findings, rule

# Unicode classes, inline flags and the anchors of Perl differ between the readers of a contract.
_UNPORTABLE = re.compile(r"\\[pPAzZ]|\(\?[a-zA-Z]|\(\?P|\[\[:")
_COMPOSITIONS = frozenset(("allOf", "anyOf", "oneOf"))


@rule
def schemas_have_types(contract: Reading) -> Findings:
    """Every property, parameter, header, item and body has a type."""
    for kind, place, _, schema in contract.schemas:
        if kind == "branch" or "$ref" in schema:
            continue
        if not all("type" in choice for choice in alternatives(contract.document, schema)):
            yield place, "there is no type"


@rule
def nullable_schemas_have_types(contract: Reading) -> Findings:
    """`nullable` stands beside `type`, without which it has no meaning."""
    for _, place, _, schema in contract.schemas:
        if "nullable" in schema and "type" not in schema:
            yield place, "nullable stands without type"


@rule
def references_stand_alone(contract: Reading) -> Findings:
    """Nothing stands beside a `$ref`, because readers ignore it there."""
    for _, place, _, schema in contract.schemas:
        if "$ref" in schema and len(schema) > 1:
            beside = ", ".join(key for key in schema if key != "$ref")
            yield place, f"{beside} stands beside $ref"


@rule
def objects_are_closed(contract: Reading) -> Findings:
    """Objects have no properties beyond those listed, unless they are maps of one type."""
    for position in contract.schemas:
        if not _is_object(position) or position.place in OPEN_OBJECTS:
            continue
        more = position.schema.get("additionalProperties", True)
        if more is True or more == {}:
            yield position.place, "additionalProperties is not false"


@rule
def property_names_are_snake_case(contract: Reading) -> Findings:
    """Properties have names in snake_case."""
    for kind, place, name, _ in contract.schemas:
        if kind == "property" and not SNAKE_CASE.fullmatch(name):
            yield place, f"{name!r} is not snake_case"


@rule
def required_properties_exist(contract: Reading) -> Findings:
    """What an object requires is among its properties."""
    for kind, place, _, schema in contract.schemas:
        if kind == "branch":
            continue
        for choice in alternatives(contract.document, schema):
            for name in schema.get("required", ()):
                if name not in choice.get("properties", {}):
                    yield place, f"{name!r} is required and no property"


@rule
def enums_are_lower_snake_case(contract: Reading) -> Findings:
    """Enums are lower snake case; `-title` may stand beside `title`, other standards are listed."""
    for _, place, name, schema in contract.schemas:
        values = [value for value in schema.get("enum", ()) if isinstance(value, str)]
        for value in values if name not in FOREIGN_ENUMS else ():
            plain = value[1:] if value.startswith("-") and value[1:] in values else value
            if not SNAKE_CASE.fullmatch(plain):
                yield place, f"{value!r} is not lower snake case"


@rule
def patterns_are_portable(contract: Reading) -> Findings:
    """A pattern means the same to every reader and, without a format beside it, is anchored."""
    for _, place, _, schema in contract.schemas:
        pattern = schema.get("pattern", "^$")
        anchored = pattern.startswith("^") and pattern.endswith("$")
        if not anchored and "format" not in schema:
            yield place, f"the pattern {pattern!r} is not anchored at both ends"
        elif _UNPORTABLE.search(pattern):
            yield place, f"the pattern {pattern!r} differs between readers"


def _is_object(position: Position) -> bool:
    """Whether the schema itself describes an object; a composition's parts do that for it."""
    schema = position.schema
    if "properties" in schema:
        return True
    composed = bool(_COMPOSITIONS & schema.keys())
    return schema.get("type") == "object" and not composed and schema.get("enum") != [None]
