"""The values due and their standard deviations, for one spec under one profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit
from threadpoolctl import ThreadpoolController

from attnverify.algebra.terms import Entry
from attnverify.compare import WIDTHS, Due
from attnverify.compile import compile as compile_spec
from attnverify.compile.lower import lower
from attnverify.compile.recipe import Recipe
from attnverify.compile.sizes import bind
from attnverify.dtypes import FloatType, float_type, reference_is_wider, reference_type
from attnverify.equations import place_axis
from attnverify.rounding.altered import Altered, Given
from attnverify.rounding.amplitudes import Amplitudes, exact_run
from attnverify.rounding.filters import filters
from attnverify.rounding.forms import forms
from attnverify.rounding.noise import NoisyMachine
from attnverify.rounding.parts import Form
from attnverify.rounding.profiles import near_zero
from attnverify.rounding.profiles import profile as named_profile
from attnverify.rounding.seen import Seen
from attnverify.spec import Spec

Array = NDArray[Any]

RUNS = 48
# Where only what is stored is rounded there is no slack for a sigma that few runs make too small.
SELECTIVE_RUNS = 96
# Runs are made together as far as all their arrays have fewer entries than this: half a gigabyte.
TOGETHER = 2**26
# How far the mean of a row may widen an entry of it, in standard deviations of the entry's own.
NEAR = 1.2
# Beyond these the first-order picture of rounding fails: long sums in a narrow type, scores beyond
# exp's precision.
LONGEST_SUM = 0.5
SCORE_ERROR = 0.25


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
        profile: str = "loose",
        backward: bool = False,
        runs: int | None = None,
        types: Mapping[str, FloatType] | None = None,
    ) -> None:
        self.spec, self.dtype = spec, float_type(dtype)
        self.profile = named_profile(profile, dtype, internal)
        self.types = types or {}
        self.runs = runs or (SELECTIVE_RUNS if self.profile.selective else RUNS)
        # In 16 bits nobody normalises by a rounded log-sum-exp: it would cost a digit.
        self.forms = forms(spec, backward=backward, logarithmic=self.profile.enlarged > 1)
        self.recipes = [lower(form.spec) for form in self.forms]
        whole = self.forms[0].spec.replace(outputs=self.forms[0].outputs)
        self.oracle = compile_spec(whole, dtype=_reference(dtype))
        self.outputs = self.forms[0].outputs
        self._backward = backward

    @cached_property
    def altered(self) -> Altered:
        """The same program with a fault in it, made when first asked for."""
        return Altered(self.spec, backward=self._backward)

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
        *,
        matched: bool = False,
    ) -> Expected:
        """The values due and sigma per entry, or the reason why this case cannot be judged.

        `matched` asks for filters too, which tell together what no entry tells.  Arrays are in the
        spec's axis order, cotangents under their own names.  Raises ShapeError
        where arrays do not fit the spec.
        """
        found, _ = self._found(arrays, parameters, seed, sizes, keep=matched, matched=matched)
        return found

    def expected_with_runs(
        self,
        arrays: Mapping[str, Array],
        parameters: Mapping[str, Any],
        seed: int = 0,
        sizes: Mapping[str, int] | None = None,
    ) -> tuple[Expected, dict[str, list[Array]]]:
        """What is due, and how far each disturbed run of each legal form is off, by output.

        Runs are the leading axis: what is computed from an answer strays as the same is of runs.
        """
        return self._found(arrays, parameters, seed, sizes, keep=True)

    def _found(
        self,
        arrays: Mapping[str, Array],
        parameters: Mapping[str, Any],
        seed: int,
        sizes: Mapping[str, int] | None,
        *,
        keep: bool,
        matched: bool = False,
    ) -> tuple[Expected, dict[str, list[Array]]]:
        case = self.given(arrays, parameters, sizes)
        rng = np.random.default_rng(seed)
        # Hundreds of small products: handing each to several threads costs more than it gives.
        with _threads().limit(limits=1, user_api="blas"):
            given_arrays = arrays_for(self.oracle.dtype, arrays)
            values = self.oracle(**given_arrays, **parameters, sizes=case.sizes)
            deviations, runs, reason = self._deviations(case, rng, keep=keep)
            slope = self.altered.slope(case) if matched and not reason else None
        if reason:
            return Expected({}, reason), {}
        dues = {n: self._due(n, values[n], deviations[n]) for n in self.outputs}
        if matched:
            dues = {n: _filtered(d, runs[n], (slope or {}).get(n)) for n, d in dues.items()}
        return Expected(dues), runs

    def given(
        self,
        arrays: Mapping[str, Array],
        parameters: Mapping[str, Any],
        sizes: Mapping[str, int] | None = None,
    ) -> Given:
        """One case as bounds and faults are computed on it: in float64, with the size of each axis.

        Raises ShapeError where arrays do not fit the spec.
        """
        shapes = {e.tensor.name: np.shape(arrays[e.tensor.name]) for e in self.spec.inputs}
        wide = {name: _widened(array) for name, array in arrays.items()}
        return Given(wide, parameters, bind(self.spec, shapes, sizes))

    def _due(self, name: str, value: Array, deviation: Array) -> Due:
        # A reference no wider than the subject errs as much as the subject does.
        doubled = 1.0 if reference_is_wider(self.dtype.name) else 2.0**0.5
        # What is undefined or infinite has no error, and must not spoil the mean of its row.
        told = np.where(np.isfinite(value), deviation, 0)
        smooth = _smoothed(told, None if self.profile.selective else NEAR)
        sigma = doubled * (self._sure * np.fmax(smooth, told) if self.profile.selective else smooth)
        # What the wider reference still tells from zero may be zero to the subject.
        floor = np.where(np.asarray(value) != 0, near_zero(self.profile.stored), 0.0)
        return Due(np.asarray(value), np.maximum(sigma, floor), self._axes(name))

    @property
    def _count(self) -> int:
        """The runs of each form."""
        return max(1, self.runs // len(self.forms))

    @property
    def _sure(self) -> float:
        """How much wider a sigma from these runs must be to be as sure as one that is known.

        Errors of a row may go together, and then each of its runs tells the same of all of it:
        error over sigma follows Student's distribution with as many degrees of freedom as runs.
        """
        return float(stdtrit(self._count, ndtr(-WIDTHS))) / -WIDTHS

    def _deviations(
        self, case: Given, rng: np.random.Generator, *, keep: bool
    ) -> tuple[dict[str, Array], dict[str, list[Array]], str]:
        """The largest deviation, a root mean square, of any form's disturbed runs; those kept."""
        widest: dict[str, Array] = {}
        kept: dict[str, list[Array]] = {name: [] for name in self.outputs}
        seen = Seen(dict(self.forms[0].scores), {}, {}, case.sizes)
        for number in range(len(self.forms)):
            exact, moved, reason = self._runs(number, case, seen, rng)
            if reason:
                return {}, {}, reason
            spread = {n: root_mean_square(runs, 0) for n, runs in moved.items()}
            if number == 0:
                seen = Seen(seen.scores, exact, spread, case.sizes)
            for name in self.outputs:
                # Each form is a program that somebody may rightly write: the widest counts.
                widest[name] = np.fmax(widest.get(name, spread[name]), spread[name])
                kept[name] += [moved[name]] if keep else []
        return widest, kept, ""

    def _runs(
        self, number: int, case: Given, seen: Seen, rng: np.random.Generator
    ) -> tuple[dict[str, Array], dict[str, Array], str]:
        """One form: the exact values, how far each disturbed run is off, or why there are none."""
        form, recipe = self.forms[number], self.recipes[number]
        factor = self.profile.enlarged if form.enlarge else 1.0
        shares = {n: share / factor for n, share in seen.shares(form).items()}
        amplitudes = self._amplitudes(form, recipe, case, shares)
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
            parts = [
                NoisyMachine(given, case.sizes, case.parameters, amplitudes, factor).runs(
                    recipe, part, rng, again
                )
                for part in _parts(self._count, amplitudes.entries)
            ]
            runs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            # All forms are one function, and the first loses the least on the way.
            base = {**exact, **seen.exact}
            return exact, {n: (runs[n] - base[n]) / factor for n in runs}, ""

    def _amplitudes(
        self, form: Form, recipe: Recipe, case: Given, shares: Mapping[str, Array]
    ) -> Amplitudes:
        """What the exact run of a form is to fill in."""
        return Amplitudes(
            recipe,
            self.profile,
            case.sizes,
            form.row_terms,
            outputs=form.outputs,
            stored=form.stored,
            # What is computed again is rounded again.
            anew=bool(form.recomputed),
            shares=shares,
            types=self.types,
        )

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
        if amplitudes.beyond:
            size = f"{amplitudes.largest:.3g}"
            return f"an intermediate of size {size} lies outside the range of {self.dtype.name}"
        return ""

    def _axes(self, name: str) -> tuple[str, ...]:
        head: Entry = self.forms[0].spec.heads[name]
        return tuple(place_axis(place).name for place in head.places)


def _filtered(due: Due, runs: list[Array], slope: Array | None) -> Due:
    """What is due with the directions that errors may share."""
    return replace(due, filters=filters(due.value, due.sigma, runs, slope))


def _parts(count: int, entries: int) -> list[int]:
    """How many runs to make together, where one takes arrays of so many entries in all.

    >>> _parts(16, 2**23)
    [8, 8]
    """
    most = max(1, min(count, TOGETHER // max(1, entries)))
    return [min(most, count - begun) for begun in range(0, count, most)]


@cache
def _threads() -> ThreadpoolController:
    """The thread pools of the libraries at hand; looking for them takes a while."""
    return ThreadpoolController()


def root_mean_square(array: Array, axis: int) -> Array:
    """The root mean square along an axis, scaled first: squares of small numbers would vanish."""
    size = np.max(np.abs(array), axis=axis, keepdims=True, initial=0.0)
    unit = np.where(size > 0, size, 1.0)
    # Where some run is infinite nothing is known of the mean, and NaN says so.
    with np.errstate(invalid="ignore"):
        scaled = np.square(array / unit)
    return np.asarray(np.squeeze(size, axis) * np.sqrt(np.mean(scaled, axis=axis)))


def _smoothed(deviation: Array, near: float | None) -> Array:
    """Half an entry's own variance, half its row's mean; what no run moved stays fixed.

    The mean counts up to `near` times an entry's own: a row of slopes by key spans many orders.
    Where only what is stored is rounded, errors of one entry are few, and the mean counts whole.
    """
    if deviation.ndim == 0 or not deviation.shape[-1]:
        return deviation
    row = root_mean_square(deviation, -1)[..., None]
    row = row if near is None else np.minimum(row, near * deviation)
    return np.asarray(np.where(deviation > 0, np.hypot(deviation, row) / np.sqrt(2), deviation))


def _reference(dtype: str) -> str:
    return "longdouble" if reference_type(dtype) == np.longdouble else "float64"


def _widened(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype.kind in "fV" else array


def arrays_for(dtype: np.dtype[Any], arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Real arrays in the working type of an oracle, exactly: every subject's type is narrower."""
    return {n: a.astype(dtype) if a.dtype.kind in "fV" else a for n, a in arrays.items()}
