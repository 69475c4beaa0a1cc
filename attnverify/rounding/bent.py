"""The oracle's own program with another arithmetic at a few of its operations, and its bounds.

What such a program gives is computed, not guessed: a sum carried in float16 errs the same way in
every run.  Where a value lies so near a step of the narrow type that rounding may take it to either
side, the disturbed runs go to both, and sigma says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from attnverify.compare import Due
from attnverify.compile.lower import lower
from attnverify.compile.recipe import Op
from attnverify.compile.run import run
from attnverify.compile.sizes import bind
from attnverify.equations import place_axis
from attnverify.rounding.amplitudes import Amplitudes
from attnverify.rounding.noise import NoisyMachine
from attnverify.rounding.profiles import Profile, near_zero
from attnverify.spec import Spec

Array: TypeAlias = NDArray[Any]
# What becomes of a result: of the operation, its value and those of its operands.  Of each, the
# last dimensions are those that the operation names; runs may stand before them.
Bend: TypeAlias = "Callable[[Op, Array, tuple[Array, ...]], Array]"
RUNS = 32
# Sums that are carried step by step take time with every entry.
ENTRIES = 2**21


class _Machine(NoisyMachine):
    """A disturbed run in which some operations are bent."""

    bends: Mapping[str, Bend]

    def step(self, op: Op) -> None:
        super().step(op)
        if op.out in self.bends:
            read = tuple(np.asarray(self.values[o.name]) for o in op.operands)
            bent = self.bends[op.out](op, np.asarray(self.values[op.out]), read)
            self.values[op.out] = bent
            runs = np.ndim(bent) > len(op.labels)
            self.noisy = self.noisy | {op.out} if runs else self.noisy - {op.out}


class Bent:
    """A spec's own program under other arithmetic: `bends` by the operation that they change.

    >>> from attnverify import load
    >>> from attnverify.rounding.profiles import loose
    >>> x = np.ones((1, 1, 1, 1), np.float32)
    >>> third = Bent(load("global"), loose("float32"), {"O": lambda op, value, read: value / 3})
    >>> float(third.values({"Q": x, "K": x, "V": x}, {})["O"].round(3).item())
    0.333
    """

    def __init__(self, spec: Spec, profile: Profile, bends: Mapping[str, Bend]) -> None:
        self.spec, self.profile, self.bends = spec, profile, bends
        self.recipe = lower(spec)

    def values(
        self,
        arrays: Mapping[str, Array],
        parameters: Mapping[str, Any],
        sizes: Mapping[str, int] | None = None,
    ) -> dict[str, Array]:
        """The outputs of one case, computed in float64 but for what is bent."""
        wide, bound = self._given(arrays, sizes)
        return run(self.recipe, wide, bound, parameters, np.float64, hook=self._bent)

    def dues(
        self,
        arrays: Mapping[str, Array],
        parameters: Mapping[str, Any],
        seed: int,
        sizes: Mapping[str, int] | None = None,
    ) -> dict[str, Due] | None:
        """The outputs of one case with a sigma per entry; None of a case that is too large."""
        wide, bound = self._given(arrays, sizes)
        amplitudes = Amplitudes(self.recipe, self.profile, bound, outputs=self.recipe_outputs)

        def hook(op: Op, value: Any, operands: tuple[Any, ...]) -> Any:
            return self._bent(op, amplitudes.record(op, value, operands), operands)

        exact = run(self.recipe, wide, bound, parameters, np.float64, hook=hook)
        if amplitudes.entries * RUNS > ENTRIES:
            return None
        machine = _Machine(wide, bound, parameters, amplitudes)
        machine.bends = self.bends
        with np.errstate(all="ignore"):
            runs = machine.runs(self.recipe, RUNS, np.random.default_rng(seed), {})
        return {name: self._due(name, exact[name], runs[name]) for name in exact}

    @property
    def recipe_outputs(self) -> tuple[str, ...]:
        """The outputs' names."""
        return self.spec.outputs

    def _given(
        self, arrays: Mapping[str, Array], sizes: Mapping[str, int] | None
    ) -> tuple[dict[str, Array], dict[str, int]]:
        wide = {n: a.astype(np.float64) if a.dtype.kind in "fV" else a for n, a in arrays.items()}
        shapes = {e.tensor.name: np.shape(wide[e.tensor.name]) for e in self.spec.inputs}
        return wide, dict(bind(self.spec, shapes, sizes))

    def _bent(self, op: Op, value: Any, operands: tuple[Any, ...]) -> Any:
        bend = self.bends.get(op.out)
        if bend is None:
            return value
        return bend(op, np.asarray(value), tuple(np.asarray(x) for x in operands))

    def _due(self, name: str, value: Array, runs: Array) -> Due:
        axes = tuple(place_axis(place).name for place in self.spec.heads[name].places)
        with np.errstate(all="ignore"):
            away = np.where(np.isfinite(value), runs - value, 0)
            sigma = np.sqrt(np.mean(np.square(away), axis=0))
        floor = np.where(value != 0, near_zero(self.profile.stored), 0.0)
        return Due(value, np.maximum(sigma, floor), axes)
