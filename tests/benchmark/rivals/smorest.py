"""Flask with flask-smorest and marshmallow, on SQLAlchemy or with our SQL, under gunicorn."""

from typing import Any
from uuid import UUID, uuid4

import marshmallow as ma
from flask import Flask, g, request
from flask.views import MethodView
from flask_smorest import Api, Blueprint, abort
from marshmallow import fields, validate
from sqlalchemy.orm import Session, sessionmaker

from rivals import config, desk_steps, orm_books, orm_desk
from rivals.books import present
from rivals.credentials import Actor, Refused, bearer_of, verify, verify_once
from rivals.lending import ActionRefused
from rivals.on_psycopg import act, find_book, find_page, make_engine, make_pool

JSON = dict[str, Any]


class BookQuery(ma.Schema):
    page = fields.Integer(load_default=1, validate=validate.Range(1, 10_000))
    per_page = fields.Integer(load_default=20, validate=validate.Range(1, 100))
    sort = fields.String(
        load_default=None, validate=validate.OneOf(("title", "-title", "year", "-year"))
    )
    q = fields.String(load_default=None, validate=validate.Length(1, 300))
    author = fields.UUID(load_default=None)
    available = fields.Boolean(load_default=None)
    year_from = fields.Integer(load_default=None, validate=validate.Range(1, 2999))


class Named(ma.Schema):
    id = fields.UUID()
    name = fields.String()


class Book(ma.Schema):
    id = fields.UUID()
    title = fields.String()
    subtitle = fields.String()
    authors = fields.List(fields.Nested(Named))
    isbns = fields.List(fields.String())
    publisher = fields.String()
    year = fields.Integer()
    language = fields.String()
    subjects = fields.List(fields.Nested(Named))
    summary = fields.String()
    material_type = fields.String()
    edition = fields.String()
    copies_total = fields.Integer()
    copies_available = fields.Integer()
    created_at = fields.AwareDateTime()
    updated_at = fields.AwareDateTime()


class Page(ma.Schema):
    items = fields.List(fields.Nested(Book))
    page = fields.Integer()
    per_page = fields.Integer()
    total = fields.Integer()


class CheckOutInput(ma.Schema):
    user = fields.UUID(required=True)
    copy = fields.UUID(required=True)


class ReturnInput(ma.Schema):
    copy = fields.UUID(required=True)


class Loan(ma.Schema):
    id = fields.UUID()
    user_id = fields.UUID()
    copy_id = fields.UUID()
    book_id = fields.UUID()
    branch_id = fields.UUID()
    material_type = fields.String()
    status = fields.String()
    lent_at = fields.AwareDateTime()
    due_at = fields.AwareDateTime()
    overdue = fields.Boolean()
    returned_at = fields.AwareDateTime()
    renewals = fields.Integer()
    renewed_at = fields.AwareDateTime()
    recalled_at = fields.AwareDateTime()
    policy_id = fields.UUID()
    created_at = fields.AwareDateTime()
    updated_at = fields.AwareDateTime()


class Compensation(ma.Schema):
    operation_id = fields.String()
    parameters = fields.Dict(fields.String(), fields.String())
    deadline = fields.AwareDateTime()


class Money(ma.Schema):
    amount = fields.String()
    currency = fields.String()


class CheckOut(ma.Schema):
    loan = fields.Nested(Loan)
    warnings = fields.List(fields.Dict())
    compensation = fields.Nested(Compensation)


class Return(CheckOut):
    copy_id = fields.UUID()
    copy_status = fields.String()
    next_step = fields.String()
    branch_id = fields.UUID()
    hold = fields.Dict()
    fee = fields.Nested(Money)
    refund = fields.Nested(Money)


class OrmStore:
    """Entities; a session for each request, which the application's teardown closes."""

    def __init__(self, app: Flask) -> None:
        self._sessions = sessionmaker(make_engine(), expire_on_commit=False)

        @app.teardown_appcontext
        def close(_error: object) -> None:
            if "session" in g:
                g.session.close()

    @property
    def _session(self) -> Session:
        if "session" not in g:
            g.session = self._sessions()
        session: Session = g.session
        return session

    def list_books(self, query: JSON) -> Any:
        return orm_books.list_books(self._session, query)

    def get_book(self, book_id: UUID) -> Any:
        return orm_books.find_book(self._session, book_id)

    def check_out(self, body: JSON) -> Any:
        with self._session.begin():
            return orm_desk.check_out(
                self._session, _actor(verify), body["user"], body["copy"], **_visit()
            )

    def give_back(self, body: JSON) -> Any:
        with self._session.begin():
            return orm_desk.give_back(self._session, _actor(verify), body["copy"], **_visit())


class SqlStore:
    """Our statements."""

    def __init__(self, _app: Flask) -> None:
        self._pool = make_pool()

    def list_books(self, query: JSON) -> Any:
        return find_page(self._pool, query)

    def get_book(self, book_id: UUID) -> Any:
        row = find_book(self._pool, book_id)
        return None if row is None else present(row)

    def check_out(self, body: JSON) -> Any:
        steps = desk_steps.check_out(_actor(verify_once), body["user"], body["copy"], **_visit())
        return act(self._pool, steps)

    def give_back(self, body: JSON) -> Any:
        steps = desk_steps.give_back(_actor(verify_once), body["copy"], **_visit())
        return act(self._pool, steps)


def make_app() -> Flask:
    """The application, as flask-smorest's documentation shows it: views, schemas, its own ETag."""
    app = Flask(__name__)
    app.config |= {"API_TITLE": "Library", "API_VERSION": "1", "OPENAPI_VERSION": "3.0.3"}
    store = {"orm": OrmStore, "sql": SqlStore}[config.FORM](app)
    blueprint = Blueprint("api", __name__, url_prefix="/api")

    @blueprint.route("/books")
    class Books(MethodView):
        @blueprint.arguments(BookQuery, location="query")
        @blueprint.response(200, Page)
        def get(self, query: JSON) -> Any:
            return store.list_books(query)

    @blueprint.route("/books/<uuid:book_id>")
    class OneBook(MethodView):
        @blueprint.etag
        @blueprint.response(200, Book)
        def get(self, book_id: UUID) -> Any:
            return store.get_book(book_id) or abort(404)

    @blueprint.route("/loans")
    class Loans(MethodView):
        @blueprint.arguments(CheckOutInput)
        @blueprint.response(201, CheckOut)
        def post(self, body: JSON) -> Any:
            return store.check_out(body)

    @blueprint.route("/returns")
    class Returns(MethodView):
        @blueprint.arguments(ReturnInput)
        @blueprint.response(200, Return)
        def post(self, body: JSON) -> Any:
            return store.give_back(body)

    Api(app).register_blueprint(blueprint)

    @app.errorhandler(ActionRefused)
    def refused(error: ActionRefused) -> tuple[JSON, int]:
        return {"message": str(error)}, 409

    @app.errorhandler(Refused)
    def unauthorized(_error: Refused) -> tuple[JSON, int, dict[str, str]]:
        return {"message": "Unauthorized"}, 401, {"WWW-Authenticate": "Bearer"}

    return app


def _actor(check: Any) -> Actor:
    actor: Actor = check(bearer_of(request.headers.get("Authorization")))
    return actor


def _visit() -> dict[str, str]:
    return {"request_id": str(uuid4()), "address": request.remote_addr or ""}


app = make_app()
