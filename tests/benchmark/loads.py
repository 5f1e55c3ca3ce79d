"""What a load generator asks for, over and over: reads in turn, or loans and their returns.

Each kind is a script for `wrk`, and, for where that is missing and for the open loop, the same in
Python: `next` is what is sent, and `answered` hears what came of it.
"""

import json
import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Protocol
from uuid import UUID

_DONE = """
done = function(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format("RESULT %d %d %d %d %d %d\\n", summary.requests, summary.duration,
    errors.status, failed, latency:percentile(50), latency:percentile(99)))
end
"""
_READS = """
local calls, place = {{}}, 0
init = function()
  for _, call in ipairs({{{calls}}}) do
    calls[#calls + 1] = wrk.format("GET", call[1], call[2])
  end
end
request = function()
  place = place % #calls + 1
  return calls[place]
end
"""
# wrk has one thread, so that all connections share this state: a copy whose loan was answered is
# returned next, and one whose return was answered is lent again, after all the others.
_LOANS = """
local users, free, first, lent = {{{users}}}, {{{copies}}}, 1, {{}}
local headers = {{{headers}}}
request = function()
  local copy = table.remove(lent)
  if copy then
    return wrk.format("POST", "/api/returns", headers, '{{"copy": "' .. copy .. '"}}')
  end
  copy, first = free[first], first + 1
  local body = '{{"user": "' .. users[copy] .. '", "copy": "' .. copy .. '"}}'
  return wrk.format("POST", "/api/loans", headers, body)
end
response = function(status, _, body)
  local copy = string.match(body, '"copy_id" *: *"([%x-]+)"')
  if status == 201 then
    lent[#lent + 1] = copy
  elseif status == 200 then
    free[#free + 1] = copy
  end
end
"""


class Asking(Protocol):
    """What is asked for."""

    def script(self) -> str:
        """The script for wrk."""

    def next(self) -> bytes:
        """The next request."""

    def answered(self, status: int, body: bytes) -> bool:
        """Hear an answer; whether it is the right one."""


@dataclass
class Reads:
    """Paths in turn, each with headers of its own, and the status that each is answered with."""

    calls: Sequence[tuple[str, Mapping[str, str]]]
    statuses: tuple[int, ...] = (200,)

    def __post_init__(self) -> None:
        self._turn = cycle([request("GET", path, headers) for path, headers in self.calls])

    def script(self) -> str:
        """The script for wrk."""
        calls = ", ".join(f"{{{json.dumps(path)}, {{{_lua(h)}}}}}" for path, h in self.calls)
        return _READS.format(calls=calls) + _DONE

    def next(self) -> bytes:
        """The next request."""
        return next(self._turn)

    def answered(self, status: int, _body: bytes) -> bool:
        """Whether it is the right answer."""
        return status in self.statuses


@dataclass
class Loans:
    """Copies that are lent, each to a user of its own, and returned as soon as that is answered."""

    users: Mapping[UUID, UUID]
    token: str
    _lent: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._free = deque(str(copy) for copy in self.users)

    @property
    def headers(self) -> dict[str, str]:
        """What each request is sent with."""
        return {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}

    def script(self) -> str:
        """The script for wrk."""
        users = ", ".join(f'["{copy}"] = "{user}"' for copy, user in self.users.items())
        copies = ", ".join(f'"{copy}"' for copy in self.users)
        return _LOANS.format(users=users, copies=copies, headers=_lua(self.headers)) + _DONE

    def next(self) -> bytes:
        """The next request."""
        if self._lent:
            return request("POST", "/api/returns", self.headers, {"copy": self._lent.pop()})
        copy = self._free.popleft()
        body = {"user": str(self.users[UUID(copy)]), "copy": copy}
        return request("POST", "/api/loans", self.headers, body)

    def answered(self, status: int, body: bytes) -> bool:
        """Whether it is the right answer; a copy goes on to where it is now."""
        found = re.search(rb'"copy_id" *: *"([0-9a-f-]+)"', body)
        if status not in (200, 201) or found is None:
            return False
        (self._lent if status == 201 else self._free).append(found[1].decode())
        return True


def request(
    method: str, path: str, headers: Mapping[str, str], body: Mapping[str, str] | None = None
) -> bytes:
    """A request as it is sent."""
    content = b"" if body is None else json.dumps(body).encode()
    length = {} if body is None else {"Content-Length": str(len(content))}
    fields = {"Host": "127.0.0.1", **headers, **length}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + content


def _lua(headers: Mapping[str, str]) -> str:
    return ", ".join(f"[{json.dumps(n)}] = {json.dumps(v)}" for n, v in headers.items())
