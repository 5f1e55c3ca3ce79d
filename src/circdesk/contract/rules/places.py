"""Where things are written in the document: parameters, headers and media types in their places."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from circdesk.contract.documents import find_operations

JSON = dict[str, Any]


class Located(NamedTuple):
    """A node and its place, a JSON pointer (RFC 6901)."""

    place: str
    node: JSON


def pointer(*steps: str | int) -> str:
    """A JSON pointer to a place in the document."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in steps)


def _components(document: JSON, kind: str) -> Iterator[Located]:
    for name, node in document.get("components", {}).get(kind, {}).items():
        if "$ref" not in node:
            yield Located(pointer("components", kind, name), node)


def _operations(document: JSON) -> Iterator[Located]:
    for path, method, node in find_operations(document):
        yield Located(pointer("paths", path, method), node)


def find_parameters(document: JSON) -> Iterator[Located]:
    """Every parameter where it is written, shared ones once."""
    yield from _components(document, "parameters")
    items = (Located(pointer("paths", path), item) for path, item in document["paths"].items())
    for place, holder in (*items, *_operations(document)):
        for index, node in enumerate(holder.get("parameters", ())):
            if "$ref" not in node:
                yield Located(f"{place}/parameters/{index}", node)


def _responses(document: JSON) -> Iterator[Located]:
    yield from _components(document, "responses")
    for place, operation in _operations(document):
        for status, node in operation["responses"].items():
            if "$ref" not in node:
                yield Located(f"{place}/responses/{status}", node)


def find_headers(document: JSON) -> Iterator[Located]:
    """Every response header where it is written, shared ones once."""
    yield from _components(document, "headers")
    for place, response in _responses(document):
        for name, node in response.get("headers", {}).items():
            if "$ref" not in node:
                yield Located(place + pointer("headers", name), node)


def _bodies(document: JSON) -> Iterator[Located]:
    yield from _components(document, "requestBodies")
    for place, operation in _operations(document):
        body = operation.get("requestBody")
        if body is not None and "$ref" not in body:
            yield Located(f"{place}/requestBody", body)


def find_media_types(document: JSON) -> Iterator[Located]:
    """Every media type of a body or a response where it is written."""
    for place, holder in (*_bodies(document), *_responses(document)):
        for name, node in holder.get("content", {}).items():
            yield Located(place + pointer("content", name), node)
