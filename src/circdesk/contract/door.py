"""The door: every request is routed, identified, read and checked here, before Flask.

It takes the place of Connexion's own routing, security and validation middlewares, which
each walk a router of their own and build their validators anew for each request.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from starlette.types import ASGIApp, Receive, Scope, Send

from circdesk.contract import requests
from circdesk.contract.bodies import read_json
from circdesk.contract.bridge import BODY
from circdesk.contract.contract import Contract
from circdesk.contract.environ import CALL, OPERATION, ROUTE
from circdesk.contract.forms import LONGEST_FORM, FormRequest, WebPage, raw_headers_as_text
from circdesk.contract.framework import Specification, SpecMiddleware
from circdesk.contract.headers import (
    RawHeaders,
    find_media_type,
    has_content,
    join_headers,
    raise_if_not_acceptable,
    raise_if_too_large,
)
from circdesk.contract.operations import Body, Operation
from circdesk.contract.parameters import Faults, decode
from circdesk.contract.problems import Problem, fault
from circdesk.contract.representations import Representation
from circdesk.contract.router import Router
from circdesk.contract.streams import too_large

# What stands outside the contract and is no page in Flask is served from memory, or answers by
# itself; it is known by its path.
Document = Representation | ASGIApp
Target = Operation | WebPage | Document
# Who is calling, or a problem; awaited on the event loop, so it must not block.
Authenticate = Callable[[Operation | WebPage, Scope, RawHeaders], Awaitable[Any]]
# Sends a problem as the answer to a request; the operation is None where none was found.
Refuse = Callable[[Scope, Receive, Send, Problem, Operation | None], Awaitable[None]]

# As many faults as a problem tells; who sends more has not read the contract.
_MOST_FAULTS = 100


class _Way(NamedTuple):
    """What answers a method of a path: its template there, and its name in the log."""

    target: Target
    path: str
    name: str


Methods = dict[str, _Way]


@dataclass(frozen=True, slots=True)
class Call:
    """A checked request: what it is for, the handler's arguments, and who is calling."""

    target: Operation | WebPage
    # A body may hold a password.
    arguments: dict[str, Any] = field(repr=False)
    visit: Any
    media_type: str | None = None
    # Arguments for the edge, which no handler takes, such as the key of a repeatable request.
    edge: Mapping[str, Any] = field(default_factory=dict)

    @property
    def operation(self) -> Operation | None:
        """The operation; None for a page, which stands outside the contract."""
        return self.target if isinstance(self.target, Operation) else None


@dataclass(frozen=True, slots=True)
class Limits:
    """What a body may have.

    Attributes:
        body_bytes: Bytes of a JSON body.
        stream_bytes: Bytes that the head may announce for a streamed body.
        body_seconds: Seconds that the arrival of a JSON body may take.
    """

    body_bytes: int
    stream_bytes: int
    body_seconds: float


class Door(SpecMiddleware):  # type: ignore[misc]  # Connexion ships no types.
    """Connexion middleware that admits requests which keep to the contract."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        contract: Contract,
        documents: Mapping[str, Document],
        pages: Iterable[WebPage],
        authenticate: Authenticate,
        refuse: Refuse,
        limits: Limits,
    ) -> None:
        self._app = app
        operations = contract.operations.values()
        self._router: Router[_Way] = Router(
            [
                *((op.method, op.path, _Way(op, op.path, op.operation_id)) for op in operations),
                *((page.method, page.path, _Way(page, page.path, page.name)) for page in pages),
                *(("GET", path, _Way(what, path, "document")) for path, what in documents.items()),
            ]
        )
        self._authenticate = authenticate
        self._refuse = refuse
        self._limits = limits

    def add_api(self, specification: Specification, **kwargs: Any) -> None:
        """Nothing to add: the operations were compiled from the same document at the start."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it through with its `Call` in the scope."""
        if scope["type"] == "websocket":
            # The contract has none; what is closed before it is accepted is answered with 403.
            await send({"type": "websocket.close"})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        operation = None
        try:
            match = self._router.find(scope["raw_path"].decode("latin-1"))
            if match is None:
                raise requests.NotFound("No resource has this path.")
            # All ways of a path have one template.
            scope[ROUTE] = next(iter(match.methods.values())).path
            method = scope["method"]
            if method == "OPTIONS":
                await _send_options(match.methods, send)
                return
            way = match.methods.get("GET" if method == "HEAD" else method)
            if way is None:
                raise _not_allowed(match.methods)
            target, _, scope[OPERATION] = way
            if not isinstance(target, (Operation, WebPage)):
                await _send_document(target, scope, receive, send)
                return
            if isinstance(target, Operation):
                operation = target
            scope[CALL] = await self._admit(target, match.segments, scope, receive)
            await self._app(scope, receive, send)
        except Problem as problem:
            await self._refuse(scope, receive, send, problem, operation)

    async def _admit(
        self, target: Operation | WebPage, segments: tuple[str, ...], scope: Scope, receive: Receive
    ) -> Call:
        """The checked call; authorisation comes before any look at the content."""
        headers = join_headers(scope["headers"])
        visit = await self._authenticate(target, scope, headers)
        if isinstance(target, WebPage) or target.lenient:
            body = await self._read_form(headers, receive)
            query = scope["query_string"].decode("latin-1")
            form = FormRequest(scope["method"], query, raw_headers_as_text(headers), body)
            scope[BODY] = body
            return Call(target, {"body": form}, visit)
        return await self._check(target, segments, visit, headers, scope, receive)

    async def _check(
        self,
        operation: Operation,
        segments: tuple[str, ...],
        visit: Any,
        headers: RawHeaders,
        scope: Scope,
        receive: Receive,
    ) -> Call:
        """The call of an operation, its parameters and its body held against the contract."""
        raise_if_not_acceptable(operation, headers)
        faults: Faults = []
        named = _decode_segments(operation, segments, faults)
        arguments = operation.read_parameters(named, scope["query_string"], headers, faults)
        media_type = None
        scope[BODY] = b""
        if operation.body is not None:
            arguments["body"] = None
            if has_content(headers):
                media_type = find_media_type(operation.body, headers)
                scope[BODY] = await self._read_body(operation.body, media_type, headers, receive)
            if scope[BODY] == b"" and operation.body.required:
                faults.append(fault("body", "", "required", "the body is missing"))
            elif scope[BODY] and media_type is not None:
                value = _read_json(scope[BODY], faults)
                arguments["body"] = operation.body.read(media_type, value, faults)
        if faults:
            count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
            message = f"The request has {count}."
            raise requests.InvalidRequest(message, details=faults[:_MOST_FAULTS])
        edge = {name: arguments.pop(name, None) for name in operation.edge}
        return Call(operation, arguments, visit, media_type, edge)

    async def _read_body(
        self, body: Body, media_type: str, headers: RawHeaders, receive: Receive
    ) -> bytes | None:
        """The body; None for one that is streamed, which the handler reads."""
        if body.checks[media_type] is None:
            raise_if_too_large(headers, self._limits.stream_bytes)
            return None
        return await self._read_whole(headers, receive, self._limits.body_bytes)

    async def _read_form(self, headers: RawHeaders, receive: Receive) -> bytes:
        return (
            await self._read_whole(headers, receive, LONGEST_FORM) if has_content(headers) else b""
        )

    async def _read_whole(self, headers: RawHeaders, receive: Receive, limit: int) -> bytes:
        raise_if_too_large(headers, limit)
        content, more = bytearray(), True
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise requests.RequestTimeout("The connection closed too early.")
                    content += message.get("body", b"")
                    if len(content) > limit:
                        raise too_large(limit)
                    more = message.get("more_body", False)
        except TimeoutError:
            raise requests.RequestTimeout("The body did not arrive in time.") from None
        return bytes(content)


def _not_allowed(methods: Methods) -> requests.MethodNotAllowed:
    allow = _allow(methods)
    return requests.MethodNotAllowed(f"This path takes {allow}.", headers={"Allow": allow})


def _allow(methods: Methods) -> str:
    """A complete Allow header (RFC 9110, 10.2.1)."""
    heads = {"HEAD"} if "GET" in methods else set()
    return ", ".join(sorted(methods.keys() | heads | {"OPTIONS"}))


async def _send_options(methods: Methods, send: Send) -> None:
    headers = [(b"allow", _allow(methods).encode())]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _send_document(document: Document, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with what stands outside the contract."""
    if not isinstance(document, Representation):
        await document(scope, receive, send)
        return
    headers = raw_headers_as_text(dict(scope["headers"]))
    status, fields, body = document.respond(headers)
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in fields]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _decode_segments(
    operation: Operation, segments: tuple[str, ...], faults: Faults
) -> dict[str, list[str]]:
    """The parameters in the path, each as a list of one text."""
    named = {}
    for name, segment in zip(operation.segments, segments, strict=True):
        try:
            named[name] = [decode(segment)]
        except ValueError:
            message = "the segment cannot be decoded as UTF-8 without NUL"
            faults.append(fault("path", f"/{name}", "encoding", message))
    return named


def _read_json(body: bytes, faults: Faults) -> Any:
    """The body's value; a MalformedBody tells the faults that were found before it, too."""
    try:
        return read_json(body)
    except requests.MalformedBody as problem:
        problem.details = [*faults[: _MOST_FAULTS - 1], *problem.details]
        raise
