"""`attnverify export`: a spec as one file that needs one library, or as LaTeX or JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attnverify.cli.options import Set, Verbose, settings


def export(
    spec: Annotated[
        str, typer.Argument(help="A spec of the catalogue, or the path of a spec file.")
    ],
    *,
    to: Annotated[str, typer.Option("--to", help="numpy, torch, jax, latex or json.")],
    gradient: Annotated[
        bool, typer.Option("--gradient", help="Write the derived backward pass too.")
    ] = False,
    assigned: Set = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it here.")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Write a spec as one readable file that runs with one library alone.

    A parameter that is not set becomes a keyword of the function.
    """
    import attnverify as av
    from attnverify.verdict.plain import write_text

    text = av.export(spec, to=to, gradient=gradient, **settings(assigned))
    if output is None:
        typer.echo(text, nl=False)
        return
    write_text(output, text)
    typer.echo(f"file: {output}")
