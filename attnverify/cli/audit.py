"""`attnverify audit`: which known bugs a test would let pass."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attnverify.cli.options import (
    NOT_OK,
    OK,
    Files,
    Html,
    Json,
    Seed,
    Set,
    Verbose,
    Write,
    mapping,
    settings,
)

if TYPE_CHECKING:
    from rich.progress import Progress

    from attnverify.verdict import Report, Verdict


def audit(
    test: Annotated[
        str,
        typer.Argument(
            help="A test of pytest, path/test_file.py::test_name, or path/file.py:function that "
            "takes an implementation and raises where it is unhappy.",
        ),
    ],
    *,
    spec: Annotated[str, typer.Option("--spec", help="A spec by name or path.")],
    target: Annotated[
        str,
        typer.Option(
            "--target",
            metavar="PACKAGE.MODULE:FUNCTION",
            help="What a test of pytest calls, in whose place the bugs are put.",
        ),
    ] = "",
    framework: Annotated[
        str, typer.Option("--framework", help="Whose arrays it takes: numpy, torch or jax.")
    ] = "numpy",
    inputs: Annotated[
        str | None,
        typer.Option("--inputs", metavar="JSON", help="Its names for the spec's inputs."),
    ] = None,
    assigned: Set = None,
    seed: Seed = 0,
    json: Json = None,
    forms: Write = None,
    html: Html = None,
    verbose: Verbose = False,
) -> None:
    """Put known bugs in the place of what a test calls, and say which ones it lets pass.

    Each survivor comes with who had the bug and with the cheapest draw that shows it. Bugs that
    no draw tells from the spec count for nothing.
    """
    from attnverify.cli.output import console, progress, write_files
    from attnverify.report.text import survivors

    # The installed command does not look for modules where the user stands; `python -m` does.
    sys.path.append(str(Path.cwd()))
    out = console()
    told = {"framework": framework, "target": target, "inputs": mapping(inputs, "--inputs")}
    with progress(out, None) as bar:
        report = _audited(bar, test, spec, {**told, "seed": seed, **settings(assigned)})
    for section in report.sections:
        survivors(out, section)
    write_files(report, out, Files(json, html, forms or ()))
    raise typer.Exit(OK if report.ok else NOT_OK)


def _audited(bar: Progress, test: str, spec: str, told: dict[str, Any]) -> Report:
    """The audit of a test, each bug shown while the test runs on it."""
    import attnverify as av
    from attnverify.report.words import line

    def show(_spec: str, verdict: Verdict) -> None:
        bar.update(bar.task_ids[0], description=line(verdict.name, 60))

    return av.audit(test, spec, subject_name=test, on_verdict=show, **told)
