"""Ask a subject changed cases, and know how far each of its answers may stray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from attnverify.algebra.terms import Entry, Index
from attnverify.check.judge import Judge
from attnverify.compare import WIDTHS, at_most, within
from attnverify.dtypes import float_type
from attnverify.errors import ParameterError, RefutedError
from attnverify.inputs import Case, Support, supported
from attnverify.verdict import Status, Verdict

Array = NDArray[Any]
Order: TypeAlias = "Sequence[int] | NDArray[np.integer[Any]]"


# What some thousand operations in float64 may add to a bound that a test computes.
OWN = 2.0**-40
# Cases whose bounds are remembered.
KEPT = 64


class NotJudged(Exception):  # noqa: N818  no error: the case says nothing
    """A case for which no bound can be had, or which cannot be had at these sizes."""


@dataclass(frozen=True)
class Bounded:
    """An array in the spec's axis order, with the standard deviation of each entry's rounding."""

    value: Array
    sigma: Array
    axes: tuple[str, ...]

    def __add__(self, other: Bounded) -> Bounded:
        """The sum; its errors may add up."""
        return Bounded(self.value + other.value, self.sigma + other.sigma, self.axes)

    @property
    def exact_zeros(self) -> Array:
        """Where nothing but zero is due, whatever rounding does."""
        return np.asarray((self.value == 0) & (self.sigma == 0))

    def times(self, factor: Array | float) -> Bounded:
        """Each entry times a number that is exact."""
        return Bounded(self.value * factor, self.sigma * np.abs(factor), self.axes)

    def summed(self, *axes: str) -> Bounded:
        """The sum over axes; its errors may add up."""
        at = tuple(self._at(axis) for axis in axes)
        left = tuple(axis for axis in self.axes if axis not in axes)
        return Bounded(np.sum(self.value, axis=at), np.sum(self.sigma, axis=at), left)

    def permuted(self, axis: str, order: Order) -> Bounded:
        """The same with its places along an axis in another order."""
        at = self._at(axis)
        return Bounded(np.take(self.value, order, at), np.take(self.sigma, order, at), self.axes)

    def _at(self, axis: str) -> int:
        if axis not in self.axes:
            raise NotJudged(f"{axis} is no axis of its own")
        return self.axes.index(axis)

    def only(self, axis: str, place: int) -> Bounded:
        """The one place of an axis, which stays as an axis of size one."""
        return self.permuted(axis, [place])

    def norms(self, axis: str) -> Bounded:
        """The Euclidean norm at each place of an axis, over all other axes."""
        at = self._at(axis)
        value, sigma = (
            np.moveaxis(x, at, 0).reshape(x.shape[at], -1) for x in (self.value, self.sigma)
        )
        return Bounded(np.linalg.norm(value, axis=1), np.linalg.norm(sigma, axis=1), (axis,))

    def at_most(self, bound: Array) -> None:
        """Raise RefutedError where an entry exceeds a bound by more than rounding may."""
        __tracebackhide__ = True
        limit = bound * (1 + OWN) + WIDTHS * self.sigma
        demand(at_most("the property", self.value, limit, self.axes))

    def equals(
        self, due: Bounded | float, *, where: Array | None = None, what: str = "the property"
    ) -> None:
        """Raise RefutedError unless each entry, those of `where`, is as due within both bounds."""
        __tracebackhide__ = True
        other = due if isinstance(due, Bounded) else self._filled(due)
        got = self.value if where is None else np.where(where, self.value, other.value)
        bound = WIDTHS * (self.sigma + other.sigma)
        demand(within(what, got, other.value, bound, self.axes))

    def _filled(self, value: float) -> Bounded:
        return Bounded(np.full_like(self.value, value), np.zeros_like(self.sigma), self.axes)


class Probe:
    """One judge's subject, asked cases that are changed in ways whose effect is known."""

    def __init__(self, judge: Judge, support: Support | None = None) -> None:
        self.judge, self.spec, self.dtype = judge, judge.spec, judge.dtype
        self.support: Support = support or {}
        # Whoever computes in a narrower type inside has that one's range.
        inside = {self.dtype, judge.internal or self.dtype}
        self.largest = min(float_type(name).largest for name in inside)
        self._kept: dict[int, tuple[Case, Mapping[str, Bounded]]] = {}

    # ---- What the subject says, and what is due

    def output(self, case: Case, *, bound_of: Case | None = None) -> Bounded:
        """The subject's first output; SubjectFault where it gives none of the right shape.

        `bound_of` is a case from which this one differs only where it makes no difference.
        """
        __tracebackhide__ = True
        due = self.due(bound_of or case)
        found = self.judge.subject.forward(case.arrays, case.parameters)
        return replace(due, value=wide(self.judge.restored(found, case)))

    def outputs(self, case: Case) -> dict[str, Array]:
        """Every output of the subject in the spec's axis order; SubjectFault for another shape."""
        found = self.judge.subject.forward(case.arrays, case.parameters)
        return {n: wide(self.judge.restored_as(n, array, case)) for n, array in found.items()}

    def gradients(self, case: Case, *, bound_of: Case | None = None) -> dict[str, Bounded]:
        """The subject's gradient by each real input; one that it does not give is 0."""
        __tracebackhide__ = True
        dues = self.dues(bound_of or case, backward=True)
        _, slopes = self.judge.subject.backward(case.arrays, case.cotangents, case.parameters)
        found = {}
        for name, slope in slopes.items():
            due = dues[self.judge.whole.gradients[name]]
            value = np.zeros_like(due.value)
            if slope is not None:
                value = wide(self.judge.restored_as(name, slope, case))
            found[name] = replace(due, value=value)
        return found

    def due(self, case: Case) -> Bounded:
        """The first output that the spec's oracle gives; NotJudged where no bound can be had."""
        return self.dues(case)[self.spec.outputs[0]]

    def dues(self, case: Case, *, backward: bool = False) -> Mapping[str, Bounded]:
        """What is due for each output and, with `backward`, for each gradient."""
        key = 2 * id(case) + backward
        if key not in self._kept:
            expected = self.judge.expected(case, backward=backward)
            if expected.reason:
                raise NotJudged(expected.reason)
            found = {
                name: Bounded(wide(due.value), wide(due.sigma), due.axes)
                for name, due in expected.dues.items()
            }
            if not all(np.isfinite(b.sigma[np.isfinite(b.value)]).all() for b in found.values()):
                raise NotJudged("a disturbed run left the range of the reference")
            if len(self._kept) > KEPT:
                self._kept.clear()
            # The case is kept with what is due for it, so that no other takes its place in memory.
            self._kept[key] = case, found
        return self._kept[key][1]

    def unmoved(self, case: Case, other: Case) -> Array:
        """Where the spec's own first output is the same in two cases, to the last bit."""
        first, second = (self._oracle(c) for c in (case, other))
        return np.asarray((first == second) | (np.isnan(first) & np.isnan(second)))

    def within_range(self, case: Case) -> bool:
        """Whether the spec's own outputs are finite and the subject's type can hold them."""
        found = np.asarray(self._oracle(case), float)
        return bool((np.abs(found) < self.largest).all())

    def _oracle(self, case: Case) -> Array:
        return np.asarray(self.judge.exactly(case)[self.spec.outputs[0]])

    # ---- Changes of a case

    def changed(self, case: Case, **arrays: Array) -> Case:
        """The case with other inputs, of the same shapes and types; ParameterError otherwise."""
        found = dict(case.arrays)
        for name, array in arrays.items():
            if name not in found or np.shape(array) != found[name].shape:
                raise ParameterError("no such input of this shape", found=name)
            if (np.abs(wide(array)) > self._end(name)).any():
                raise NotJudged(f"{name} has no room for what it is changed to")
            found[name] = np.asarray(array).astype(found[name].dtype)
        return replace(case, arrays=found)

    def _end(self, name: str) -> float:
        """The largest number that an input of 8 bits holds; no end for any other."""
        kind = self.judge.types.get(name)
        return np.inf if kind is None or kind.largest >= self.largest else kind.largest

    def pulled_by(self, case: Case, kept: Array) -> Case:
        """The case with the cotangent of the first output zero but where `kept`."""
        out = self.spec.outputs[0]
        zeroed = {n: np.zeros_like(c) for n, c in case.cotangents.items()}
        seed = case.cotangents[out]
        zeroed[out] = np.where(kept, seed, np.zeros_like(seed))
        return replace(case, cotangents=zeroed)

    def axis(self, name: str) -> dict[str, tuple[int, ...]]:
        """The inputs that run along an axis, each with its dimensions there."""
        found = {entry.tensor.name: dimensions(entry, name) for entry in self.spec.inputs}
        return {tensor: places for tensor, places in found.items() if places}

    def permuted(self, case: Case, axis: str, order: Order) -> Case:
        """The case with every input that runs along an axis in another order there."""
        found = dict(case.arrays)
        for name, places in self.axis(axis).items():
            for place in places:
                found[name] = np.take(found[name], order, place)
        return replace(case, arrays=found)

    def only(self, case: Case, axis: str, place: int) -> Case:
        """The case cut down to one place of an axis; NotJudged where no such size is taken."""
        sizes = {**case.sizes, axis: 1}
        if supported(self.spec, sizes, self.support) != sizes:
            raise NotJudged(f"{axis} is never one")
        return replace(self.permuted(case, axis, [place]), sizes=sizes)

    def garbage(self, case: Case, axis: str, places: slice | Order, *, root: int = 3) -> Case:
        """The case with large finite numbers in the real inputs at some places of an axis.

        A root of the largest number leaves room for products of that many of them.
        """
        large = round(self.largest ** (1 / root))
        return self.planted(case, axis, places, dict.fromkeys(self.axis(axis), large))

    def planted(
        self, case: Case, axis: str, places: slice | Order, values: Mapping[str, float]
    ) -> Case:
        """The case with one number in each of some real inputs at some places of an axis.

        What is finite is brought inside the range of an input of 8 bits.
        """
        real = {entry.tensor.name for entry in self.spec.inputs if entry.tensor.kind == "real"}
        found = dict(case.arrays)
        for name, dimensions in self.axis(axis).items():
            if name in real and name in values:
                found[name], end = found[name].copy(), self._end(name)
                number = (
                    np.clip(values[name], -end, end) if isfinite(values[name]) else values[name]
                )
                for at in dimensions:
                    np.moveaxis(found[name], at, 0)[places] = number
        return replace(case, arrays=found)


class Oracle(Probe):
    """The spec's own oracle in the subject's place: what it breaks is no law of the spec."""

    def output(self, case: Case, *, bound_of: Case | None = None) -> Bounded:
        """The oracle's first output, as sure as the subject's would be."""
        return replace(self.due(bound_of or case), value=wide(self._oracle(case)))

    def outputs(self, case: Case) -> dict[str, Array]:
        """Every output of the oracle."""
        return {name: wide(array) for name, array in self.judge.exactly(case).items()}

    def gradients(self, case: Case, *, bound_of: Case | None = None) -> dict[str, Bounded]:
        """The oracle's gradient by each real input, as sure as the subject's would be."""
        dues = self.dues(bound_of or case, backward=True)
        found = self.judge.exactly(case, backward=True)
        names = self.judge.whole.gradients
        return {n: replace(dues[out], value=wide(found[out])) for n, out in names.items()}


def dimensions(entry: Entry, axis: str) -> tuple[int, ...]:
    """At which dimensions an array runs along an axis by itself."""
    places = enumerate(entry.places)
    return tuple(n for n, at in places if isinstance(at, Index) and at.axis.name == axis)


def wide(array: Array) -> Array:
    """The array in a type in which sums of its entries lose nothing that matters."""
    return np.asarray(array).astype(np.longdouble if array.dtype == np.longdouble else np.float64)


def demand(*verdicts: Verdict) -> None:
    """Raise RefutedError in the words of the first verdict that did not hold."""
    __tracebackhide__ = True
    for verdict in verdicts:
        if verdict.status is not Status.HELD:
            raise RefutedError(f"{verdict.name}: {verdict.detail}", verdicts=verdicts)
