"""Compare gradients by three routes: derived spec, autograd, differences of the exact interpreter.

The three share no code; autograd goes through the compiled forward. They are compared by inner
products in both modes and entry by entry, at first and at second order, in extended precision under
a bound measured at double precision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.compare import within
from attnverify.exact import difference
from attnverify.provers.disturbed import RUNS, UNIT, steps, work
from attnverify.provers.draws import SMOOTH, Case, Group, Plan, draw, fitting, plan
from attnverify.provers.paths import Batch, Routes, real
from attnverify.provers.shrink import shrunk
from attnverify.spec import Spec
from attnverify.verdict import Status, Verdict, Witness

Array = NDArray[Any]

# The exact interpreter takes some microseconds a term: it sees few cases, and small ones.
DIFFERENCES = {1: 4, 2: 2}
SMALL = 3
TERMS = 4000
# What the draws of one order may cost, counted in entries; an operation costs as much as many.
BUDGET = 10_000_000
OPERATION = 1000


Check = Callable[[Routes, Batch], "Compared"]


@dataclass(frozen=True)
class Compared:
    """Two routes by name of what they give, the bound of each; draws are the first axis.

    The bounds are the left route's roundoff. `wider` gives those that know the right route's too,
    asked for only where two routes differ.
    """

    left: Mapping[str, Array]
    right: Mapping[str, Array]
    bounds: Mapping[str, Array]
    wider: Callable[[], Mapping[str, Array]] | None = None


def routes(
    spec: Spec | Routes,
    examples: int = 8,
    seed: int = 0,
    order: int = 1,
    drawn: Plan | None = None,
) -> list[Verdict]:
    """Verdicts on a spec's derived gradients, or at second order on the gradient of its gradient.

    Each is HELD, with the number of cases that it saw, or REFUTED with the smallest case found.
    `drawn` are draws that other checks see too; without it `examples` are drawn. Draws at which
    there may be no derivative are left out, and at second order those past a budget.
    """
    first = spec if isinstance(spec, Routes) else Routes(spec)
    paths = first if order == 1 else Routes(first.gradient)
    lead = "gradient" if order == 1 else "second gradient"
    if drawn is None:
        drawn = plan([paths.gradient], examples, seed, smooth=paths.smooth)
    groups = [_smooth_only(paths, group) for group in drawn]
    groups = groups if order == 1 else _affordable(paths, groups)
    near, along = (_Tally(f"{lead}: {name}", paths, check) for name, check in CHECKS.items())
    for group in groups:
        batch = Batch.of(paths, group.cases(paths.gradient))
        for tally in (near, along):
            tally.take(batch)
    few = min(DIFFERENCES[order], max(2, examples // 4))
    slow = _Tally(f"{lead}: derived = exact differences", paths, against_differences, SMALL)
    for case in _few_cases(paths, drawn, few):
        slow.take(Batch.of(paths, [case]))
    return [near.verdict(), slow.verdict(), along.verdict()]


def _smooth_only(paths: Routes, group: Group) -> Group:
    """The draws at which there is a derivative; for want of any, the same seeds drawn so."""
    kept = group.only(paths.styles)
    if kept.draws:
        return kept
    return replace(group, draws=tuple((SMOOTH[0], seed) for _, seed in group.draws))


def _affordable(paths: Routes, groups: list[Group]) -> list[Group]:
    """The groups in order until the budget is spent, one at least."""
    recipe, left = paths.derived.recipe, BUDGET
    found: list[Group] = []
    for group in groups:
        runs = len(group.draws) * (1 + RUNS)
        left -= OPERATION * steps(recipe, group.sizes) + runs * work(recipe, group.sizes)
        if found and left < 0:
            break
        found.append(group)
    return found


def _few_cases(paths: Routes, drawn: Plan, few: int) -> list[Case]:
    """Smooth cases of small sizes, few enough for the exact interpreter."""
    recipe = paths.forward.recipe
    found = []
    for number in range(few):
        group = drawn[(number + 1) % len(drawn)]
        free = {axis.name: min(SMALL, group.sizes[axis.name]) for axis in paths.spec.axes}
        sizes = fitting(paths.spec.axes, free, lambda s: work(recipe, s) <= TERMS)
        whole = {**group.sizes, **sizes}
        draws = ((SMOOTH[number % len(SMOOTH)], group.draws[0][1] + number),)
        found += replace(group, sizes=whole, draws=draws).cases(paths.gradient)
    return found


@dataclass
class _Tally:
    """What the batches so far say of one comparison."""

    name: str
    paths: Routes
    check: Check
    largest: int = 0
    held: int = 0
    unbounded: int = 0
    failed: tuple[Case, Verdict] | None = None

    def take(self, batch: Batch) -> None:
        """Compare a batch, unless a draw has failed already."""
        if self.failed is not None:
            return
        self.largest = max(self.largest, *batch.cases[0].sizes.values(), 1)
        compared = self.check(self.paths, batch)
        bounded = _bounded(compared, len(batch.cases))
        self.unbounded += int(np.sum(~bounded))
        self.held += int(np.sum(bounded))
        self.failed = _first_failing(self.name, compared, batch.cases)
        if self.failed is not None and compared.wider is not None:
            compared = replace(compared, bounds=compared.wider(), wider=None)
            self.failed = _first_failing(self.name, compared, batch.cases)

    def verdict(self) -> Verdict:
        """HELD with its number of cases, or REFUTED at the smallest case found."""
        if self.failed is not None:
            return self._refuted(*self.failed)
        left_out = ""
        if self.unbounded:
            left_out = f"; {self.unbounded} cases had no bound: a disturbed run left the range"
        if not self.held:
            return Verdict(self.name, Status.UNDECIDED, f"nothing was compared{left_out}")
        words = f"at sizes up to {self.largest}, entry by entry{left_out}"
        return Verdict(self.name, Status.HELD, words, cases=self.held)

    def _refuted(self, case: Case, verdict: Verdict) -> Verdict:
        spec = self.paths.gradient
        slow = self.check is against_differences
        # Which input it is, is asked only where something is wrong.
        check = against_each_difference if slow else self.check

        def fails(group: Group) -> tuple[Case, Verdict] | None:
            cases = group.cases(spec)[-1 if slow else 0 :]
            batch = Batch.of(self.paths, cases)
            return _first_failing(self.name, check(self.paths, batch), cases)

        case, verdict = shrunk(spec, case, verdict, fails, self.paths.styles)
        witness = Witness(
            sizes=dict(case.sizes), arrays=draw(spec, case), seed=case.seed, note=verdict.detail
        )
        detail = f"fails at {case}: {verdict.detail}"
        return Verdict(self.name, Status.REFUTED, detail, witness=witness)


def against_autograd(paths: Routes, batch: Batch) -> Compared:
    """Derived gradient and autograd, entry by entry."""
    found = paths.autograd(batch.arrays, batch.cases[0])

    def wider() -> dict[str, Array]:
        # What double precision makes of autograd's own program, thousands of times its error here.
        rough = paths.autograd(batch.arrays, batch.cases[0], double=True)
        moves = {name: np.abs(rough[name] - found[name]).astype(float) for name in found}
        return {name: np.maximum(bound, moves[name]) for name, bound in batch.bounds.items()}

    return Compared(batch.exact, found, batch.bounds, wider)


def against_differences(paths: Routes, batch: Batch) -> Compared:
    """The derivative along one direction of all inputs, by differences at fifty digits."""
    directions = _directions(paths, batch)
    left, right, slack = _one_difference(paths, batch, directions)
    return Compared({"all": left}, {"all": right}, {"all": slack})


def against_each_difference(paths: Routes, batch: Batch) -> Compared:
    """The derivative along a direction of each input by itself, by differences at fifty digits."""
    directions = _directions(paths, batch)
    found = {w: _one_difference(paths, batch, {w: directions[w]}) for w in paths.wrt}
    left, right, slack = ({w: row[n] for w, row in found.items()} for n in range(3))
    return Compared(left, right, slack)


def _directions(paths: Routes, batch: Batch) -> dict[str, Array]:
    """A direction for each real input of the only case of a batch."""
    (case,) = batch.cases
    return {
        name: _direction(batch.arrays[name].shape[1:], case.seed + number)
        for number, name in enumerate(paths.wrt)
    }


def _one_difference(
    paths: Routes, batch: Batch, directions: Mapping[str, Array]
) -> tuple[Array, Array, Array]:
    """<dX, direction> as derived, the same by differences, and a bound."""
    (case,) = batch.cases
    inputs = {name: array[0] for name, array in paths.given(batch.arrays).items()}
    slopes = difference(
        paths.spec, inputs, directions, dict(case.parameters), sizes=dict(case.sizes)
    )
    pairs = zip(paths.spec.outputs, paths.cotangents, strict=True)
    due = np.longdouble(float(sum(np.sum(slopes[o] * batch.arrays[dual][0]) for o, dual in pairs)))
    outs = dict(zip(paths.wrt, paths.gradient.outputs, strict=True))
    moves = [(outs[name], move) for name, move in directions.items()]
    left = sum(np.sum(batch.exact[out][0] * move) for out, move in moves)
    slack = sum(np.sum(np.abs(batch.bounds[out][0] * move)) for out, move in moves)
    return np.asarray([left]), np.asarray([due]), np.asarray([slack + UNIT * abs(due)])


def inner_products(paths: Routes, batch: Batch) -> Compared:
    """<dO, tO> = <dX, tX>: reverse mode and forward mode are adjoint, draw by draw."""
    shapes = {name: batch.arrays[name].shape[1:] for name in paths.wrt}
    moves = {
        name: np.stack([_direction(shapes[name], case.seed + n) for case in batch.cases])
        for n, name in enumerate(paths.wrt)
    }
    names = [e.tensor.name for e in paths.tangent_spec.inputs][len(paths.spec.inputs) :]
    inputs = {**paths.given(batch.arrays), **dict(zip(names, moves.values(), strict=True))}
    case = batch.cases[0]
    tangents = paths.tangent(
        {name: real(a) for name, a in inputs.items()}, case.sizes, case.parameters
    )
    pairs = zip(paths.tangent_spec.outputs, paths.cotangents, strict=True)
    outs = dict(zip(paths.wrt, paths.gradient.outputs, strict=True))
    left = sum(_each_draw(tangents[t] * batch.arrays[dual]) for t, dual in pairs)
    right = sum(_each_draw(batch.exact[outs[w]] * moves[w]) for w in paths.wrt)
    slack = sum(_each_draw(np.abs(batch.bounds[outs[w]] * moves[w])) for w in paths.wrt)
    slack = slack + UNIT * np.abs(right)
    whole = {"all": np.asarray(left)}
    return Compared(whole, {"all": np.asarray(right)}, {"all": np.asarray(slack)})


CHECKS: dict[str, Check] = {
    "derived = autograd": against_autograd,
    "<dO, tO> = <dX, tX>": inner_products,
}


def _each_draw(value: Array) -> Array:
    return np.asarray(np.sum(value, axis=tuple(range(1, value.ndim))))


@lru_cache(maxsize=4096)
def _direction(size: tuple[int, ...], seed: int) -> Array:
    """The direction of a seed, which is read and never written."""
    found = np.random.default_rng([seed, 23]).standard_normal(size)
    found.flags.writeable = False
    return found


def _bounded(compared: Compared, count: int) -> Array:
    """Which draws have a bound for everything that is compared."""
    found = np.ones(count, bool)
    for bound in compared.bounds.values():
        found &= np.isfinite(bound).all(axis=tuple(range(1, bound.ndim)))
    return found


def _first_failing(name: str, compared: Compared, cases: list[Case]) -> tuple[Case, Verdict] | None:
    """The first draw with a bound at which two routes differ, and where."""
    bounded = _bounded(compared, len(cases))
    # Where one route has a zero by form, another may have the difference of values this large.
    sizes = [np.abs(v).reshape(len(cases), -1).max(-1, initial=0) for v in compared.left.values()]
    size = np.max(sizes, axis=0, initial=0).astype(float)
    for key, left in compared.left.items():
        bound = np.where(np.isfinite(compared.bounds[key]), compared.bounds[key], 0).astype(float)
        # The other route's rounding is of the same kind: it is given the array's largest move.
        rest = tuple(range(1, bound.ndim))
        largest = np.max(bound, axis=rest, initial=0, keepdims=True)
        bound = bound + np.maximum(largest, UNIT * size.reshape(-1, *(1 for _ in rest))) / 64
        right = np.asarray(compared.right[key], dtype=np.longdouble)
        if within(name, np.asarray(left), right, bound).status is Status.HELD:
            continue
        for number, case in enumerate(cases):
            verdict = within(name, np.asarray(left[number]), right[number], bound[number])
            if bounded[number] and verdict.status is not Status.HELD:
                return case, replace(verdict, detail=f"{key}: {verdict.detail}")
    return None
