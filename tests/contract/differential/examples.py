"""The requests of the contract's examples, and what it says of their parts."""

import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

from circdesk.contract.documents import resolve
from circdesk.contract.operations import Operation
from tests.contract.differential.requests import JSON, Credentials, Pairs, Request
from tests.contracts import contract

DOCUMENT = contract().document
_FORM = "application/x-www-form-urlencoded"


def parameters_of(operation: Operation, place: str) -> Iterator[JSON]:
    """The parameters of an operation in `path`, `query` or `header`, references resolved."""
    item = DOCUMENT["paths"][operation.path]
    node = item[operation.method.lower()]
    for reference in (*item.get("parameters", ()), *node.get("parameters", ())):
        parameter = resolve(DOCUMENT, reference)
        if parameter["in"] == place:
            yield {**parameter, "schema": resolve(DOCUMENT, parameter["schema"])}


def content_of(operation: Operation) -> JSON:
    """The media types that its body may have, the documented one first, if any."""
    node = DOCUMENT["paths"][operation.path][operation.method.lower()]
    content: JSON = resolve(DOCUMENT, node.get("requestBody", {})).get("content", {})
    return content


def example_of(schema: JSON) -> Any:
    """The example of a schema, or what the examples of its parts make."""
    schema = resolve(DOCUMENT, schema)
    if "example" in schema:
        return schema["example"]
    made: JSON = {}
    for part in schema.get("allOf", ()):
        example = example_of(part)
        if not isinstance(example, dict):
            return example
        made |= example
    if "items" in schema:
        return [example_of(schema["items"])]
    return made | {name: example_of(node) for name, node in schema.get("properties", {}).items()}


def rule_of(schema: JSON, text: str) -> str:
    """What a text has to keep to, and whether it does as Connexion reads it, in a few words."""
    # A time zone has a pattern, and its format is held as well.
    if "pattern" not in schema or schema.get("format") == "time-zone":
        return "of a format" if "format" in schema else "of no rule"
    return "fitting its pattern" if re.search(schema["pattern"], text) else "against its pattern"


def as_text(example: Any) -> str:
    """An example as it stands in an address, percent-encoded."""
    text = json.dumps(example) if isinstance(example, bool) else str(example)
    return quote(text, safe=":,;=*-")


def documented(operation: Operation, credentials: Credentials) -> Request:
    """The request of the examples: what is required and no more, by somebody who may do it."""
    path = operation.path
    for parameter in parameters_of(operation, "path"):
        path = path.replace(f"{{{parameter['name']}}}", as_text(parameter["example"]))
    headers = _identify(operation, credentials)
    body, value = b"", None
    for media_type, content in content_of(operation).items():
        headers += (("content-type", media_type),)
        value = content.get("example") or example_of(content["schema"])
        body = _encode(media_type, value)
        break
    return Request("as documented", operation, operation.method, path, (), headers, body, value)


def _identify(operation: Operation, credentials: Credentials) -> Pairs:
    taken = {scheme for entry in operation.security for scheme in entry}
    if "ApiKey" in taken or not taken:
        return (("x-api-key", credentials.key),)
    return (
        ("cookie", f"circdesk_session={credentials.session}"),
        ("x-csrf-token", credentials.csrf_token),
    )


def _encode(media_type: str, value: Any) -> bytes:
    if media_type.endswith("json"):
        return json.dumps(value).encode()
    return urlencode(value).encode() if media_type == _FORM else b"title\nThe Dispossessed\n"


@cache
def operations() -> Sequence[Operation]:
    """All operations of the contract."""
    return tuple(contract().operations.values())
