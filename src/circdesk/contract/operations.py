"""Operations, compiled once from the contract: what each takes, checks, and may answer."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from circdesk.contract.documents import ContractError, resolve
from circdesk.contract.parameters import Defaults, Faults, Parameters, split_query
from circdesk.contract.problems import fault
from circdesk.contract.schemas import PARSERS, Check, Schemas, json_pointer

JSON = dict[str, Any]

# What the edge adds to every answer after the check.
EDGE_HEADERS = frozenset(
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


@dataclass(frozen=True, slots=True)
class Body:
    """The body that an operation takes: JSON, checked whole, or bytes, streamed to the handler."""

    checks: Mapping[str, Check | None]
    required: bool
    defaults: Mapping[str, Defaults]
    parsers: Mapping[str, Mapping[str, Callable[[str], Any]]]

    def read(self, media_type: str, value: Any, faults: Faults) -> Any:
        """The checked value; its own members have their defaults and their formats parsed.

        What is nested deeper stays as it was sent.
        """
        check = self.checks[media_type]
        if check is None:
            return value
        if not check.is_valid(value):
            faults += [fault("body", *violation) for violation in check.violations(value)]
            return value
        if not isinstance(value, dict):
            return value
        value = self.defaults[media_type].fill(value)
        for name, parse in self.parsers[media_type].items():
            if isinstance(value.get(name), str):
                value[name] = parse(value[name])
        return value


@dataclass(frozen=True, slots=True)
class Response:
    """One answer that an operation declares: its media types, and the headers it may carry."""

    checks: Mapping[str, Check | None]
    headers: Parameters


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the contract, ready to serve.

    Attributes:
        success: The status of an answer whose handler names none: the first 2xx of the
            contract, or its first status where it has none.
        produces: The media types of its successful answers.
        lenient: Whether its handler reads the request by rules of its own, as OAuth's endpoints
            do; the contract marks it with `x-lenient`.
        segments: The names of the parameters that stand in its path, in their order there.
        safe: Whether it only reads, as GET does (RFC 9110, 9.2.1), and a POST that the contract
            marks with `x-safe`.
        edge: The names of those arguments that are for the edge and not for the handler; the
            contract marks their parameters with `x-edge`.
    """

    operation_id: str
    tag: str
    method: str
    path: str
    segments: tuple[str, ...]
    security: tuple[JSON, ...]
    path_parameters: Parameters
    query: Parameters
    headers: Parameters
    body: Body | None
    responses: Mapping[int, Response]
    success: int
    produces: frozenset[str]
    lenient: bool
    safe: bool
    edge: frozenset[str]

    @property
    def arguments(self) -> frozenset[str]:
        """The names of the arguments that the handler is called with."""
        return frozenset(self._argument_names()) - self.edge

    def _argument_names(self) -> list[str]:
        headers = [argument_name(name) for name in self.headers.names]
        body = ["body"] if self.body else []
        return [*self.path_parameters.names, *self.query.names, *headers, *body]

    def read_parameters(
        self,
        segments: Mapping[str, list[str]],
        query: bytes,
        headers: Mapping[bytes, bytes],
        faults: Faults,
    ) -> dict[str, Any]:
        """The handler's arguments but for the body; every fault is added to `faults`."""
        arguments = self.path_parameters.read(segments, faults) if self.segments else {}
        if query or self.query.names:
            arguments |= self.query.read(split_query(query, faults) if query else {}, faults)
        if self.headers.names:
            found = self.headers.read_headers(headers, faults)
            named = {argument_name(name): value for name, value in found.items()}
            if query:
                faults += _contradictions(found, arguments)
            # What can be sent in either place was not sent in this one where it is None here.
            arguments |= {n: v for n, v in named.items() if v is not None or n not in arguments}
        return arguments


def _contradictions(headers: JSON, arguments: JSON) -> Faults:
    """The faults of what was sent in two places and is not the same in both."""
    message = "the query parameter of that name says something else"
    return [
        fault("header", json_pointer([name]), "contradiction", message)
        for name, value in headers.items()
        if value is not None and arguments.get(argument_name(name)) not in (None, value)
    ]


@cache
def argument_name(header: str) -> str:
    """The Python name of a header: `Idempotency-Key` becomes `idempotency_key`."""
    return header.lower().replace("-", "_")


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
    places = {
        place: Parameters(document, place, [p for p in parameters if p["in"] == place], schemas)
        for place in ("path", "query", "header")
    }
    responses = {
        _status(status): _compile_response(
            document, response, schemas, {} if shared is None else shared
        )
        for status, response in node["responses"].items()
    }
    successes = {status: answer for status, answer in responses.items() if 200 <= status < 300}
    operation = Operation(
        operation_id=node["operationId"],
        tag=node["tags"][0],
        method=method.upper(),
        path=path,
        segments=tuple(_PARAMETER.findall(path)),
        security=tuple(node.get("security", document.get("security", ()))),
        path_parameters=places["path"],
        query=places["query"],
        headers=places["header"],
        body=_compile_body(document, node, schemas),
        responses=responses,
        success=min(successes or responses),
        produces=frozenset(media for answer in successes.values() for media in answer.checks),
        lenient=node.get("x-lenient", False),
        safe=method == "get" or node.get("x-safe", False),
        edge=frozenset(argument_name(p["name"]) for p in parameters if p.get("x-edge", False)),
    )
    names = operation._argument_names()  # noqa: SLF001  Only the check here needs them all.
    twins = sorted({name for name in names if names.count(name) > 1} - operation.edge)
    if twins:
        raise ContractError(f"more than one parameter or body becomes the argument {twins}")
    return operation


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
        if header["name"].lower() in EDGE_HEADERS:
            header["required"] = False
    return Response(
        checks=_compile_content(response.get("content", {}), schemas, answered=True),
        headers=Parameters(document, "header", headers, schemas),
    )
