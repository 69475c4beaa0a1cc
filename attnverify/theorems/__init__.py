"""Theorems about attention in general: gradients, bounds, streams; each with its verdict.

What a spec is asked is in `attnverify.invariants`, what becomes what in `attnverify.lattice`; here
stand the claims of papers that are about neither one spec's identities nor an edge.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

from attnverify.errors import ParameterError
from attnverify.provers.sampled import sampled
from attnverify.theorems.bounds import BOUNDS
from attnverify.theorems.gradients import GRADIENTS
from attnverify.theorems.streams import STREAMS
from attnverify.theorems.theorem import Theorem
from attnverify.verdict import Report, Section, Status, Verdict
from attnverify.verify import decide, environment, joined

SECTIONS = {"gradients": GRADIENTS, "bounds": BOUNDS, "streams": STREAMS}
EXAMPLES = 20


def verify_theorems(
    names: Iterable[str] | None = None, *, examples: int = EXAMPLES, seed: int = 0
) -> Report:
    """A verdict on each theorem, or on those named, in one section for each kind.

    `examples` is the number of cases drawn for each statement before it is proved. Raises
    ParameterError for a name that no theorem has.

    >>> report = verify_theorems(["softmax Jacobian"])
    >>> print(report.sections[0].verdicts[0].status.value)
    PROVED
    """
    wanted = None if names is None else set(names)
    known = [one.name for theorems in SECTIONS.values() for one in theorems]
    if wanted is not None and not wanted <= set(known):
        raise ParameterError(
            "no theorem has this name",
            found=", ".join(sorted(wanted - set(known))),
            due=", ".join(known),
        )
    sections = []
    for title, theorems in SECTIONS.items():
        chosen = [one for one in theorems if wanted is None or one.name in wanted]
        verdicts = tuple(judge(one, examples, seed) for one in chosen)
        if verdicts:
            sections.append(Section(spec=title, verdicts=verdicts))
    return Report(sections=tuple(sections), environment=environment())


def judge(theorem: Theorem, examples: int = EXAMPLES, seed: int = 0) -> Verdict:
    """The verdict on one theorem; a failure that it gives a reason for is expected."""
    start = time.perf_counter()
    found = [decide(one, sampled(one, examples, seed)) for one in theorem.statements()]
    verdict = joined(theorem.name, found)
    spent = time.perf_counter() - start
    refuted = verdict.status is Status.REFUTED
    detail = f"{theorem.says} ({theorem.source})"
    if theorem.fails and refuted:
        detail = f"as known: {theorem.fails}. {verdict.detail}"
    elif theorem.fails:
        detail = f"the table says that this fails ({theorem.fails}): {verdict.status.value}"
        return Verdict(theorem.name, Status.REFUTED, detail, seconds=spent)
    elif verdict.status is not Status.PROVED:
        detail = f"{detail}: {verdict.detail}"
    return replace(verdict, detail=detail, seconds=spent, expected=bool(theorem.fails) and refuted)


__all__ = ["SECTIONS", "Theorem", "judge", "verify_theorems"]
