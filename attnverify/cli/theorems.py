"""`attnverify theorems`: gradients, bounds and streams of attention, each with its verdict."""

from __future__ import annotations

from pathlib import Path  # noqa: F401  the options are read at run time
from typing import Annotated

import typer

from attnverify.cli.options import Files, Html, Json, Quiet, Seed, Verbose, Write


def theorems(
    names: Annotated[
        list[str] | None, typer.Argument(help="Theorems by name; none: all of them.")
    ] = None,
    *,
    examples: Annotated[
        int | None, typer.Option("--examples", min=1, help="Cases to draw for each statement.")
    ] = None,
    seed: Seed = 0,
    json: Json = None,
    forms: Write = None,
    html: Html = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Prove what is known of attention's gradients, bounds and streams, for all sizes."""
    from attnverify.cli.output import console, finish
    from attnverify.report.text import listing
    from attnverify.theorems import EXAMPLES, verify_theorems

    out = console()
    found = verify_theorems(names or None, examples=examples or EXAMPLES, seed=seed)
    if not quiet:
        for section in found.sections:
            listing(out, section)
    finish(found, out, Files(json, html, forms or ()))
