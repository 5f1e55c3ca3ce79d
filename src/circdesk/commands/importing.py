"""`circdesk import`: files of records, read where they are."""

import gc
import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer
from sqlalchemy import Engine

from circdesk.catalog.imports.reading.formats import Format
from circdesk.catalog.imports.reading.marc.items import ItemMapping
from circdesk.catalog.imports.reading.openlibrary_authors import AuthorNames
from circdesk.catalog.imports.writing.tally import Tally
from circdesk.commands.database import prepare_database
from circdesk.commands.import_file import (
    FileImport,
    FileNotReadError,
    Plan,
    Result,
    collect_names,
    format_of,
)
from circdesk.db.engine import make_engine
from circdesk.edge.logs import configure_logs
from circdesk.settings import load_settings

_COUNTED = ("read", "created", "updated", "unchanged", "refused")


def _mapping(text: str) -> str:
    try:
        ItemMapping.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return text


def import_files(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Packed by gzip or not.")],
    *,
    source: Annotated[
        str | None, typer.Option(help="Agency of the records that name none (MARC field 003).")
    ] = None,
    format_: Annotated[
        Literal["auto", "marc21", "marcxml", "csv", "openlibrary"],
        typer.Option("--format", help="By default, what each file looks like."),
    ] = "auto",
    items: Annotated[
        str | None,
        typer.Option(
            callback=lambda text: text and _mapping(text),
            help="Where items are, such as 952:branch=b,barcode=p; by default 952 and 852.",
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Let changed records replace what people have edited, too."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only read and count; store nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the counts as one JSON object.")
    ] = False,
) -> None:
    """Import files of MARC 21, MARCXML, CSV or Open Library records."""
    plan = Plan(source=source, items=items, overwrite=overwrite, dry_run=dry_run)
    chosen = None if format_ == "auto" else Format(format_)
    settings = load_settings()
    configure_logs(settings)
    engine = make_engine(settings)
    # What is loaded by now stays to the end; the garbage collector need not look at it again
    # and again among the millions of objects that come and go.
    gc.freeze()
    try:
        prepare_database(settings, engine)
        total, all_read = _import_all(engine, files, chosen, plan)
    finally:
        engine.dispose()
    counts = {name: value for name, value in asdict(total).items() if name in _COUNTED}
    if as_json:
        typer.echo(json.dumps(counts))
    else:
        typer.echo(", ".join(f"{value:,} {name}" for name, value in counts.items()))
    if not all_read:
        raise typer.Exit(1)


def _import_all(
    engine: Engine, files: list[Path], chosen: Format | None, plan: Plan
) -> tuple[Tally, bool]:
    """Import one file after the other; one that cannot be read does not stop the others."""
    # It takes rich along, for which no other command should wait.
    from circdesk.commands.import_progress import shown_progress  # noqa: PLC0415

    total, readable, writer = Tally(), [], plan.writer(engine)
    for path in files:
        try:
            readable.append((path, chosen or format_of(path)))
        except FileNotReadError as error:
            typer.echo(f"{path}: {error}", err=True)
    all_read = len(readable) == len(files)
    with ExitStack() as stack:
        dumps = [path for path, fmt in readable if fmt is Format.OPENLIBRARY]
        # Editions and the authors that they name often come in files of their own.
        names = stack.enter_context(AuthorNames()) if dumps else None
        if names:
            collect_names(dumps, names)
        for path, fmt in readable:
            try:
                with shown_progress(path) as progress:
                    result = FileImport(engine, writer, path, fmt, plan, names).run(progress)
            except FileNotReadError as error:
                result = Result(error=str(error))
            total += result.tally
            if result.error:
                typer.echo(f"{path}: {result.error}", err=True)
                all_read = False
    return total, all_read
