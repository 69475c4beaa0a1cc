"""Keep the arrays of what is refuted, and put a kept case to the subject again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from attnverify.check.empties import empties
from attnverify.check.free import free
from attnverify.check.habits import habits
from attnverify.check.run import judge_of
from attnverify.check.settings import Settings
from attnverify.check.tally import Tally
from attnverify.dtypes import float_type
from attnverify.errors import ReportError
from attnverify.inputs import Case, Draw
from attnverify.spec import Spec
from attnverify.store import FOLDER, Run
from attnverify.verdict import Verdict, Witness


def kept_types(
    spec: Spec, witness: Witness, types: Mapping[str, str], dtypes: Sequence[str]
) -> tuple[str, ...]:
    """The dtype of a kept witness's real arrays; ReportError where it is none for this spec.

    Where every one has a type of its own, it is the one asked for.
    """
    real = [e.tensor.name for e in spec.inputs if e.tensor.kind == "real"]
    missing = [e.tensor.name for e in spec.inputs if e.tensor.name not in witness.arrays]
    if missing or not real:
        raise ReportError(
            "the witness is none for this spec",
            spec=spec.name,
            found=", ".join(witness.arrays),
            due=", ".join(e.tensor.name for e in spec.inputs),
        )
    own = [name for name in real if name not in types]
    return (float_type(witness.arrays[own[0]].dtype.name).name,) if own else tuple(dtypes[:1])


def replayed(settings: Settings, dtype: str, witness: Witness | None) -> list[Verdict]:
    """The verdicts on one kept case."""
    if witness is None:
        return []
    judge = judge_of(settings, dtype)
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
    draw = Draw(
        settings.spec, dtype=dtype, empty=settings.empty_rows is not None, types=judge.types
    )
    again = () if tally.failing else (*habits(judge, draw, case), *free(judge, draw, [case]))
    return [*tally.verdicts({}, 0.0), *again, *tally.without_backward()]


def gradient_free(spec: Spec) -> bool:
    """Whether a spec has no real input to differentiate by."""
    return not any(entry.tensor.kind == "real" for entry in spec.inputs)


def keep(
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
