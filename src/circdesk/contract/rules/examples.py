"""Rules for examples: every leaf has one, and every one is true to its schema."""

from typing import Any

from circdesk.contract.documents import resolve
from circdesk.contract.rules.places import Located
from circdesk.contract.rules.positions import alternatives
from circdesk.contract.rules.reading import JSON, Reading
from circdesk.contract.rules.registry import Findings, rule

_SHOWN = frozenset(("component", "header", "parameter", "property"))


@rule
def leaves_have_examples(contract: Reading) -> Findings:
    """Every scalar, array of scalars and map that has a name has an example."""
    examples_beside = {
        f"{place}/schema"
        for place, node in (*contract.parameters, *contract.headers)
        if "example" in node or "examples" in node
    }
    for kind, place, _, schema in contract.schemas:
        if kind not in _SHOWN or "$ref" in schema or place in examples_beside:
            continue
        choices = alternatives(contract.document, schema)
        leaf = choices and all(_is_leaf(contract.document, choice) for choice in choices)
        if leaf and not any("example" in choice for choice in (schema, *choices)):
            yield place, "there is no example"


@rule
def schema_examples_are_valid(contract: Reading) -> Findings:
    """The example and the default of a schema are valid."""
    for _, place, _, schema in contract.schemas:
        for word in ("example", "default"):
            if word in schema and "$ref" not in schema:
                yield from _faults(contract, f"{place}/{word}", schema, schema[word])


@rule
def parameter_examples_are_valid(contract: Reading) -> Findings:
    """The examples of parameters and headers are valid against their schemas."""
    for holder in (*contract.parameters, *contract.headers):
        yield from _holder_faults(contract, holder)


@rule
def media_type_examples_are_valid(contract: Reading) -> Findings:
    """The examples of requests and responses are valid against their schemas."""
    for holder in contract.media_types:
        yield from _holder_faults(contract, holder)


def _is_leaf(document: JSON, schema: JSON) -> bool:
    kind = schema.get("type")
    if kind == "array":
        items = alternatives(document, schema.get("items", {}))
        return all(item.get("type") not in {"array", "object"} for item in items)
    return kind != "object" or "properties" not in schema


def _holder_faults(contract: Reading, holder: Located) -> Findings:
    place, node = holder
    if "schema" not in node:
        return
    if "example" in node:
        yield from _faults(contract, f"{place}/example", node["schema"], node["example"])
    for name, entry in node.get("examples", {}).items():
        example = resolve(contract.document, entry)
        if "value" in example:
            yield from _faults(
                contract, f"{place}/examples/{name}", node["schema"], example["value"]
            )


def _faults(contract: Reading, place: str, schema: JSON, value: Any) -> Findings:
    for violation in contract.compiler.compile(schema).violations(value):
        yield f"{place}{violation.pointer}", violation.message
