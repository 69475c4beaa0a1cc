"""`attnverify export`: a spec as a file that needs one library, as LaTeX or JSON, as node tests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attnverify.cli.options import Set, Verbose, settings
from attnverify.errors import ParameterError, UsageError

TESTS = "onnx-tests"


def export(
    spec: Annotated[
        str, typer.Argument(help="A spec of the catalogue, or the path of a spec file.")
    ],
    *,
    to: Annotated[str, typer.Option("--to", help="numpy, torch, jax, latex, json or onnx-tests.")],
    gradient: Annotated[
        bool, typer.Option("--gradient", help="Write the derived backward pass too.")
    ] = False,
    assigned: Set = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="PATH", help="Write it here; node tests, a folder."),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Write a spec as one readable file that runs with one library alone.

    A parameter that is not set becomes a keyword of the function. `--to onnx-tests` writes folders
    of node tests in ONNX's own format, signed and with derived tolerances.
    """
    import attnverify as av
    from attnverify.export import KINDS
    from attnverify.report.words import clean
    from attnverify.verdict.plain import write_text

    if to == TESTS:
        if output is None or gradient:
            raise UsageError(
                "node tests of the forward pass are written to a folder",
                found="--gradient" if gradient else "no folder",
                hint="give one with --output",
            )
        for folder in av.onnx_tests(spec, output, **settings(assigned)):
            typer.echo(f"test: {clean(folder)}")
        return
    if to not in KINDS:
        raise ParameterError(
            "an unknown kind of file", found=repr(to), due=", ".join((*KINDS, TESTS))
        )
    text = av.export(spec, to=to, gradient=gradient, **settings(assigned))
    if output is None:
        typer.echo(text, nl=False)
        return
    write_text(output, text)
    typer.echo(f"file: {output}")
