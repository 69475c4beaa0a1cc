"""`attnverify report`: show a report again, from its JSON or from the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from attnverify.cli.options import Files, Html, Json, Quiet, Store, Verbose, Write

if TYPE_CHECKING:
    from rich.console import Console

    from attnverify.verdict import Report


def report(
    file: Annotated[
        Path | None, typer.Argument(help="A report in JSON; without it, the store's newest run.")
    ] = None,
    *,
    html: Html = None,
    json: Json = None,
    forms: Write = None,
    store: Store = Path(".attnverify"),
    run: Annotated[
        str | None, typer.Option("--run", metavar="ID", help="Another run of the store.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--recheck", help="Check the certificates of every PROVED again.")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show a report again, judging nothing; with --recheck, apply its certificates again."""
    from attnverify import store as kept
    from attnverify.cli.output import console, finish
    from attnverify.errors import UsageError
    from attnverify.report.text import listing, write
    from attnverify.report.words import clean
    from attnverify.verdict import Report

    out = console()
    if file is not None and run is not None:
        raise UsageError("a report comes from a file or from a run", found="both")
    if file is None:
        reading = kept.read(store, run)
        found = reading.report
        for fault in reading.broken:
            write(out, f"warning: {clean(fault)}")
    else:
        found = Report.from_json(file)
    for section in () if quiet else found.sections:
        listing(out, section)
    if again:
        _recheck(found, out)
    finish(found, out, Files(json, html, forms or ()))


def _recheck(found: Report, out: Console) -> None:
    """Check a report's certificates again; ends with status 1 where one is rejected."""
    from attnverify.cli.options import NOT_OK
    from attnverify.recheck import recheck
    from attnverify.report.text import write
    from attnverify.report.words import clean

    rows = list(recheck(found))
    for row in rows:
        if row.fault or row.apart:
            word = "REJECTED" if row.fault else "not checked"
            write(
                out, f"{word}  {clean(f'{row.section}: {row.verdict}: {row.fault or row.apart}')}"
            )
    good = [row for row in rows if not row.fault and not row.apart]
    rejected = sum(bool(row.fault) for row in rows)
    steps, questions = sum(row.steps for row in good), sum(row.questions for row in good)
    write(
        out,
        f"certificates: {len(good)} of {len(rows)} checked again, {steps} steps and {questions} "
        f"questions to z3; {rejected} rejected",
    )
    if rejected:
        raise typer.Exit(NOT_OK)
