"""The floor: one ASGI function, statements that asyncpg keeps prepared, orjson, and no checks.

Nothing is validated, nothing is logged, and no answer is held against anything; only the token of
a check-out is verified, and remembered. What the database aggregates as JSON leaves as it came.
"""

import hashlib
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import orjson
from starlette.types import Receive, Scope, Send

from rivals import desk_steps
from rivals.books import present
from rivals.credentials import bearer_of, verify_once
from rivals.on_asyncpg import act, find_book, find_page, make_pool

JSON = dict[str, Any]

_pools: list[Any] = []
_QUERY: JSON = {
    "page": 1, "per_page": 20, "sort": None, "q": None, "author": None, "available": None,
    "year_from": None,
}  # fmt: skip
_READ = {
    "page": int, "per_page": int, "sort": str, "q": str, "author": UUID, "year_from": int,
    "available": lambda text: text == "true",
}  # fmt: skip
_JSON = (b"content-type", b"application/json")


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    path = scope["path"]
    if scope["method"] == "POST":
        await _act(path, scope, receive, send)
    elif path == "/api/books":
        await _list(scope, send)
    else:
        await _show(UUID(path.rpartition("/")[2]), scope, send)


async def _live(receive: Receive, send: Send) -> None:
    await receive()
    _pools.append(await make_pool(orjson.Fragment))
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await _pools[0].close()
    await send({"type": "lifespan.shutdown.complete"})


async def _show(book_id: UUID, scope: Scope, send: Send) -> None:
    body = _dumps(present(await find_book(_pools[0], book_id)))
    tag = hashlib.blake2b(body, digest_size=8).hexdigest().encode()
    if dict(scope["headers"]).get(b"if-none-match") == b'"%b"' % tag:
        await _send(send, 304, b"", (b"etag", b'"%b"' % tag))
        return
    await _send(send, 200, body, _JSON, (b"etag", b'"%b"' % tag))


async def _list(scope: Scope, send: Send) -> None:
    asked = parse_qsl(scope["query_string"].decode())
    query = _QUERY | {name: _READ[name](value) for name, value in asked}
    await _send(send, 200, _dumps(await find_page(_pools[0], query)), _JSON)


async def _act(path: str, scope: Scope, receive: Receive, send: Send) -> None:
    header = dict(scope["headers"]).get(b"authorization", b"").decode()
    actor = verify_once(bearer_of(header))
    body = orjson.loads((await receive())["body"])
    copy, visit = UUID(body["copy"]), ("", scope["client"][0])
    if path == "/api/loans":
        status, steps = 201, desk_steps.check_out(actor, UUID(body["user"]), copy, *visit)
    else:
        status, steps = 200, desk_steps.give_back(actor, copy, *visit)
    await _send(send, status, _dumps(await act(_pools[0], steps)), _JSON)


async def _send(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


def _dumps(value: Any) -> bytes:
    # asyncpg has UUIDs of its own kind.
    return orjson.dumps(value, default=str, option=orjson.OPT_UTC_Z)
