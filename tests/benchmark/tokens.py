"""What access tokens cost; prints JSON.

    python tests/benchmark/tokens.py

Verifying one is compared with the whole of `GET /api/books/{book_id}`, both in this process and on
SQLite. `POST /oauth/token` is asked, on each database, of a service that has one core; its callers
and PostgreSQL have the others. Beside it stands what the database commits, of one small row each.
"""

import asyncio
import base64
import http.client
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any
from uuid import UUID, uuid4

import structlog
from commits import (  # type: ignore[import-not-found]  # It lies beside this file.
    CALLERS,
    SECONDS,
    postgresql,
    postgresql_commits,
    repeat_until,
    sqlite_commits,
)
from pydantic import SecretStr

from circdesk.app import create_app
from circdesk.auth.credentials import Authenticator
from circdesk.auth.models import OAuthClient
from circdesk.auth.secrets import hash_secret, new_secret
from circdesk.auth.tokens import AccessTokens
from circdesk.catalog.demo.identities import Kind, demo_id
from circdesk.catalog.demo.seeding import seed_demo
from circdesk.contract.contract import load_contract
from circdesk.contract.headers import join_headers
from circdesk.db.engine import make_engine
from circdesk.db.migrations import upgrade
from circdesk.db.unit_of_work import Sessions, make_sessions, unit_of_work
from circdesk.resources import directory
from circdesk.settings import Settings

BOOK = f"/api/books/{demo_id(Kind.BOOK, 1)}"
# What is measured has the first; whoever asks, and PostgreSQL, have the others.
CORES = sorted(os.sched_getaffinity(0))
OTHER_CORES = CORES[1:] or CORES


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        instance = Path(name)
        sqlite_url = f"sqlite:///{instance / 'circdesk.db'}"
        with migrated(make_settings(instance, sqlite_url)) as (settings, sessions):
            seed_demo(sessions)
            verifying = asyncio.run(measure_verifying(settings, sessions))
            commits = sqlite_commits(instance / "commits.db")
            on_sqlite = measure_issuing(settings, sessions, commits)
        with (
            postgresql(instance) as url,
            migrated(make_settings(instance, url)) as (settings, sessions),
        ):
            on_postgresql = measure_issuing(settings, sessions, postgresql_commits(url))
    issuing = {"sqlite": on_sqlite, "postgresql": on_postgresql}
    json.dump({"verifying": verifying, "issuing": issuing}, sys.stdout, indent=2)
    sys.stdout.write("\n")


@contextmanager
def migrated(settings: Settings) -> Iterator[tuple[Settings, Sessions]]:
    """The database of these settings, ready for use."""
    engine = make_engine(settings)
    upgrade(engine)
    yield settings, make_sessions(engine)
    engine.dispose()


def make_settings(instance: Path, database_url: str) -> Settings:
    return Settings(
        env="production",
        instance=instance,
        database_url=SecretStr(database_url),
        secret_key=SecretStr(new_secret()),
        encryption_key=SecretStr(new_secret()),
        public_url=free_address(),
        rate_limits="1000000/second",
    )


def free_address() -> str:
    """The address of a service that is yet to listen."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def add_client(sessions: Sessions) -> tuple[UUID, str]:
    """The id and the secret of a client that may act for itself."""
    client_id, secret = uuid4(), new_secret()
    with unit_of_work(sessions, writing=True) as session:
        session.add(
            OAuthClient(
                id=client_id,
                name="Benchmark",
                type="confidential",
                secret_hash=hash_secret(secret),
                grant_types=["client_credentials"],
                redirect_uris=[],
                scopes=["news:write"],
            )
        )
    return client_id, secret


async def measure_verifying(settings: Settings, sessions: Sessions) -> dict[str, float]:
    """Microseconds of a read by bearer token, and of finding out who calls with it."""
    # A service logs each request, to where nobody waits for it; here it would fill the screen.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(io.StringIO()))
    tokens = AccessTokens(sessions, settings)
    client_id = uuid4()
    with unit_of_work(sessions, writing=True) as session:
        token, _ = tokens.issue(
            session,
            subject=client_id,
            client_id=client_id,
            scopes=["news:write"],
            resource=tokens.resource,
            grant_id=None,
        )
    scope = make_scope([(b"authorization", f"Bearer {token}".encode())])
    app = create_app(settings)
    authenticator = Authenticator(sessions, tokens, "")
    operation = load_contract(directory("openapi")).operations["get_book"]
    headers = join_headers(scope["headers"])

    async def identify() -> None:
        await authenticator(operation, scope | {"circdesk.request_id": ""}, headers)

    anonymous = make_scope([])
    request = await microseconds(lambda: call(app, scope))
    result = {
        "request_microseconds": request,
        "anonymous_request_microseconds": await microseconds(lambda: call(app, anonymous)),
        "authenticate_microseconds": (verifying := await microseconds(identify)),
        "share": verifying / request,
        "share_at_most": 0.15,
    }
    authenticator.close()
    tokens.close()
    return {name: round(value, 4) for name, value in result.items()}


def make_scope(headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": BOOK,
        "raw_path": BOOK.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1"), *headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }


async def call(app: Any, scope: dict[str, Any]) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message.get("status", 200) != 200:
            raise RuntimeError(f"the service answers {message['status']}")

    await app(dict(scope), receive, send)


async def microseconds(deed: Callable[[], Awaitable[None]]) -> float:
    """The mean of what it takes, one after the other."""
    await deed()
    began, count = time.perf_counter(), 0
    while time.perf_counter() < began + SECONDS:
        await deed()
        count += 1
    return (time.perf_counter() - began) / count * 1e6


def measure_issuing(settings: Settings, sessions: Sessions, commits: float) -> dict[str, float]:
    """Tokens that one core issues in a second, and what the database allows."""
    client_id, secret = add_client(sessions)
    with service(settings):
        rate = tokens_per_second(settings.public_url or "", client_id, secret)
    return {
        "tokens_per_second": round(rate, 1),
        "commits_per_second": round(commits, 1),
        "at_least": round(min(400, commits / 2), 1),
    }


@contextmanager
def service(
    settings: Settings,
    command: Sequence[str | Path] = (),
    *,
    core: int = 0,
    errors: IO[bytes] | int = subprocess.DEVNULL,
    **more: str,
) -> Iterator[subprocess.Popen[bytes]]:
    """The service in a process of its own, on the first core; this one moves to the others.

    Args:
        settings: It is told them by its environment.
        command: What is started instead, as another framework is.
        core: The place of the core that it has.
        errors: Where its standard error goes.
        more: Variables that it has besides, or instead.
    """
    port = (settings.public_url or "").rpartition(":")[2]
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, CORES[core : core + 1])
    process = subprocess.Popen(
        command or [Path(sys.executable).parent / "circdesk", "serve", "--port", port],
        env=os.environ
        | {
            "CIRCDESK_ENV": settings.env,
            "CIRCDESK_INSTANCE": str(settings.instance),
            "CIRCDESK_PUBLIC_URL": settings.public_url or "",
            "CIRCDESK_RATE_LIMITS": settings.rate_limits,
            "CIRCDESK_SECRET_KEY": settings.secret_key.get_secret_value(),
            "CIRCDESK_ENCRYPTION_KEY": settings.encryption_key.get_secret_value(),
            "DATABASE_URL": settings.database_url.get_secret_value(),
        }
        | more,
        stdout=subprocess.DEVNULL,
        stderr=errors,
    )
    os.sched_setaffinity(0, OTHER_CORES)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.sched_setaffinity(0, before)


def tokens_per_second(base_url: str, client_id: UUID, secret: str) -> float:
    basic = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
    headers = {
        "Authorization": f"Basic {basic}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    host = base_url.removeprefix("http://")
    wait_for(host)
    ends = time.perf_counter() + SECONDS

    def ask(_number: int) -> int:
        with closing(http.client.HTTPConnection(host, timeout=10)) as connection:
            count: int = repeat_until(ends, lambda: take_token(connection, headers))
        return count

    with ThreadPoolExecutor(CALLERS) as pool:
        return sum(pool.map(ask, range(CALLERS))) / float(SECONDS)


def take_token(connection: http.client.HTTPConnection, headers: dict[str, str]) -> None:
    connection.request("POST", "/oauth/token", "grant_type=client_credentials", headers)
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise RuntimeError(f"the service answers {response.status}: {body!r}")


def wait_for(host: str, path: str = "/readiness") -> None:
    """Wait for a service that may not listen yet, or listen and not answer yet."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with closing(http.client.HTTPConnection(host, timeout=60)) as connection:
                connection.request("GET", path)
                connection.getresponse()
                return
        except ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


if __name__ == "__main__":
    main()
