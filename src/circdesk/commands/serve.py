"""`circdesk serve`: the service under uvicorn, with a demo catalogue where asked for."""

import json
import os
import signal
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import typer
import uvicorn

from circdesk.app import create_app
from circdesk.catalog.demo.seeding import seed_demo
from circdesk.db.engine import make_engine
from circdesk.db.migrations import upgrade
from circdesk.db.unit_of_work import make_sessions
from circdesk.edge.logs import configure_logs
from circdesk.settings import Settings, SettingsError, load_settings
from circdesk.worker import embedded_worker

# Seconds that running requests get to end after a signal to stop.
_GRACE = 15


def serve(*, demo: bool, host: str, port: int) -> None:
    """Serve until a signal comes.

    With `demo` the database is migrated and filled, and the credentials are written to
    `demo.json` in the instance directory.
    """
    settings = load_settings()
    configure_logs(settings)
    # uvicorn raises the signal that ended it once more; that one ends what stands around it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    listener = _listen(host, port)
    base_url = settings.public_url or f"http://{host}:{listener.getsockname()[1]}"
    if demo:
        _prepare_demo(settings, base_url)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
    )
    with ExitStack() as stack:
        if settings.env in ("development", "sandbox"):
            stack.enter_context(embedded_worker(settings))
        typer.echo(_addresses(settings, base_url, demo=demo), err=True)
        uvicorn.Server(config).run(sockets=[listener])


def _end(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(0)


def _listen(host: str, port: int) -> socket.socket:
    """The bound socket: a port that is taken is told at once, and port 0 is known."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        # Python adds the address to the reason, in brackets.
        reason = str(error.strerror).partition(" (")[0]
        raise SettingsError(f"cannot listen on {host}:{port}: {reason}") from error


def _prepare_demo(settings: Settings, base_url: str) -> None:
    if settings.env in ("staging", "production"):
        raise SettingsError(f"--demo does not go with CIRCDESK_ENV={settings.env}")
    engine = make_engine(settings)
    try:
        upgrade(engine)
        seed_demo(make_sessions(engine))
    finally:
        engine.dispose()
    _write_private(
        settings.instance / "demo.json",
        {"base_url": base_url, "api_keys": {"admin": settings.admin_key.get_secret_value()}},
    )


def _write_private(path: Path, content: object) -> None:
    """Write JSON that only the owner can read; a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        json.dump(content, stream, indent=2)
        stream.write("\n")
    temporary.replace(path)


def _addresses(settings: Settings, base_url: str, *, demo: bool) -> str:
    lines = [f"Swagger UI   {base_url}/docs", f"Contract     {base_url}/openapi.json"]
    if demo:
        lines.append(f"Credentials  {settings.instance / 'demo.json'}")
    return "\n".join(lines)
