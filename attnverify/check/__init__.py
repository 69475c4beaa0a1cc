"""Judge somebody else's implementation against a spec, forward and backward."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from attnverify.attention.stages import EMPTY_ROWS
from attnverify.check.conventions import observed
from attnverify.check.empties import empties, without_places
from attnverify.check.free import drawn, free
from attnverify.check.habits import habits
from attnverify.check.judge import Judge
from attnverify.check.matched import STYLES, by_many
from attnverify.check.poison import poison_of, poisoned
from attnverify.check.profile import may_be_tighter, with_profile
from attnverify.check.settings import Settings
from attnverify.check.shrink import shrink
from attnverify.check.tally import Tally
from attnverify.dtypes import float_type
from attnverify.errors import ParameterError, ReportError, SubjectError
from attnverify.inputs import Case, Draw, Support
from attnverify.inputs.corners import WIDE
from attnverify.library import load
from attnverify.spec import Spec
from attnverify.store import FOLDER, Run
from attnverify.subjects import Outputs, named_outputs, packages
from attnverify.subjects.process import Limits
from attnverify.transforms.gradient import gradient
from attnverify.verdict import Report, Section, Status, Verdict, Witness

CASES = 24
NARROW = 2.0**20
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
    **params: Any,
) -> Report:
    """Compare a function's outputs and gradients with a spec's oracle, under a derived tolerance.

    `fn(q, k, v)` gets the first three inputs by position and further inputs and open parameters by
    keyword, under the names that `inputs` maps them to; `kwargs` go to it as they are.  `framework`
    says whose arrays it takes ("array_api:torch": which library's); for "onnx" and "onnxruntime" it
    is a model.  `layout` is an einops pattern such as "b n (h d)"; `outputs` names what it returns,
    None for what is to be left alone, or says where each output is: a key, an attribute or a
    position.  `sizes` says which sizes it takes ({"value_dim": "key_dim", "heads": [1, 2, 4]}).
    `internal` declares a narrower type inside, `profile` one of rounding.PROFILES, `empty_rows`
    what a row without keys gives: "zeros", or "nan" or "uniform" where the spec has that choice;
    `poison` what NaN in masked places does: "isolates" or "propagates"; `device` is where its
    arrays lie; `packed` maps an axis to the lengths by which its sequences lie end to end.  Other
    keywords choose the spec's member and give its parameters values.  `replay` is a kept witness:
    only that case is judged.  `fn` may be a name, `module:function` or `file.py:function`.
    `isolate` runs it in a process of its own, where one call may take `time_limit` seconds and
    `memory_limit` MiB: a crash, a hang and an exit are REFUTED.

    Raises SubjectError where the call itself does not fit the function, or where it is to be
    isolated and no other process could find it by its name, ParameterError for a wrong setting,
    LoadError where the spec does not load, MissingExtraError where the framework is lacking.
    """
    loaded = load(spec, **params, **_declared(spec, empty_rows, packed))
    if outputs is not None:
        loaded = loaded.replace(outputs=named_outputs(outputs))
    settings = Settings(
        fn, loaded, framework, layout, dict(kwargs or {}), dict(inputs or {}), outputs or (),
        dict(sizes or {}), internal, empty_rows, vjp, seed,
        spec if isinstance(spec, str) else loaded.name, params, subject_name, device,
        dict(packed or {}), Limits(time_limit, memory_limit) if isolate else None,
        profile=profile, poison=poison_of(poison),
    )  # fmt: skip
    with settings.begun() as begun:
        verdicts = _asked(begun, dtypes, cases, replay, store=store, told=on_verdict)
    return _report(settings, verdicts)


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
    for dtype in tuple(dtypes) if kept is None else kept_types(settings.spec, kept):
        run = _judged(settings, dtype, count) if kept is None else _replayed(settings, dtype, kept)
        for verdict in run:
            verdicts.append(_kept(verdict, settings, dtype, store, kept))
            if told is not None:
                told(settings.spec.name, verdicts[-1])
    return tuple(verdicts)


def _declared(
    spec: str | Spec, empty_rows: str | None, packed: Mapping[str, str] | None
) -> dict[str, str]:
    """The choice that a declared convention is; a Spec is composed with its own."""
    if packed and empty_rows != "zeros":
        raise ParameterError(
            "packed sequences have padding in the spec, which counts as zeros",
            found=f"empty_rows={empty_rows!r}",
            due='empty_rows="zeros"',
        )
    if empty_rows is not None and empty_rows not in EMPTY_ROWS:
        raise ParameterError(
            "a convention for rows without keys that cannot be judged",
            found=repr(empty_rows),
            due=f"{', '.join(map(repr, EMPTY_ROWS))}, or leave it undeclared",
        )
    if empty_rows is None or empty_rows == "zeros" or isinstance(spec, Spec):
        return {}
    return {"empty_rows": empty_rows}


def _drawn(draw: Draw, seed: int, count: int | None) -> Iterator[Case]:
    """As many cases of the schedule as are asked for; unasked, all of it and every corner."""
    if count is not None:
        return draw.schedule(seed, count)
    return chain(draw.schedule(seed, CASES), draw.corners(seed))


def _judge(settings: Settings, dtype: str, profile: str = "") -> Judge:
    """The judge of one dtype, under the profile declared or another."""
    return Judge(
        settings.spec,
        settings.wrapped(dtype),
        dtype,
        internal=settings.internal,
        profile=profile or settings.profile,
    )


def _judged(settings: Settings, dtype: str, count: int | None) -> list[Verdict]:
    """The verdicts of one dtype over the drawn cases."""
    judge = _judge(settings, dtype)
    draw = Draw(
        settings.spec, dtype=dtype, support=settings.sizes, empty=settings.empty_rows is not None
    )
    tally = Tally(judge)
    for number, case in enumerate(_drawn(draw, settings.seed, count)):
        if number == 0:
            judge.look(case)
        tally.add(case, judge.ask(case, matched=case.style in STYLES))
        if tally.done:
            break
    if tally.misused:
        raise SubjectError(
            "the call does not fit the subject",
            subject=settings.name,
            found=tally.misused,
            hint="map the inputs' names with inputs=, or change kwargs=",
        )
    started = time.monotonic()
    # To look for a smaller case that hangs would cost the time limit at every step.
    small = shrink(judge, draw, tally.failing) if tally.failing and not tally.hung else {}
    if small:
        tally.look_at(draw.cornered(WIDE, settings.seed))
    spent = (time.monotonic() - started) / max(1, len(small))
    verdicts = [_named(v, settings, dtype, tally) for v in tally.verdicts(small, spent)]
    # What many draws show together is shown again by all of them alone.
    again = settings.again(dtype, count)
    verdicts = [replace(v, replay=again) if by_many(v) else v for v in verdicts]
    verdicts = _fitting(settings, tally, verdicts)
    return [*verdicts, *_further(settings, judge, draw, tally), *tally.without_backward()]


def _fitting(settings: Settings, tally: Tally, verdicts: list[Verdict]) -> list[Verdict]:
    """The verdicts with the tightest profile that fits, where a tighter one was not declared."""
    judge = tally.judge
    if tally.failing or tally.hung or settings.internal or not may_be_tighter(judge):
        return verdicts
    tighter = _judge(settings, judge.dtype, "strict")
    tighter.no_backward = judge.no_backward
    return with_profile(verdicts, tighter, tally.steep)


def _further(settings: Settings, judge: Judge, draw: Draw, tally: Tally) -> list[Verdict]:
    """What cases put one at a time do not show; nothing more is asked of one that hangs."""
    if tally.hung or tally.failing or tally.broadest is None:
        return []
    told = (observed(settings, judge, draw), poisoned(judge, drawn(draw), settings.poison))
    found = [verdict for verdict in told if verdict is not None]
    found += habits(judge, draw, tally.broadest)
    found += free(judge, draw)
    if settings.process is None:
        return found
    empty = empties(judge, without_places(draw, tally.broadest))
    return found if empty is None else [*found, empty]


def _named(verdict: Verdict, settings: Settings, dtype: str, tally: Tally) -> Verdict:
    """A failure in float64 that float32 inside explains is called by that name."""
    if verdict.status is not Status.REFUTED or dtype != "float64" or settings.internal is not None:
        return verdict
    # Narrow arithmetic shows as errors of about 2^29 roundings; a missing gradient or a NaN is
    # another matter.
    worst = float(verdict.evidence.get("worst", 0.0))
    if not NARROW < worst < float("inf"):
        return verdict
    case = tally.failing.get(verdict.name)
    narrow = Judge(settings.spec, settings.wrapped(dtype), dtype, internal="float32")
    narrow.no_backward = tally.judge.no_backward
    again = narrow.ask(case).verdicts.get(verdict.name) if case is not None else None
    if again is None or again.status is not Status.HELD:
        return verdict
    words = "the errors are those of float32 arithmetic inside float64"
    return replace(verdict, detail=f'{verdict.detail}; {words}: internal="float32" declares it')


def kept_types(spec: Spec, witness: Witness) -> tuple[str, ...]:
    """The dtype of a kept witness's real arrays; ReportError where it is none for this spec."""
    real = [e.tensor.name for e in spec.inputs if e.tensor.kind == "real"]
    missing = [e.tensor.name for e in spec.inputs if e.tensor.name not in witness.arrays]
    if missing or not real:
        raise ReportError(
            "the witness is none for this spec",
            spec=spec.name,
            found=", ".join(witness.arrays),
            due=", ".join(e.tensor.name for e in spec.inputs),
        )
    return (float_type(witness.arrays[real[0]].dtype.name).name,)


def _replayed(settings: Settings, dtype: str, witness: Witness | None) -> list[Verdict]:
    """The verdicts on one kept case."""
    if witness is None:
        return []
    judge = _judge(settings, dtype)
    arrays = {e.tensor.name: witness.arrays[e.tensor.name] for e in settings.spec.inputs}
    parameters = {
        p.name: witness.arrays[p.name].item()
        for p in settings.spec.parameters
        if p.name in witness.arrays
    }
    names = {} if gradient_free(settings.spec) else judge.whole.cotangents
    cotangents = {
        out: witness.arrays[name] for out, name in names.items() if name in witness.arrays
    }
    case = Case(dict(witness.sizes), parameters, arrays, cotangents, seed=witness.seed or 0)
    if 0 in case.sizes.values():
        empty = empties(judge, [case])
        return [] if empty is None else [empty]
    judge.look(case)
    if len(cotangents) < len(settings.spec.outputs):
        judge.no_backward = judge.no_backward or "the kept case has no cotangents"
    tally = Tally(judge, replayed=True)
    tally.add(case, judge.ask(case))
    draw = Draw(settings.spec, dtype=dtype, empty=settings.empty_rows is not None)
    again = () if tally.failing else (*habits(judge, draw, case), *free(judge, draw, [case]))
    return [*tally.verdicts({}, 0.0), *again, *tally.without_backward()]


def gradient_free(spec: Spec) -> bool:
    """Whether a spec has no real input to differentiate by."""
    return not any(entry.tensor.kind == "real" for entry in spec.inputs)


def _kept(
    verdict: Verdict,
    settings: Settings,
    dtype: str,
    store: str | Path | Run | None,
    replayed: Witness | None,
) -> Verdict:
    """A refuted verdict with its arrays kept and the command that replays them."""
    if verdict.witness is None or not verdict.witness.arrays:
        return verdict
    if replayed is not None and replayed.path:
        path = replayed.path
        return replace(
            verdict,
            witness=replace(verdict.witness, path=path),
            replay=settings.command(dtype, path),
        )
    run = store if isinstance(store, Run) else Run(Path(store or FOLDER), "check")
    try:
        saved = run.keep(settings.spec.name, verdict)
    except ReportError as error:
        return replace(
            verdict, detail=f"{verdict.detail} (the arrays could not be kept: {error.sentence()})"
        )
    kept = None if saved.witness is None else saved.witness.path
    return saved if kept is None else replace(saved, replay=settings.command(dtype, kept))


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
