"""Each example of an error is what the service really says."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from limits import parse

from circdesk.contract.problems import Problem
from circdesk.contract.requests import InternalError, RequestTimeout
from circdesk.db.errors import DatabaseUnavailable
from circdesk.edge.limits import State, exceeded
from circdesk.edge.policies import Bucket, Policy
from tests.contracts import bundle
from tests.people import api_key

RESPONSES = bundle().document["components"]["responses"]
POSTS = "/api/posts"
MEMBER = Policy("member", parse("600/minute"), 600, 60)
TOKEN = "/oauth/token"


def example(name: str) -> dict[str, Any]:
    (media_type,) = RESPONSES[name]["content"].values()
    body: dict[str, Any] = media_type["example"]
    return body


def branch_central(admin: httpx.Client) -> str:
    """The path of a branch."""
    branch = {"code": "central", "name": "Central", "time_zone": "Europe/Berlin"}
    admin.post("/api/branches", json=branch).raise_for_status()
    return "/api/branches/code:central"


def delete_branch_in_use(admin: httpx.Client) -> httpx.Response:
    path = branch_central(admin)
    book = admin.post("/api/books", json={"title": "A book"}).raise_for_status().json()
    copy = {"branch_id": "code:central", "barcode": "30001"}
    admin.post(f"/api/books/{book['id']}/copies", json=copy).raise_for_status()
    return admin.delete(path)


def change_an_old_version(admin: httpx.Client) -> httpx.Response:
    headers = {"If-Match": '"0-00000000.0000000000000000"'}
    return admin.patch(branch_central(admin), json={"name": "C"}, headers=headers)


def replace_any_version(admin: httpx.Client) -> httpx.Response:
    body = {"code": "central", "name": "C", "time_zone": "UTC"}
    return admin.put(branch_central(admin), json=body)


def rely_on_an_old_plan(admin: httpx.Client) -> httpx.Response:
    """Lend a copy that has gone since the decision."""
    loan = {"user": "card:20001", "copy": "barcode:30001", "plan_token": "0" * 64}
    return admin.post("/api/loans", json=loan)


PROVOKED: dict[str, Callable[[httpx.Client], httpx.Response]] = {
    "BadRequest": lambda admin: admin.get(f"{POSTS}?per_page=101&colour=red"),
    "Unauthorized": lambda admin: httpx.post(admin.base_url.join(POSTS)),
    "Forbidden": lambda admin: admin.post(POSTS, headers={"X-API-Key": api_key("member")}),
    "NotFound": lambda admin: admin.get(example("NotFound")["instance"]),
    "NotAcceptable": lambda admin: admin.get(POSTS, headers={"Accept": "text/html"}),
    "Conflict": delete_branch_in_use,
    "PreconditionFailed": rely_on_an_old_plan,
    "VersionOutdated": change_an_old_version,
    "PreconditionRequired": replace_any_version,
    "ContentTooLarge": lambda admin: admin.post(
        POSTS, content=b" " * 1_048_577, headers={"Content-Type": "application/json"}
    ),
    "UriTooLong": lambda admin: admin.get(f"{POSTS}?tag={'x' * 8192}"),
    "HeadersTooLarge": lambda admin: admin.get(POSTS, headers={"X-Long": "x" * 32768}),
    "UnsupportedMediaType": lambda admin: admin.post(
        POSTS, content=b"x", headers={"Content-Type": "text/plain"}
    ),
    "UnprocessableContent": lambda admin: admin.get("/api/books/isbn:9780441478124"),
}
# OAuth's errors have a form of their own, in which no status stands.
OAUTH: dict[str, tuple[int, Callable[[httpx.Client], httpx.Response]]] = {
    "OAuthError": (400, lambda admin: admin.post(TOKEN, data={"client_id": "x"})),
    "OAuthUnauthorized": (
        401,
        lambda admin: admin.post(
            TOKEN, data={"grant_type": "client_credentials"}, auth=("nobody", "secret")
        ),
    ),
}
# What no request brings about by itself has its own tests; here its words are compared.
WORDS: dict[str, Problem] = {
    "TooManyRequests": exceeded(
        Bucket(MEMBER, "user", "", ""), State(has_taken=False, remaining=0, reset=5)
    ),
    "RequestTimeout": RequestTimeout("The body did not arrive in time."),
    "InternalServerError": InternalError("Something broke."),
    "ServiceUnavailable": DatabaseUnavailable("The database does not answer at the moment."),
}


@pytest.mark.parametrize("name", PROVOKED)
def test_the_example_is_the_answer(name: str, admin: httpx.Client) -> None:
    response = PROVOKED[name](admin)

    told, shown = response.json(), example(name)
    if "decision" in told:
        # Each service signs its own.
        told["decision"]["plan_token"] = shown["decision"]["plan_token"]
    assert response.status_code == shown["status"]
    assert told | {"request_id": shown["request_id"]} == shown


@pytest.mark.parametrize("name", OAUTH)
def test_the_example_is_the_answer_of_oauth(name: str, admin: httpx.Client) -> None:
    status, provoke = OAUTH[name]
    response = provoke(admin)

    assert response.status_code == status
    assert response.json() == example(name)


@pytest.mark.parametrize("name", WORDS)
def test_the_example_has_the_words_of_the_problem(name: str) -> None:
    shown = example(name)
    body = WORDS[name].body(instance=shown["instance"], request_id=shown["request_id"])
    assert body == shown


def test_every_error_has_its_example_here() -> None:
    errors = {name for name, node in RESPONSES.items() if "content" in node}
    assert errors == PROVOKED.keys() | OAUTH.keys() | WORDS.keys()
