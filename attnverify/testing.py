"""The words that written property tests are made of: a subject on trial, its bounded answers.

A property compares the subject with itself, or with what the spec's form says; how far the two may
lie apart is derived from the spec for the case drawn, never typed.  Each statement returns nothing
where it holds and raises RefutedError in words where it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, reject, settings
from hypothesis.strategies import SearchStrategy

from attnverify.check.judge import Answers, Judge
from attnverify.check.probe import Array, Bounded, NotJudged, Probe, demand, dimensions, wide
from attnverify.equations import place_axis
from attnverify.errors import ParameterError
from attnverify.inputs import Case, Support, cases
from attnverify.library import load
from attnverify.spec import Spec
from attnverify.subjects import subject
from attnverify.verdict import Status, Verdict

# The first case of a spec compiles it, which says nothing about the subject; what Hypothesis would
# explain are lines of this package.
properties = settings(
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[phase for phase in Phase if phase is not Phase.explain],
)


class Trial(Probe):
    """A subject on trial: draws cases for it, asks it, and knows how far its answers may stray.

    `fn`, `spec`, `internal`, `sizes` and what goes on to the subject (`framework`, `layout`,
    `kwargs`, `inputs`, `vjp`, `device`) are as in `check`.

    >>> trial = Trial(lambda q, k, v: 2 * v, load("global"))
    >>> trial.axis("keys")
    {'K': (2,), 'V': (2,)}
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        spec: str | Spec,
        *,
        dtype: str = "float32",
        internal: str | None = None,
        sizes: Support | None = None,
        **told: Any,
    ) -> None:
        loaded = load(spec)
        wrapped = subject(fn, loaded, dtype=dtype, **told)
        super().__init__(Judge(loaded, wrapped, dtype, internal=internal), dict(sizes or {}))
        self._looked = False

    def cases(self) -> SearchStrategy[Case]:
        """Cases to draw: unequal sizes from one upward, every style of entries; no empty rows."""
        return cases(self.spec, dtype=self.dtype, support=self.support)

    def dues(self, case: Case, *, backward: bool = False) -> Mapping[str, Bounded]:
        """What is due; a case that no bound can be had for is not drawn."""
        try:
            return super().dues(case, backward=backward)
        except NotJudged:
            reject()

    def forward_agrees(self, case: Case) -> None:
        """Raise RefutedError unless shape, type and every entry of each output are as due."""
        __tracebackhide__ = True
        demand(*self._verdicts(self.judge.ask(case, backward=False), "forward"))

    def backward_agrees(self, case: Case) -> None:
        """Raise RefutedError unless every entry of each gradient is as due; skips without one."""
        __tracebackhide__ = True
        self._look(case)
        demand(*self._verdicts(self.judge.ask(case), "backward"))

    def gradient(self, case: Case, name: str) -> Bounded:
        """The subject's gradient by an input, for the case's cotangents; skips without one."""
        __tracebackhide__ = True
        self._look(case)
        return self.gradients(case)[name]

    def _look(self, case: Case) -> None:
        """Skip the test where the backward pass cannot be asked."""
        if not self._looked:
            self.judge.look(case)
            self._looked = True
        if self.judge.no_backward:
            pytest.skip(self.judge.no_backward)

    def _verdicts(self, answers: Answers, side: str) -> list[Verdict]:
        found = [v for name, v in answers.verdicts.items() if name.startswith(side)]
        if answers.skipped or any(v.status is Status.UNDECIDED for v in found):
            reject()
        return found

    # ---- Flow: gradients of one position of the output

    def seeded(self, case: Case) -> tuple[int, Case]:
        """A position of the output, and the case with cotangents at that position alone.

        ParameterError where the output runs along no sequence.
        """
        at, axis = self._sequence()
        position = case.seed % case.sizes[axis]
        found = {name: np.zeros_like(array) for name, array in case.cotangents.items()}
        name = self.spec.outputs[0]
        place = (slice(None),) * at + (position,)
        found[name][place] = case.cotangents[name][place]
        return position, replace(case, cotangents=found)

    def cotangent(self, case: Case) -> Bounded:
        """The cotangent of the first output, in which there is no error."""
        name = self.spec.outputs[0]
        value = wide(case.cotangents[name])
        axes = tuple(place_axis(place).name for place in self.spec.heads[name].places)
        return Bounded(value, np.zeros_like(value), axes)

    def later(self, case: Case, name: str, position: int) -> Array:
        """Where an input lies at positions after one of the output."""
        found = np.zeros(case.arrays[name].shape, dtype=bool)
        for axis in ("keys", "time", "queries"):
            for at in self.axis(axis).get(name, ()):
                np.moveaxis(found, at, 0)[position + 1 :] = True
        return found

    def _sequence(self) -> tuple[int, str]:
        """At which dimension the first output runs along a sequence, and along which axis."""
        head = self.spec.heads[self.spec.outputs[0]]
        for axis in ("queries", "time"):
            for at in dimensions(head, axis):
                return at, axis
        raise ParameterError(
            "flow is measured from one position of a sequence to another",
            spec=self.spec.name, found=str(head), due="an axis of queries or time by itself",
        )  # fmt: skip

    def only(self, case: Case, axis: str, place: int) -> Case:
        """The case cut down to one place of an axis; not drawn where no such size is taken."""
        try:
            return super().only(case, axis, place)
        except NotJudged:
            reject()


__all__ = ["Bounded", "Trial", "properties"]
