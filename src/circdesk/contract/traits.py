"""Traits: what many operations have in common, written once and put into each of them.

OpenAPI has no word for it, so that `x-traits` of the contract's files is taken out of the bundled
document, in which each operation tells everything that it takes and answers. The word, and that
what an operation says itself wins, are AsyncAPI's (Operation Trait Object).
"""

from collections.abc import Mapping, Sequence
from typing import Any

JSON = dict[str, Any]


def apply_traits(document: JSON, operations: Sequence[tuple[str, str, JSON]]) -> None:
    """Put each trait of `x-traits` into the operations that it is for, and drop the key.

    A trait is for all operations, or for those of its `methods`, of its `operations` (by id), and
    with its `security` scheme among those they take; never for those of `except`. It adds
    `parameters`; `responses` by their status; `headers` to each answer, the shared ones included;
    and `success_headers` to those from 200 to 299.

    Args:
        document: The bundled document, which need not be valid.
        operations: Path, method and operation object of each of its operations.
    """
    for trait in document.pop("x-traits", ()):
        for _, method, node in operations:
            if _is_for(trait, method, node):
                _apply(trait, node)
        for response in document["components"].get("responses", {}).values():
            _add(response, "headers", trait.get("headers", {}))


def _is_for(trait: JSON, method: str, node: JSON) -> bool:
    name = node.get("operationId")
    schemes = {scheme for entry in node.get("security", ()) for scheme in entry}
    return (
        method in trait.get("methods", (method,))
        and name in trait.get("operations", (name,))
        and name not in trait.get("except", ())
        and ("security" not in trait or trait["security"] in schemes)
    )


def _apply(trait: JSON, node: JSON) -> None:
    if "parameters" in trait:
        node["parameters"] = [*node.get("parameters", ()), *trait["parameters"]]
    _add(node, "responses", trait.get("responses", {}))
    node["responses"] = dict(sorted(node.get("responses", {}).items()))
    for status, response in node["responses"].items():
        if "$ref" in response:
            continue
        _add(response, "headers", trait.get("headers", {}))
        if status.startswith("2"):
            _add(response, "headers", trait.get("success_headers", {}))
    # Parameters stand before the body, whether or not the operation had any of its own.
    for key in ("requestBody", "responses"):
        if key in node:
            node[key] = node.pop(key)


def _add(node: JSON, key: str, added: Mapping[str, Any]) -> None:
    """Add members to a member of the node; those that it has already stay."""
    if added:
        node[key] = {**added, **node.get(key, {})}
