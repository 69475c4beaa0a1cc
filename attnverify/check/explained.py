"""Say of a refuted subject which bug it has: of its outputs, or of its gradients alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from attnverify.check.chance import dropped
from attnverify.check.diagnose import CLOCK, SECONDS, Diagnosis
from attnverify.check.diagnose_backward import BackwardDiagnosis
from attnverify.check.explanation import Explanation, Observed
from attnverify.check.fits import fitted
from attnverify.check.judge import Judge
from attnverify.check.kept import kept
from attnverify.check.otherwise import otherwise, otherwise_backward
from attnverify.check.pairs import paired
from attnverify.check.squeezed import squeezed
from attnverify.inputs import Case, Draw
from attnverify.verdict import Status, Verdict

FORWARD, BACKWARD = "forward", "backward"
NONE = {
    FORWARD: "no known bug, no other scale and no two bugs at once give these outputs",
    BACKWARD: "the outputs are right, and no single known bug gives these gradients",
}
LATE = {
    FORWARD: "no known bug was found that gives these outputs before the search ran out of time",
    BACKWARD: "the outputs are right, and no known bug was found that gives these gradients "
    "before the search ran out of time",
}


def explained(
    judge: Judge, draw: Draw, failing: Mapping[str, Case], verdicts: Sequence[Verdict], seed: int
) -> list[Verdict]:
    """The verdicts, refuted comparisons with the mutants that give the subject's answers.

    Gradients are searched where outputs agree; else what explains the outputs explains them too.
    What was found stands in the evidence as `explained`, in `unexplained` why there is nothing.
    """
    kind = next((k for k in (FORWARD, BACKWARD) if _of(k, failing)), "")
    if not kind:
        return [*verdicts]
    search = (Diagnosis if kind == FORWARD else BackwardDiagnosis)(
        judge, draw, _of(kind, failing), seed, SECONDS, CLOCK
    )
    told = _told(search, kind, [v for v in verdicts if v.name.startswith(kind)])
    return [
        replace(v, evidence={**v.evidence, **told})
        if v.status is Status.REFUTED and v.name.startswith(kind)
        else v
        for v in verdicts
    ]


def _of(kind: str, failing: Mapping[str, Case]) -> list[Case]:
    """The failing cases of one kind of comparison."""
    return [case for name, case in failing.items() if name.startswith(kind)]


def _told(search: Diagnosis, kind: str, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """What a search found, as evidence holds it; else why nothing, and what is known."""
    found = all_explanations(search)
    if found:
        return {"explained": [one.plain() for one in found]}
    why = (LATE if search.cut else NONE)[kind]
    return {"unexplained": "; ".join([why, *_known(verdicts)])}


def all_explanations(search: Diagnosis) -> Sequence[Explanation | Observed]:
    """What explains answers: what is cheap to see first, what needs most combinations last."""
    search.collect()
    if isinstance(search, BackwardDiagnosis):
        return search.among(search.candidates()) or search.among(otherwise_backward(search))
    return (
        (search.quick and squeezed(search))
        or search.among(search.candidates())
        or (search.quick and dropped(search))
        or search.among(otherwise(search))
        or (search.quick and kept(search))
        or fitted(search)
        or paired(search)
        or ()
    )


def _known(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Which comparisons fail and which hold, the smallest shape that fails, and where entries do.

    >>> wrong = Verdict("backward dQ (float32)", Status.REFUTED, evidence={"where": ("every row",)})
    >>> right = Verdict("backward dV (float32)", Status.HELD)
    >>> list(_known([wrong, right]))
    ['wrong are dQ, right are dV', 'dQ fails at every row']
    """
    failing = [v for v in verdicts if v.status is Status.REFUTED]
    holding = [v for v in verdicts if v.status is Status.HELD]
    right = f", right are {', '.join(map(_short, holding))}" if holding else ""
    yield f"wrong are {', '.join(map(_short, failing))}{right}"
    shapes = [v.witness for v in failing if v.witness is not None and v.witness.sizes]
    if shapes:
        least = min(shapes, key=lambda witness: prod(witness.sizes.values()))
        sizes = " ".join(f"{axis}={size}" for axis, size in least.sizes.items())
        yield f"the smallest shape that fails is {sizes}"
    for verdict in failing:
        told = verdict.evidence.get("where")
        if told:
            yield f"{_short(verdict)} fails at {told[0]}"


def _short(verdict: Verdict) -> str:
    """The output or the gradient that a comparison is of."""
    return verdict.name.split()[1] if " " in verdict.name else verdict.name
