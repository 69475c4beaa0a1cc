"""`attnverify check`: somebody's function against a spec, forward and backward."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attnverify.cli.options import (
    Files,
    Html,
    Json,
    Quiet,
    Seed,
    Set,
    Store,
    Verbose,
    Write,
    listing,
    mapping,
    settings,
)

if TYPE_CHECKING:
    from attnverify.verdict import Verdict

Sizes = Annotated[
    str | None,
    typer.Option("--sizes", metavar="JSON", help='Sizes it takes, such as {"heads": [1, 2, 4]}.'),
]

Named = Annotated[
    str, typer.Argument(help="package.module:function, path/file.py:function or path/file.onnx.")
]
Framework = Annotated[
    str | None,
    typer.Option(
        "--framework",
        help="Whose arrays it takes: numpy (unless told), torch, jax, keras, mlx, onnx,"
        " onnxruntime or array_api:LIBRARY.",
    ),
]
Device = Annotated[str | None, typer.Option("--device", help="Where its arrays lie, such as cuda.")]
Packed = Annotated[
    str | None,
    typer.Option("--packed", metavar="JSON", help="Axes packed end to end, with their lengths."),
]
Outputs = Annotated[
    str | None,
    typer.Option(
        "--outputs", metavar="JSON", help='What it returns: ["O", "LSE"] or {"O": "out"}.'
    ),
]


Inputs = Annotated[
    str | None,
    typer.Option("--inputs", metavar="JSON", help="Its name for each further input of the spec."),
]
EmptyRows = Annotated[
    str | None,
    typer.Option("--empty-rows", help="What a row without keys gives: zeros, nan or uniform."),
]
Poison = Annotated[
    str | None,
    typer.Option("--poison", help="What NaN in masked places does: isolates or propagates."),
]
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        help="What it rounds: loose (every intermediate; unless told), strict (outputs and"
        " what enters a product), fp8_e4m3 or fp8_e5m2 (inputs and operands in 8 bits), tf32 or"
        " tf32x3 (float32 multiplied on tensor cores).",
    ),
]
Layout = Annotated[
    str | None, typer.Option("--layout", help='How arrays lie, such as "b n (h d)".')
]
Dtype = Annotated[list[str] | None, typer.Option("--dtype", help="A type to judge in; repeatable.")]
Kwargs = Annotated[
    str | None, typer.Option("--kwargs", metavar="JSON", help="Further arguments for it.")
]
Internal = Annotated[
    str | None, typer.Option("--internal", help="A narrower type that it computes in.")
]
Types = Annotated[
    str | None,
    typer.Option(
        "--types", metavar="JSON", help='Inputs of another float type: {"bias": "float32"}.'
    ),
]
Backward = Annotated[
    bool, typer.Option("--backward/--no-backward", help="Whether gradients are judged.")
]
Rows = Annotated[
    int | None,
    typer.Option("--rows", min=1, help="Judge so many rows of one case of the largest sizes."),
]
Cases = Annotated[int | None, typer.Option("--cases", min=1, help="Cases to draw for each type.")]
Replay = Annotated[
    Path | None, typer.Option("--replay", metavar="NPZ", help="Judge only this kept witness.")
]
Isolate = Annotated[
    bool | None,
    typer.Option(
        "--isolate/--no-isolate",
        help="Run it in a process of its own; usual for a Python file.",
        show_default=False,
    ),
]
TimeLimit = Annotated[
    float | None,
    typer.Option("--time-limit", metavar="S", help="Seconds that one isolated call may take."),
]
MemoryLimit = Annotated[
    int | None,
    typer.Option("--memory-limit", metavar="MIB", help="MiB that an isolated subject may take."),
]
Ranks = Annotated[
    int | None,
    typer.Option("--ranks", min=2, help="Run it over so many ranks of torch.distributed (gloo)."),
]
Shard = Annotated[
    str,
    typer.Option("--shard", metavar="LETTER", help="The letter of the layout that ranks share."),
]


def check(
    subject: Named,
    *,
    spec: Annotated[str, typer.Option("--spec", help="A spec by name or path.")],
    framework: Framework = None,
    layout: Layout = None,
    dtype: Dtype = None,
    kwargs: Kwargs = None,
    inputs: Inputs = None,
    sizes: Sizes = None,
    outputs: Outputs = None,
    device: Device = None,
    packed: Packed = None,
    assigned: Set = None,
    internal: Internal = None,
    profile: Profile = None,
    types: Types = None,
    backward: Backward = True,
    rows: Rows = None,
    empty_rows: EmptyRows = None,
    poison: Poison = None,
    cases: Cases = None,
    seed: Seed = 0,
    isolate: Isolate = None,
    time_limit: TimeLimit = None,
    memory_limit: MemoryLimit = None,
    ranks: Ranks = None,
    shard: Shard = "n",
    replay: Replay = None,
    json: Json = None,
    forms: Write = None,
    html: Html = None,
    store: Store = Path(".attnverify"),
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Judge a function against a spec.

    Forward and backward, over drawn shapes and values, under a tolerance derived for each entry.
    """
    asked = {
        "framework": framework or ("onnx" if is_model(subject) else None),
        "layout": layout, "dtypes": tuple(dtype) if dtype else None,
        "kwargs": mapping(kwargs, "--kwargs"), "inputs": mapping(inputs, "--inputs"),
        "sizes": mapping(sizes, "--sizes"), "outputs": listing(outputs, "--outputs"),
        "device": device, "packed": mapping(packed, "--packed"), "internal": internal,
        "empty_rows": empty_rows, "poison": poison, "cases": cases, "seed": seed, "replay": replay,
        # A file is somebody's work in progress; a module of a package has been run before.
        "isolate": _is_file(subject) or ranks is not None if isolate is None else isolate,
        "ranks": None if ranks is None else {shard: ranks},
        "time_limit": time_limit, "memory_limit": memory_limit, "profile": profile,
        "types": mapping(types, "--types"), "backward": backward, "rows": rows,
    }  # fmt: skip
    given = {name: value for name, value in asked.items() if value is not None}
    asked = given | settings(assigned)
    _run(subject, spec, asked, store=store, files=Files(json, html, forms or ()), quiet=quiet)


def _is_file(subject: str) -> bool:
    """Whether a subject is named by its file."""
    return subject.rpartition(":")[0].endswith(".py")


def is_model(subject: str) -> bool:
    """Whether a subject is the path of an ONNX model.

    >>> is_model("model.onnx"), is_model("model.py:attention")
    (True, False)
    """
    return subject.endswith(".onnx")


def _run(
    subject: str,
    spec: str,
    asked: dict[str, Any],
    *,
    store: Path,
    files: Files,
    quiet: bool,
) -> None:
    """Judge, store each verdict as it comes, and finish."""
    import attnverify as av
    from attnverify import store as kept
    from attnverify.cli.output import console, finish, interrupted, progress, read_back
    from attnverify.library import find, resolve_subject
    from attnverify.report.text import verdict_line, write
    from attnverify.report.words import line

    # A mistyped name is told before a framework is loaded, which takes seconds.
    find(spec)
    # The installed command does not look for modules where the user stands; `python -m` does.
    sys.path.append(str(Path.cwd()))
    # What is isolated must not run here, and importing it would.
    fn: Any = Path(subject) if is_model(subject) else subject
    if isinstance(fn, str) and not asked["isolate"]:
        fn = resolve_subject(fn)
    told = {"command": "check", "subject": subject, "spec": spec}
    told |= {name: str(value) for name, value in asked.items()}
    run = kept.begin(told, {"attnverify": av.__version__}, store)
    out = console()
    streamed: list[Verdict] = []
    try:
        with progress(out, None) as bar:
            what = f"{line(subject, 60)} against {line(spec, 40)}"
            bar.update(bar.task_ids[0], description=f"judging {what}")
            write(out, what)

            def take(title: str, verdict: Verdict) -> None:
                streamed.append(verdict)
                run.append(title, verdict, subject)
                if not quiet:
                    verdict_line(out, verdict)

            report = av.check(fn, spec, on_verdict=take, store=run, subject_name=subject, **asked)
        run.note(report.environment)
        for section in report.sections:
            run.finish(section, streamed)
        found = read_back(run, out)
    except KeyboardInterrupt:
        raise interrupted(run, out, files) from None
    finish(found, out, files)
