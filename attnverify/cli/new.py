"""`attnverify new`: a spec file to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attnverify.cli.options import Verbose


def new(
    name: Annotated[str, typer.Argument(help="What the variant is called, such as my_attention.")],
    *,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="The folder to write it into.")
    ] = Path(),
    verbose: Verbose = False,
) -> None:
    """Write a spec file with comments, to be edited; it loads and verifies as it is."""
    from attnverify.template import begin

    path = begin(name, out)
    typer.echo(f"spec: {path}")
    typer.echo(f"next: attnverify verify {path}")
