"""Identities of a subject's own answers: what a right one does whatever a reference says.

Each returns nothing where it holds, raises RefutedError in words where it does not, and NotJudged
where a case cannot be asked.  How far two sides may lie apart is derived for each case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.algebra.rewrite import predicate_entries
from attnverify.check.probe import Bounded, NotJudged, Probe
from attnverify.equations import place_axis
from attnverify.inputs import Case
from attnverify.invariants.roles import SEQUENCES, Roles

Array = NDArray[Any]
# Of fewer places nothing can be moved or left out.
LEAST = 2


@dataclass(frozen=True)
class Asked:
    """One case with the probe that asks it, the spec's roles, and draws that are the case's own."""

    probe: Probe
    parts: Roles
    case: Case

    @property
    def rng(self) -> np.random.Generator:
        """The same draws whenever the case is asked again."""
        return np.random.default_rng(self.case.seed)

    @property
    def values(self) -> str:
        """The name of V, where the output is the sum of weights times V."""
        direct = self.parts.direct_values
        if direct is None:
            raise NotJudged("the output is not the sum of weights times an input")
        return direct.tensor.name

    @property
    def sequence(self) -> str:
        """The axis along which places can be masked."""
        for axis in ("time", "keys"):
            if self.parts.along(axis) and self.parts.movable(axis):
                return axis
        raise NotJudged("no axis of keys or time stands alone")

    @property
    def chosen_by_values(self) -> bool:
        """Whether computed values decide which places are masked."""
        if self.parts.attention is None:
            return False
        kinds = {e.tensor.kind for e in predicate_entries(self.parts.where)}
        return not kinds <= {"bool", "int"}

    @property
    def key_place(self) -> int:
        """Where the keys are among the dimensions of V."""
        axes = [place_axis(place).name for place in self.probe.spec.heads[self.values].places]
        if "keys" not in axes or not self.parts.movable("keys"):
            raise NotJudged("the values have no axis of keys alone")
        return axes.index("keys")


# ---- Forward


def row_sums(asked: Asked) -> None:
    """V = 1 gives O = 1 in every row that sees a key."""
    ones = np.ones_like(asked.case.arrays[asked.values])
    case = asked.probe.changed(asked.case, **{asked.values: ones})
    due = asked.probe.due(case)
    asked.probe.output(case).equals(1, where=~due.exact_zeros, what="O for V = 1")


def read_off(asked: Asked) -> None:
    """V = I, a chunk of columns at a time: the output is the matrix of weights."""
    probe, case, name = asked.probe, asked.case, asked.values
    shape, at = case.arrays[name].shape, asked.key_place
    columns = place_axis(probe.spec.heads[name].places[-1]).name
    if at == len(shape) - 1 or columns not in probe.due(case).axes:
        raise NotJudged("the values have no columns of their own")
    keys, width = shape[at], shape[-1]
    total: Bounded | None = None
    for chunk in range(ceil(keys / width)):
        eye = np.moveaxis(np.zeros(shape), at, -2)
        rows = np.arange(chunk * width, min(keys, (chunk + 1) * width))
        eye[..., rows, rows - chunk * width] = 1
        one = probe.changed(case, **{name: np.moveaxis(eye, -2, at)})
        weights, due = probe.output(one), probe.due(one)
        weights.equals(0, where=due.exact_zeros, what="weights of masked keys")
        low = replace(weights, value=np.minimum(weights.value, 0))
        low.equals(0, what="weights below zero")
        part = weights.summed(columns)
        total = part if total is None else total + part
    if total is not None and "rows sum to one" not in probe.spec.announces:
        seen = probe.due(case).summed(columns)
        total.equals(1, where=~seen.exact_zeros, what="row sums of the weights")


def hidden(asked: Asked) -> None:
    """Garbage at one place: outputs that do not see it stay, and so do their gradients."""
    _after_garbage(asked, [[place] for place in _some_order(asked)])


def causality(asked: Asked) -> None:
    """Garbage from one place on: outputs before it stay, and so do their gradients."""
    _after_garbage(asked, [slice(place, None) for place in _some_order(asked)])


def _some_order(asked: Asked) -> list[int]:
    return [int(n) for n in asked.rng.permutation(asked.case.sizes[asked.sequence])]


def _after_garbage(asked: Asked, choices: Sequence[slice | list[int]]) -> None:
    """Garbage in the first of some places that part of the output does not see."""
    if asked.chosen_by_values:
        raise NotJudged("rounding decides which places are masked")
    for places in choices:
        garbage = asked.probe.garbage(asked.case, asked.sequence, places)
        apart = unseen(asked, garbage)
        if apart.any():
            break
    else:
        raise NotJudged("every output sees every place")
    due = asked.probe.due(asked.case)
    for planted in (garbage, _towering(asked, garbage, places)):
        after = asked.probe.output(planted, bound_of=asked.case)
        after.equals(due, where=apart, what="O after garbage in masked places")
    if not asked.probe.judge.no_backward:
        _pulled_after_garbage(asked, places)


def _pulled_after_garbage(asked: Asked, places: slice | list[int]) -> None:
    """Gradients under a cotangent that is zero wherever the garbage is seen."""
    probe, case = asked.probe, asked.case
    # Backward passes take higher powers: a norm's has the cube of its input, and sums of those.
    garbage = probe.garbage(case, asked.sequence, places, root=5)
    apart = unseen(asked, garbage)
    if not probe.within_range(garbage):
        return
    clean, planted = (probe.pulled_by(c, apart) for c in (case, garbage))
    dues = probe.dues(clean, backward=True)
    for name, slope in probe.gradients(planted, bound_of=clean).items():
        due = dues[probe.judge.whole.gradients[name]]
        slope.equals(due, what=f"d{name} after garbage in masked places")


def unseen(asked: Asked, garbage: Case) -> Array:
    """Where the spec's output is the same with the garbage.

    A key may be seen and weigh nothing: the opposite garbage then weighs all.
    """
    both = (garbage, _opposite(asked.case, garbage))
    first, second = (asked.probe.unmoved(asked.case, one) for one in both)
    return np.asarray(first & second)


def _opposite(case: Case, garbage: Case) -> Case:
    """The case with the garbage's negative where it differs from the case."""
    arrays = {
        name: np.where(array != case.arrays[name], -array, array)
        if array.dtype.kind in "fV"
        else array
        for name, array in garbage.arrays.items()
    }
    return replace(garbage, arrays=arrays)


def _towering(asked: Asked, garbage: Case, places: slice | list[int]) -> Case:
    """The garbage in the values as large as sums of it may be."""
    large = min(1e30, asked.probe.largest / 4)
    names = {entry.tensor.name: large for entry in asked.parts.value_inputs}
    return asked.probe.planted(garbage, asked.sequence, places, names)


def permutation(asked: Asked) -> None:
    """A permutation of positions permutes the output along with them."""
    along = [axis for axis in SEQUENCES if asked.probe.axis(axis) and asked.parts.movable(axis)]
    moving = [axis for axis in along if asked.case.sizes[axis] >= LEAST]
    if not moving:
        raise NotJudged("one place cannot be moved")
    before = asked.probe.output(asked.case)
    for axis in moving:
        order = [int(n) for n in asked.rng.permutation(asked.case.sizes[axis])]
        order = order[::-1] if order == sorted(order) else order
        case = asked.probe.permuted(asked.case, axis, order)
        due = before.permuted(axis, order) if axis in before.axes else before
        asked.probe.output(case).equals(due, what=f"O after a permutation of the {axis}")


def alone(axis: str) -> Callable[[Asked], None]:
    """One entry of a batch, or one head, by itself gives what it gives among the others."""

    def ask(asked: Asked) -> None:
        """One entry of a batch, or one head, by itself gives what it gives among the others."""
        if asked.case.sizes[axis] < LEAST:
            raise NotJudged(f"there is one {axis} alone")
        one = int(asked.rng.integers(asked.case.sizes[axis]))
        case = asked.probe.only(asked.case, axis, one)
        among = asked.probe.output(asked.case).only(axis, one)
        asked.probe.output(case).equals(among, what=f"O of one place of {axis} alone")

    return ask


def linearity(asked: Asked) -> None:
    """V is -V and 2 V, whose sum has no rounding."""
    (name,) = {entry.tensor.name for entry in asked.parts.value_inputs}
    V = asked.case.arrays[name]
    part = asked.rng.random(V.shape) < 0.5
    parts = (np.where(part, -V, 2 * V), np.where(part, 2 * V, -V))
    one, other = (asked.probe.output(asked.probe.changed(asked.case, **{name: v})) for v in parts)
    asked.probe.output(asked.case).equals(one + other, what="O(V) against O(-V) + O(2 V)")


def value_shift(asked: Asked) -> None:
    """V + c adds c to O in every row that sees a key, c = 1 and V of whole numbers."""
    name = asked.values
    whole = np.round(np.asarray(asked.case.arrays[name], float)).clip(-4, 4)
    before = asked.probe.changed(asked.case, **{name: whole})
    after = asked.probe.changed(asked.case, **{name: whole + 1})
    first = asked.probe.output(before)
    shifted = replace(first, value=first.value + 1)
    seen = ~asked.probe.due(asked.probe.changed(asked.case, **{name: 0 * whole + 1})).exact_zeros
    asked.probe.output(after).equals(shifted, where=seen, what="O(V + 1) against O(V) + 1")


# ---- Backward


def key_gradients(asked: Asked) -> None:
    """sum_j dK_j = 0."""
    slopes = asked.probe.gradients(asked.case)
    for entry in asked.parts.key_inputs:
        axes = [index.axis.name for index in asked.parts.key_places(entry)]
        slope = slopes[entry.tensor.name]
        slope.summed(*axes).equals(0, what=f"sum over keys of d{entry.tensor.name}")


def value_gradients(asked: Asked) -> None:
    """sum_j dV_j = sum_i dO_i, over rows that see a key."""
    out = asked.parts.output.tensor.name
    slope = asked.probe.gradients(asked.case)[asked.values]
    ones = np.ones_like(asked.case.arrays[asked.values])
    due = asked.probe.due(asked.probe.changed(asked.case, **{asked.values: ones}))
    axes = [place_axis(place).name for place in asked.probe.spec.heads[out].places]
    if not {*axes} - {"queries"} <= {*slope.axes}:
        raise NotJudged("the values have other axes than the output")
    seed = np.asarray(asked.case.cotangents[out], float)
    seeds = Bounded(np.where(due.exact_zeros, 0, seed), np.zeros_like(seed), tuple(axes))
    left, right = slope.summed("keys"), seeds.summed("queries")
    if left.axes != right.axes or len(asked.case.cotangents) > 1:
        raise NotJudged("the values have other axes than the output")
    left.equals(right, what="sum over keys of dV against the sum over queries of dO")


def euler(asked: Asked) -> None:
    """<dQ, Q> = <dK, K>."""
    slopes = asked.probe.gradients(asked.case)
    sides = []
    for entries in (asked.parts.query_inputs, asked.parts.key_inputs):
        parts = [_inner(slopes[e.tensor.name], asked.case.arrays[e.tensor.name]) for e in entries]
        sides.append(sum(parts[1:], start=parts[0]))
    sides[0].equals(sides[1], what="<dQ, Q> against <dK, K>")


def _inner(slope: Bounded, array: Array) -> Bounded:
    product = slope.times(np.asarray(array).astype(float))
    return product.summed(*product.axes)


def seeds_add(asked: Asked) -> None:
    """Gradients of dO are those of one part of its entries plus those of the rest."""
    probe, case = asked.probe, asked.case
    kept = asked.rng.random(case.cotangents[asked.parts.output.tensor.name].shape) < 0.5
    others = {n: c for n, c in case.cotangents.items() if n != asked.parts.output.tensor.name}
    one = probe.pulled_by(case, kept)
    rest = probe.pulled_by(case, ~kept)
    rest = replace(rest, cotangents={**rest.cotangents, **others})
    first, second = probe.gradients(one), probe.gradients(rest)
    for name, slope in probe.gradients(case).items():
        slope.equals(first[name] + second[name], what=f"d{name} of a sum of two cotangents")
