"""`attnverify ghostwrite`: property tests for a spec, as a file to keep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attnverify.cli.options import Set, Verbose, settings


def ghostwrite(
    spec: Annotated[str, typer.Argument(help="A spec by name or path.")],
    *,
    against: Annotated[
        str | None, typer.Option("--against", help="module:function or file.py:function to test.")
    ] = None,
    framework: Annotated[str, typer.Option("--framework", help="Whose arrays it takes.")] = "numpy",
    layout: Annotated[
        str | None, typer.Option("--layout", help='How arrays lie, such as "b n (h d)".')
    ] = None,
    dtype: Annotated[str, typer.Option("--dtype", help="The type to judge in.")] = "float32",
    flow: Annotated[
        bool, typer.Option("--flow", help="Write tests of gradient flow instead.")
    ] = False,
    assigned: Set = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write it here.")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Write a pytest file of Hypothesis property tests for a spec.

    It holds the tests of the properties that the spec has, and runs as it stands.
    """
    import attnverify as av
    from attnverify.verdict.plain import write_text

    text = av.ghostwrite(
        spec, against=against, framework=framework, layout=layout, dtype=dtype, flow=flow,
        **settings(assigned),
    )  # fmt: skip
    if output is None:
        typer.echo(text, nl=False)
        return
    write_text(output, text)
    typer.echo(f"tests: {output}")
