"""Requests as they go over the wire, and who sends them."""

import json
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from urllib.parse import unquote

from starlette.types import Scope

from circdesk.contract.operations import Operation

JSON = dict[str, Any]
Pairs = tuple[tuple[str, str], ...]


class Credentials(NamedTuple):
    """What proves who is calling, for two people: one who may do everything, and one who may not.

    Attributes:
        key_id: The id of the key of the former, which is its user name with Basic.
        session: The token in a browser's cookie, of the former.
    """

    key: str
    key_id: str
    token: str
    member_key: str
    member_token: str
    session: str
    csrf_token: str


@dataclass(frozen=True)
class Request:
    """A request as it goes over the wire.

    Attributes:
        kind: What is particular about it.
        query: Names and values, percent-encoded.
        value: What its body says, where that is JSON.
    """

    kind: str
    operation: Operation
    method: str
    path: str
    query: Pairs
    headers: Pairs
    body: bytes
    value: Any = None

    def but(self, **changes: Any) -> "Request":
        """The same request with these changes."""
        return replace(self, **changes)

    def with_headers(self, **headers: str) -> "Request":
        """The same request with these headers, in the place of those of the same names."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        others = tuple(pair for pair in self.headers if pair[0] not in named)
        return replace(self, headers=(*others, *named.items()))

    def without_headers(self, *names: str) -> "Request":
        """The same request without these headers."""
        return replace(self, headers=tuple(pair for pair in self.headers if pair[0] not in names))

    def with_value(self, value: Any) -> "Request":
        """The same request with another JSON body."""
        return replace(self, body=json.dumps(value).encode(), value=value)

    @property
    def media_type(self) -> str:
        """What it says that its body is."""
        return dict(self.headers).get("content-type", "")

    def scope(self) -> Scope:
        """The request for an ASGI application, as a server would make it."""
        headers = [(name.encode(), value.encode("latin-1")) for name, value in self.headers]
        names = {name for name, _ in self.headers}
        if self.body and not names & {"content-length", "transfer-encoding"}:
            headers.append((b"content-length", str(len(self.body)).encode()))
        query = "&".join(f"{name}={value}" for name, value in self.query)
        return {
            "type": "http",
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            # Decoded as uvicorn does it.
            "path": unquote(self.path),
            "raw_path": self.path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": headers,
            "server": ("localhost", 80),
            "client": ("192.0.2.1", 5),
            "circdesk.request_id": "differential",
        }

    def __str__(self) -> str:
        query = "&".join(f"{name}={value}" for name, value in self.query)
        line = f"{self.method} {self.path}{'?' + query if query else ''}"
        return f"{line} [{self.media_type}] {self.body[:200]!r}"
