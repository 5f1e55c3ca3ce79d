"""Who takes part: Circdesk in three variants, other frameworks in two forms, and the floor."""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from importing import COMMAND  # type: ignore[import-not-found]  # It lies beside this file.

from circdesk.auth.signing_keys import verifying_jwks
from circdesk.auth.tokens import AccessTokens
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.settings import Settings
from tokens import (  # type: ignore[import-not-found]
    free_address,
    service,
    wait_for,
)

HERE = Path(__file__).parent
UVICORN = ("-m", "uvicorn", "--app-dir", str(HERE), "--workers", "1", "--no-access-log")
GUNICORN = (
    "-m", "gunicorn", "--chdir", str(HERE), "--no-control-socket", "--workers", "1",
    "--threads", "16",
)  # fmt: skip


class NotStarted(Exception):
    """A contestant does not answer."""


@dataclass(frozen=True)
class Contestant:
    """One that takes part.

    Attributes:
        name: What it is called in reports.
        kind: `circdesk`, `orm`, `sql` or `floor`.
        command: How it is started, but for Python and the port.
        skips: Operations that would say nothing about it.
    """

    name: str
    kind: str
    command: tuple[str, ...]
    skips: frozenset[str] = frozenset()


def _variant(name: str, variant: str, *skips: str) -> Contestant:
    command = (str(HERE / "circdesk_variant.py"), variant, "serve")
    return Contestant(name, "circdesk", command, frozenset(skips))


def _rival(name: str, server: Sequence[str], module: str) -> list[Contestant]:
    command = (*server, f"rivals.{module}:app")
    return [Contestant(f"{name}, {form}", form.lower(), command) for form in ("ORM", "SQL")]


UNCACHED = _variant("circdesk", "uncached")
CACHED = Contestant(
    "circdesk, cache on", "circdesk", ("-c", COMMAND, "serve"), frozenset(("desk", "400"))
)
UNCHECKED = _variant("circdesk, no checks", "unchecked", "400")
FLOOR = Contestant("floor", "floor", (*UVICORN, "rivals.floor:app"), frozenset(("400",)))
RIVALS = (
    *_rival("FastAPI async", UVICORN, "fastapi_async"),
    *_rival("FastAPI sync", UVICORN, "fastapi_sync"),
    *_rival("flask-smorest", GUNICORN, "smorest"),
    *_rival("Django Ninja", GUNICORN, "django_ninja"),
    *_rival("stock Connexion", UVICORN, "stock_connexion"),
)
FASTAPI_ASYNC_SQL = next(each for each in RIVALS if each.name == "FastAPI async, SQL")
ALL = (UNCACHED, CACHED, UNCHECKED, *RIVALS, FLOOR)


@dataclass
class Running:
    """A contestant that runs.

    Attributes:
        address: Where it answers.
        seconds: How long it took from its start to its first answer.
        process: The id of its first process.
    """

    contestant: Contestant
    settings: Settings
    address: str
    seconds: float
    process: int

    def worker_megabytes(self) -> float:
        """The resident memory of its worker: of gunicorn's two processes, the one that works."""
        return max(map(_resident, self._processes()))

    def processor_seconds(self) -> float:
        """How long it has had a processor by now."""
        return sum(map(_processor_seconds, self._processes()))

    def _processes(self) -> list[int]:
        return [self.process, *_children(self.process)]


@dataclass(frozen=True)
class Database:
    """What all have in common.

    Attributes:
        settings: The database and the secrets.
        plain_url: The database as libpq takes it.
        sessions: Sessions in it.
        connection: A connection to it, in autocommit.
    """

    settings: Settings
    plain_url: str
    sessions: Sessions
    connection: psycopg.Connection[Any]


@contextmanager
def running(database: Database, path: str) -> Iterator[list[Running]]:
    """All of them, each in a process of its own on the first core; `path` is asked first."""
    with ExitStack() as stack:
        yield [start(stack, each, database, path) for each in ALL]


def start(
    stack: ExitStack, contestant: Contestant, database: Database, path: str, core: int = 0
) -> Running:
    """One of them, on the core at this place, until the stack is closed; `path` is asked first.

    Raises:
        NotStarted: It does not answer; the message has what it wrote to standard error.
    """
    address = free_address()
    port = address.rpartition(":")[2]
    instance = database.settings.instance / port
    instance.mkdir()
    settings = database.settings.model_copy(update={"public_url": address, "instance": instance})
    is_gunicorn = contestant.command[:2] == GUNICORN[:2]
    listen = ("--bind", f"127.0.0.1:{port}") if is_gunicorn else ("--port", port)
    more = {"CIRCDESK_LOG_FILE": str(instance / "access.log")}
    if contestant.kind != "circdesk":
        more = {
            "DATABASE_URL": database.plain_url,
            "RIVAL_FORM": contestant.kind,
            "RIVAL_ISSUER": address,
            "RIVAL_PUBLIC_KEY": json.dumps(public_key(settings, database.sessions)),
        }
    command = [sys.executable, *contestant.command, *listen]
    errors = stack.enter_context((instance / "errors.txt").open("w+b"))
    began = time.perf_counter()
    process = stack.enter_context(service(settings, command, core=core, errors=errors, **more))
    try:
        wait_for(address.removeprefix("http://"), path)
    except ConnectionError as error:
        errors.seek(0)
        raise NotStarted(f"{contestant.name}: {errors.read().decode()}") from error
    seconds = time.perf_counter() - began
    return Running(contestant, settings, address, seconds, process.pid)


CLIENT = uuid4()


def issue_token(settings: Settings, sessions: Sessions) -> str:
    """An access token that lends and returns, good for ten minutes."""
    tokens = AccessTokens(sessions, settings)
    with unit_of_work(sessions, writing=True) as session:
        token, _ = tokens.issue(
            session,
            subject=CLIENT,
            client_id=CLIENT,
            scopes=["circulation:read", "circulation:write"],
            resource=tokens.resource,
            grant_id=None,
        )
    tokens.close()
    return token


def public_key(settings: Settings, sessions: Sessions) -> dict[str, Any]:
    """The key that verifies them, as a JWK; it is made where there is none."""
    issue_token(settings, sessions)
    with unit_of_work(sessions, writing=False) as session:
        return verifying_jwks(session)[0]


def _children(process: int) -> list[int]:
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(child) for child in text.split()]


def _resident(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _processor_seconds(process: int) -> float:
    # The second field is the name of the program, in brackets; those of the times are 14 and 15.
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
