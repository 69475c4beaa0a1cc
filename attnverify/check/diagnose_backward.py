"""Name the bug of a backward pass: which wrong gradient a subject with a right forward computes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.check.asked import Asked, asked, renamed, widest
from attnverify.check.diagnose import Computed, Diagnosis, Dues
from attnverify.check.explanation import Candidate
from attnverify.compare import WIDTHS, Due
from attnverify.compile import compile as compile_spec
from attnverify.inputs import Case
from attnverify.rounding import Rounding, arrays_for
from attnverify.spec import Spec
from attnverify.transforms.mutate import Mutant
from attnverify.transforms.mutate.backward import Derived, backward_mutants, derived

Array = NDArray[Any]


@dataclass
class BackwardDiagnosis(Diagnosis):
    """The search for a subject whose outputs agree and whose gradients do not.

    One mutant must give all gradients that came back, each under the larger of two derived bounds:
    its own, and that of the right gradient in all its legal forms.
    """

    @cached_property
    def derived(self) -> Derived:
        """The gradient of the spec."""
        found = derived(self.judge.spec)
        if found is None:
            raise AssertionError(self.judge.spec.name)  # gradients were judged, so there are some
        return found

    def answers_on(self, cases: Iterable[Case]) -> Iterator[Asked]:
        """The gradients that the subject gives on cases."""
        return asked(self.judge, cases, backward=True)

    def made(self) -> Iterator[Mutant]:
        """Every gradient that may be computed instead, the likelier ones first."""
        return backward_mutants(self.judge.spec)

    def _seeds(self, case: Case) -> dict[str, Array]:
        return {self.derived.seeds[out]: np.asarray(a) for out, a in case.cotangents.items()}

    def given(self, case: Case) -> dict[str, Array]:
        """The arrays that a gradient reads: inputs, and cotangents by their own names."""
        return {**case.arrays, **self._seeds(case)}

    def named(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What a gradient's outputs are, by the names that answers go by."""
        return {f"d{n}": values[row.name] for n, row in self.derived.slopes.items()}

    def compiled(self, spec: Spec) -> Computed:
        """What a gradient, the right one or a mutant, gives on a case, by the answers' names."""
        oracle = compile_spec(spec)

        def computed(case: Case) -> Mapping[str, Array]:
            arrays = arrays_for(oracle.dtype, self.given(case))
            return self.named(oracle(**arrays, **case.parameters, sizes=case.sizes))

        return computed

    @property
    def own(self) -> tuple[Spec, Dues]:
        """The right gradient, and what it gives under its bounds."""
        return self.derived.spec, self._right

    def _right(self, case: Case) -> Mapping[str, Due] | None:
        if id(case) not in self._rights:
            expected = self.judge.expected(case, backward=True)
            found = None if expected.reason else renamed(self.judge, expected, backward=True)
            self._rights[id(case)] = found
        return self._rights[id(case)]

    @cached_property
    def _rights(self) -> dict[int, Mapping[str, Due] | None]:
        return {}

    def _due(self, spec: Spec) -> Dues:
        judge = self.judge
        rounding = Rounding(
            spec, judge.dtype, internal=judge.internal, profile=judge.profile, types=judge.types
        )
        return partial(self._wrong, rounding)

    def _wrong(self, rounding: Rounding, case: Case) -> Mapping[str, Due] | None:
        right = self._right(case)
        expected = rounding.expected(self.given(case), case.parameters, case.seed, case.sizes)
        if right is None or expected.reason:
            return None
        return widest(self.named(expected.dues), right)

    def _room(self, case: Case, name: str) -> float:
        # Where all keys are equal dQ is the rounding of terms that cancel, and no share of itself.
        right = self._right(case)
        sigma = np.zeros(1) if right is None else right[name].sigma
        finite = sigma[np.isfinite(sigma)]
        return super()._room(case, name) + WIDTHS * float(finite.max(initial=0.0))

    def _has_empty_rows(self, mutant: Mutant | Candidate, case: Case) -> bool:
        # What a row without keys gives backward is asked of the forward pass's own mask alone.
        del mutant, case
        return False
