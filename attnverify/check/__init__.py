"""Judge somebody else's implementation against a spec, forward and backward."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from attnverify.check.poison import poison_of
from attnverify.check.replay import gradient_free, keep, kept_types, replayed
from attnverify.check.run import judged
from attnverify.check.settings import Settings, declared
from attnverify.inputs import Support
from attnverify.library import load
from attnverify.spec import Spec
from attnverify.store import Run
from attnverify.subjects import Outputs, named_outputs, own_layout, packages
from attnverify.subjects.process import Limits
from attnverify.transforms.gradient import gradient
from attnverify.verdict import Report, Section, Verdict, Witness

OnVerdict = Callable[[str, Verdict], object]


def check(
    fn: Any,
    spec: str | Spec,
    *,
    framework: str = "numpy",
    layout: str | Mapping[str, str] | None = None,
    dtypes: Sequence[str] = ("float32",),
    kwargs: Mapping[str, Any] | None = None,
    inputs: Mapping[str, str] | None = None,
    outputs: Outputs | None = None,
    sizes: Support | None = None,
    internal: str | None = None,
    profile: str = "loose",
    empty_rows: str | None = None,
    poison: str | None = None,
    vjp: Callable[..., Any] | None = None,
    seed: int = 0,
    cases: int | None = None,
    on_verdict: OnVerdict | None = None,
    replay: str | Path | None = None,
    store: str | Path | Run | None = None,
    subject_name: str = "",
    device: str = "",
    packed: Mapping[str, str] | None = None,
    isolate: bool = False,
    time_limit: float = Limits.time,
    memory_limit: int = Limits.memory,
    ranks: int | Mapping[str, int] | None = None,
    explain: bool = True,
    types: Mapping[str, str] | None = None,
    backward: bool = True,
    rows: int | None = None,
    **params: Any,
) -> Report:
    """Compare a function's outputs and gradients with a spec's oracle, under a derived tolerance.

    `fn(q, k, v)`, or its name `file.py:function`, gets three inputs by position, others and open
    parameters by keyword, under the names that `inputs` maps them to, and `kwargs`. `framework`
    says whose arrays it takes (of "onnx" a model). `layout` is an einops pattern such as "b n (h
    d)"; `outputs` names what it returns, or where it is. `sizes` says which it takes ({"heads": [1,
    2]}), `types` which inputs have a float type apart, `internal` a narrower type inside, `profile`
    one of rounding.PROFILES, `empty_rows` what a row without keys gives: "zeros", "nan", "uniform";
    `poison` what NaN in masked places does: "isolates", "propagates"; `device` where arrays lie;
    `packed` which axis lies end to end. Without `backward` no gradient is asked; `rows` judges so
    many of one case of the largest `sizes`. Other keywords choose the member. `isolate` runs it in
    its own process, `time_limit` seconds a call, `memory_limit` MiB; `ranks` each with a shard.

    Raises SubjectError where the call does not fit the function or no other process could find it,
    ParameterError for a wrong setting, LoadError for a spec, MissingExtraError for a framework.
    """
    loaded = _giving(load(spec, **params, **declared(spec, empty_rows, packed)), outputs)
    settings = Settings(
        fn, loaded, framework, layout or own_layout(fn, loaded, framework), dict(kwargs or {}),
        dict(inputs or {}), outputs or (), dict(sizes or {}), internal, empty_rows, vjp, seed,
        spec if isinstance(spec, str) else loaded.name, params, subject_name, device,
        dict(packed or {}), Limits(time_limit, memory_limit) if isolate or ranks else None,
        None, None, poison_of(poison), profile, explain, dict(types or {}), backward, rows,
    )  # fmt: skip
    with settings.over(ranks).begun() as begun:
        return _report(settings, _asked(begun, dtypes, cases, replay, store=store, told=on_verdict))


def _giving(spec: Spec, outputs: Outputs | None) -> Spec:
    """The spec with the outputs that the subject returns."""
    return spec if outputs is None else spec.replace(outputs=named_outputs(outputs))


def _report(settings: Settings, verdicts: tuple[Verdict, ...]) -> Report:
    """The report of one check."""
    spec = settings.spec
    section = Section(spec.name, verdicts, settings.name, _figures(spec))
    return Report((section,), _environment(settings.framework))


def _asked(
    settings: Settings,
    dtypes: Sequence[str],
    count: int | None,
    replay: str | Path | None,
    *,
    store: str | Path | Run | None,
    told: OnVerdict | None,
) -> tuple[Verdict, ...]:
    """Every verdict, told as it comes: drawn cases in each dtype, or the kept witness alone."""
    kept = Witness.load(replay) if replay is not None else None
    verdicts: list[Verdict] = []
    asked = tuple(dtypes)
    if kept is not None:
        asked = kept_types(settings.spec, kept, settings.types, asked)
    settings.fit(asked)
    for dtype in asked:
        run = judged(settings, dtype, count) if kept is None else replayed(settings, dtype, kept)
        for verdict in run:
            verdicts.append(keep(verdict, settings, dtype, store, kept))
            if told is not None:
                told(settings.spec.name, verdicts[-1])
    return tuple(verdicts)


def _figures(spec: Spec) -> dict[str, Any]:
    figures: dict[str, Any] = {"description": spec.description, "equations": spec.printed()}
    if not gradient_free(spec):
        figures["gradient"] = gradient(spec).printed()
    return figures


def _environment(framework: str) -> dict[str, str]:
    found = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": platform.machine(),
    }
    for package in ("attnverify", *packages(framework)):
        try:
            found[package] = str(version(package))
        except PackageNotFoundError:
            continue
    return found
