"""The values due and their standard deviations, for one spec under one profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from attnverify.algebra.terms import Entry
from attnverify.compare import Due
from attnverify.compile import compile as compile_spec
from attnverify.compile.lower import lower
from attnverify.compile.recipe import Recipe, label
from attnverify.compile.run import aligned
from attnverify.compile.sizes import bind
from attnverify.dtypes import float_type, reference_is_wider, reference_type
from attnverify.equations import place_axis
from attnverify.rounding.forms import forms, softmaxes
from attnverify.rounding.noise import Amplitudes, NoisyMachine, Recomputed, exact_run
from attnverify.rounding.parts import Form
from attnverify.rounding.profiles import Profile, loose
from attnverify.spec import Spec

Array = NDArray[Any]

RUNS = 48
# Beyond these the first-order picture of rounding fails: long sums in a narrow type, scores beyond
# exp's precision.
LONGEST_SUM = 0.5
SCORE_ERROR = 0.25


@dataclass(frozen=True)
class _Case:
    """One case in float64: arrays, sizes, parameters, and the generator of its noise."""

    arrays: dict[str, Array]
    sizes: Mapping[str, int]
    parameters: Mapping[str, Any]
    rng: np.random.Generator


@dataclass(frozen=True)
class Expected:
    """What is due for one case, by output; `reason` says why nothing is where it cannot be told."""

    dues: Mapping[str, Due]
    reason: str = ""


class Rounding:
    """Bounds for a spec's outputs and, with `backward`, for its gradients by every real input.

    >>> import numpy as np
    >>> from attnverify import load
    >>> x = np.ones((1, 1, 2, 3))
    >>> expected = Rounding(load("global"), "float32").expected({"Q": x, "K": x, "V": x}, {})
    >>> bool(0 < expected.dues["O"].sigma.max() < 1e-6)
    True
    """

    def __init__(
        self,
        spec: Spec,
        dtype: str,
        *,
        internal: str | None = None,
        backward: bool = False,
        runs: int = RUNS,
    ) -> None:
        self.spec, self.dtype, self.runs = spec, float_type(dtype), runs
        self.profile = loose(dtype, internal)
        # In 16 bits nobody normalises by a rounded log-sum-exp: it would cost a digit.
        self.forms = forms(spec, backward=backward, logarithmic=self.profile.enlarged > 1)
        self.recipes = [lower(form.spec) for form in self.forms]
        whole = self.forms[0].spec.replace(outputs=self.forms[0].outputs)
        self.oracle = compile_spec(whole, dtype=_reference(dtype))
        self.outputs = self.forms[0].outputs

    @property
    def cotangents(self) -> dict[str, str]:
        """The input that holds the cotangent of each output."""
        extra = self.forms[0].spec.inputs[len(self.spec.inputs) :]
        return dict(zip(self.spec.outputs, (entry.tensor.name for entry in extra), strict=False))

    @property
    def gradients(self) -> dict[str, str]:
        """The output that holds the gradient by each real input."""
        real = [entry.tensor.name for entry in self.spec.inputs if entry.tensor.kind == "real"]
        return dict(zip(real, self.outputs[len(self.spec.outputs) :], strict=False))

    def expected(
        self,
        arrays: Mapping[str, Array],
        parameters: Mapping[str, Any],
        seed: int = 0,
        sizes: Mapping[str, int] | None = None,
    ) -> Expected:
        """The values due and sigma per entry, or the reason why this case cannot be judged.

        Arrays are in the spec's axis order, cotangents under their own names.  Raises ShapeError
        where arrays do not fit the spec.
        """
        given = {e.tensor.name: np.shape(arrays[e.tensor.name]) for e in self.spec.inputs}
        case = _Case(
            {name: _widened(array) for name, array in arrays.items()},
            bind(self.spec, given, sizes),
            parameters,
            np.random.default_rng(seed),
        )
        # Hundreds of small products: handing each to several threads costs more than it gives.
        with _threads().limit(limits=1, user_api="blas"):
            given_arrays = arrays_for(self.oracle.dtype, arrays)
            values = self.oracle(**given_arrays, **parameters, sizes=case.sizes)
            deviations, reason = self._deviations(case)
        if reason:
            return Expected({}, reason)
        return Expected({n: self._due(n, values[n], deviations[n]) for n in self.outputs})

    def _due(self, name: str, value: Array, deviation: Array) -> Due:
        # A reference no wider than the subject errs as much as the subject does.
        doubled = 1.0 if reference_is_wider(self.dtype.name) else 2.0**0.5
        # What is undefined has no error, and must not spoil the mean of its row.
        sigma = doubled * _smoothed(np.where(np.isnan(value), 0, deviation))
        # What the wider reference still tells from zero may be zero to the subject.
        floor = np.where(np.asarray(value) != 0, self.profile.quantum, 0.0)
        return Due(np.asarray(value), np.maximum(sigma, floor), self._axes(name))

    def _deviations(self, case: _Case) -> tuple[dict[str, Array], str]:
        """The largest deviation, a root mean square, of any form's disturbed runs."""
        widest: dict[str, Array] = {}
        seen = Seen(dict(self.forms[0].scores), {}, {}, case.sizes)
        for number in range(len(self.forms)):
            exact, spread, reason = self._runs(number, case, seen)
            if reason:
                return {}, reason
            if number == 0:
                seen = Seen(seen.scores, exact, spread, case.sizes)
            for name in self.outputs:
                # Each form is a program that somebody may rightly write: the widest counts.
                widest[name] = np.fmax(widest.get(name, spread[name]), spread[name])
        return widest, ""

    def _runs(
        self, number: int, case: _Case, seen: Seen
    ) -> tuple[dict[str, Array], dict[str, Array], str]:
        """One form: the exact values, the deviations of disturbed runs, or why there are none."""
        form, recipe = self.forms[number], self.recipes[number]
        amplitudes = Amplitudes(recipe, self.profile, case.sizes, form.row_terms)
        factor = self.profile.enlarged if form.enlarge else 1.0
        # What a loop computes, or nothing needs, has no operation of its own in the recipe.
        there = {op.out for op in recipe.ops}
        again = {
            m: seen.again(form, recipe, m, n, self.profile)
            for m, n in form.recomputed
            if m in there
        }
        again |= {m: seen.copied(form, recipe, m, n) for m, n in form.copies if m in there}
        given = {**case.arrays, **seen.peaks(form)}
        with np.errstate(all="ignore"):
            exact = exact_run(recipe, given, case.sizes, case.parameters, amplitudes)
            reason = self._unfit(form, amplitudes, exact)
            if reason:
                return exact, {}, reason
            machine = NoisyMachine(given, case.sizes, case.parameters, amplitudes, factor)
            count = max(1, self.runs // len(self.forms))
            runs = machine.runs(recipe, count, case.rng, again)
            # All forms are one function, and the first loses the least on the way.
            base = {**exact, **seen.exact}
            return exact, {n: root_mean_square(runs[n] - base[n], 0) / factor for n in runs}, ""

    def _unfit(self, form: Form, amplitudes: Amplitudes, exact: Mapping[str, Array]) -> str:
        """Why the case lies outside what the bound holds for; empty where it does not."""
        if amplitudes.longest * self.profile.accumulator > LONGEST_SUM:
            return f"a sum of {amplitudes.longest} terms is too long for its accumulator"
        scores = [exact[name] for _, name in form.scores]
        tallest = max(
            (float(np.abs(s[np.isfinite(s)]).max(initial=0)) for s in scores), default=0.0
        )
        if tallest * self.profile.stage > SCORE_ERROR:
            return f"scores of size {tallest:.3g} lose their meaning in {self.dtype.name}"
        if amplitudes.largest > self.profile.largest:
            size = f"{amplitudes.largest:.3g}"
            return f"an intermediate of size {size} lies outside the range of {self.dtype.name}"
        return ""

    def _axes(self, name: str) -> tuple[str, ...]:
        head: Entry = self.forms[0].spec.heads[name]
        return tuple(place_axis(place).name for place in head.places)


@dataclass(frozen=True)
class Seen:
    """What the first form showed: exact weights and scores, and how far the scores were moved."""

    scores: Mapping[str, str]
    exact: Mapping[str, Array]
    spread: Mapping[str, Array]
    sizes: Mapping[str, int]

    def again(
        self, form: Form, recipe: Recipe, marker: str, weights: str, profile: Profile
    ) -> Recomputed:
        """The noise of weights computed again from rounded scores and a rounded log-sum-exp."""
        head = form.spec.heads[weights]
        flat = tuple(label(index) for index in head.indices)
        shape = [self.sizes[index.axis.name] for index in head.indices]
        shown = self.exact[self.scores[weights]].reshape(shape)
        score = np.where(np.isfinite(shown), shown, 0)
        over = head.indices.index(softmaxes(form.spec)[weights].at)
        lse = _log_sum_exp(score, self.exact[weights].reshape(shape), over)
        anew = (np.abs(score) + profile.exponential) * profile.stage / np.sqrt(3)
        entrywise = np.hypot(self.spread[self.scores[weights]].reshape(shape), anew)
        rowwise = profile.stage * np.abs(lse) / np.sqrt(3)
        want = next(op.labels for op in recipe.ops if op.out == marker)
        return Recomputed(aligned(entrywise, flat, want), aligned(rowwise, flat, want))

    def copied(self, form: Form, recipe: Recipe, marker: str, name: str) -> Recomputed:
        """The noise of a sum that is computed a second time in another way."""
        head = form.spec.heads[name]
        flat = tuple(label(index) for index in head.indices)
        shape = [self.sizes[index.axis.name] for index in head.indices]
        value = np.abs(self.exact[name].reshape(shape))
        relative = np.where(value > 0, self.spread[name].reshape(shape), 0) / np.where(
            value > 0, value, 1
        )
        want = next(op.labels for op in recipe.ops if op.out == marker)
        # Two computations differ by the errors of both.
        entrywise = aligned(np.sqrt(2) * relative, flat, want)
        return Recomputed(entrywise, np.zeros_like(entrywise))

    def peaks(self, form: Form) -> dict[str, Array]:
        """The largest score of each row, and where running maxima stand."""
        found: dict[str, Array] = {}
        for peak in form.peaks:
            weights, scores = self.exact[peak.weights], self.exact[self.scores[peak.weights]]
            best = np.argmax(weights, axis=peak.place, keepdims=True)
            found[peak.largest.tensor.name] = _records(scores, weights > 0, peak.place)
            top = np.take_along_axis(scores, best, peak.place).squeeze(peak.place)
            found[peak.top.tensor.name] = np.where(np.isfinite(top), top, 0)
        return found


def _records(scores: Array, seen: Array, axis: int) -> Array:
    """1 where a seen score is the largest so far from either end: what a running maximum takes."""
    shown = np.where(seen, scores, -np.inf)
    ahead = np.maximum.accumulate(shown, axis)
    behind = np.flip(np.maximum.accumulate(np.flip(shown, axis), axis), axis)
    return np.where(seen & ((shown == ahead) | (shown == behind)), 1.0, 0.0)


def _log_sum_exp(score: Array, weights: Array, over: int) -> Array:
    """The log-sum-exp of each row, L = S - log A, read at its largest weight."""
    best = np.argmax(weights, axis=over, keepdims=True)
    top = np.take_along_axis(weights, best, over)
    logs = np.log(np.where(top > 0, top, 1))
    return np.asarray(np.take_along_axis(score, best, over) - logs)


@cache
def _threads() -> ThreadpoolController:
    """The thread pools of the libraries at hand; looking for them takes a while."""
    return ThreadpoolController()


def root_mean_square(array: Array, axis: int) -> Array:
    """The root mean square along an axis, scaled first: squares of small numbers would vanish."""
    size = np.max(np.abs(array), axis=axis, keepdims=True, initial=0.0)
    unit = np.where(size > 0, size, 1.0)
    return np.asarray(np.squeeze(size, axis) * np.sqrt(np.mean(np.square(array / unit), axis=axis)))


def _smoothed(deviation: Array) -> Array:
    """Half an entry's own variance, half its row's mean; what no run moved stays fixed."""
    if deviation.ndim == 0 or not deviation.shape[-1]:
        return deviation
    row = root_mean_square(deviation, -1)[..., None]
    return np.asarray(np.where(deviation > 0, np.hypot(deviation, row) / np.sqrt(2), deviation))


def _reference(dtype: str) -> str:
    return "longdouble" if reference_type(dtype) == np.longdouble else "float64"


def _widened(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype.kind in "fV" else array


def arrays_for(dtype: np.dtype[Any], arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Real arrays in the working type of an oracle, exactly: every subject's type is narrower."""
    return {n: a.astype(dtype) if a.dtype.kind in "fV" else a for n, a in arrays.items()}
