"""What is wrong with a document that is not sound, in one line that says where."""

from typing import Any

from openapi_spec_validator import OpenAPIV30SpecValidator
from openapi_spec_validator.validation.exceptions import (
    DuplicateOperationIDError,
    OpenAPIValidationError,
)

from circdesk.contract.documents import METHODS, Bundle, find_operations
from circdesk.contract.schemas import json_pointer

JSON = dict[str, Any]


def find_errors(document: JSON) -> list[OpenAPIValidationError]:
    """The validator's errors, but for equal operationIds: it does not know where they stand."""
    errors: list[OpenAPIValidationError] = []
    try:
        for error in OpenAPIV30SpecValidator(document).iter_errors():
            if not isinstance(error, DuplicateOperationIDError):
                errors.append(error)  # noqa: PERF401  What was found must outlive the stumble.
    except (AttributeError, LookupError, TypeError):
        # The validator stumbles over what it has just reported.
        if not errors:
            raise
    return errors


def explain(bundle: Bundle, errors: list[OpenAPIValidationError]) -> str:
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
    if message in map(_one_line, find_errors({**document, "paths": {}})):
        return []
    for path, method, node in find_operations(document):
        item = {k: v for k, v in document["paths"][path].items() if k not in METHODS}
        alone = {**document, "paths": {path: {**item, method: node}}}
        if message in map(_one_line, find_errors(alone)):
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
