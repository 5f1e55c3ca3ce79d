"""Django with Django Ninja, on its ORM or with our SQL, under gunicorn."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from rivals import config

_URL = urlsplit(config.DATABASE_URL)
settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": _URL.path.removeprefix("/"),
            "USER": _URL.username,
            "PASSWORD": _URL.password or "",
            "HOST": parse_qs(_URL.query).get("host", [_URL.hostname])[0],
            "PORT": _URL.port or "",
            # Each of gunicorn's threads keeps its connection.
            "CONN_MAX_AGE": None,
        }
    },
    INSTALLED_APPS=["rivals.library"],
    # It makes entity tags and answers 304.
    MIDDLEWARE=["django.middleware.http.ConditionalGetMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="nobody needs it",
    TIME_ZONE="UTC",
    USE_TZ=True,
)
app = get_wsgi_application()

# What follows needs Django to be set up.
from django.db import connection, transaction  # noqa: E402
from django.http import Http404, HttpRequest  # noqa: E402
from django.urls import path  # noqa: E402
from ninja import NinjaAPI, Query, Schema  # noqa: E402
from ninja.responses import Response, Status  # noqa: E402
from ninja.security import HttpBearer  # noqa: E402

from rivals import desk_steps, django_orm, schemas  # noqa: E402
from rivals.books import is_last, present, present_page  # noqa: E402
from rivals.credentials import Actor, Refused, verify, verify_once  # noqa: E402
from rivals.lending import ActionRefused  # noqa: E402
from rivals.statements import BOOK, listing  # noqa: E402

JSON = dict[str, Any]


class BookOut(schemas.BookOut, Schema):
    """A book."""


class PageOut(schemas.PageOut, Schema):
    """A page of a list."""

    items: list[BookOut]


class LoanOut(schemas.LoanOut, Schema):
    """A loan."""


class CheckOutOut(schemas.CheckOutOut, Schema):
    """A loan that was just made."""

    loan: LoanOut


class ReturnOut(schemas.ReturnOut, Schema):
    """What became of a copy that was returned."""

    loan: LoanOut


class Bearer(HttpBearer):
    """Who calls, by an access token."""

    def __init__(self, check: Callable[[str], Actor]) -> None:
        self._check = check
        super().__init__()

    def authenticate(self, _request: HttpRequest, token: str) -> Actor | None:
        """The actor; None becomes a 401."""
        try:
            return self._check(token)
        except Refused:
            return None


def make_orm() -> NinjaAPI:
    """Entities, as Django's documentation shows them."""
    api = NinjaAPI()
    bearer = Bearer(verify)

    @api.get("/books", response=PageOut)
    def list_books(request: HttpRequest, query: Query[schemas.BookQuery]) -> Any:
        return django_orm.list_books(dict(query))

    @api.get("/books/{uuid:book_id}", response=BookOut)
    def get_book(request: HttpRequest, book_id: UUID) -> Any:
        return django_orm.get_book(book_id)

    @api.post("/loans", response={201: CheckOutOut}, auth=bearer)
    def check_out(request: HttpRequest, body: schemas.CheckOutIn) -> Any:
        with transaction.atomic():
            made = django_orm.check_out(request.auth, body.user, body.copy_, **_visit(request))
        return Status(201, made)

    @api.post("/returns", response=ReturnOut, auth=bearer)
    def give_back(request: HttpRequest, body: schemas.ReturnIn) -> Any:
        with transaction.atomic():
            return django_orm.give_back(request.auth, body.copy_, **_visit(request))

    return api


def make_sql() -> NinjaAPI:
    """Our statements, on Django's cursor."""
    api = NinjaAPI()
    bearer = Bearer(verify_once)

    @api.get("/books", response=PageOut)
    def list_books(request: HttpRequest, query: Query[schemas.BookQuery]) -> Any:
        asked = dict(query)
        found = listing(asked)
        rows = _fetch(found.page, found.values)
        total = None
        if found.total is not None and not is_last(rows, asked):
            total = _fetch(found.total, found.values)[0]["total"]
        return present_page(rows, total, asked)

    @api.get("/books/{uuid:book_id}", response=BookOut)
    def get_book(request: HttpRequest, book_id: UUID) -> Any:
        rows = _fetch(BOOK, {"book_id": book_id})
        if not rows:
            raise Http404
        return present(rows[0])

    @api.post("/loans", response={201: CheckOutOut}, auth=bearer)
    def check_out(request: HttpRequest, body: schemas.CheckOutIn) -> Any:
        steps = desk_steps.check_out(request.auth, body.user, body.copy_, **_visit(request))
        return Status(201, _act(steps))

    @api.post("/returns", response=ReturnOut, auth=bearer)
    def give_back(request: HttpRequest, body: schemas.ReturnIn) -> Any:
        return _act(desk_steps.give_back(request.auth, body.copy_, **_visit(request)))

    return api


def _fetch(statement: str, values: JSON) -> list[JSON]:
    """Rows as Django's documentation makes dictionaries of them."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        if cursor.description is None:
            return []
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _act(steps: desk_steps.Steps) -> JSON:
    """Carry out the steps of the desk in one transaction."""

    def send(statement: str, values: JSON) -> JSON | None:
        rows = _fetch(statement, values)
        return rows[0] if rows else None

    with transaction.atomic():
        return desk_steps.run(steps, send)


def _visit(request: HttpRequest) -> dict[str, str]:
    return {"request_id": str(uuid4()), "address": request.META.get("REMOTE_ADDR", "")}


api = {"orm": make_orm, "sql": make_sql}[config.FORM]()


@api.exception_handler(ActionRefused)
def refused(_request: HttpRequest, error: ActionRefused) -> Response:
    """What the rules do not allow is a 409."""
    return Response({"detail": str(error)}, status=409)


urlpatterns = [path("api/", api.urls)]
