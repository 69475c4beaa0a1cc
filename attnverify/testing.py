"""The words that written property tests are made of: a subject on trial, its bounded answers.

A property compares the subject with itself, or with what the spec's form says; how far the two may
lie apart is derived from the spec for the case drawn, never typed.  Each statement returns nothing
where it holds and raises RefutedError in words where it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, reject, settings
from hypothesis.strategies import SearchStrategy

from attnverify.check.judge import Answers, Judge
from attnverify.check.probe import Bounded, NotJudged, Probe, demand
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
        if not self._looked:
            self.judge.look(case)
            self._looked = True
        if self.judge.no_backward:
            pytest.skip(self.judge.no_backward)
        demand(*self._verdicts(self.judge.ask(case), "backward"))

    def _verdicts(self, answers: Answers, side: str) -> list[Verdict]:
        found = [v for name, v in answers.verdicts.items() if name.startswith(side)]
        if answers.skipped or any(v.status is Status.UNDECIDED for v in found):
            reject()
        return found

    def only(self, case: Case, axis: str, place: int) -> Case:
        """The case cut down to one place of an axis; not drawn where no such size is taken."""
        try:
            return super().only(case, axis, place)
        except NotJudged:
            reject()


__all__ = ["Bounded", "Trial", "properties"]
