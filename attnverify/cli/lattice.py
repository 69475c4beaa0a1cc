"""`attnverify lattice`: which variant becomes which other, each edge with its verdict."""

from __future__ import annotations

from pathlib import Path  # noqa: F401  the options are read at run time
from typing import Annotated

import typer

from attnverify.cli.options import Files, Html, Json, Quiet, Seed, Verbose, Write


def lattice(
    specs: Annotated[
        list[str] | None,
        typer.Argument(help="Specs whose edges are shown; none: the whole catalogue."),
    ] = None,
    *,
    examples: Annotated[
        int | None, typer.Option("--examples", min=1, help="Cases to draw for each edge.")
    ] = None,
    seed: Seed = 0,
    json: Json = None,
    forms: Write = None,
    html: Html = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show which variants become which others, and judge each of these edges."""
    from attnverify.cli.output import console, finish, progress
    from attnverify.lattice import EXAMPLES, edges, verify_edges
    from attnverify.library import find
    from attnverify.report.text import listing
    from attnverify.verdict import Report

    for name in specs or ():
        find(name)
    chosen = edges(specs or None)
    out, reports = console(), []
    sources = list(dict.fromkeys(one.source for one in chosen))
    with progress(out, len(sources)) as bar:
        for done, source in enumerate(sources):
            bar.update(bar.task_ids[0], description=source, completed=done)
            own = [one for one in chosen if one.source == source]
            reports.append(verify_edges(own, examples=examples or EXAMPLES, seed=seed))
            if not quiet:
                for section in reports[-1].sections:
                    listing(out, section)
    finish(Report.merged(reports), out, Files(json, html, forms or ()))
