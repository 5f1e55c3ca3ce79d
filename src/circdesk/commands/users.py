"""`circdesk users`: the first person of a library, before anybody can sign in."""

import sys
from typing import Annotated, Any, Literal

import typer

from circdesk.accounts.users import add_user
from circdesk.auth.passwords import set_password
from circdesk.auth.resets import issue_reset
from circdesk.commands.database import prepare_database
from circdesk.contract.documents import load_bundle
from circdesk.contract.requests import InvalidRequest
from circdesk.db.engine import make_engine
from circdesk.db.unit_of_work import make_sessions, unit_of_work
from circdesk.resources import directory
from circdesk.settings import load_settings

JSON = dict[str, Any]

app = typer.Typer(help="Look after the users.", no_args_is_help=True)


@app.callback()
def users() -> None:
    """Look after the users."""


@app.command()
def create(
    *,
    role: Annotated[
        Literal["member", "librarian", "admin"], typer.Option(help="What the user may do.")
    ],
    email: Annotated[str, typer.Option(help="The address to sign in with.")],
    name: Annotated[str, typer.Option(help="The name as the person writes it.")],
    password_stdin: Annotated[
        bool,
        typer.Option(
            "--password-stdin",
            help="Read the password from standard input, or ask for it at a terminal. Without it, "
            "a token is printed with which the person sets one.",
        ),
    ] = False,
) -> None:
    """Create a user; the service need not run."""
    content = _checked({"role": role, "email": email, "name": name})
    settings = load_settings()
    password = _read_password() if password_stdin else None
    engine = make_engine(settings)
    try:
        prepare_database(settings, engine)
        with unit_of_work(make_sessions(engine), writing=True) as session:
            user = add_user(session, content)
            if password is not None:
                set_password(user, password)
            token = None if password is not None else issue_reset(session, user)[0]
    finally:
        engine.dispose()
    typer.echo(f"The {role} {user.id} has the card {user.card_number}.")
    if token is not None:
        typer.echo(f"Whoever has this token can set the password, once and within an hour: {token}")


def _checked(content: JSON) -> JSON:
    """The user as the contract takes it, with its defaults. Raises InvalidRequest."""
    # It needs Connexion, for whose quarter of a second no other command should wait.
    from circdesk.contract.contract import Contract  # noqa: PLC0415

    body = Contract(load_bundle(directory("openapi"))).operations["create_user"].body
    faults: list[JSON] = []
    checked: JSON = body.read("application/json", content, faults) if body else content
    if faults:
        raise InvalidRequest("; ".join(f"--{f['pointer'][1:]}: {f['message']}" for f in faults))
    return checked


def _read_password() -> str:
    if sys.stdin.isatty():
        password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        return password
    return sys.stdin.readline().rstrip("\r\n")
