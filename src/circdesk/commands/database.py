"""`circdesk db`: the database and its migrations."""

import typer
from sqlalchemy import Engine

from circdesk.db.engine import make_engine
from circdesk.db.migrations import at_head, head
from circdesk.db.migrations import upgrade as upgrade_database
from circdesk.settings import Settings, SettingsError, load_settings

app = typer.Typer(help="Look after the database.", no_args_is_help=True)


@app.callback()
def database() -> None:
    """Look after the database."""


@app.command()
def upgrade() -> None:
    """Bring the database to the newest migration; where it is there already, nothing happens."""
    engine = make_engine(load_settings())
    try:
        upgrade_database(engine)
    finally:
        engine.dispose()
    typer.echo(f"The database is at migration {head()}.")


def prepare_database(settings: Settings, engine: Engine) -> None:
    """Make sure that there are tables; only a developer's own database is migrated unasked.

    Raises:
        SettingsError: Migrations are missing where an operator has to run them.
    """
    with engine.connect() as connection:
        ready = at_head(connection)
    if ready:
        return
    if settings.env in ("staging", "production"):
        raise SettingsError(
            "the database is not at the newest migration; run `circdesk db upgrade`"
        )
    upgrade_database(engine)
