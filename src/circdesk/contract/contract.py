"""The contract, loaded and held against the code: what is wrong here stops the start."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from openapi_spec_validator import OpenAPIV30SpecValidator
from openapi_spec_validator.validation.exceptions import (
    DuplicateOperationIDError,
    OpenAPIValidationError,
)

from circdesk.contract.documents import (
    METHODS,
    Bundle,
    ContractError,
    find_operations,
    load_bundle,
)
from circdesk.contract.handlers import find_handlers, handler_arguments
from circdesk.contract.operations import Operation, Response, compile_operation
from circdesk.contract.schemas import Schemas, json_pointer

JSON = dict[str, Any]


class Contract:
    """The bundled document and its compiled operations.

    Raises:
        ContractError: An operation is valid OpenAPI and cannot be served.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.document = bundle.document
        self.operations: dict[str, Operation] = {}
        schemas, shared = Schemas(bundle.document), dict[str, Response]()
        for path, method, node in find_operations(bundle.document):
            name = node["operationId"]
            try:
                operation = compile_operation(bundle.document, path, method, schemas, shared)
            except ContractError as error:
                raise ContractError(f"{bundle.sources[path]}: {name}: {error}") from error
            self.operations[name] = operation


def load_contract(root: Path) -> Contract:
    """Load the contract under `root`, check it, and compile it.

    Raises:
        ContractError: The contract is invalid or differs from the handlers; one line that
            names the file and the operation, the first fault found.
    """
    bundle = load_bundle(root)
    for fault in _document_faults(bundle):
        raise ContractError(fault)
    contract = Contract(bundle)
    for fault in _handler_faults(bundle, contract):
        raise ContractError(fault)
    return contract


def _document_faults(bundle: Bundle) -> Iterator[str]:
    """What makes the document invalid, as lines; the structure first, since the rest needs it."""
    if errors := _validator_errors(bundle.document):
        yield _explain(bundle, errors)
    shapes: dict[str, str] = {}
    for path in bundle.document["paths"]:
        shape = re.sub(r"\{[^{}/]+\}", "{}", path)
        if shape in shapes:
            yield f"{bundle.sources[path]}: {path}: {shapes[shape]} is the same path"
        if re.search(r"[^/]\{|\}[^/]", shape):
            yield f"{bundle.sources[path]}: {path}: a segment is a parameter only in part"
        shapes[shape] = path
    seen: dict[str, str] = {}
    for path, method, node in find_operations(bundle.document):
        place, name = bundle.sources[path], node.get("operationId")
        if name is None:
            yield f"{place}: {method} {path}: there is no operationId"
        elif name in seen:
            yield f"{place}: {name}: {seen[name]} has the same operationId"
        elif not node.get("tags"):
            yield f"{place}: {name}: there is no tag"
        seen[name or ""] = place


def _validator_errors(document: JSON) -> list[OpenAPIValidationError]:
    """The validator's errors, but for equal operationIds: it does not know where they stand."""
    errors: list[OpenAPIValidationError] = []
    try:
        for error in OpenAPIV30SpecValidator(_told_once(document)).iter_errors():
            if not isinstance(error, DuplicateOperationIDError):
                errors.append(error)  # noqa: PERF401  What was found must outlive the stumble.
    except (AttributeError, LookupError, TypeError):
        # The validator stumbles over what it has just reported.
        if not errors:
            raise
    return errors


def _told_once(document: JSON) -> JSON:
    """The document with each shared response in the first of its places alone.

    The validator looks into it in each of them anew, a dozen for each operation, which takes half
    of its time.
    """
    seen: set[str] = set()

    def once(response: Any) -> Any:
        reference = response.get("$ref") if isinstance(response, dict) else None
        if not isinstance(reference, str):
            return response
        if reference in seen:
            return {"description": "It was looked into before."}
        seen.add(reference)
        return response

    told: JSON = {}
    for path, method, node in find_operations(document):
        item = told.setdefault(path, {**document["paths"][path]})
        # What nobody has checked yet may be anything.
        responses = node.get("responses") if hasattr(node, "get") else None
        if isinstance(responses, dict):
            each = {status: once(response) for status, response in responses.items()}
            item[method] = {**node, "responses": each}
    return {**document, "paths": {**document["paths"], **told}} if told else document


def _explain(bundle: Bundle, errors: list[OpenAPIValidationError]) -> str:
    """The first error, and where it stands, as one line."""
    first, *rest = errors
    path, message = [*first.absolute_path], _one_line(first)
    if message.startswith("{") and rest:
        # It has quoted a whole schema; the error after it says what is wrong inside.
        path, message = [*path, *rest[0].absolute_path], _one_line(rest[0])
    return f"{_place(bundle, path or _search(bundle, message))}: {message}"


def _one_line(error: OpenAPIValidationError) -> str:
    return str(error.message).partition("\n")[0][:300]


def _search(bundle: Bundle, message: str) -> list[str | int]:
    """The operation without which an error that tells no place would not be."""
    document = bundle.document
    if not isinstance(document.get("paths"), dict):
        return []
    if message in map(_one_line, _validator_errors({**document, "paths": {}})):
        return []
    for path, method, node in find_operations(document):
        item = {k: v for k, v in document["paths"][path].items() if k not in METHODS}
        alone = {**document, "paths": {path: {**item, method: node}}}
        if message in map(_one_line, _validator_errors(alone)):
            return ["paths", path, method]
    return []


def _place(bundle: Bundle, path: list[str | int]) -> str:
    """File, operation and pointer of a fault in the document."""
    place, rest = "openapi/openapi.yaml", path
    match path:
        case ["paths", str(url), str(method), *rest]:
            node = bundle.document["paths"][url].get(method, {})
            name = node.get("operationId", method) if isinstance(node, dict) else method
            place = f"{bundle.sources[url]}: {name}"
        case ["paths", str(url), *rest]:
            place = f"{bundle.sources[url]}: {url}"
    return f"{place}: {json_pointer(rest)}" if rest else place


def _handler_faults(bundle: Bundle, contract: Contract) -> Iterator[str]:
    """Where contract and handlers differ, as lines."""
    handlers = dict(find_handlers())
    for operation in contract.operations.values():
        where = f"{bundle.sources[operation.path]}: {operation.operation_id}"
        handler = handlers.pop((operation.tag, operation.operation_id), None)
        if handler is None:
            yield f"{where}: circdesk.{operation.tag}.handlers has no such function"
            continue
        try:
            taken = handler_arguments(handler)
        except TypeError as error:
            yield f"{where}: {error}"
            continue
        if taken != operation.arguments:
            yield (
                f"{where}: the handler takes {sorted(taken - operation.arguments)} beyond the"
                f" contract and lacks {sorted(operation.arguments - taken)}"
            )
    for (domain, name), handler in handlers.items():
        yield f"{handler.__module__}: {name}: no operation with the tag {domain} has this name"
