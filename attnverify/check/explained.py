"""Say of a refuted subject which bug it has: of its outputs, or of its gradients alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from attnverify.check.diagnose import Diagnosis
from attnverify.check.diagnose_backward import BackwardDiagnosis
from attnverify.check.judge import Judge
from attnverify.inputs import Case, Draw
from attnverify.verdict import Status, Verdict

FORWARD, BACKWARD = "forward", "backward"
NONE = {
    FORWARD: "no single known bug gives these outputs",
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
        judge, draw, _of(kind, failing), seed
    )
    told = _told(search, kind)
    return [
        replace(v, evidence={**v.evidence, **told})
        if v.status is Status.REFUTED and v.name.startswith(kind)
        else v
        for v in verdicts
    ]


def _of(kind: str, failing: Mapping[str, Case]) -> list[Case]:
    """The failing cases of one kind of comparison."""
    return [case for name, case in failing.items() if name.startswith(kind)]


def _told(search: Diagnosis, kind: str) -> dict[str, Any]:
    """What a search found, as evidence holds it."""
    found = search.explanations()
    if found:
        return {"explained": [one.plain() for one in found]}
    return {"unexplained": (LATE if search.cut else NONE)[kind]}
