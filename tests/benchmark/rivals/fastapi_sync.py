"""FastAPI with functions, which run in its threads: SQLAlchemy or our SQL, on psycopg."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, FastAPI, Header, HTTPException, Response
from sqlalchemy.orm import Session, sessionmaker

from rivals import config, desk_steps, orm_books, orm_desk
from rivals.books import present
from rivals.credentials import Actor
from rivals.fastapi_parts import (
    Asked,
    Visit,
    actor,
    answer_refusals,
    known_actor,
    row_tag,
    unmodified,
)
from rivals.on_psycopg import act, find_book, find_page, make_engine, make_pool
from rivals.schemas import BookOut, CheckOutIn, CheckOutOut, PageOut, ReturnIn, ReturnOut

Known = Annotated[str | None, Header(alias="If-None-Match")]


def make_orm() -> FastAPI:
    """Entities, as FastAPI's and SQLAlchemy's documentation shows them."""
    sessions = sessionmaker(make_engine(), expire_on_commit=False)
    app = FastAPI()
    answer_refusals(app)

    def open_session() -> Iterator[Session]:
        with sessions() as session:
            yield session

    Db = Annotated[Session, Depends(open_session)]  # noqa: N806 - it is a type.

    @app.get("/api/books", response_model=PageOut)
    def list_books(query: Asked, db: Db) -> Any:
        return orm_books.list_books(db, dict(query))

    @app.get("/api/books/{book_id}", response_model=BookOut)
    def get_book(book_id: UUID, db: Db, response: Response, if_none_match: Known = None) -> Any:
        book = orm_books.find_book(db, book_id)
        if book is None:
            raise HTTPException(404)
        return unmodified(orm_books.tag(book), if_none_match, response) or book

    @app.post("/api/loans", status_code=201, response_model=CheckOutOut)
    def check_out(
        body: CheckOutIn, db: Db, caller: Annotated[Actor, Depends(actor)], visit: Visit
    ) -> Any:
        with db.begin():
            return orm_desk.check_out(db, caller, body.user, body.copy_, **visit)

    @app.post("/api/returns", response_model=ReturnOut)
    def give_back(
        body: ReturnIn, db: Db, caller: Annotated[Actor, Depends(actor)], visit: Visit
    ) -> Any:
        with db.begin():
            return orm_desk.give_back(db, caller, body.copy_, **visit)

    return app


def make_sql() -> FastAPI:
    """Our statements on a pool of psycopg's."""
    pool = make_pool()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        pool.close()

    app = FastAPI(lifespan=lifespan)
    answer_refusals(app)

    @app.get("/api/books", response_model=PageOut)
    def list_books(query: Asked) -> Any:
        return find_page(pool, dict(query))

    @app.get("/api/books/{book_id}", response_model=BookOut)
    def get_book(book_id: UUID, response: Response, if_none_match: Known = None) -> Any:
        row = find_book(pool, book_id)
        if row is None:
            raise HTTPException(404)
        return unmodified(row_tag(row), if_none_match, response) or present(row)

    @app.post("/api/loans", status_code=201, response_model=CheckOutOut)
    def check_out(
        body: CheckOutIn, caller: Annotated[Actor, Depends(known_actor)], visit: Visit
    ) -> Any:
        return act(pool, desk_steps.check_out(caller, body.user, body.copy_, **visit))

    @app.post("/api/returns", response_model=ReturnOut)
    def give_back(
        body: ReturnIn, caller: Annotated[Actor, Depends(known_actor)], visit: Visit
    ) -> Any:
        return act(pool, desk_steps.give_back(caller, body.copy_, **visit))

    return app


app = {"orm": make_orm, "sql": make_sql}[config.FORM]()
