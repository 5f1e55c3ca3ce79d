"""The contract, loaded and held against the code: what is wrong here stops the start."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from circdesk.contract.compiling import compile_operation
from circdesk.contract.documents import Bundle, ContractError, find_operations
from circdesk.contract.handlers import find_handlers, handler_arguments
from circdesk.contract.kept_bundle import kept_bundle
from circdesk.contract.operations import Operation, Response
from circdesk.contract.schemas import Schemas
from circdesk.contract.soundness import is_sound

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
    bundle = kept_bundle(root)
    for fault in _document_faults(bundle):
        raise ContractError(fault)
    contract = Contract(bundle)
    for fault in _handler_faults(bundle, contract):
        raise ContractError(fault)
    return contract


def _document_faults(bundle: Bundle) -> Iterator[str]:
    """What makes the document invalid, as lines; the structure first, since the rest needs it."""
    if not is_sound(bundle.document):
        # The validator takes 0.3 s and 15 MB to import, and only a fault needs it.
        from circdesk.contract.explanations import explain, find_errors  # noqa: PLC0415

        if errors := find_errors(bundle.document):
            yield explain(bundle, errors)
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
