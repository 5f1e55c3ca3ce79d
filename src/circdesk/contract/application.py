"""Connexion's application with our parts at its seams.

Connexion keeps the specification, resolves operations to handlers and puts the application
together; the door and the one-hop bridge stand where its middlewares and `a2wsgi` stood.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import connexion
import flask
from connexion.apps.flask import FlaskApi, FlaskASGIApp
from connexion.middleware.lifespan import LifespanMiddleware
from connexion.middleware.main import API
from connexion.operations import AbstractOperation
from connexion.spec import OpenAPISpecification, Specification
from flask import Request
from starlette.types import ASGIApp
from werkzeug.routing import MapAdapter, Rule

from circdesk.contract.bridge import Bridge
from circdesk.contract.contract import Contract
from circdesk.contract.documents import METHODS, resolve
from circdesk.contract.door import Call
from circdesk.contract.environ import CALL
from circdesk.contract.forms import WebPage
from circdesk.contract.handlers import Handler, HandlerResolver
from circdesk.contract.operations import Operation

JSON = dict[str, Any]
View = Callable[[], flask.Response]
MakeView = Callable[[Operation, Handler], View]


class RoutedFlask(flask.Flask):
    """Flask that takes the door's verdict for its own: no second router reads the path."""

    rules_by_name: dict[str, Rule]

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """An adapter whose match is the operation or the page that the door has found."""
        if request is None:
            return None
        call: Call = request.environ[CALL]
        target = call.target
        name = target.name if isinstance(target, WebPage) else target.operation_id
        return _Verdict(self.rules_by_name[name])


class _Verdict(MapAdapter):
    def __init__(self, rule: Rule) -> None:
        self._rule = rule

    def match(self, *_args: Any, **_kwargs: Any) -> Any:
        return self._rule, {}


class _Api(FlaskApi):  # type: ignore[misc]  # Connexion ships no types.
    """Registers a view for each operation; the view is ours, the handler Connexion's."""

    def __init__(self, *args: Any, contract: Contract, make_view: MakeView, **kwargs: Any) -> None:
        self._contract, self._make_view = contract, make_view
        super().__init__(*args, **kwargs)

    def make_operation(self, operation: AbstractOperation) -> View:
        compiled = self._contract.operations[operation.operation_id]
        return self._make_view(compiled, operation.function)


class _Checked(OpenAPISpecification):  # type: ignore[misc]  # Connexion ships no types.
    """A specification that has been checked, by a stricter validator than Connexion's.

    Connexion would check it, copy it twice and resolve each of its references, all of which takes
    two seconds. Where it puts operations together it follows none but those to parameters.
    """

    def __init__(self, document: JSON) -> None:
        self._raw_spec, self._base_uri = document, ""
        items = document["paths"].items()
        paths = {path: _with_parameters(document, item) for path, item in items}
        self._spec = {**document, "paths": paths}


def _with_parameters(document: JSON, item: JSON) -> JSON:
    """A path item whose parameters are resolved, in lists of its own: Connexion adds to them."""

    def resolved(node: JSON) -> JSON:
        parameters = [resolve(document, parameter) for parameter in node.get("parameters", ())]
        return {**node, "parameters": parameters}

    operations = {method: resolved(item[method]) for method in METHODS if method in item}
    return resolved(item) | operations


class _FlaskSide(FlaskASGIApp):  # type: ignore[misc]  # Connexion ships no types.
    """The innermost application: Flask behind the bridge."""

    def __init__(
        self, app: RoutedFlask, bridge: Bridge, contract: Contract, make_view: MakeView
    ) -> None:
        self.app, self.asgi_app = app, bridge
        self._contract, self._make_view = contract, make_view

    def add_api(self, specification: Specification, **kwargs: Any) -> FlaskApi:
        api = _Api(specification, contract=self._contract, make_view=self._make_view, **kwargs)
        self.app.register_blueprint(api.blueprint)
        self.app.rules_by_name = {
            rule.endpoint.rpartition(".")[2]: rule for rule in self.app.url_map.iter_rules()
        }
        return api


class _Rule(Rule):
    """A rule that is found by its name: neither matched against a path nor made into one.

    To compile all of them for that took a thirtieth of the start.
    """

    def compile(self) -> None:
        """Do nothing."""


class ContractApp(connexion.FlaskApp):  # type: ignore[misc]  # Connexion ships no types.
    """A Connexion FlaskApp over a compiled contract.

    Args:
        contract: The contract that it serves.
        make_view: Makes the Flask view of an operation from its handler.
        pages: Pages for people, each with its Flask view.
        middlewares: ASGI middlewares, outermost first; the door is among them.
        at_end: Called after the last request, when the threads have ended.
        threads: Requests that run at once.
        most: Requests that run or wait at once; more are turned away.
        timeout: Seconds that a piece of a streamed body may take.
        patience: Seconds that a request may wait for a thread.
    """

    def __init__(
        self,
        contract: Contract,
        *,
        make_view: MakeView,
        pages: Mapping[WebPage, View],
        middlewares: Iterable[Callable[[ASGIApp], ASGIApp]],
        at_end: Callable[[], None],
        threads: int,
        most: int,
        timeout: float,
        patience: float,
    ) -> None:
        super().__init__(
            "circdesk",
            middlewares=[*middlewares, LifespanMiddleware],
            lifespan=self._lifespan,
            resolver=HandlerResolver(),
        )
        self.app = RoutedFlask("circdesk", static_folder=None)
        self._bridge = Bridge(
            self.app.wsgi_app, threads=threads, most=most, timeout=timeout, patience=patience
        )
        self._at_end = at_end
        self.app.url_rule_class = _Rule
        for page, view in pages.items():
            self.app.add_url_rule(page.path, page.name, view, methods=[page.method])
        self._middleware_app = _FlaskSide(self.app, self._bridge, contract, make_view)
        self.middleware.app = self._middleware_app
        # Connexion's `add_api` would make a specification of its own, and check it once more.
        self.middleware.apis.append(
            API(_Checked(contract.document), base_path=None, **vars(self.middleware.options))
        )

    def assemble(self) -> ASGIApp:
        """Build the middleware stack now, so that whatever is wrong stops the start."""
        self.middleware.app, self.middleware.middleware_stack = (
            self.middleware._build_middleware_stack()  # noqa: SLF001  Connexion builds at the first request otherwise.
        )
        return self

    @asynccontextmanager
    async def _lifespan(self, _app: ASGIApp) -> AsyncIterator[None]:
        yield
        self._bridge.close()
        self._at_end()
