"""What both FastAPI contestants share: the problems, and the tag of a book."""

from typing import Annotated, Any
from uuid import uuid4

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from rivals.books import Row, tag_of
from rivals.credentials import Actor, Refused, verify, verify_once
from rivals.lending import ActionRefused
from rivals.schemas import BookQuery

Credentials = Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]
Asked = Annotated[BookQuery, Query()]


async def actor(credentials: Credentials) -> Actor:
    """Who calls, by a token that is verified each time."""
    return _as_401(verify, credentials)


async def known_actor(credentials: Credentials) -> Actor:
    """Who calls, by a token that is remembered."""
    return _as_401(verify_once, credentials)


def _as_401(check: Any, credentials: HTTPAuthorizationCredentials) -> Actor:
    try:
        found: Actor = check(credentials.credentials)
    except Refused as error:
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"}) from error
    return found


async def visit(request: Request) -> dict[str, str]:
    """What the audit log keeps of a request."""
    address = request.client.host if request.client else ""
    return {"request_id": str(uuid4()), "address": address}


Visit = Annotated[dict[str, str], Depends(visit)]


def row_tag(row: Row) -> str:
    """The entity tag of a book that one of our statements has found."""
    return tag_of(row.values())


def unmodified(tag: str, if_none_match: str | None, response: Response) -> Response | None:
    """A 304 where the caller has this tag already; else the answer gets it."""
    if if_none_match == tag:
        return Response(status_code=304, headers={"ETag": tag})
    response.headers["ETag"] = tag
    return None


def answer_refusals(app: FastAPI) -> None:
    """Let what the rules do not allow be a 409."""

    @app.exception_handler(ActionRefused)
    async def refused(_request: Request, error: ActionRefused) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 409)
