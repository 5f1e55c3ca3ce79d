"""`circdesk keys`: the keys that sign access tokens."""

import typer

from circdesk.auth.signing_keys import create_signing_key
from circdesk.db.engine import make_engine
from circdesk.db.unit_of_work import make_sessions, unit_of_work
from circdesk.settings import load_settings

app = typer.Typer(help="Look after the keys that sign access tokens.", no_args_is_help=True)


@app.callback()
def keys() -> None:
    """Look after the keys that sign access tokens."""


@app.command()
def rotate() -> None:
    """Sign with a new key from now on; running services pick it up by themselves."""
    settings = load_settings()
    engine = make_engine(settings)
    try:
        with unit_of_work(make_sessions(engine), writing=True) as session:
            key = create_signing_key(session, settings.encryption_key)
    finally:
        engine.dispose()
    typer.echo(f"The key {key['id']} signs access tokens from now on.")
