"""Compiling: what the contract says of an operation becomes an `Operation`, at the start."""

import re
from typing import Any

from circdesk.contract.documents import ContractError, resolve
from circdesk.contract.formats import PARSERS
from circdesk.contract.operations import Body, Operation, Response, argument_name
from circdesk.contract.parameters import Defaults, Parameters
from circdesk.contract.schemas import Check, Schemas

JSON = dict[str, Any]

# What the edge adds to every answer after the check.
_EDGE_HEADERS = frozenset(
    (
        "access-control-allow-origin",
        "access-control-expose-headers",
        "age",
        "cache-control",
        "content-encoding",
        "content-security-policy",
        "etag",
        "idempotent-replayed",
        "last-modified",
        "ratelimit",
        "ratelimit-policy",
        "referrer-policy",
        "set-cookie",
        "strict-transport-security",
        "vary",
        "x-content-type-options",
        "x-frame-options",
        "x-request-id",
    )
)
# In a merge patch, a member that was not sent means that it stays as it is (RFC 7396).
_MERGE_PATCH = "application/merge-patch+json"
_PARAMETER = re.compile(r"\{([^}]+)\}")


def compile_operation(
    document: JSON,
    path: str,
    method: str,
    schemas: Schemas,
    shared: dict[str, Response] | None = None,
) -> Operation:
    """Compile one operation of a valid document.

    Args:
        document: The document.
        path: The operation's path.
        method: Its method, in lower case.
        schemas: The document's schemas.
        shared: The responses that operations refer to, by their reference, compiled so far. Nearly
            all responses are such; one for each of their places would take 11 MB.

    Raises:
        ContractError: It is valid OpenAPI, and this service cannot serve it.
    """
    node = document["paths"][path][method]
    parameters = _parameters(document, document["paths"][path], node)
    responses = _compile_responses(document, node, schemas, {} if shared is None else shared)
    successes = {status: answer for status, answer in responses.items() if 200 <= status < 300}

    def place(name: str) -> Parameters:
        return Parameters(document, name, [p for p in parameters if p["in"] == name], schemas)

    operation = Operation(
        operation_id=node["operationId"],
        tag=node["tags"][0],
        method=method.upper(),
        path=path,
        segments=tuple(_PARAMETER.findall(path)),
        security=tuple(node.get("security", document.get("security", ()))),
        path_parameters=place("path"),
        query=place("query"),
        headers=place("header"),
        body=_compile_body(document, node, schemas),
        responses=responses,
        success=min(successes or responses),
        produces=frozenset(media for answer in successes.values() for media in answer.checks),
        lenient=node.get("x-lenient", False),
        safe=method == "get" or node.get("x-safe", False),
        edge=frozenset(argument_name(p["name"]) for p in parameters if p.get("x-edge", False)),
    )
    _raise_on_twins(operation)
    return operation


def _raise_on_twins(operation: Operation) -> None:
    names = operation.all_arguments
    twins = sorted({name for name in names if names.count(name) > 1} - operation.edge)
    if twins:
        raise ContractError(f"more than one parameter or body becomes the argument {twins}")


def _parameters(document: JSON, item: JSON, node: JSON) -> list[JSON]:
    """The parameters of an operation; its own win over those of its path."""
    named = {}
    for reference in [*item.get("parameters", ()), *node.get("parameters", ())]:
        parameter = resolve(document, reference)
        if parameter["in"] == "cookie":
            raise ContractError(f"the parameter {parameter['name']!r} is a cookie")
        named[parameter["in"], parameter["name"]] = parameter
    return [*named.values()]


def _status(status: str) -> int:
    if not status.isdecimal():
        raise ContractError(f"the response {status!r} has no status of its own")
    return int(status)


def _is_json(media_type: str) -> bool:
    return media_type == "application/json" or media_type.endswith("+json")


def _compile_content(content: JSON, schemas: Schemas, *, answered: bool) -> dict[str, Check | None]:
    """A check for each JSON media type; None for one that is streamed."""
    return {
        media_type: schemas.compile(node.get("schema", {}), answered=answered)
        if _is_json(media_type)
        else None
        for media_type, node in content.items()
    }


def _compile_body(document: JSON, node: JSON, schemas: Schemas) -> Body | None:
    if "requestBody" not in node:
        return None
    body = resolve(document, node["requestBody"])
    defaults, parsers = {}, {}
    for media_type, content in body["content"].items():
        properties = _properties(document, content.get("schema", {}))
        defaults[media_type] = Defaults(
            {n: p["default"] for n, p in properties.items() if "default" in p}
            if media_type != _MERGE_PATCH
            else {}
        )
        parsers[media_type] = {
            name: PARSERS[schema["format"]]
            for name, schema in properties.items()
            if schema.get("format") in PARSERS
        }
    return Body(
        checks=_compile_content(body["content"], schemas, answered=False),
        required=body.get("required", False),
        defaults=defaults,
        parsers=parsers,
    )


def _properties(document: JSON, schema: JSON) -> dict[str, JSON]:
    """The properties of an object, also those that it has by `allOf`."""
    plain = resolve(document, schema)
    properties: dict[str, JSON] = {}
    for part in plain.get("allOf", ()):
        properties |= _properties(document, part)
    own = plain.get("properties", {}).items()
    return properties | {name: resolve(document, node) for name, node in own}


def _compile_responses(
    document: JSON, node: JSON, schemas: Schemas, shared: dict[str, Response]
) -> dict[int, Response]:
    return {
        _status(status): _compile_response(document, response, schemas, shared)
        for status, response in node["responses"].items()
    }


def _compile_response(
    document: JSON, node: JSON, schemas: Schemas, shared: dict[str, Response]
) -> Response:
    reference = node.get("$ref")
    if reference is None:
        return _compile_own_response(document, node, schemas)
    if reference not in shared:
        shared[reference] = _compile_own_response(document, resolve(document, node), schemas)
    return shared[reference]


def _compile_own_response(document: JSON, response: JSON, schemas: Schemas) -> Response:
    headers = [
        {"name": name, **resolve(document, header)}
        for name, header in response.get("headers", {}).items()
    ]
    for header in headers:
        if header["name"].lower() in _EDGE_HEADERS:
            header["required"] = False
    return Response(
        checks=_compile_content(response.get("content", {}), schemas, answered=True),
        headers=Parameters(document, "header", headers, schemas),
    )
