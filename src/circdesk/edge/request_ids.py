"""The ids of a request: they stand in each line that is logged of it, and in its answer.

One variable has them all, so that a request never has an id of another's beside its own.
"""

import random
import re
from collections.abc import Collection, Mapping
from contextvars import ContextVar
from types import MappingProxyType

import structlog

from circdesk.contract.headers import RawHeader
from circdesk.edge.tracecontext import read_trace_context

# By the names that they have in the log: `request_id`, and `trace_id` for a request within a trace.
Ids = dict[str, str]

# Under this key the scope carries the request id.
REQUEST_ID = "circdesk.request_id"
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")

_NONE: Mapping[str, str] = MappingProxyType({})
_bound: ContextVar[Ids] = ContextVar("circdesk_request_ids")


def read_ids(headers: Collection[RawHeader]) -> Ids:
    """The ids of a request, by its headers.

    Its caller's X-Request-Id is taken where it is well-formed, so that a trace can cross services.
    """
    # Most requests have neither an id nor a trace, which to know takes no walk.
    sent = dict(headers)
    request_id = _sent_id(headers) if b"x-request-id" in sent else None
    # It tells requests apart, and guards nothing: no system call is needed for it.
    ids = {"request_id": request_id or f"{random.getrandbits(128):032x}"}
    if b"traceparent" in sent and (trace := read_trace_context(headers)):
        ids["trace_id"] = trace.trace_id
    return ids


def bind_ids(ids: Ids) -> None:
    """Let these be the ids in the present context, in place of any other."""
    _bound.set(ids)


def bind_trace(trace_id: str) -> None:
    """Let the request in the present context be of this trace, also for who has bound its ids."""
    _bound.get()["trace_id"] = trace_id


def bound_id() -> str:
    """The request id in the present context. Raises LookupError outside of a request."""
    return _bound.get()["request_id"]


def add_ids(
    _logger: object, _name: str, entry: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """The structlog processor: the entry with the ids, unless it names its request itself."""
    return entry if "request_id" in entry else {**_bound.get(_NONE), **entry}


def _sent_id(headers: Collection[RawHeader]) -> str | None:
    """The first X-Request-Id that is well-formed."""
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value.decode()
    return None
