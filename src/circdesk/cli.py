"""The command line: `circdesk serve | import | worker | db | users | keys | spec`."""

import sys
from typing import Annotated

from circdesk.commands.lasting import lasting

# Here is most of what any command needs, and the garbage collector would look through it a dozen
# times while it is loaded, which is a sixth of that time.
with lasting():
    import typer
    from sqlalchemy.exc import DBAPIError

    from circdesk.commands import database, keys, spec, users
    from circdesk.commands.importing import import_files
    from circdesk.contract.documents import ContractError
    from circdesk.contract.problems import Problem
    from circdesk.db.engine import make_engine
    from circdesk.db.errors import as_problem
    from circdesk.edge.logs import configure_logs
    from circdesk.edge.tracing import tracing
    from circdesk.settings import SettingsError, load_settings

app = typer.Typer(
    help="A library's circulation desk as an API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("import")(import_files)
app.add_typer(database.app, name="db")
app.add_typer(keys.app, name="keys")
app.add_typer(spec.app, name="spec")
app.add_typer(users.app, name="users")


@app.command()
def serve(
    *,
    demo: Annotated[
        bool, typer.Option("--demo", help="Migrate, and fill an empty database with a demo.")
    ] = False,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 8000,
) -> None:
    """Serve the API."""
    # What the server needs takes half a second to load, for which no other command should wait.
    with lasting():
        from circdesk.commands.serve import serve as run_server  # noqa: PLC0415

    run_server(demo=demo, host=host, port=port)


@app.command()
def worker() -> None:
    """Run import jobs until SIGTERM, which waits for the batch that is being stored."""
    # The service, which loads this module too, need not wait for what only a worker needs.
    from circdesk.worker import run_worker  # noqa: PLC0415

    settings = load_settings()
    configure_logs(settings)
    engine = make_engine(settings)
    try:
        database.prepare_database(settings, engine)
    finally:
        engine.dispose()
    with tracing():
        run_worker(settings)


def main() -> None:
    """Run a command; what the operator can mend is one line on standard error."""
    try:
        app()
    except (SettingsError, ContractError) as error:
        _exit(str(error))
    except Problem as known:
        _exit(known.message)
    except DBAPIError as error:
        problem = as_problem(error)
        if problem is None:
            raise
        _exit(problem.message)


def _exit(message: str) -> None:
    typer.echo(f"circdesk: {message}", err=True)
    sys.exit(2)
