"""Say which attention a function computes and which conventions it follows, without a spec.

Probes with designed inputs read the conventions off; what they say together is put to the judge,
and the variant is named only where the function holds against it.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from attnverify.check.run import judge_of
from attnverify.check.settings import Settings
from attnverify.check.tally import Tally
from attnverify.compare import misfit
from attnverify.identify import arguments, masks, positions, reach, rows, scores
from attnverify.identify.box import CHANNELS, Box
from attnverify.identify.finding import Finding
from attnverify.identify.member import Member, member
from attnverify.inputs import Draw, Support
from attnverify.library import load
from attnverify.subjects import SubjectFault, named_outputs, packages, resolved
from attnverify.verdict import Report, Section, Status, Verdict

OnVerdict = Callable[[str, Verdict], object]
CASES = 6
UNKNOWN = "unknown"
# Errors of float64 lie below this, those of float32 above.
NARROW = 2.0**-36
# More keys than queries tell alignments apart, so that gradients are asked for there.
FEW: Support = {
    "heads": [2], "group": [2], "repeat": [2], "key_dim": [16], "value_dim": [16],
    **{axis: [size] for axis, size in reach.COMMON.items()},
}  # fmt: skip
# What may be computed in another way: as many keys, and a key head to each query head.
SQUARE: Support = {**FEW, "batch": [1], "repeat": [1], "keys": [5]}


def identify(
    fn: Any,
    *,
    framework: str = "numpy",
    layout: str | None = None,
    kwargs: Mapping[str, Any] | None = None,
    device: str = "",
    subject_name: str = "",
    seed: int = 0,
    on_verdict: OnVerdict | None = None,
) -> Report:
    """Probe a function `fn(q, k, v)` and say which variant it is and which conventions it follows.

    `framework`, `layout`, `kwargs` and `device` are as in `check`; arrays are batch, heads,
    sequence, channels without a layout.  Each verdict is one convention: HELD with its value and
    its evidence, UNDECIDED where it could not be determined.  The variant comes first, and is HELD
    only where a check of the function against it holds; its evidence and the notes of the section
    hold the Python that repeats it.

    Raises ParameterError for a wrong setting, MissingExtraError for a framework.

    >>> import numpy as np
    >>> def mean(q, k, v):
    ...     return np.broadcast_to(v.mean(-2, keepdims=True), (*q.shape[:-1], v.shape[-1])).copy()
    >>> identify(mean).sections[0].verdicts[0].status
    <Status.UNDECIDED: 'UNDECIDED'>
    """
    call: dict[str, Any] = {"framework": framework, "kwargs": dict(kwargs or {})}
    call |= {"layout": layout} if layout else {}
    call |= {"device": device} if device else {}
    called = resolved(fn, framework) if isinstance(fn, str) else fn
    name = subject_name or Settings(fn, load("global")).name
    found = list(_found(called, call))
    says = {key: value for finding in found for key, value in finding.says.items()}
    named, notes = _named(called, call, says, name, seed)
    verdicts = [*named, *(finding.verdict() for finding in found)]
    spec = str(named[0].evidence.get("value") or UNKNOWN)
    if on_verdict is not None:
        for verdict in verdicts:
            on_verdict(spec, verdict)
    section = Section(spec, tuple(verdicts), name, {"notes": notes, "identified": True})
    return Report((section,), _environment(framework))


def _found(fn: Any, call: dict[str, Any]) -> Iterator[Finding]:
    """Every finding; later probes are asked in the light of earlier ones."""
    returned, more = rows.outputs(fn, call, "float32")
    call |= more
    box = Box(fn, call, "float32")
    taken = reach.types(box)
    yield taken
    if not taken.value:
        return
    box = reach.widest(box, taken)
    yield returned
    yield from reach.shapes(box)
    yield reach.repeatable(box)
    mask, alignment = masks.mask(box)
    yield from (mask, alignment)
    says = {**mask.says, **alignment.says}
    for finding in _scores(box):
        says |= finding.says
        yield finding
    for finding in arguments.arguments(box, says.get("cap", 0.0)):
        says |= finding.says
        yield finding
    yield from (rows.empty_rows(box, says), rows.poison(box, says))


def _scores(box: Box) -> Iterator[Finding]:
    """Normaliser, scale, cap and positions."""
    normaliser = scores.normaliser(box)
    yield normaliser
    scale = scores.scale(box)
    yield scale
    if scale.value:
        yield scores.cap(box, scores.slope(box, CHANNELS))
    yield from positions.positions(box)


def _named(
    fn: Any, call: Mapping[str, Any], says: Mapping[str, Any], name: str, seed: int
) -> tuple[list[Verdict], list[str]]:
    """The variant, confirmed by the judge, and the lines that repeat it."""
    if not says.get("dtypes"):
        return [_unnamed("it answered no call")], []
    made = member(says)
    if made is None:
        return [_unnamed("what was found is no composition that is known here")], []
    sizes = _sized(says.get("sizes") or {}, made, says.get("rotary_dim", 0))
    told = {**call, "sizes": sizes, "subject_name": name, "seed": seed}
    settings = _settings(fn, made, told)
    inside = _inside(settings, says["dtypes"][0])
    if inside is None:
        return [_unnamed(f"what was found does not repeat it: {made.text}")], []
    settings = replace(settings, internal=inside or None)
    verdicts = _confirmed(settings, says["dtypes"][0], made)
    notes = _notes(made, settings, says)
    if verdicts[0].status is Status.UNDECIDED:
        notes = [f"# The nearest that was found, which this check refutes.\n{notes[0]}"]
    return verdicts, notes


def _sized(support: Support, made: Member, least: int) -> Support:
    """The sizes that it takes, of the axes that the spec has: pairs of channels may be an axis.

    There are at least as many channels as turn.
    """
    axes = {axis.name for axis in made.spec.axes}
    channels = [n for n in reach.EVEN if n >= least]
    if "key_dim" in axes or not {"key_dim", "value_dim"} & support.keys():
        return {**support, "key_dim": channels} if "key_dim" in support else support
    rest = {axis: told for axis, told in support.items() if axis not in ("key_dim", "value_dim")}
    both = {"value_dim": [CHANNELS]} if "value_dim" in support else {}
    wide = channels if "value_dim" not in support else [CHANNELS]
    return rest | {"pair": [n // 2 for n in wide]} | both


def _unnamed(said: str) -> Verdict:
    return Finding("variant", "", said).verdict()


def _settings(fn: Any, made: Member, told: Mapping[str, Any]) -> Settings:
    """The check of the function against what was found."""
    outputs = told.get("outputs", ())
    spec = made.spec.replace(outputs=named_outputs(outputs)) if outputs else made.spec
    return Settings(fn, spec, spec_name=made.spec.name, **told)


def _inside(settings: Settings, dtype: str) -> str | None:
    """Whether float64 answers have errors of float32: its name then; None where all is wrong."""
    case = next(_draw(settings, dtype, SQUARE).schedule(settings.seed, 1))
    box = Box(settings.fn, {}, dtype, settings.spec)
    judge = judge_of(settings, dtype)
    try:
        got = judge.restored(judge.subject.forward(case.arrays, case.parameters), case)
    except SubjectFault:
        return None
    apart = misfit(got.astype(float), judge.exactly(case)[settings.spec.outputs[0]].astype(float))
    if apart > box.rough:
        return None
    return "float32" if dtype == "float64" and apart > NARROW else ""


def _draw(settings: Settings, dtype: str, few: Support) -> Draw:
    """Cases of few sizes, so that what is compiled for one serves the next."""
    axes = {axis.name for axis in settings.spec.axes}
    support = {axis: few[axis] for axis in few if axis in axes} | dict(settings.sizes)
    return Draw(settings.spec, dtype=dtype, support=support)


def _judged(settings: Settings, dtype: str, few: Support) -> list[Verdict]:
    """The comparisons on drawn cases of few sizes."""
    judge = judge_of(settings, dtype)
    tally = Tally(judge)
    for number, case in enumerate(_draw(settings, dtype, few).schedule(settings.seed, CASES)):
        if number == 0:
            judge.look(case)
        tally.add(case, judge.ask(case))
    return tally.verdicts({}, 0.0)


def _confirmed(settings: Settings, dtype: str, made: Member) -> list[Verdict]:
    """The variant where every drawn case agrees with it, forward and backward."""
    square = replace(settings, backward=False, seed=settings.seed + 1)
    found = [*_judged(settings, dtype, FEW), *_judged(square, dtype, SQUARE)]
    wrong = [v for v in found if v.status is Status.REFUTED]
    if wrong or not any(v.status is Status.HELD for v in found):
        worst = (wrong or found)[0]
        return [_unnamed(f"{made.text} does not repeat it: {worst.name}: {worst.detail}")]
    first = found[0].name
    cases = sum(v.cases or 0 for v in found if v.name == first)
    description = made.spec.description.partition("\n")[0] or made.lines[-1]
    names = dict.fromkeys(v.name.partition(" (")[0] for v in found if v.status is Status.HELD)
    agreed = ", ".join(names)
    evidence = {
        "convention": "variant",
        "value": made.spec.name,
        "topic": "variant",
        "code": made.text,
    }
    said = f"{description} It agrees with that in {cases} drawn cases: {agreed}"
    variant = Verdict("variant", Status.HELD, said, cases=cases, evidence=evidence)
    inside = settings.internal
    words = (
        f"{dtype} answers have the errors of {inside}" if inside else "errors are the type's own"
    )
    precise = Finding("internal precision", inside or "that of the arrays", words, cases)
    return [variant, precise.verdict()]


def _notes(made: Member, settings: Settings, says: Mapping[str, Any]) -> list[str]:
    """The Python that repeats the check, and the check with a mask argument."""
    shown = {
        "framework": settings.framework, "layout": settings.layout, "kwargs": settings.kwargs,
        "outputs": settings.outputs, "device": settings.device, "sizes": settings.sizes,
        "dtypes": says["dtypes"], "internal": settings.internal,
    }  # fmt: skip
    masked = says.get("lowest") is not None or says.get("highest") is not None
    shown |= {key: says[key] for key in ("poison", "empty_rows") if masked and key in says}
    words = "".join(f", {key}={value!r}" for key, value in shown.items() if value)
    fn = settings.name.rpartition(":")[2].strip()
    # A name that says how it is called is no Python for it.
    fn = fn if re.fullmatch(r"[\w.]+", fn) else "fn"
    notes = [f"import attnverify as av\n{made.text}\nav.check({fn}, spec{words})"]
    if "inputs" in says and not masked:
        told = {"broadcast": says["broadcast"], "inputs": says["inputs"]}
        told |= {"empty_rows": says["empty_rows"]} if "empty_rows" in says else {}
        with_mask = "".join(f", {key}={value!r}" for key, value in told.items())
        notes.append(f'with its mask:\nav.check({fn}, "masked"{with_mask}{words})')
    return notes


def _environment(framework: str) -> dict[str, str]:
    """What ran."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in ("attnverify", "numpy", *packages(framework)):
        try:
            found[package] = str(version(package))
        except PackageNotFoundError:
            continue
    return found


def conventions(report: Report) -> dict[str, str]:
    """What a report of `identify` found, by convention; empty where it was not determined.

    >>> conventions(Report())
    {}
    """
    told = (v.evidence for v in report.verdicts if "convention" in v.evidence)
    return {str(one["convention"]): str(one["value"]) for one in told}
