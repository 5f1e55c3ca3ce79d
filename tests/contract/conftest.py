"""Little contracts with handlers of their own, a door to knock at, and servers on real sockets."""

import asyncio
import importlib
import json
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import uvicorn
from hypothesis import HealthCheck, settings
from starlette.types import ASGIApp, Message, Scope

import circdesk
from circdesk.contract.handlers import find_handlers

# A test that waits for its processor is slow and not wrong.
settings.register_profile("circdesk", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("circdesk")

WriteFiles = Callable[[Mapping[str, str]], Path]


class Reply(NamedTuple):
    """What an ASGI application sent."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@pytest.fixture
def write_contract(tmp_path: Path) -> WriteFiles:
    """Writes files under `openapi/`; their text may be indented."""

    def write(files: Mapping[str, str]) -> Path:
        return _write(tmp_path / "openapi", files)

    return write


@pytest.fixture
def write_handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WriteFiles]:
    """Writes modules that are, for this test, all the domain packages that `circdesk` has."""
    root = tmp_path / "domains"
    monkeypatch.setattr(circdesk, "__path__", [str(root)])
    find_handlers.cache_clear()
    yield lambda files: _write(root, files)
    find_handlers.cache_clear()
    for name in [name for name, module in sys.modules.items() if _is_below(root, module)]:
        del sys.modules[name]


def _is_below(root: Path, module: ModuleType) -> bool:
    return str(getattr(module, "__file__", None)).startswith(str(root))


def _write(root: Path, files: Mapping[str, str]) -> Path:
    root.mkdir(exist_ok=True)
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text), encoding="utf-8")
    importlib.invalidate_caches()
    return root


@pytest.fixture
def ask() -> Callable[..., Reply]:
    """Sends one request to an ASGI application, as a server would, and gives its reply."""

    def ask_app(
        app: ASGIApp,
        method: str = "GET",
        target: bytes = b"/",
        *,
        headers: Sequence[tuple[bytes, bytes]] = (),
        pieces: Sequence[bytes] = (b"",),
        scope: Mapping[str, Any] | None = None,
    ) -> Reply:
        return asyncio.run(_ask(app, _scope(method, target, headers, scope or {}), pieces))

    return ask_app


def _scope(
    method: str, target: bytes, headers: Sequence[tuple[bytes, bytes]], more: Mapping[str, Any]
) -> Scope:
    path, _, query = target.partition(b"?")
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path.decode("utf-8", "replace"),
        "raw_path": path,
        "query_string": query,
        "headers": list(headers),
        "server": ("localhost", 80),
        "client": ("192.0.2.1", 5),
        **more,
    }


async def _ask(app: Callable[..., Awaitable[None]], scope: Scope, pieces: Sequence[bytes]) -> Reply:
    waiting = list(pieces)
    sent: list[Message] = []

    async def receive() -> Message:
        if not waiting:
            return {"type": "http.disconnect"}
        body = waiting.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(waiting)}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *bodies = sent
    return Reply(
        start["status"],
        {name.decode(): value.decode() for name, value in start.get("headers", [])},
        b"".join(message["body"] for message in bodies),
    )


@pytest.fixture
def serve() -> Callable[[ASGIApp], Any]:
    """Serves an ASGI application on a real socket; gives a function that connects to it."""
    return _serve


@contextmanager
def _serve(app: ASGIApp) -> Iterator[Callable[[], socket.socket]]:
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", ws="none", log_config=None))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    # What connects before the server accepts waits in the listener's queue.
    yield lambda: socket.create_connection(address, timeout=10)
    server.should_exit = True
    thread.join()
