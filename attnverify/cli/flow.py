"""`attnverify flow`: how gradients and information flow, and the ledger of claims."""

from __future__ import annotations

from pathlib import Path  # noqa: F401  the options are read at run time
from typing import Annotated, Any

import typer

from attnverify.cli.options import Files, Html, Json, Quiet, Seed, Set, Verbose, Write, settings


def flow(
    spec: Annotated[str | None, typer.Argument(help="A spec by name or path.")] = None,
    *,
    against: Annotated[
        str | None, typer.Option("--against", help="Another spec to set beside it.")
    ] = None,
    claims: Annotated[
        bool, typer.Option("--claims", help="Judge what is said of attention, claim by claim.")
    ] = False,
    length: Annotated[int, typer.Option("--length", min=1, help="Positions of sequences.")] = 32,
    width: Annotated[int, typer.Option("--width", min=1, help="Sizes of channels.")] = 8,
    draws: Annotated[int, typer.Option("--draws", min=1, help="Draws of inputs and weights.")] = 12,
    layers: Annotated[int, typer.Option("--layers", min=1, help="Layers of a stack.")] = 1,
    gain: Annotated[float, typer.Option("--gain", help="Gain of the weights.")] = 1.0,
    scale: Annotated[float, typer.Option("--scale", help="Standard deviation of inputs.")] = 1.0,
    assigned: Set = None,
    seed: Seed = 0,
    json: Json = None,
    forms: Write = None,
    html: Html = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Measure the gradient by distance, paths and cost of a spec, or judge the ledger of claims."""
    import attnverify as av
    from attnverify.cli.output import console, finish, progress
    from attnverify.errors import UsageError
    from attnverify.report.text import verdict_line, write

    if claims == (spec is not None):
        raise UsageError("flow takes a spec or --claims", found="both" if claims else "neither")
    if claims and (against is not None or assigned):
        raise UsageError("the claims have specs of their own", hint="leave out --against and --set")
    out, seen = console(), set[str]()
    with progress(out, None) as bar:
        bar.update(bar.task_ids[0], description="the ledger of claims" if claims else str(spec))

        def told(title: str, verdict: Any) -> None:
            if quiet:
                return
            if title not in seen:
                seen.add(title)
                write(out, title)
            verdict_line(out, verdict)

        if claims:
            from attnverify.claims import claims as judge

            report = judge(told)
        else:
            report = av.flow(
                str(spec), against=against, length=length, width=width, draws=draws,
                layers=layers, gain=gain, scale=scale, seed=seed, on_verdict=told,
                **settings(assigned),
            )  # fmt: skip
    finish(report, out, Files(json, html, forms or ()))
