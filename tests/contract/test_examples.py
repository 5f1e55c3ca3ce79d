"""The contract's examples are true: each is valid, and each read answers in the demo what it says.

An answer's example is the one of its media type, or else made of those of its properties. The
demo has the same ids and times in every database, so the real answer equals it, but for this:

- A list of objects has the documented ones among its items, and may have more.
- A part of a list tells either `page`, `total` and `total_relation` or the cursor; its `total` is
  that of its own items, and its `links` are those of its own address.
- The service's own address is the one of the test.
- When a credential was last used is not compared, as reading the examples uses some.
- What comes by use, and has ids and times that nobody knows before, has the documented form.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, delete

from circdesk.accounts.models import User
from circdesk.auth.demo import PEOPLE, PUBLIC_CLIENT_ID, DemoSecrets, seed_access
from circdesk.auth.models import Consent
from circdesk.catalog.demo.identities import MOMENT, Kind, demo_id
from circdesk.catalog.demo.seeding import seed_demo
from circdesk.contract.documents import resolve
from circdesk.contract.operations import Operation
from circdesk.contract.rules import lint
from circdesk.db.unit_of_work import make_sessions, unit_of_work
from tests.contract.documented_desk import store_documented_desk
from tests.contracts import contract

JSON = dict[str, Any]

CONTRACT = contract()
DOCUMENT = CONTRACT.document
# What only a sandbox answers, which this service is not.
IN_SANDBOX = frozenset(("get_sandbox_clock",))
READS = [
    operation
    for operation in CONTRACT.operations.values()
    if operation.method == "GET" and operation.operation_id not in IN_SANDBOX
]
LISTS = [operation for operation in READS if "cursor" in operation.query.names]
# What is only told of a part that was asked for by page.
BY_PAGE = frozenset(("page", "total", "total_relation"))
# What belongs to the caller is documented as the demo's member sees it.
OWN = ("/api/me", "/api/session", "/api/api-keys")
# What comes by use.
BY_USE = frozenset(
    (
        "export_user",
        "get_key_set",
        "get_rate_limit",
        "get_session",
        "list_my_sessions",
        "list_signing_keys",
    )
)
ADDRESS = "http://127.0.0.1:8000"

Reader = Callable[[Operation], httpx.Client]


def example_of(schema: JSON) -> Any:
    """The schema's own example, or what the examples of its parts make."""
    schema = resolve(DOCUMENT, schema)
    if "example" in schema:
        return schema["example"]
    if "allOf" in schema:
        # That is how a reference gets a description of its own.
        (schema,) = (resolve(DOCUMENT, part) for part in schema["allOf"])
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
            if name not in ("last_used_at", "uptime_seconds"):
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


def assert_of_form(real: Any, example: Any) -> None:
    """Assert that a value has the same names in it as its example, all the way down."""
    if isinstance(example, dict):
        assert isinstance(real, dict)
        assert real.keys() == example.keys()
        for name, value in example.items():
            # What an entry of the audit log tells besides depends on its action.
            if name != "details":
                assert_of_form(real[name], value)
    elif isinstance(example, list) and example:
        assert real
        for item in real:
            assert_of_form(item, example[0])


def assert_documented(operation: Operation, real: Any, example: Any) -> None:
    """Assert that an answer, or what is left of it, is what the operation's example says."""
    check = assert_of_form if operation.operation_id in BY_USE else assert_as_documented
    check(real, example)


@pytest.fixture(scope="module")
def monkeypatch_module() -> Iterator[pytest.MonkeyPatch]:
    """Patches for as long as the module's fixtures live."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def secrets(
    migrated_engine: Engine,
    restore: Callable[[], None],
    base_url: str,
    monkeypatch_module: pytest.MonkeyPatch,
) -> Iterator[DemoSecrets]:
    """The secrets of a service that has the demo, all to itself."""
    sessions = make_sessions(migrated_engine)
    seed_demo(sessions)
    # Whether a loan is overdue, and until when it could be renewed, depends on the time.
    soon = SimpleNamespace(now=lambda: MOMENT + timedelta(days=2))
    monkeypatch_module.setattr("circdesk.circulation.time.clock", soon)
    with unit_of_work(sessions, writing=True) as session:
        session.execute(delete(User))
        secrets = seed_access(session, DemoSecrets(), base_url)
        session.flush()
        store_documented_desk(session)
        session.add(_documented_consent())
    yield secrets
    restore()


def _documented_consent() -> Consent:
    """What the member allows an application, of which the demo has nothing."""
    return Consent(
        id=demo_id(Kind.CONSENT, 1),
        user_id=demo_id(Kind.USER, 1),
        client_id=PUBLIC_CLIENT_ID,
        scopes=["profile:read"],
        created_at=MOMENT,
        updated_at=MOMENT,
    )


@pytest.fixture(scope="module")
def reader(base_url: str, secrets: DemoSecrets) -> Iterator[Reader]:
    """The caller that the examples of an operation are told from."""
    with ExitStack() as stack:

        def caller(role: str | None) -> httpx.Client:
            headers = {"X-API-Key": secrets.api_keys[role]} if role else {}
            return stack.enter_context(httpx.Client(base_url=base_url, headers=headers))

        admin, member, browser = caller("admin"), caller("member"), caller(None)
        assert admin.post("/api/admin/signing-keys").is_success
        credentials = {"email": PEOPLE[0].email, "password": secrets.passwords["member"]}
        assert browser.post("/api/session", json=credentials).is_success

        def choose(operation: Operation) -> httpx.Client:
            if operation.operation_id == "get_session":
                return browser
            return member if operation.path.startswith(OWN) else admin

        yield choose


def body_of(response: httpx.Response, base_url: str) -> Any:
    """The answer's JSON, its addresses as the contract writes them."""
    return json.loads(response.text.replace(base_url, ADDRESS))


def test_every_example_is_valid() -> None:
    assert lint(DOCUMENT) == []


@pytest.mark.parametrize(
    "operation",
    [pytest.param(read, id=read.operation_id) for read in READS if read not in LISTS],
)
def test_a_read_answers_as_documented(reader: Reader, base_url: str, operation: Operation) -> None:
    media_type, example = documented(operation)

    response = reader(operation).get(address(operation))

    assert response.status_code == operation.success, response.text
    assert response.headers["Content-Type"].partition(";")[0] == media_type
    if media_type == "application/json":
        body = body_of(response, base_url)
        assert_documented(operation, body, example or body)
    elif media_type != "application/yaml":
        assert response.text.splitlines() == example.splitlines()


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(read, id=read.operation_id)
        for read in READS
        # An export is itself among what it tells, so that no two are the same.
        if "if_none_match" in read.edge and read.operation_id != "export_user"
    ],
)
def test_a_read_is_answered_once_for_each_tag(reader: Reader, operation: Operation) -> None:
    url = address(operation, "cursor")
    # What tells when this very credential was used changes by being read.
    for _ in range(3):
        first = reader(operation).get(url)
        assert first.status_code == 200, first.text
        tag = first.headers["ETag"]
        again = reader(operation).get(url, headers={"If-None-Match": tag})
        if again.status_code == 304:
            break

    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == tag
    dated = "Last-Modified" in operation.responses[200].headers.names
    assert ("Last-Modified" in first.headers) is dated


@pytest.mark.parametrize("operation", [pytest.param(read, id=read.operation_id) for read in LISTS])
@pytest.mark.parametrize("left_out", ["cursor", "page"])
def test_a_list_answers_as_documented(reader: Reader, operation: Operation, left_out: str) -> None:
    _, example = documented(operation)
    url = address(operation, left_out)

    response = reader(operation).get(url)

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
    assert_documented(operation, body, {name: example[name] for name in body})
