"""Stock Connexion over our contract: its own router, security and validation, and no handlers."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import connexion
import flask
from connexion.options import SwaggerUIOptions
from connexion.resolver import Resolver

from tests.contract.differential.examples import DOCUMENT
from tests.contract.differential.requests import JSON, Request
from tests.contract.differential.verdicts import Judge, Verdict, send

# What no operation answers with: a request with this status has reached its handler.
_REACHED = 299
# Connexion tells handlers by these names who is calling.
_CONTEXT = ("user", "token_info")

# The scopes of each secret that is good. Connexion finds the functions of its security by their
# names in the document, so that what they know has to stand in a module.
KNOWN: dict[str, str] = {}


def find_scopes(secret: str) -> JSON | None:
    """What Connexion asks for a token, a key, a cookie and a CSRF token."""
    return {"scope": KNOWN[secret]} if secret in KNOWN else None


def find_scopes_by_basic(_user: str, secret: str) -> JSON | None:
    """What Connexion asks for a user with a password."""
    return find_scopes(secret)


@contextmanager
def stock_judge(scopes: dict[str, str]) -> Iterator[Judge]:
    """What stock Connexion makes of requests; its answers are not checked, as there are none.

    Args:
        scopes: Those of each secret that is good.
    """
    reached: list[Verdict] = []
    app = connexion.FlaskApp(__name__)
    app.add_api(
        _with_security(DOCUMENT),
        resolver=Resolver(lambda name: _handler(name, reached)),
        strict_validation=True,
        # Its own pages would hide those of the contract.
        swagger_ui_options=SwaggerUIOptions(swagger_ui=False, serve_spec=False),
    )

    async def judge(request: Request) -> Verdict:
        reached.clear()
        status = await send(app, request)
        return reached[0] if status == _REACHED else Verdict(status)

    KNOWN.update(scopes)
    # It logs each refusal, and half of the requests are refused.
    logging.getLogger("connexion").setLevel(logging.CRITICAL)
    try:
        yield judge
    finally:
        logging.getLogger("connexion").setLevel(logging.NOTSET)
        KNOWN.clear()
        app._middleware_app.asgi_app.executor.shutdown()


def _handler(operation_id: str, reached: list[Verdict]) -> Callable[..., flask.Response]:
    def handler(**arguments: Any) -> flask.Response:
        told = {name: value for name, value in arguments.items() if name not in _CONTEXT}
        reached.append(Verdict(200, operation_id, told))
        return flask.Response(status=_REACHED)

    return handler


def _with_security(document: JSON) -> JSON:
    """The document with the functions that Connexion asks about each scheme."""
    document = deepcopy(document)
    for scheme in document["components"]["securitySchemes"].values():
        for word in ("x-tokenInfoFunc", "x-apikeyInfoFunc"):
            scheme[word] = f"{__name__}.find_scopes"
        scheme["x-basicInfoFunc"] = f"{__name__}.find_scopes_by_basic"
    return document
