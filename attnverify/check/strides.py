"""Strides that are ignored: arrays read as if they lay in memory one entry after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.check.asked import agrees, renamed
from attnverify.check.explanation import Observed, habit
from attnverify.check.judge import Judge
from attnverify.inputs import Case, Draw
from attnverify.subjects import SubjectFault, WrongForm
from attnverify.subjects.views import VIEWS, WORDS
from attnverify.transforms.mutate import Operator

Array = NDArray[Any]
INPUTS = habit("strides ignored", "inputs are read as if they were contiguous", "LAY-01")
SEEDS = habit("strides of cotangents ignored", "cotangents are read as contiguous", "LAY-06")
# Further cases, whose places can be told apart on a few axes at least.
SCHEDULED, MORE, BROAD = 12, 4, 3


@dataclass(frozen=True)
class _View:
    """A subject asked under one way to lie in memory, forward or backward."""

    judge: Judge
    view: str
    backward: bool

    def given(self, case: Case) -> dict[str, Array]:
        """What the subject gives, in the spec's axis order; nothing where it gives no answer."""
        judge, told = self.judge, (case.arrays, case.parameters)
        try:
            if not self.backward:
                outputs = judge.subject.forward(*told, view=self.view)
                return {n: judge.restored_as(n, a, case) for n, a in outputs.items()}
            arrays, parameters = told
            _, slopes = judge.subject.backward(arrays, case.cotangents, parameters, view=self.view)
            given = {n: a for n, a in slopes.items() if a is not None}
            return {f"d{n}": judge.restored_as(n, a, case) for n, a in given.items()}
        except (SubjectFault, WrongForm):
            return {}

    def agrees(self, case: Case, given: Mapping[str, Array]) -> bool | None:
        """Whether answers are the spec's to a case."""
        expected = self.judge.expected(case, backward=self.backward)
        if expected.reason:
            return None
        return agrees(given, renamed(self.judge, expected, backward=self.backward))

    def in_order(self, case: Case, names: Sequence[str]) -> Case:
        """The case with some arrays as memory holds them, from where each begins."""
        layout = self.judge.subject.plan.layout.at(case.arrays)

        def read(name: str, array: Array) -> Array:
            if name not in names:
                return array
            viewed = VIEWS[self.view](layout.outward(name, array))
            strides = np.empty(viewed.shape, viewed.dtype).strides
            plain = np.lib.stride_tricks.as_strided(viewed, strides=strides, writeable=False)
            return layout.inward(name, plain.copy(), case.sizes)

        arrays = {n: read(n, a) for n, a in case.arrays.items()}
        cotangents = {n: read(n, a) for n, a in case.cotangents.items()}
        return replace(case, arrays=arrays, cotangents=cotangents)


def ignored(judge: Judge, draw: Draw, case: Case, view: str) -> list[Observed]:
    """Whether answers to arrays under a view are those to their memory, read in order."""
    put = _View(judge, view, backward=not judge.no_backward)
    more = (one for one in draw.schedule(case.seed, SCHEDULED) if _broad(one))
    cases = [case, *islice(more, MORE)]
    answers = [(one, given) for one in cases if (given := put.given(one))]
    wrong = [put.agrees(one, given) for one, given in answers].count(False)
    for operator, names, told in _read(put):
        found = [put.agrees(put.in_order(one, names), given) for one, given in answers]
        if wrong and all(found):
            evidence = f"agrees on {len(found)} of {len(found)} inputs, differs from the spec on "
            sentence = f"{told} as contiguous that are {WORDS[view]}"
            return [Observed(operator, sentence, f"{evidence}{wrong}")]
    return []


def _broad(case: Case) -> bool:
    return sum(size > 1 for size in case.sizes.values()) >= BROAD


def _read(put: _View) -> Iterator[tuple[Operator, Sequence[str], str]]:
    """What may be read so: all inputs, cotangents, single inputs."""
    real = put.judge.subject.plan.real
    yield INPUTS, real, "reads inputs"
    if put.backward:
        yield SEEDS, put.judge.spec.outputs, "reads cotangents"
    for name in real:
        yield INPUTS, (name,), f"reads values of {name}"
