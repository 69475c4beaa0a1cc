"""Where a mutant differs from its spec: the cheapest draw that shows it, or none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.compare import misfit
from attnverify.compile import Oracle
from attnverify.compile import compile as compile_spec
from attnverify.errors import AttnverifyError
from attnverify.inputs import Case, Draw
from attnverify.spec import Spec

Array = NDArray[Any]
# A difference that float32 shows, and one that float64 does.
PLAIN, LEAST = 1e-3, 1e-9
SCHEDULED = 40
# Draws past this many entries are nobody's cheapest, and few mutants need them.
LARGE = 40_000


def draws(spec: Spec, seed: int, dtype: str) -> list[Case]:
    """Draws of a spec from the cheapest on, every row seeing a key."""
    draw = Draw(spec, dtype=dtype)
    found = chain(draw.schedule(seed, SCHEDULED), draw.corners(seed))
    return sorted((case for case in found if entries(case) <= LARGE), key=entries)


def entries(case: Case) -> int:
    """How many numbers a case has."""
    return sum(int(array.size) for array in case.arrays.values())


class Differences:
    """The draws of a spec and what it answers on them."""

    def __init__(self, spec: Spec, cases: Sequence[Case]) -> None:
        oracle = compile_spec(spec)
        self.cases = [(case, _answers(oracle, case)) for case in cases]

    def cheapest(self, mutant: Spec) -> Case | None:
        """The cheapest draw on which a mutant differs plainly, or at all; None on no draw.

        A mutant that fails on draws of the spec differs there.
        """
        oracle = compile_spec(mutant)
        least: Case | None = None
        for case, due, apart in self._apart(oracle):
            del due
            if apart > PLAIN:
                return case
            if least is None and apart > LEAST:
                least = case
        return least

    def place(self, case: Case) -> int:
        """Where a draw stands among all."""
        return next(n for n, (one, _) in enumerate(self.cases) if one is case)

    def _apart(self, oracle: Oracle) -> Iterator[tuple[Case, dict[str, Array], float]]:
        for case, due in self.cases:
            try:
                found = _answers(oracle, case)
            except AttnverifyError:
                yield case, due, np.inf
                continue
            yield case, due, max(misfit(found[name], due[name]) for name in due)


def _answers(oracle: Oracle, case: Case) -> dict[str, Array]:
    return oracle(**case.arrays, **case.parameters, sizes=case.sizes)
