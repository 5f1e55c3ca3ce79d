"""Ceilings: how long an address and a head may be, and how many connections there are at once.

How many requests run or wait at once is bounded where they cross to their threads.
"""

from itertools import chain

from starlette.types import ASGIApp, Receive, Scope, Send

from circdesk.contract.environ import request_uri
from circdesk.contract.problems import Problem, fault
from circdesk.contract.requests import Overloaded
from circdesk.edge.refusals import refuse

# The server puts this key into the scope of a request whose connection is one too many.
TOO_MANY_CONNECTIONS = "circdesk.too_many_connections"

# In bytes; what Circdesk itself writes stays far below.
_LONGEST_ADDRESS = 8 * 1024
_LONGEST_HEADERS = 32 * 1024
_MOST_HEADERS = 100
# One byte of an address takes as many where it has to be escaped.
_ESCAPED = 3
# What is wrong here may go on behind the head, and nobody reads that.
_CLOSE = {"Connection": "close"}


class UriTooLong(Problem):
    """Path and query are longer than any honest one."""

    code = "uri_too_long"
    status = 414
    title = "The address is too long."
    advice = "Send fewer or shorter parameters; the limit is in `details`."


class HeadersTooLarge(Problem):
    """The head has too many headers, or too long ones."""

    code = "headers_too_large"
    status = 431
    title = "The headers are too large."
    advice = "Send fewer or shorter headers; the limits are in `details`."


class Ceilings:
    """ASGI middleware that refuses what is beyond them, before anybody looks at it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
        problem = find_problem(scope) if scope["type"] == "http" else None
        if problem is None:
            await self._app(scope, receive, send)
        else:
            await refuse(scope, receive, send, problem, None)


def find_problem(scope: Scope) -> Problem | None:
    """The problem of a request that is beyond a ceiling; None for any other."""
    if TOO_MANY_CONNECTIONS in scope:
        return Overloaded("Too many callers are connected.", headers={"Retry-After": "1"} | _CLOSE)
    sent = len(scope["raw_path"]) + len(scope["query_string"])
    # An address is told in problems, and there it is escaped.
    if _ESCAPED * sent > _LONGEST_ADDRESS and len(request_uri(scope)) > _LONGEST_ADDRESS:
        message = f"Path and query have more than {_LONGEST_ADDRESS} bytes."
        detail = fault("path", "", "size", message, _LONGEST_ADDRESS)
        return UriTooLong(message, details=[detail], headers=_CLOSE)
    headers = scope["headers"]
    if len(headers) > _MOST_HEADERS:
        return _headers_too_large("count", f"{_MOST_HEADERS} headers", _MOST_HEADERS)
    if sum(map(len, chain.from_iterable(headers))) > _LONGEST_HEADERS:
        return _headers_too_large("size", f"{_LONGEST_HEADERS} bytes", _LONGEST_HEADERS)
    return None


def _headers_too_large(rule: str, limit: str, allowed: int) -> Problem:
    message = f"The head has more than {limit}."
    detail = fault("header", "", rule, message, allowed)
    return HeadersTooLarge(message, details=[detail], headers=_CLOSE)
