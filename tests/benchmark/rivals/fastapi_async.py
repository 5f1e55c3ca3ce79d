"""FastAPI with coroutines: async SQLAlchemy on asyncpg, or our SQL on asyncpg alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from rivals import config, desk_steps, orm_books, orm_desk
from rivals.books import present
from rivals.catalog_models import Book
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
from rivals.on_asyncpg import act, find_book, find_page, make_pool
from rivals.schemas import BookOut, CheckOutIn, CheckOutOut, PageOut, ReturnIn, ReturnOut

Known = Annotated[str | None, Header(alias="If-None-Match")]


def make_orm() -> FastAPI:
    """Entities, as FastAPI's and SQLAlchemy's documentation shows them."""
    engine = create_async_engine(
        config.sqlalchemy_url("asyncpg"), pool_size=config.AT_ONCE, max_overflow=0
    )
    sessions = async_sessionmaker(engine, expire_on_commit=False)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await engine.dispose()

    app = FastAPI(lifespan=lifespan)
    answer_refusals(app)

    async def open_session() -> AsyncIterator[AsyncSession]:
        async with sessions() as session:
            yield session

    Db = Annotated[AsyncSession, Depends(open_session)]  # noqa: N806 - it is a type.

    @app.get("/api/books", response_model=PageOut)
    async def list_books(query: Asked, db: Db) -> Any:
        return await db.run_sync(orm_books.list_books, dict(query))

    @app.get("/api/books/{book_id}", response_model=BookOut)
    async def get_book(
        book_id: UUID, db: Db, response: Response, if_none_match: Known = None
    ) -> Any:
        book: Book | None = await db.run_sync(orm_books.find_book, book_id)
        if book is None:
            raise HTTPException(404)
        return unmodified(orm_books.tag(book), if_none_match, response) or book

    @app.post("/api/loans", status_code=201, response_model=CheckOutOut)
    async def check_out(
        body: CheckOutIn, db: Db, caller: Annotated[Actor, Depends(actor)], visit: Visit
    ) -> Any:
        async with db.begin():
            return await db.run_sync(orm_desk.check_out, caller, body.user, body.copy_, **visit)

    @app.post("/api/returns", response_model=ReturnOut)
    async def give_back(
        body: ReturnIn, db: Db, caller: Annotated[Actor, Depends(actor)], visit: Visit
    ) -> Any:
        async with db.begin():
            return await db.run_sync(orm_desk.give_back, caller, body.copy_, **visit)

    return app


def make_sql() -> FastAPI:
    """Our statements, prepared and kept by asyncpg."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with make_pool(orjson.loads) as app.state.pool:
            yield

    app = FastAPI(lifespan=lifespan)
    answer_refusals(app)

    @app.get("/api/books", response_model=PageOut)
    async def list_books(query: Asked, request: Request) -> Any:
        return await find_page(request.app.state.pool, dict(query))

    @app.get("/api/books/{book_id}", response_model=BookOut)
    async def get_book(
        book_id: UUID, request: Request, response: Response, if_none_match: Known = None
    ) -> Any:
        row = await find_book(request.app.state.pool, book_id)
        if row is None:
            raise HTTPException(404)
        return unmodified(row_tag(row), if_none_match, response) or present(row)

    @app.post("/api/loans", status_code=201, response_model=CheckOutOut)
    async def check_out(
        body: CheckOutIn,
        request: Request,
        caller: Annotated[Actor, Depends(known_actor)],
        visit: Visit,
    ) -> Any:
        steps = desk_steps.check_out(caller, body.user, body.copy_, **visit)
        return await act(request.app.state.pool, steps)

    @app.post("/api/returns", response_model=ReturnOut)
    async def give_back(
        body: ReturnIn,
        request: Request,
        caller: Annotated[Actor, Depends(known_actor)],
        visit: Visit,
    ) -> Any:
        steps = desk_steps.give_back(caller, body.copy_, **visit)
        return await act(request.app.state.pool, steps)

    return app


app = {"orm": make_orm, "sql": make_sql}[config.FORM]()
