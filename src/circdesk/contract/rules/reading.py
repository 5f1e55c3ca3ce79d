"""The document as the rules look at it: operations, parameters and headers, each with its place."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from circdesk.contract.documents import find_operations, resolve
from circdesk.contract.rules.places import (
    Located,
    find_headers,
    find_media_types,
    find_parameters,
    pointer,
)
from circdesk.contract.rules.positions import Position, find_positions
from circdesk.contract.schemas import Schemas

JSON = dict[str, Any]


class Operation(NamedTuple):
    """One operation; its parameters (the path's too), body and responses are resolved."""

    path: str
    method: str
    node: JSON
    parameters: tuple[JSON, ...]
    body: JSON | None
    responses: Mapping[str, JSON]

    @property
    def place(self) -> str:
        """How a finding names the operation."""
        if "operationId" in self.node:
            return f"operationId {self.node['operationId']}"
        return pointer("paths", self.path, self.method)

    @property
    def needs_credentials(self) -> bool:
        """Whether nobody may call it anonymously."""
        return all(self.node.get("security") or [{}])


class Reading:
    """A bundled document, read once for all rules."""

    def __init__(self, document: JSON) -> None:
        self.document = document

    @cached_property
    def operations(self) -> tuple[Operation, ...]:
        """Every operation, in the document's order."""
        return tuple(
            self._operation(path, method, node)
            for path, method, node in find_operations(self.document)
        )

    @cached_property
    def parameters(self) -> tuple[Located, ...]:
        """Every parameter where it is written, shared ones once."""
        return tuple(find_parameters(self.document))

    @cached_property
    def headers(self) -> tuple[Located, ...]:
        """Every response header where it is written, shared ones once."""
        return tuple(find_headers(self.document))

    @cached_property
    def media_types(self) -> tuple[Located, ...]:
        """Every media type of a body or a response where it is written."""
        return tuple(find_media_types(self.document))

    @cached_property
    def schemas(self) -> tuple[Position, ...]:
        """Every schema where it is written, down to the last property."""
        return tuple(
            position
            for kind, roots in self._schema_roots()
            for place, name, schema in roots
            for position in find_positions(kind, place, name, schema)
        )

    @cached_property
    def compiler(self) -> Schemas:
        """What compiles schemas of the document, to check examples against them."""
        return Schemas(self.document)

    def _operation(self, path: str, method: str, node: JSON) -> Operation:
        shared = self.document["paths"][path].get("parameters", [])
        return Operation(
            path=path,
            method=method,
            node=node,
            parameters=tuple(
                resolve(self.document, each) for each in [*shared, *node.get("parameters", [])]
            ),
            body=resolve(self.document, node["requestBody"]) if "requestBody" in node else None,
            responses={
                status: resolve(self.document, response)
                for status, response in node["responses"].items()
            },
        )

    def _schema_roots(self) -> Iterator[tuple[str, Iterator[tuple[str, str, JSON]]]]:
        components = self.document.get("components", {}).get("schemas", {})
        yield (
            "component",
            ((pointer("components", "schemas", n), n, schema) for n, schema in components.items()),
        )
        for kind, holders in (
            ("parameter", self.parameters),
            ("header", self.headers),
            ("body", self.media_types),
        ):
            yield (
                kind,
                (
                    (f"{place}/schema", node.get("name", ""), node["schema"])
                    for place, node in holders
                    if "schema" in node
                ),
            )
