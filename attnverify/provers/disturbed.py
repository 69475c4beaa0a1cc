"""Run a recipe over many draws, each undisturbed and with every operation off by one roundoff.

What the outputs move by is the bound under which two computations of them are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.compile.recipe import Op, Recipe, label_axis
from attnverify.compile.run import Hook, run
from attnverify.provers.draws import Case

Array = NDArray[Any]

# Disturbed runs of each draw, beside the one that is compared.
RUNS = 4
# Numbers that are drawn at once.
TOGETHER = 8192
# A roundoff of float64, under which runs in extended precision are compared.
UNIT = 2.0**-53
DTYPE = "longdouble"


def disturbed(
    recipe: Recipe, arrays: Mapping[str, Array], cases: Sequence[Case]
) -> dict[str, Array]:
    """The outputs of a stacked recipe, undisturbed and then RUNS times disturbed by one roundoff.

    Arrays have the draws as first axis; outputs have the runs before it.
    """
    count = len(cases)
    sizes, parameters = cases[0].sizes, cases[0].parameters
    every = {name: np.concatenate([array] * (1 + RUNS)) for name, array in arrays.items()}
    hook = disturb(UNIT, cases[0].seed, (recipe.axes[-1], count))
    total = {**sizes, recipe.axes[-1]: count * (1 + RUNS)}
    found = run(recipe, every, total, parameters, DTYPE, hook=hook)
    return {name: value.reshape(1 + RUNS, count, *value.shape[1:]) for name, value in found.items()}


def disturb(level: float, seed: int, rows: tuple[str, int] | None = None) -> Hook:
    """A hook that moves every real result by a relative `level`, each entry on its own.

    `rows` names the axis of draws of a stacked recipe and how many draws, the first ones, stay as
    they are; what all draws share stays too.
    """
    noise = _Noise(np.random.default_rng([seed, 11]))

    def hook(op: Op, value: Any, _operands: tuple[Any, ...]) -> Any:
        array = np.asarray(value)
        lead = label_axis(op.labels[0]) if op.labels else ""
        if array.dtype.kind != "f" or op.kind == "scalar" or (rows and lead != rows[0]):
            return value
        result = np.array(array)
        moving = result[rows[1] :] if rows else result
        # In the result's own type: in float64 half of these factors would be 1.
        factors = noise.take(moving.size).astype(array.dtype)
        factors *= level
        factors += 1
        moving *= factors.reshape(moving.shape)
        return result

    return hook


@dataclass
class _Noise:
    """Numbers that are drawn many at once and taken one after the other, as if drawn so."""

    rng: np.random.Generator
    drawn: Array = field(default_factory=lambda: np.empty(0, np.float32))
    taken: int = 0

    def take(self, count: int) -> Array:
        """The next numbers."""
        start, end = self.taken, self.taken + count
        if end > self.drawn.size:
            more = self.rng.standard_normal(max(TOGETHER, count), np.float32)
            self.drawn = np.concatenate([self.drawn[start:], more])
            start, end = 0, count
        self.taken = end
        return self.drawn[start:end]


def work(recipe: Recipe, sizes: Mapping[str, int]) -> int:
    """How many terms are computed for each draw, those of a loop once for every step."""
    sizes = {**sizes, recipe.axes[-1]: 1}
    counts = recipe.terms.items()
    return sum(count * prod([sizes[axis] for axis in axes]) for axes, count in counts)


def steps(recipe: Recipe, sizes: Mapping[str, int]) -> int:
    """How many operations a run takes, those of a loop once for every step."""
    counts = recipe.calls.items()
    return sum(count * prod([sizes[axis] for axis in axes]) for axes, count in counts)
