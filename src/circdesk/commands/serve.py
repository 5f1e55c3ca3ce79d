"""`circdesk serve`: the service under uvicorn, with a demo catalogue where asked for."""

import resource
import signal
import socket
from contextlib import ExitStack
from typing import NoReturn

import typer

from circdesk.app import create_app
from circdesk.commands.demo import demo_file, prepare_demo
from circdesk.commands.lasting import lasting
from circdesk.edge.logs import configure_logs
from circdesk.edge.metrics import count_together
from circdesk.edge.server import Server
from circdesk.edge.tracing import tracing
from circdesk.settings import Settings, SettingsError, load_settings

# Open files beside the connections: the database's, logs, uploads, libraries.
_OTHER_FILES = 512


def serve(*, demo: bool, host: str, port: int) -> None:
    """Serve until a signal comes.

    With `demo` the database is migrated and filled, and credentials for it are written to
    `demo.json` in the instance directory.
    """
    settings = load_settings()
    configure_logs(settings)
    # uvicorn raises the signal that ended it once more; that one ends what stands around it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    _allow_open_files(2 * settings.max_connections + _OTHER_FILES)
    listener = _listen(host, port)
    if "public_url" not in settings.model_fields_set:
        address = address_of(host, listener.getsockname()[1])
        settings = settings.model_copy(update={"public_url": address})
    if demo:
        prepare_demo(settings)
        # Nothing in a demo is for real, and its desk may be walked through time.
        settings = settings.model_copy(update={"env": "sandbox"})
    count_together(settings.instance / "metrics")
    # The application's parts ask whether anything is traced when they are put together.
    with tracing():
        _run(settings, listener, demo=demo)


def _run(settings: Settings, listener: socket.socket, *, demo: bool) -> None:
    with lasting():
        app = create_app(settings)
    with ExitStack() as stack:
        if settings.env in ("development", "sandbox"):
            # Elsewhere the worker is a process of its own, and its libraries are not needed here.
            with lasting():
                from circdesk.worker import embedded_worker  # noqa: PLC0415

            stack.enter_context(embedded_worker(settings))
        typer.echo(_addresses(settings, demo=demo), err=True)
        server = Server(
            app,
            max_connections=settings.max_connections,
            on_stop=app.app.extensions["circdesk.probes"].stop,
            again=app.app.extensions["circdesk.again"],
        )
        server.run(sockets=[listener])


def _end(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(0)


def _allow_open_files(count: int) -> None:
    """Ask for as many as may be needed, since the usual 1024 is less; what there is must do."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _listen(host: str, port: int) -> socket.socket:
    """The bound socket: a port that is taken is told at once, and port 0 is known."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        # Python adds the address to the reason, in brackets.
        reason = str(error.strerror).partition(" (")[0]
        raise SettingsError(f"cannot listen on {host}:{port}: {reason}") from error


def address_of(host: str, port: int) -> str:
    """The URL of what listens there; where it listens everywhere, the one on this machine."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - it is asked for.
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def _addresses(settings: Settings, *, demo: bool) -> str:
    base_url = settings.public_url
    lines = [f"Swagger UI   {base_url}/docs", f"Contract     {base_url}/openapi.json"]
    if demo:
        lines.append(f"Credentials  {demo_file(settings)}")
    return "\n".join(lines)
