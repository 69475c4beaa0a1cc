"""The words that written property tests are made of: a subject on trial, its bounded answers.

A property compares the subject with itself, or with what the spec's form says; how far the two may
lie apart is derived from the spec for the case drawn, never typed.  Each statement returns nothing
where it holds and raises RefutedError in words where it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, reject, settings
from hypothesis.strategies import SearchStrategy
from numpy.typing import NDArray

from attnverify.algebra.terms import Entry, Index
from attnverify.check.judge import Answers, Judge
from attnverify.compare import WIDTHS, at_most, within
from attnverify.dtypes import float_type
from attnverify.equations import place_axis
from attnverify.errors import ParameterError, RefutedError
from attnverify.inputs import Case, Support, cases, supported
from attnverify.library import load
from attnverify.rounding import Rounding
from attnverify.spec import Spec
from attnverify.subjects import subject
from attnverify.verdict import Status, Verdict

Array = NDArray[Any]
# What some thousand operations in float64 may add to a bound that a test computes.
OWN = 2.0**-40
Order: TypeAlias = "Sequence[int] | NDArray[np.integer[Any]]"

# The first case of a spec compiles it, which says nothing about the subject; what Hypothesis would
# explain are lines of this package.
properties = settings(
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[phase for phase in Phase if phase is not Phase.explain],
)


@dataclass(frozen=True)
class Bounded:
    """An output in the spec's axis order, with the standard deviation of each entry's rounding."""

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

    def permuted(self, axis: str, order: Order) -> Bounded:
        """The same with its places along an axis in another order."""
        at = self.axes.index(axis)
        return Bounded(np.take(self.value, order, at), np.take(self.sigma, order, at), self.axes)

    def only(self, axis: str, place: int) -> Bounded:
        """The one place of an axis, which stays as an axis of size one."""
        return self.permuted(axis, [place])

    def summed(self, axis: str) -> Bounded:
        """The sum over an axis; its errors may add up."""
        at = self.axes.index(axis)
        left = (*self.axes[:at], *self.axes[at + 1 :])
        return Bounded(self.value.sum(axis=at), self.sigma.sum(axis=at), left)

    def norms(self, axis: str) -> Bounded:
        """The Euclidean norm at each place of an axis, over all other axes."""
        at = self.axes.index(axis)
        value, sigma = (
            np.moveaxis(x, at, 0).reshape(x.shape[at], -1) for x in (self.value, self.sigma)
        )
        return Bounded(np.linalg.norm(value, axis=1), np.linalg.norm(sigma, axis=1), (axis,))

    def at_most(self, bound: Array) -> None:
        """Raise RefutedError where an entry exceeds a bound by more than rounding may."""
        __tracebackhide__ = True
        limit = bound * (1 + OWN) + WIDTHS * self.sigma
        _demand(at_most("the property", self.value, limit, self.axes))

    def equals(self, due: Bounded | float, *, where: Array | None = None) -> None:
        """Raise RefutedError unless each entry, those of `where`, is as due within both bounds."""
        __tracebackhide__ = True
        other = due if isinstance(due, Bounded) else self._filled(due)
        got = self.value if where is None else np.where(where, self.value, other.value)
        bound = WIDTHS * (self.sigma + other.sigma)
        _demand(within("the property", got, other.value, bound, self.axes))

    def _filled(self, value: float) -> Bounded:
        return Bounded(np.full_like(self.value, value), np.zeros_like(self.sigma), self.axes)


class Trial:
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
        self.spec, self.dtype, self.sizes = load(spec), dtype, dict(sizes or {})
        self._judge = Judge(
            self.spec, subject(fn, self.spec, dtype=dtype, **told), dtype, internal=internal
        )
        self._bounds = Rounding(self.spec, dtype, internal=internal)
        self._looked = False

    def cases(self) -> SearchStrategy[Case]:
        """Cases to draw: unequal sizes from one upward, every style of entries; no empty rows."""
        return cases(self.spec, dtype=self.dtype, support=self.sizes)

    # ---- What the subject says, and what is due

    def output(self, case: Case, *, bound_of: Case | None = None) -> Bounded:
        """The subject's first output; SubjectError where it gives none of the right shape.

        `bound_of` is a case from which this one differs only where it makes no difference.
        """
        __tracebackhide__ = True
        due = self.due(bound_of or case)
        found = self._judge.subject.forward(case.arrays, case.parameters)
        return replace(due, value=_wide(self._judge.restored(found, case)))

    def due(self, case: Case) -> Bounded:
        """What the spec's oracle gives; a case that no bound can be had for is not drawn."""
        expected = self._bounds.expected(case.arrays, case.parameters, case.seed, case.sizes)
        if expected.reason:
            reject()
        due = expected.dues[self.spec.outputs[0]]
        return Bounded(_wide(due.value), _wide(due.sigma), due.axes)

    def unmoved(self, case: Case, other: Case) -> Array:
        """Where the spec's own output is the same in two cases, to the last bit."""
        first, second = (self._oracle(c) for c in (case, other))
        return np.asarray(first == second)

    def _oracle(self, case: Case) -> Array:
        oracle = self._bounds.oracle
        real = {
            n: a.astype(oracle.dtype) if a.dtype.kind in "fV" else a for n, a in case.arrays.items()
        }
        found = oracle(**real, **case.parameters, sizes=case.sizes)
        return np.asarray(found[self.spec.outputs[0]])

    def forward_agrees(self, case: Case) -> None:
        """Raise RefutedError unless shape, type and every entry of each output are as due."""
        __tracebackhide__ = True
        _demand(*self._verdicts(self._judge.ask(case, backward=False), "forward"))

    def backward_agrees(self, case: Case) -> None:
        """Raise RefutedError unless every entry of each gradient is as due; skips without one."""
        __tracebackhide__ = True
        self._look(case)
        _demand(*self._verdicts(self._judge.ask(case), "backward"))

    def gradient(self, case: Case, name: str) -> Bounded:
        """The subject's gradient by an input, for the case's cotangents; skips without one."""
        __tracebackhide__ = True
        self._look(case)
        whole = self._judge.whole
        arrays = {**case.arrays, **self._judge.seeds(case)}
        expected = whole.expected(arrays, case.parameters, case.seed, case.sizes)
        if expected.reason:
            reject()
        due = expected.dues[whole.gradients[name]]
        _, found = self._judge.subject.backward(case.arrays, case.cotangents, case.parameters)
        got = found[name]
        if got is None:
            return Bounded(np.zeros(due.value.shape), _wide(due.sigma), due.axes)
        inward = self._judge.subject.plan.layout.at(case.arrays).inward(name, got, case.sizes)
        return Bounded(_wide(inward), _wide(due.sigma), due.axes)

    def _look(self, case: Case) -> None:
        """Skip the test where the backward pass cannot be asked."""
        if not self._looked:
            self._judge.look(case)
            self._looked = True
        if self._judge.no_backward:
            pytest.skip(self._judge.no_backward)

    def _verdicts(self, answers: Answers, side: str) -> list[Verdict]:
        found = [v for name, v in answers.verdicts.items() if name.startswith(side)]
        if answers.skipped or any(v.status is Status.UNDECIDED for v in found):
            reject()
        return found

    # ---- Changes of a case

    def changed(self, case: Case, **arrays: Array) -> Case:
        """The case with other inputs, of the same shapes and types; ParameterError otherwise."""
        found = dict(case.arrays)
        for name, array in arrays.items():
            if name not in found or np.shape(array) != found[name].shape:
                raise ParameterError("no such input of this shape", found=name)
            found[name] = np.asarray(array).astype(found[name].dtype)
        return replace(case, arrays=found)

    def axis(self, name: str) -> dict[str, tuple[int, ...]]:
        """The inputs that run along an axis, each with its dimensions there."""
        found = {entry.tensor.name: _dimensions(entry, name) for entry in self.spec.inputs}
        return {tensor: places for tensor, places in found.items() if places}

    def permuted(self, case: Case, axis: str, order: Order) -> Case:
        """The case with every input that runs along an axis in another order there."""
        found = dict(case.arrays)
        for name, places in self.axis(axis).items():
            for place in places:
                found[name] = np.take(found[name], order, place)
        return replace(case, arrays=found)

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
        value = _wide(case.cotangents[name])
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
            for at in _dimensions(head, axis):
                return at, axis
        raise ParameterError(
            "flow is measured from one position of a sequence to another",
            spec=self.spec.name, found=str(head), due="an axis of queries or time by itself",
        )  # fmt: skip

    def only(self, case: Case, axis: str, place: int) -> Case:
        """The case cut down to one place of an axis; not drawn where no such size is taken."""
        sizes = {**case.sizes, axis: 1}
        if supported(self.spec, sizes, self.sizes) != sizes:
            reject()
        return replace(self.permuted(case, axis, [place]), sizes=sizes)

    def garbage(self, case: Case, axis: str, places: slice | Order) -> Case:
        """The case with large finite numbers in the real inputs at some places of an axis."""
        # The cube root leaves room for what products of three of them would reach.
        large = round(float_type(self.dtype).largest ** (1 / 3))
        real = {entry.tensor.name for entry in self.spec.inputs if entry.tensor.kind == "real"}
        found = dict(case.arrays)
        for name, dimensions in self.axis(axis).items():
            if name in real:
                found[name] = found[name].copy()
                for at in dimensions:
                    np.moveaxis(found[name], at, 0)[places] = large
        return replace(case, arrays=found)


def _dimensions(entry: Entry, axis: str) -> tuple[int, ...]:
    places = enumerate(entry.places)
    return tuple(n for n, at in places if isinstance(at, Index) and at.axis.name == axis)


def _wide(array: Array) -> Array:
    return np.asarray(array).astype(np.longdouble if array.dtype == np.longdouble else np.float64)


def _demand(*verdicts: Verdict) -> None:
    """Raise RefutedError in the words of the first verdict that is REFUTED."""
    __tracebackhide__ = True
    for verdict in verdicts:
        if verdict.status is not Status.HELD:
            raise RefutedError(f"{verdict.name}: {verdict.detail}", verdicts=verdicts)


__all__ = ["Bounded", "Trial", "properties"]
