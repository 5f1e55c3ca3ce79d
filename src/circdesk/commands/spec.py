"""`circdesk spec`: the contract, checked and linted without starting anything."""

import orjson
import typer

from circdesk.contract.documents import load_bundle
from circdesk.resources import directory

app = typer.Typer(help="Check the contract.", no_args_is_help=True)


@app.command()
def check() -> None:
    """Check that the contract is valid and fits the handlers, as the start does."""
    # It needs Connexion, for whose quarter of a second no other command should wait.
    from circdesk.contract.contract import load_contract  # noqa: PLC0415

    contract = load_contract(directory("openapi"))
    typer.echo(f"The contract is valid; its {len(contract.operations)} operations have handlers.")


@app.command(name="lint")
def lint_contract() -> None:
    """Check the contract against the house rules; any finding is a failure."""
    from circdesk.contract.rules import lint  # noqa: PLC0415 - see `check`.

    findings = lint(load_bundle(directory("openapi")).document)
    for finding in findings:
        typer.echo(f"{finding.place}: {finding.message} ({finding.rule})", err=True)
    if findings:
        raise typer.Exit(1)
    typer.echo("The contract keeps to every house rule.")


@app.command()
def bundle() -> None:
    """Print the contract as one self-contained JSON document."""
    document = load_bundle(directory("openapi")).document
    typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
