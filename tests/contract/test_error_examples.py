"""Each example of an error is what the service really says."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from circdesk.contract.documents import load_bundle
from circdesk.contract.problems import Problem
from circdesk.contract.requests import InternalError, RequestTimeout
from circdesk.db.errors import DatabaseUnavailable
from circdesk.resources import directory

RESPONSES = load_bundle(directory("openapi")).document["components"]["responses"]
PROBLEM = "application/problem+json"
POSTS = "/api/posts"


def example(name: str) -> dict[str, Any]:
    body: dict[str, Any] = RESPONSES[name]["content"][PROBLEM]["example"]
    return body


def delete_branch_in_use(admin: httpx.Client) -> httpx.Response:
    branch = {"code": "central", "name": "Central", "time_zone": "Europe/Berlin"}
    admin.post("/api/branches", json=branch).raise_for_status()
    book = admin.post("/api/books", json={"title": "A book"}).raise_for_status().json()
    copy = {"branch_id": "code:central", "barcode": "30001"}
    admin.post(f"/api/books/{book['id']}/copies", json=copy).raise_for_status()
    return admin.delete("/api/branches/code:central")


PROVOKED: dict[str, Callable[[httpx.Client], httpx.Response]] = {
    "BadRequest": lambda admin: admin.get(f"{POSTS}?per_page=101&colour=red"),
    "Unauthorized": lambda admin: httpx.post(admin.base_url.join(POSTS)),
    "NotFound": lambda admin: admin.get(example("NotFound")["instance"]),
    "NotAcceptable": lambda admin: admin.get(POSTS, headers={"Accept": "text/html"}),
    "Conflict": delete_branch_in_use,
    "ContentTooLarge": lambda admin: admin.post(
        POSTS, content=b" " * 1_048_577, headers={"Content-Type": "application/json"}
    ),
    "UnsupportedMediaType": lambda admin: admin.post(
        POSTS, content=b"x", headers={"Content-Type": "text/plain"}
    ),
    "UnprocessableContent": lambda admin: admin.get("/api/books/isbn:9780441478124"),
}
# What no request brings about by itself has its own tests; here its words are compared.
WORDS: dict[str, Problem] = {
    "RequestTimeout": RequestTimeout("The body did not arrive in time."),
    "InternalServerError": InternalError("Something broke."),
    "ServiceUnavailable": DatabaseUnavailable("The database does not answer at the moment."),
}


@pytest.mark.parametrize("name", PROVOKED)
def test_the_example_is_the_answer(name: str, admin: httpx.Client) -> None:
    response = PROVOKED[name](admin)

    assert response.status_code == example(name)["status"]
    assert response.json() | {"request_id": example(name)["request_id"]} == example(name)


@pytest.mark.parametrize("name", WORDS)
def test_the_example_has_the_words_of_the_problem(name: str) -> None:
    shown = example(name)
    body = WORDS[name].body(instance=shown["instance"], request_id=shown["request_id"])
    assert body == shown


def test_every_error_has_its_example_here() -> None:
    errors = {name for name, node in RESPONSES.items() if PROBLEM in node.get("content", {})}
    assert errors == PROVOKED.keys() | WORDS.keys()
