"""The contract's examples are true: each is valid, and each read answers in the demo what it says.

An answer's example is the one of its media type, or else made of those of its properties. The
demo has the same ids and times in every database, so the real answer equals it, but for this:

- A list of objects has the documented ones among its items, and may have more.
- A part of a list tells either `page`, `total` and `total_relation` or the cursor; its `total` is
  that of its own items, and its `links` are those of its own address.
"""

from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from circdesk.catalog.demo.seeding import seed_demo
from circdesk.contract.contract import Contract
from circdesk.contract.documents import load_bundle, resolve
from circdesk.contract.operations import Operation
from circdesk.contract.rules import lint
from circdesk.db.unit_of_work import make_sessions
from circdesk.resources import directory

JSON = dict[str, Any]

CONTRACT = Contract(load_bundle(directory("openapi")))
DOCUMENT = CONTRACT.document
READS = [operation for operation in CONTRACT.operations.values() if operation.safe]
LISTS = [operation for operation in READS if "cursor" in operation.query.names]
# What is only told of a part that was asked for by page.
BY_PAGE = frozenset(("page", "total", "total_relation"))


def example_of(schema: JSON) -> Any:
    """The schema's own example, or what the examples of its parts make."""
    schema = resolve(DOCUMENT, schema)
    if "example" in schema:
        return schema["example"]
    if schema.get("type") == "object":
        return {name: example_of(node) for name, node in schema.get("properties", {}).items()}
    assert schema.get("type") == "array", schema
    return [example_of(schema["items"])]


def documented(operation: Operation) -> tuple[str, Any]:
    """Media type and example of the operation's answer."""
    node = DOCUMENT["paths"][operation.path]["get"]["responses"][str(operation.success)]
    ((media_type, content),) = resolve(DOCUMENT, node)["content"].items()
    return media_type, content.get("example") or example_of(content["schema"])


def address(operation: Operation, *without: str) -> str:
    """The operation's address with the example of each of its parameters."""
    item = DOCUMENT["paths"][operation.path]
    parameters = [*item.get("parameters", ()), *item["get"].get("parameters", ())]
    path, query = operation.path, {}
    for parameter in (resolve(DOCUMENT, reference) for reference in parameters):
        name, example = parameter["name"], parameter["example"]
        if parameter["in"] == "path":
            path = path.replace(f"{{{name}}}", example)
        elif parameter["in"] == "query" and name not in without:
            query[name] = example
    return f"{path}?{httpx.QueryParams(query)}" if query else path


def assert_as_documented(real: Any, example: Any) -> None:
    """Assert that a value is its example, but for further items of lists of objects."""
    if isinstance(example, dict):
        assert isinstance(real, dict)
        assert real.keys() == example.keys()
        for name, value in example.items():
            assert_as_documented(real[name], value)
    elif isinstance(example, list) and example and isinstance(example[0], dict):
        missing = [item for item in example if not any(_matches(other, item) for other in real)]
        assert missing == []
    else:
        assert real == example


def _matches(real: Any, example: Any) -> bool:
    try:
        assert_as_documented(real, example)
    except AssertionError:
        return False
    return True


@pytest.fixture
def reader(admin: httpx.Client, engine: Engine) -> httpx.Client:
    """A caller of a service that has the demo."""
    seed_demo(make_sessions(engine))
    return admin


def test_every_example_is_valid() -> None:
    assert lint(DOCUMENT) == []


@pytest.mark.parametrize(
    "operation",
    [pytest.param(read, id=read.operation_id) for read in READS if read not in LISTS],
)
def test_a_read_answers_as_documented(reader: httpx.Client, operation: Operation) -> None:
    media_type, example = documented(operation)

    response = reader.get(address(operation))

    assert response.status_code == operation.success, response.text
    assert response.headers["Content-Type"].partition(";")[0] == media_type
    if media_type == "application/json":
        assert_as_documented(response.json(), example or response.json())
    elif media_type != "application/yaml":
        assert response.text.splitlines() == example.splitlines()


@pytest.mark.parametrize("operation", [pytest.param(read, id=read.operation_id) for read in LISTS])
@pytest.mark.parametrize("left_out", ["cursor", "page"])
def test_a_list_answers_as_documented(
    reader: httpx.Client, operation: Operation, left_out: str
) -> None:
    _, example = documented(operation)
    url = address(operation, left_out)

    response = reader.get(url)

    assert response.status_code == 200, response.text
    body = response.json()
    absent = {*BY_PAGE} if left_out == "page" else set()
    if "next_cursor" not in body:
        absent.add("next_cursor")
    assert body.keys() == example.keys() - absent
    links = body.pop("links")
    assert links.pop("self") == url
    assert links.keys() <= example["links"].keys()
    assert body.get("total", len(body["items"])) == len(body["items"])
    body.pop("total", None)
    assert_as_documented(body, {name: example[name] for name in body})
