"""Connexion's FlaskApp as it comes, with both validations on, from a cut of our contract."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import connexion
import flask
from connexion.exceptions import OAuthProblem
from connexion.resolver import RelativeResolver
from sqlalchemy.orm import Session, sessionmaker

from rivals import config, desk_steps, orm_books, orm_desk
from rivals.books import present
from rivals.catalog_models import Book
from rivals.connexion_document import cut_document
from rivals.credentials import Refused, verify, verify_once
from rivals.lending import ActionRefused, present_loan_entity
from rivals.on_psycopg import act, find_book, find_page, make_engine, make_pool

JSON = dict[str, Any]
Reply = tuple[JSON, int, dict[str, str]]

# Where the contract has several media types, which the problems see to, handlers must say theirs.
_IS_JSON = {"Content-Type": "application/json"}
_BOOK = (
    "id", "title", "subtitle", "isbns", "publisher", "year", "language", "summary",
    "material_type", "edition", "copies_total", "copies_available", "created_at", "updated_at",
)  # fmt: skip


class OrmStore:
    """Entities, made into dictionaries, which Connexion's documentation leaves to its users."""

    check = staticmethod(verify)

    def __init__(self) -> None:
        self._sessions = sessionmaker(make_engine(), expire_on_commit=False)

    def list_books(self, query: JSON) -> JSON:
        with self._sessions() as session:
            page = orm_books.list_books(session, query)
            return {**page, "items": [_as_dict(book) for book in page["items"]]}

    def get_book(self, book_id: UUID) -> JSON | None:
        with self._sessions() as session:
            book = orm_books.find_book(session, book_id)
            return None if book is None else _as_dict(book)

    def check_out(self, *asked: Any) -> JSON:
        return self._act(orm_desk.check_out, *asked)

    def give_back(self, *asked: Any) -> JSON:
        return self._act(orm_desk.give_back, *asked)

    def _act(self, deed: Callable[..., JSON], *asked: Any) -> JSON:
        session: Session
        with self._sessions.begin() as session:
            answer = deed(session, *asked)
            loan = answer["loan"]
            return {**answer, "loan": present_loan_entity(loan, loan.updated_at)}


class SqlStore:
    """Our statements."""

    check = staticmethod(verify_once)

    def __init__(self) -> None:
        self._pool = make_pool()

    def list_books(self, query: JSON) -> JSON:
        return find_page(self._pool, query)

    def get_book(self, book_id: UUID) -> JSON | None:
        row = find_book(self._pool, book_id)
        return None if row is None else present(row)

    def check_out(self, *asked: Any) -> JSON:
        return act(self._pool, desk_steps.check_out(*asked))

    def give_back(self, *asked: Any) -> JSON:
        return act(self._pool, desk_steps.give_back(*asked))


store = {"orm": OrmStore, "sql": SqlStore}[config.FORM]()


def list_books(**query: Any) -> Reply:
    """Search books."""
    asked = {"sort": None, "q": None, "author": None, "available": None, "year_from": None, **query}
    if asked["author"] is not None:
        asked["author"] = UUID(asked["author"])
    page = store.list_books(asked)
    here = flask.request.full_path
    return _plain({**page, "links": {"self": here, "first": here}}), 200, _IS_JSON


def get_book(book_id: str) -> flask.Response:
    """Read a book, or hear that it is as it was; the tag is werkzeug's, of the body."""
    book = store.get_book(UUID(book_id))
    if book is None:
        flask.abort(404)
    response = flask.jsonify(_plain(book))
    response.add_etag()
    return response.make_conditional(flask.request)


def check_out_copy(body: JSON, token_info: JSON) -> Reply:
    """Check out a copy."""
    actor = token_info["actor"]
    try:
        made = store.check_out(actor, UUID(body["user"]), UUID(body["copy"]), *_visit())
    except ActionRefused as error:
        flask.abort(409, str(error))
    return _plain(made), 201, _IS_JSON


def return_copy(body: JSON, token_info: JSON) -> Reply:
    """Take a copy back."""
    try:
        answer = store.give_back(token_info["actor"], UUID(body["copy"]), *_visit())
    except ActionRefused as error:
        flask.abort(409, str(error))
    return _plain(answer), 200, _IS_JSON


def bearer_info(token: str) -> JSON:
    """Who calls, by an access token."""
    try:
        actor = store.check(token)
    except Refused as error:
        raise OAuthProblem from error
    return {"actor": actor, "sub": str(actor.id), "scope": ""}


def _as_dict(book: Book) -> JSON:
    names = {
        kind: [{"id": name.id, "name": name.name} for name in getattr(book, kind)]
        for kind in ("authors", "subjects")
    }
    return {name: getattr(book, name) for name in _BOOK} | names


def _visit() -> tuple[str, str]:
    return str(uuid4()), flask.request.remote_addr or ""


def _plain(value: Any) -> Any:
    """The value with moments as the contract wants them; Connexion's own writing is not in UTC."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value) if isinstance(value, UUID) else value


app = connexion.FlaskApp(__name__)
app.add_api(
    cut_document(f"{__name__}.bearer_info"),
    resolver=RelativeResolver(__name__),
    strict_validation=True,
    validate_responses=True,
)
