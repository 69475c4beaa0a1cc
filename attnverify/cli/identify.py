"""`attnverify identify`: which attention a function is, and which conventions it follows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attnverify.cli.check import Device, Framework, is_model
from attnverify.cli.options import OK, Files, Html, Json, Seed, Verbose, Write, mapping
from attnverify.errors import UsageError

if TYPE_CHECKING:
    from rich.progress import Progress

    from attnverify.verdict import Report


def identify(
    subject: Annotated[
        str,
        typer.Argument(
            help="package.module:function, path/file.py:function or path/file.onnx.",
            show_default=False,
        ),
    ] = "",
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Every known function of the installed libraries.")
    ] = False,
    framework: Framework = None,
    layout: Annotated[
        str | None, typer.Option("--layout", help='How arrays lie, such as "b n h d".')
    ] = None,
    kwargs: Annotated[
        str | None, typer.Option("--kwargs", metavar="JSON", help="Further arguments for it.")
    ] = None,
    device: Device = None,
    seed: Seed = 0,
    json: Json = None,
    forms: Write = None,
    html: Html = None,
    verbose: Verbose = False,
) -> None:
    """Say which variant a function computes and which conventions it follows, without a spec.

    The variant is named where drawn cases agree with it forward and backward. The last lines are
    the Python that repeats the check. `--all` asks what the installed libraries bring, or those
    of `--framework`, and `--html` then writes who follows which convention as a table.
    """
    from attnverify.cli.output import console, progress, write_files
    from attnverify.report.text import conventions, write
    from attnverify.report.words import clean

    if everything == bool(subject):
        raise UsageError(
            "identify takes one function, or --all that are known",
            found=f"{subject} and --all" if subject else "neither",
            hint="attnverify identify file.py:function, or attnverify identify --all",
        )
    out = console()
    with progress(out, None) as bar:
        if everything:
            report = _all(bar, framework, seed)
        else:
            told = {"layout": layout, "kwargs": mapping(kwargs, "--kwargs"), "device": device or ""}
            report = _one(bar, subject, framework, {**told, "seed": seed})
    for section in report.sections:
        conventions(out, section)
        for program in section.figures.get("notes", ()):
            write(out, f"\n{clean(program)}")
    write_files(report, out, Files(json, html, forms or ()))
    raise typer.Exit(OK)


def _one(bar: Progress, subject: str, framework: str | None, told: dict[str, Any]) -> Report:
    """The report on the function that a name stands for."""
    import attnverify as av
    from attnverify.library import resolve_subject

    # The installed command does not look for modules where the user stands; `python -m` does.
    sys.path.append(str(Path.cwd()))
    fn: Any = Path(subject) if is_model(subject) else resolve_subject(subject)
    chosen = framework or ("onnx" if is_model(subject) else "numpy")
    _show(bar, subject)
    return av.identify(fn, framework=chosen, subject_name=subject, **told)


def _all(bar: Progress, framework: str | None, seed: int) -> Report:
    """The report on what the installed libraries bring."""
    from attnverify.identify import support

    chosen = (framework,) if framework else ()
    return support(frameworks=chosen, seed=seed, on_begun=lambda name: _show(bar, name))


def _show(bar: Progress, subject: str) -> None:
    """Say what is being asked."""
    from attnverify.report.words import line

    bar.update(bar.task_ids[0], description=f"probing {line(subject, 60)}")
