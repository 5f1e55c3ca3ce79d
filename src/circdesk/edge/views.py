"""Flask's side of a request: one unit of work around the handler, one place for its errors."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import flask
import structlog
from sqlalchemy.orm import Session
from werkzeug.datastructures import EnvironHeaders
from werkzeug.wsgi import ClosingIterator

from circdesk.auth.sessions import CLEAR_COOKIE
from circdesk.contract.answers import Answer, ContractBroken, make_answer, problem_answer
from circdesk.contract.door import Call
from circdesk.contract.environ import CALL, Environ
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
from circdesk.edge.request_ids import bound_id
from circdesk.spans import span
from circdesk.visits import Visit, visiting

log = structlog.get_logger("circdesk")

# A view is called with the environment of its request, and maybe with other sessions than it was
# made with.
View = Callable[..., Answer]


def make_view_factory(
    sessions: Sessions, idempotency: Idempotency, *, upload_limit: int
) -> Callable[[Operation, Handler], View]:
    """What makes the view of an operation; a view runs its handler in one unit of work."""

    def make_view(operation: Operation, handler: Handler) -> View:
        def read(environ: Environ, sessions: Sessions = sessions) -> Answer:
            call: Call = environ[CALL]
            with visiting(call.visit), unit_of_work(sessions, writing=False) as session:
                answer = _run(session, operation, handler, environ, call.arguments)
            return _clearing(answer, call.visit)

        def work(environ: Environ, sessions: Sessions = sessions) -> Answer:
            call: Call = environ[CALL]
            arguments = _arguments(operation, environ, upload_limit)
            with (
                visiting(call.visit),
                preconditions(operation, call, sessions),
                # What a handler wrote is committed only once its answer has been checked.
                unit_of_work(sessions, writing=not operation.safe) as session,
            ):
                once = idempotency.begin(session, call, environ["REQUEST_URI"], arguments)
                answer = _run(session, operation, handler, environ, arguments)
                if once is not None:
                    once.keep(answer)
            return _clearing(answer, call.visit)

        def stream(environ: Environ, sessions: Sessions = sessions) -> Answer:
            call: Call = environ[CALL]
            with ExitStack() as stack:
                stack.enter_context(visiting(call.visit))
                session = stack.enter_context(unit_of_work(sessions, writing=False))
                answer = _run(session, operation, handler, environ, call.arguments)
                if not isinstance(answer.body, bytes):
                    # It still reads from the database; its end closes the unit of work.
                    body = ClosingIterator(answer.body, stack.pop_all().close)
                    answer = answer._replace(body=body)
            return _clearing(answer, call.visit)

        # A GET has neither conditions nor keys of writers, and what it answers as JSON is whole.
        if operation.method != "GET":
            return work
        return read if operation.produces == {"application/json"} else stream

    return make_view


def make_page_view(sessions: Sessions, page: WebPage) -> View:
    """The view of a page; what the page wrote is committed whatever it answers."""

    def view(environ: Environ) -> Answer:
        call: Call = environ[CALL]
        with visiting(call.visit), unit_of_work(sessions, writing=True):
            reply = page.view(call.arguments["body"])
        return Answer(reply.status, None, reply.body, reply.headers)

    return view


def _run(
    session: Session,
    operation: Operation,
    handler: Handler,
    environ: Environ,
    arguments: Mapping[str, Any],
) -> Answer:
    """What the handler answers, checked; also a problem that is stored with what it has done."""
    call: Call = environ[CALL]
    expect_condition(session, operation, call)
    try:
        with span(operation.operation_id):
            returned = handler(**arguments)
        answer = _answer(operation, returned, environ)
    except AlreadyKnown as known:
        answer = known_answer(operation, known.shown)
    except Problem as problem:
        if not problem.commits:
            raise
        answer = _problem_answer(operation, problem, environ)
    return with_validators(session, operation, call, answer)


def _arguments(operation: Operation, environ: Environ, upload_limit: int) -> dict[str, Any]:
    call: Call = environ[CALL]
    body = operation.body
    if body is None or call.media_type is None or body.checks[call.media_type] is not None:
        return call.arguments
    stream = LimitedReader(environ["wsgi.input"], upload_limit)
    return {**call.arguments, "body": Upload(call.media_type, stream)}


def _answer(operation: Operation, returned: Any, environ: Environ) -> Answer:
    if isinstance(returned, Page):
        returned = list_answer(returned, environ["REQUEST_URI"])
    # What is asked of it here, `get`, werkzeug's headers answer as a mapping that ignores case.
    headers: Any = partial(EnvironHeaders, environ)
    return make_answer(operation, returned, headers)


def _clearing(answer: Answer, visit: Visit) -> Answer:
    """The answer, which tells a browser to forget a session that is over."""
    # These are the answers that declare Set-Cookie.
    clears = answer.status < 300 or answer.status == 401
    if clears and visit.stale_session and "Set-Cookie" not in answer.headers:
        return answer.with_headers({"Set-Cookie": CLEAR_COOKIE})
    return answer


def add_error_handlers(app: flask.Flask) -> None:
    """Answer problems in their form and everything else as a logged 500."""
    # What is answered is no response of Flask's.
    app.register_error_handler(Problem, answer_problem)  # type: ignore[arg-type]
    app.register_error_handler(Settled, _answer_settled)  # type: ignore[arg-type]
    app.register_error_handler(Exception, _answer_crash)  # type: ignore[arg-type]


def answer_problem(problem: Problem) -> Answer:
    """The answer with a problem to the request that Flask is at, if its operation declares it."""
    environ = flask.request.environ
    call: Call = environ[CALL]
    try:
        return _problem_answer(call.operation, problem, environ)
    except ContractBroken as broken:
        return _answer_crash(broken)


def _answer_settled(settled: Settled) -> Answer:
    if isinstance(settled.outcome, Problem):
        return answer_problem(settled.outcome)
    call: Call = flask.request.environ[CALL]
    return _clearing(settled.outcome, call.visit)


def _answer_crash(error: Exception) -> Answer:
    log.error("request_failed", exc_info=error)
    return _problem_answer(None, InternalError("Something broke."), flask.request.environ)


def _problem_answer(operation: Operation | None, problem: Problem, environ: Environ) -> Answer:
    path = environ["REQUEST_URI"].partition("?")[0]
    return problem_answer(operation, problem, instance=path, request_id=bound_id())
