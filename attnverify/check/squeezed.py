"""Answers that are right but for axes of size one, which are missing."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, islice
from typing import Any

from numpy.typing import NDArray

from attnverify.check.asked import agrees, fresh, renamed
from attnverify.check.diagnose import Diagnosis
from attnverify.check.explanation import Observed, habit
from attnverify.inputs import Case
from attnverify.subjects import SubjectFault

Array = NDArray[Any]
SQUEEZED = habit("axes of one squeezed", "axes of size one are squeezed away", "EDG-10")
CASES, FEWEST = 16, 8


def squeezed(search: Diagnosis) -> list[Observed]:
    """That a subject squeezes axes of one, where nothing else is wrong with its answers."""
    cases = [*islice(chain(search.failing, fresh(search.draw, search.seed)), CASES)]
    answered = [(case, outputs) for case in cases if (outputs := _outputs(search, case))]
    if all(_lies(search, *one) for one in answered):
        return []
    found = [told for one in answered if (told := _looked_at(search, *one)) is not None]
    lost = sum(lacking for lacking, _ in found)
    if len(found) < FEWEST or not lost or not all(right for _, right in found):
        return []
    evidence = (
        f"right on {len(found)} of {len(found)} inputs once put into shape, "
        f"and of another shape on {lost}, where an axis has size one"
    )
    return [Observed(SQUEEZED, "squeezes axes of size one out of its answer", evidence)]


def _outputs(search: Diagnosis, case: Case) -> dict[str, Array]:
    judge = search.judge
    try:
        return judge.subject.forward(case.arrays, case.parameters)
    except SubjectFault:
        return {}


def _lies(search: Diagnosis, case: Case, outputs: Mapping[str, Array]) -> bool:
    """Whether an answer has the shape that is due."""
    layout = search.judge.subject.plan.layout.at(case.arrays)
    return all(a.shape == layout.shape(n, case.sizes) for n, a in outputs.items())


def _looked_at(
    search: Diagnosis, case: Case, outputs: Mapping[str, Array]
) -> tuple[bool, bool] | None:
    """Whether axes of one are lacking, and whether the answer is right with them."""
    judge = search.judge
    expected = judge.expected(case)
    if expected.reason:
        return None
    layout, answers = judge.subject.plan.layout.at(case.arrays), {}
    for name, array in outputs.items():
        shape = layout.shape(name, case.sizes)
        if [n for n in array.shape if n != 1] != [n for n in shape if n != 1]:
            return False, False
        answers[name] = layout.inward(name, array.reshape(shape), case.sizes)
    found = agrees(answers, renamed(judge, expected, backward=False))
    return None if found is None else (not _lies(search, case, outputs), found)
