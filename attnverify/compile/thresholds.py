"""The thresholds of sparsemax and entmax in recipes: where to begin, and two Newton steps.

The number comes from an algorithm that nothing differentiates (the operation `root`): a scan of the
sorted scores for exponents 1 and 2, bisection for others. Two Newton steps on
F(tau) = sum_j [where] max(s_j - tau, 0)^p - 1, in the recipe's ordinary operations, follow. They
leave the number where it is, but for its last digits. And they carry the derivatives: a Newton step
from a root that is held constant has the root's first derivative, the second step makes its second
and third right as well. So autograd through the compiled forward differentiates F alone, and knows
nothing of the implicit function theorem that the derived gradient rests on.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy

from attnverify.algebra.terms import Maximum, Threshold
from attnverify.compile.pairs import Arithmetic, Lowered
from attnverify.compile.recipe import Label, Operand

NEWTON_STEPS = 2


@dataclass(frozen=True)
class Row:
    """The scores of a row, where they are seen (None: everywhere), and the label they run along."""

    score: Operand
    keep: Operand | None
    over: Label


def row_value(state: Arithmetic, node: Maximum | Threshold, row: Row, hint: str) -> Operand:
    """The largest score of a row, or its threshold."""
    if isinstance(node, Threshold):
        return threshold(state, row, node.exponent)
    top = state.reduce("max", _shown(state, row), (row.over,), hint)
    # A row without a place has no largest score: it gives 0.
    return top if row.keep is None else state.map("finite", top, hint=hint)


def threshold(state: Arithmetic, row: Row, exponent: Fraction) -> Operand:
    """The tau with sum [keep] max(score - tau, 0) ** exponent = 1, 0 in a row without a place.

    A score within rounding of tau may fall on either side of it: its weight is within rounding of
    0 then, but for exponent 1 its derivatives are those of the side that it falls on.
    """
    shown = _shown(state, row)
    rest = tuple(x for x in shown.labels if x != row.over)
    tau = state.build.emit("root", rest, (shown,), str(exponent), hint="tau")
    score = state.real(row.score)
    if row.keep is None and row.over not in score.labels:
        score = shown
    for _ in range(NEWTON_STEPS):
        tau = _newton(state, Row(score, row.keep, row.over), tau, exponent)
    return tau


def _shown(state: Arithmetic, row: Row) -> Operand:
    """The scores along the row, minus infinity where they are not seen."""
    score, labels = state.real(row.score), (*row.score.labels, row.over)
    if row.over not in row.score.labels and (row.keep is None or row.over not in row.keep.labels):
        score = state.full(score, labels, "score")
    if row.keep is None:
        return score
    return state.map("select", row.keep, score, state.number(-sympy.oo), hint="shown")


def _newton(state: Arithmetic, row: Row, tau: Operand, exponent: Fraction) -> Operand:
    """One step: tau + (mass - 1) / slope; the total inverse leaves a row without a place at 0."""
    gap = state.map("subtract", row.score, tau, hint="gap")
    above = state.map("relu", gap, hint="above")
    parts = above if exponent == 1 else state.raised(above, exponent, "parts")
    lower = _lower(state, gap, above, exponent - 1)

    def summed(value: Operand, hint: str) -> Lowered:
        return state.product([value], row.keep, (row.over,), hint=hint, want=tau.labels)

    mass, slope = state.plain(summed(parts, "mass")), state.plain(summed(lower, "slope"))
    if exponent != 1:
        slope = state.map("multiply", slope, state.number(sympy.Rational(exponent)))
    excess = state.map("subtract", mass, state.number(1), hint="excess")
    step = state.map("multiply", excess, state.map("inverse", slope), hint="move")
    return state.map("add", tau, step, hint="tau")


def _lower(state: Arithmetic, gap: Operand, above: Operand, exponent: Fraction) -> Operand:
    """max(gap, 0) to a power, which for power 0 is 1 only above 0."""
    if exponent == 0:
        return state.map("step", gap, hint="support")
    return above if exponent == 1 else state.raised(above, exponent, "lower")


def begin(shown: Any, axis: int, exponent: str) -> Any:
    """The threshold of each row of scores along an axis, -inf where masked; 0 for an empty row.

    Sources: Martins & Astudillo 2016, algorithm 1; Peters et al. 2019, algorithms 1 and 2.
    """
    scores = np.moveaxis(np.asarray(shown), axis, -1)
    if not scores.shape[-1]:
        return np.zeros(scores.shape[:-1], scores.dtype)
    top = np.max(scores, axis=-1, keepdims=True)
    empty = np.isneginf(top)
    top = np.where(empty, 0, top)
    # The threshold is at least the largest score less 1: what lies below bears no weight.
    near = np.maximum(scores - top, -2)
    if exponent in ("1", "2"):
        tau = (_sorted_linear if exponent == "1" else _sorted_square)(-np.sort(-near, axis=-1))
    else:
        tau = _bisected(near, Fraction(exponent))
    return np.where(empty, 0, tau[..., None] + top)[..., 0]


def _sorted_linear(ordered: Any) -> Any:
    """Sparsemax: the support is the longest run of scores above its own threshold."""
    count = np.arange(1, ordered.shape[-1] + 1)
    taus = (np.cumsum(ordered, axis=-1) - 1) / count.astype(ordered.dtype)
    return _last(taus, ordered > taus)


def _sorted_square(ordered: Any) -> Any:
    """Entmax 1.5 of halved scores: tau is the mean of the support less a root of its variance."""
    count = np.arange(1, ordered.shape[-1] + 1).astype(ordered.dtype)
    mean = np.cumsum(ordered, axis=-1) / count
    spread = np.cumsum(ordered**2, axis=-1) - count * mean**2
    taus = mean - np.sqrt(np.maximum((1 - spread) / count, 0))
    return _last(taus, ordered >= taus)


def _last(taus: Any, inside: Any) -> Any:
    """The entry of the longest run whose last score is inside it; the first one always is."""
    size = np.maximum(np.sum(inside, axis=-1), 1)
    return np.take_along_axis(taus, size[..., None] - 1, axis=-1)[..., 0]


def _bisected(near: Any, exponent: Fraction) -> Any:
    """Halving between the largest score less 1 and the largest score, 0, to the last digit."""
    power = near.dtype.type(exponent.numerator) / near.dtype.type(exponent.denominator)
    low = np.full(near.shape[:-1], -1, near.dtype)
    high = np.zeros(near.shape[:-1], near.dtype)
    for _ in range(np.finfo(near.dtype).nmant + 2):
        middle = (low + high) / 2
        mass = np.sum(np.maximum(near - middle[..., None], 0) ** power, axis=-1)
        low, high = np.where(mass >= 1, middle, low), np.where(mass >= 1, high, middle)
    return low
