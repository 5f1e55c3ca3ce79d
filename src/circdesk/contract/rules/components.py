"""Rules for components: each is used, and none contains itself."""

from collections.abc import Iterator
from typing import Any

from circdesk.contract.documents import resolve
from circdesk.contract.rules.places import pointer
from circdesk.contract.rules.reading import Reading
from circdesk.contract.rules.registry import Findings, rule

_COMPONENTS = "#/components/"
_SCHEMAS = "#/components/schemas/"


@rule
def components_are_used(contract: Reading) -> Findings:
    """Every component is reached from an operation."""
    used = _reached(contract, contract.document["paths"])
    used |= {f"{_COMPONENTS}securitySchemes/{name}" for name in _schemes_in_use(contract)}
    for kind, entries in contract.document.get("components", {}).items():
        for name in entries:
            if f"{_COMPONENTS}{kind}/{name}" not in used:
                yield pointer("components", kind, name), "no operation uses it"


@rule
def schemas_do_not_recurse(contract: Reading) -> Findings:
    """No schema contains itself, directly or through others."""
    for name, schema in contract.document.get("components", {}).get("schemas", {}).items():
        if f"{_SCHEMAS}{name}" in _reached(contract, schema):
            yield pointer("components", "schemas", name), "it contains itself"


def _reached(contract: Reading, node: Any) -> set[str]:
    """Every component that is referred to from a node, directly or through others."""
    found: set[str] = set()
    waiting = [*_references(node)]
    while waiting:
        reference = waiting.pop()
        if reference not in found:
            found.add(reference)
            waiting += _references(resolve(contract.document, {"$ref": reference}))
    return found


def _references(node: Any) -> Iterator[str]:
    """Every reference to a component in a node, those of discriminators among them."""
    if isinstance(node, str) and node.startswith(_COMPONENTS):
        yield node
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        yield from _references(child)


def _schemes_in_use(contract: Reading) -> set[str]:
    requirements = [
        entry for operation in contract.operations for entry in operation.node.get("security", [])
    ]
    return {name for entry in requirements for name in entry}
