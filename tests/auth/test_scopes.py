"""Scopes: those of the contract are those of the roles, and nobody gives others away."""

from collections.abc import Callable
from itertools import product
from typing import Any

import httpx
import pytest

from circdesk.auth.scopes import ROLE_SCOPES, granted
from tests.contracts import bundle

DOCUMENT = bundle().document
FLOWS = DOCUMENT["components"]["securitySchemes"]["OAuth2"]["flows"]


@pytest.mark.parametrize("flow", FLOWS)
def test_the_scopes_that_the_contract_declares_are_those_that_roles_have(flow: str) -> None:
    assert FLOWS[flow]["scopes"].keys() == frozenset[str]().union(*ROLE_SCOPES.values())


def test_each_role_has_what_the_one_before_it_has_and_more() -> None:
    assert ROLE_SCOPES["member"] < ROLE_SCOPES["librarian"] < ROLE_SCOPES["admin"]


def test_a_credential_never_has_more_than_its_owner() -> None:
    assert granted("member", ["profile:read", "news:write"]) == {"profile:read"}
    assert granted("admin", []) == frozenset()


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/api/api-keys", {"name": "For tests"}),
        (
            "/api/admin/clients",
            {"name": "Till", "type": "confidential", "grant_types": ["client_credentials"]},
        ),
    ],
)
def test_as_many_and_as_long_unknown_scopes_as_can_be_sent_are_refused(
    admin: httpx.Client, problem: Callable[..., Any], path: str, content: dict[str, Any]
) -> None:
    unknown = [f"{'x' * 43}{a}{b}:read" for a, b in product("abcdefghij", repeat=2)]

    response = admin.post(path, json=content | {"scopes": unknown})

    assert response.status_code == 422
    named = ", ".join(unknown)[:1000]
    message = f"The credential cannot give what it does not have: {named}."
    fault = {
        "in": "body",
        "pointer": "/scopes",
        "rule": "scope",
        "message": message,
        "allowed": sorted(ROLE_SCOPES["admin"]),
    }
    assert response.json() == problem(response, "scope_not_granted", message, details=[fault])
