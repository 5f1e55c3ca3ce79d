"""A small cut of our contract, as stock Connexion can serve it."""

from typing import Any

from circdesk.contract.documents import load_bundle
from circdesk.resources import directory

JSON = dict[str, Any]

_OPERATIONS = (
    ("/api/books", "get"),
    ("/api/books/{book_id}", "get"),
    ("/api/loans", "post"),
    ("/api/returns", "post"),
)
_KINDS = ("schemas", "parameters", "responses")


def cut_document(bearer_function: str) -> JSON:
    """The four operations with what they refer to.

    Bearer tokens stand in for all credentials, and headers of answers are left out: those of ours
    are added by what Connexion does not have, and it would miss them.
    """
    whole = load_bundle(directory("openapi")).document
    paths: JSON = {}
    for path, method in _OPERATIONS:
        item = whole["paths"][path]
        operation = {**item[method], "security": [{"Bearer": []}] if method == "post" else []}
        paths[path] = {"parameters": item.get("parameters", []), method: operation}
    components: JSON = {kind: {} for kind in _KINDS}
    _add_what_is_named(paths, whole["components"], components)
    scheme = {"type": "http", "scheme": "bearer", "x-bearerInfoFunc": bearer_function}
    components["securitySchemes"] = {"Bearer": scheme}
    for answers in [components["responses"], *_responses(paths)]:
        for answer in answers.values():
            answer.pop("headers", None)
    return {"openapi": "3.0.3", "info": whole["info"], "paths": paths, "components": components}


def _add_what_is_named(node: Any, source: JSON, components: JSON) -> None:
    """Copy each component that the node refers to, and those that these refer to."""
    if isinstance(node, list):
        for child in node:
            _add_what_is_named(child, source, components)
    elif isinstance(node, dict):
        if isinstance(reference := node.get("$ref"), str):
            _, _, kind, name = reference.split("/")
            if kind in components and name not in components[kind]:
                components[kind][name] = source[kind][name]
                _add_what_is_named(source[kind][name], source, components)
        for child in node.values():
            _add_what_is_named(child, source, components)


def _responses(paths: JSON) -> list[JSON]:
    return [
        node["responses"]
        for item in paths.values()
        for node in item.values()
        if isinstance(node, dict)
    ]
