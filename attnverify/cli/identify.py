"""`attnverify identify`: which attention a function is, and which conventions it follows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from attnverify.cli.check import Device, Framework, Named, is_model
from attnverify.cli.options import OK, Html, Json, Seed, Verbose, mapping


def identify(
    subject: Named,
    *,
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
    html: Html = None,
    verbose: Verbose = False,
) -> None:
    """Say which variant a function computes and which conventions it follows, without a spec.

    The variant is named where drawn cases agree with it forward and backward. The last lines are
    the Python that repeats the check.
    """
    import attnverify as av
    from attnverify.cli.output import console, progress, write_files
    from attnverify.library import resolve_subject
    from attnverify.report.text import conventions, write
    from attnverify.report.words import clean, line

    # The installed command does not look for modules where the user stands; `python -m` does.
    sys.path.append(str(Path.cwd()))
    fn: Any = Path(subject) if is_model(subject) else resolve_subject(subject)
    out = console()
    with progress(out, None) as bar:
        bar.update(bar.task_ids[0], description=f"probing {line(subject, 60)}")
        report = av.identify(
            fn,
            framework=framework or ("onnx" if is_model(subject) else "numpy"),
            layout=layout,
            kwargs=mapping(kwargs, "--kwargs"),
            device=device or "",
            subject_name=subject,
            seed=seed,
        )
    for section in report.sections:
        conventions(out, section)
        for program in section.figures["notes"]:
            write(out, f"\n{clean(program)}")
    write_files(report, out, json, html)
    raise typer.Exit(OK)
