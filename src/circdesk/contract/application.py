"""Connexion's application with our parts at its seams.

Connexion keeps the specification, resolves operations to handlers and puts the application
together; the door and the one-hop bridge stand where its middlewares and `a2wsgi` stood.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any

import flask
from flask.ctx import AppContext, RequestContext
from flask.globals import _cv_app, _cv_request
from starlette.types import ASGIApp
from werkzeug.routing import Rule

from circdesk.contract.answers import Answer
from circdesk.contract.bridge import Bridge
from circdesk.contract.contract import Contract
from circdesk.contract.documents import METHODS, resolve
from circdesk.contract.door import Call
from circdesk.contract.environ import CALL, Environ
from circdesk.contract.forms import WebPage
from circdesk.contract.framework import (
    API,
    AbstractOperation,
    FlaskApi,
    FlaskApp,
    FlaskASGIApp,
    LifespanMiddleware,
    OpenAPISpecification,
    Specification,
)
from circdesk.contract.handlers import Handler, HandlerResolver
from circdesk.contract.operations import Operation

JSON = dict[str, Any]
View = Callable[[Environ], Answer]
MakeView = Callable[[Operation, Handler], View]


class RoutedFlask(flask.Flask):
    """Flask that takes the door's verdict for its own, and answers with an `Answer`.

    No second router reads the path, and no response is made only to be taken apart again.
    `current_app`, `g`, `request`, error handlers and teardown functions are Flask's; what stands
    around every request is `around`, in place of hooks that are called with responses.
    """

    rules_by_name: dict[str, Rule]

    def __init__(self, name: str, around: Callable[[View], View]) -> None:
        super().__init__(name, static_folder=None)
        self._answer = around(self._run_view)

    def respond(self, environ: Environ) -> Answer:
        """Answer a request that the door has let through."""
        with _Context(self, environ):
            return self._answer(environ)

    def find_rule(self, environ: Environ) -> Rule:
        """The rule of the operation or the page that the door has found."""
        call: Call = environ[CALL]
        target = call.target
        return self.rules_by_name[
            target.name if isinstance(target, WebPage) else target.operation_id
        ]

    def do_teardown_request(self, exc: BaseException | None = None) -> None:
        """Call the teardown functions of the application; blueprints have none of their own."""
        for function in reversed(self.teardown_request_funcs.get(None, ())):
            function(exc)

    def _run_view(self, environ: Environ) -> Answer:
        try:
            answer: Answer = self.view_functions[self.find_rule(environ).endpoint](environ)  # type: ignore[assignment]  # They are what `make_view` made.
        except Exception as error:  # noqa: BLE001  Flask's own way to the error handlers.
            answer = self.handle_user_exception(error)  # type: ignore[assignment]
        return answer


class _AppContext(AppContext):
    """Flask's context of an application that builds no URLs, and whose signals nobody hears."""

    def __init__(self, app: flask.Flask) -> None:
        self.app, self.url_adapter = app, None
        self.g = app.app_ctx_globals_class()

    def push(self) -> None:
        self._token = _cv_app.set(self)

    def pop(self, exc: BaseException | None = None) -> None:
        try:
            for function in reversed(self.app.teardown_appcontext_funcs):
                function(exc)
        finally:
            _cv_app.reset(self._token)


class _Context(RequestContext):
    """Flask's context of a request, whose `Request` is made where somebody asks for it.

    Nobody has a session of Flask's.
    """

    def __init__(self, app: RoutedFlask, environ: Environ) -> None:
        self.app: RoutedFlask = app
        self._environ = environ
        self._app_context = _AppContext(app)

    @cached_property
    def request(self) -> flask.Request:  # type: ignore[override]  # It is an attribute there.
        request = self.app.request_class(self._environ)
        request.url_rule, request.view_args = self.app.find_rule(self._environ), {}
        return request

    def push(self) -> None:
        self._app_context.push()
        self._token = _cv_request.set(self)

    def pop(self, exc: BaseException | None = None) -> None:
        try:
            self.app.do_teardown_request(exc)
        finally:
            _cv_request.reset(self._token)
            self._app_context.pop(exc)


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


class ContractApp(FlaskApp):  # type: ignore[misc]  # Connexion ships no types.
    """A Connexion FlaskApp over a compiled contract.

    Args:
        contract: The contract that it serves.
        make_view: Makes the view of an operation from its handler.
        pages: Pages for people, each with its view.
        around: Puts around all views what every request meets.
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
        around: Callable[[View], View],
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
        self.app = RoutedFlask("circdesk", around)
        self._bridge = Bridge(
            self.app.respond, threads=threads, most=most, timeout=timeout, patience=patience
        )
        self._at_end = at_end
        self.app.url_rule_class = _Rule
        for page, view in pages.items():
            self.app.add_url_rule(page.path, page.name, view, methods=[page.method])  # type: ignore[arg-type]  # Its views are called with the environment.
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
