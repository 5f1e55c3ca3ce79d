"""Flask's side of a request: one unit of work around the handler, one place for its errors."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, cast

import flask
import structlog

from circdesk.auth.sessions import CLEAR_COOKIE
from circdesk.contract.answers import Answer, ContractBroken, make_answer, problem_answer
from circdesk.contract.door import Call
from circdesk.contract.environ import CALL
from circdesk.contract.forms import WebPage
from circdesk.contract.handlers import Handler
from circdesk.contract.operations import Operation
from circdesk.contract.problems import Problem
from circdesk.contract.requests import InternalError
from circdesk.contract.streams import LimitedReader, Upload
from circdesk.db.pagination import Page
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.db.versions import AlreadyKnown
from circdesk.edge.idempotency import Idempotency, Settled
from circdesk.edge.lists import list_answer
from circdesk.edge.preconditions import (
    expect_condition,
    known_answer,
    preconditions,
    with_validators,
)
from circdesk.spans import span
from circdesk.visits import Visit, visiting

log = structlog.get_logger("circdesk")

# A view may be called with other sessions than it was made with.
View = Callable[..., flask.Response]


def make_view_factory(
    sessions: Sessions, idempotency: Idempotency, *, upload_limit: int
) -> Callable[[Operation, Handler], View]:
    """What makes the view of an operation; a view runs its handler in one unit of work."""

    def make_view(operation: Operation, handler: Handler) -> View:
        def view(sessions: Sessions = sessions) -> flask.Response:
            call: Call = flask.request.environ[CALL]
            arguments = _arguments(operation, call, upload_limit)
            with ExitStack() as stack:
                stack.enter_context(visiting(call.visit))
                stack.enter_context(preconditions(operation, call, sessions))
                # What a handler wrote is committed only once its answer has been checked.
                work = unit_of_work(sessions, writing=not operation.safe)
                session = stack.enter_context(work)
                expect_condition(session, operation, call)
                url = flask.request.environ["REQUEST_URI"]
                once = idempotency.begin(session, call, url, arguments)
                try:
                    with span(operation.operation_id):
                        returned = handler(**arguments)
                    answer = _answer(operation, returned)
                except AlreadyKnown as known:
                    answer = known_answer(operation, known.shown)
                except Problem as problem:
                    if not problem.commits:
                        raise
                    answer = _problem_answer(operation, problem)
                answer = with_validators(session, operation, call, answer)
                if once is not None:
                    once.keep(answer)
                response = _respond(answer, call.visit)
                if not isinstance(answer.body, bytes):
                    # A stream still reads from the database; its end closes the unit of work.
                    response.call_on_close(stack.pop_all().close)
            return response

        return view

    return make_view


def make_page_view(sessions: Sessions, page: WebPage) -> View:
    """The Flask view of a page; what the page wrote is committed whatever it answers."""

    def view() -> flask.Response:
        call: Call = flask.request.environ[CALL]
        with visiting(call.visit), unit_of_work(sessions, writing=True):
            reply = page.view(call.arguments["body"])
        # Werkzeug would make a Location absolute, and add a Content-Type where there is none.
        response = flask.Response(reply.body, reply.status, dict(reply.headers))
        response.autocorrect_location_header = False
        return response

    return view


def _arguments(operation: Operation, call: Call, upload_limit: int) -> dict[str, Any]:
    body = operation.body
    if body is None or call.media_type is None or body.checks[call.media_type] is not None:
        return call.arguments
    stream = LimitedReader(flask.request.environ["wsgi.input"], upload_limit)
    return {**call.arguments, "body": Upload(call.media_type, stream)}


def _answer(operation: Operation, returned: Any) -> Answer:
    if isinstance(returned, Page):
        returned = list_answer(returned, flask.request.environ["REQUEST_URI"])
    # What is asked of it here, `get`, werkzeug's headers answer as a mapping that ignores case.
    headers = cast("Mapping[str, str]", flask.request.headers)
    return make_answer(operation, returned, headers)


def _respond(answer: Answer, visit: Visit | None = None) -> flask.Response:
    response = flask.Response(answer.body, answer.status, dict(answer.headers))
    del response.headers["Content-Type"]
    # These are the answers that declare Set-Cookie.
    clears = answer.status < 300 or answer.status == 401
    if clears and visit is not None and visit.stale_session and "Set-Cookie" not in answer.headers:
        response.headers["Set-Cookie"] = CLEAR_COOKIE
    if answer.media_type is not None:
        response.headers["Content-Type"] = answer.media_type
    return response


def add_error_handlers(app: flask.Flask) -> None:
    """Answer problems in their form and everything else as a logged 500."""
    app.register_error_handler(Problem, _answer_problem)
    app.register_error_handler(Settled, _answer_settled)
    app.register_error_handler(Exception, _answer_crash)


def _answer_problem(problem: Problem) -> flask.Response:
    call: Call = flask.request.environ[CALL]
    try:
        return _respond(_problem_answer(call.operation, problem))
    except ContractBroken as broken:
        return _answer_crash(broken)


def _answer_settled(settled: Settled) -> flask.Response:
    if isinstance(settled.outcome, Problem):
        return _answer_problem(settled.outcome)
    call: Call = flask.request.environ[CALL]
    return _respond(settled.outcome, call.visit)


def _answer_crash(error: Exception) -> flask.Response:
    log.error("request_failed", exc_info=error)
    return _respond(_problem_answer(None, InternalError("Something broke.")))


def _problem_answer(operation: Operation | None, problem: Problem) -> Answer:
    request_id = structlog.contextvars.get_contextvars()["request_id"]
    path = flask.request.environ["REQUEST_URI"].partition("?")[0]
    return problem_answer(operation, problem, instance=path, request_id=request_id)
