"""The subject's own answers on draws, asked once and compared with what many specs compute."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.check.judge import Judge
from attnverify.compare import Due
from attnverify.compare import judge as compared
from attnverify.inputs import Case, Draw
from attnverify.inputs.sizes import CHANNELS
from attnverify.rounding import Expected
from attnverify.subjects import SubjectFault, WrongForm
from attnverify.verdict import Status

Array = NDArray[Any]
SCHEDULED = 28
LARGE, FEW_LARGE = 5000, 3
# Draws that no check of the same seed has seen.
APART = 1_000_003


@dataclass(frozen=True)
class Asked:
    """One case and what the subject answered, by name, in the spec's axis order."""

    case: Case
    answers: Mapping[str, Array]


def fresh(draw: Draw, seed: int) -> Iterator[Case]:
    """Cases that the check has not seen: a schedule and every corner, but few large ones.

    Bounds of a large case cost as much as those of many small ones.
    """
    large = 0
    for case in chain(draw.corners(seed + APART), draw.schedule(seed + APART, SCHEDULED)):
        if prod(size for axis, size in case.sizes.items() if axis not in CHANNELS) > LARGE:
            large += 1
            if large > FEW_LARGE:
                continue
        yield case


def asked(judge: Judge, cases: Iterable[Case], *, backward: bool) -> Iterator[Asked]:
    """The answers on cases; a case whose answer has no due form, or none at all, is passed over."""
    for case in cases:
        try:
            found = _answers(judge, case, backward=backward)
        except (SubjectFault, WrongForm):
            continue
        yield Asked(case, found)


def _answers(judge: Judge, case: Case, *, backward: bool) -> dict[str, Array]:
    subject = judge.subject
    if not backward:
        outputs = subject.forward(case.arrays, case.parameters)
        return {n: judge.restored_as(n, a, case) for n, a in outputs.items()}
    _, slopes = subject.backward(case.arrays, case.cotangents, case.parameters)
    given = {n: a for n, a in slopes.items() if a is not None}
    if len(given) < len(slopes):
        raise WrongForm("no array came back for a gradient")
    return {f"d{n}": judge.restored_as(n, a, case) for n, a in given.items()}


def agrees(answers: Mapping[str, Array], dues: Mapping[str, Due]) -> bool | None:
    """Whether answers are those due, each under its bound; None where no bound could be had."""
    found = [compared(name, got, dues[name]).status for name, got in answers.items()]
    if Status.REFUTED in found:
        return False
    return None if Status.UNDECIDED in found else True


def widest(dues: Mapping[str, Due], other: Mapping[str, Due]) -> dict[str, Due]:
    """What is due, each entry with the larger of two derived standard deviations."""
    return {
        name: replace(due, sigma=np.fmax(due.sigma, other[name].sigma), filters={})
        if name in other and other[name].sigma.shape == due.sigma.shape
        else due
        for name, due in dues.items()
    }


def renamed(judge: Judge, expected: Expected, *, backward: bool) -> dict[str, Due]:
    """What is due by the names that answers go by."""
    if not backward:
        return {n: expected.dues[n] for n in judge.subject.plan.judged}
    slopes = judge.whole.gradients
    return {f"d{n}": expected.dues[slopes[n]] for n in judge.subject.plan.real}
