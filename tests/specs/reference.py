"""Hold compiled specs against references and each other, within what rounding moves them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify import compile, gradient  # noqa: A004  the fixed public name
from attnverify.compare import within
from attnverify.compile.run import run
from attnverify.compile.sizes import bind
from attnverify.provers.disturbed import UNIT, disturb
from attnverify.spec import Spec
from attnverify.verdict import Verdict
from tests.drawn import shape

Array = NDArray[Any]

# Unequal, from one upward, so that no axis is taken for another and no loop is left out.
SHAPES: tuple[dict[str, int], ...] = (
    {},
    {"batch": 2, "heads": 3, "time": 5, "keys": 4, "queries": 3, "key_dim": 2, "value_dim": 3},
    {"batch": 1, "heads": 2, "time": 7, "keys": 6, "queries": 8, "key_dim": 3, "value_dim": 2},
)
INNER = {"model": 4, "hidden": 3, "embedding": 2, "align": 5, "features": 4, "taps": 3}
RUNS = 6


def sizes_of(spec: Spec, number: int) -> dict[str, int]:
    """The sizes of one of the shapes; the first has one of everything."""
    chosen = {**INNER, **SHAPES[number]} if number else {}
    return {axis.name: chosen.get(axis.name, 1) for axis in spec.axes}


def drawn(spec: Spec, number: int) -> dict[str, Array]:
    """Inputs of one of the shapes; logarithms of decays, and decay rates, on their side of 0."""
    rng = np.random.default_rng(number)
    found = {e.tensor.name: rng.normal(size=shape(e, sizes_of(spec, number))) for e in spec.inputs}
    sides = {"g": -1, "w": 1}
    return {n: sides[n] * np.abs(a) if n in sides else a for n, a in found.items()}


@dataclass(frozen=True)
class Computed:
    """The outputs of a spec in extended precision, and how far a unit roundoff moves each entry."""

    values: Mapping[str, Array]
    moves: Mapping[str, Array] = field(default_factory=dict)

    @property
    def only(self) -> Array:
        """The one output."""
        (value,) = self.values.values()
        return value

    def against(self, name: str, due: Array, other: Array | float = 0.0) -> Verdict:
        """An output against what is due, within ten moves of each side."""
        moves = self.moves[name] + other
        return within(name, np.asarray(due, np.longdouble), self.values[name], 10 * moves)


def computed(spec: Spec, arrays: Mapping[str, Array]) -> Computed:
    """Run a spec, and run it again with every operation disturbed by a unit roundoff of float64."""
    oracle = compile(spec, dtype="longdouble")
    long = {n: np.asarray(a, np.longdouble if a.dtype.kind == "f" else None)
            for n, a in arrays.items()}  # fmt: skip
    sizes = bind(spec, {name: np.shape(a) for name, a in arrays.items()})
    values = oracle(**long)
    moves = {name: np.zeros(value.shape) for name, value in values.items()}
    for number in range(RUNS):
        hook = disturb(UNIT, number)
        noisy = run(oracle.recipe, long, sizes, {}, "longdouble", hook=hook)
        for name, value in noisy.items():
            moves[name] = np.maximum(moves[name], np.abs(value - values[name]).astype(float))
    return Computed(values, {name: move + move.mean() for name, move in moves.items()})


def with_cotangents(spec: Spec, arrays: Mapping[str, Array]) -> tuple[Spec, dict[str, Array]]:
    """The gradient of a spec, and arrays for its inputs: those given, and drawn cotangents."""
    derived = gradient(spec)
    rng = np.random.default_rng(99)
    extents = bind(spec, {name: np.shape(a) for name, a in arrays.items()})
    duals = [e for e in derived.inputs if e.tensor.name not in arrays]
    return derived, {**arrays, **{e.tensor.name: rng.normal(size=shape(e, extents)) for e in duals}}


def expect_equal(left: Computed, right: Computed) -> None:
    """Every output of one computation equals the other's, entry by entry."""
    assert left.values.keys() == right.values.keys()
    for name, value in left.values.items():
        verdict = right.against(name, value, left.moves[name])
        assert verdict.status.value == "HELD", verdict.detail
