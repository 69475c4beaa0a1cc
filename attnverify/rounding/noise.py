"""The oracle's own program, every intermediate disturbed as its rounding would disturb it.

Runs are one more leading dimension of each disturbed array.  Quantities of a row are operations of
their own, so their noise is shared by the row: what is coherent in the program stays coherent
here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import opt_einsum
from numpy.typing import NDArray

from attnverify.compile.recipe import Labels, Loop, Op, Operand, Recipe, label_axis
from attnverify.compile.run import RULES, Machine, aligned, formula, placed, run
from attnverify.dtypes import float_type
from attnverify.rounding.profiles import Profile

Array = NDArray[Any]
RUNS = "run@runs"

# Functions whose result is one of their operands, or a whole number: nothing is rounded.
EXACT = {
    "select",
    "maximum",
    "finite",
    "negative",
    "step",
    "sign",
    "absolute",
    "stop_gradient",
    "as_real",
    "relu",
    "larger",
    "smaller",
    "broadcast",
}
ELEMENTARY = {"exp", "log", "tanh", "sin", "cos", "logistic", "erf", "power", "alibi_slope"}


@dataclass
class Amplitudes:
    """From the exact run: how far each operation's rounding may move its result."""

    recipe: Recipe
    profile: Profile
    sizes: Mapping[str, int]
    row_terms: tuple[str, ...] = ()
    steps: list[Array | None] = field(default_factory=list)
    longest: int = 1
    largest: float = 0.0

    @cached_property
    def loops(self) -> set[str]:
        """The axes that recurrences run along."""
        return {label_axis(op.loop.along) for op in self.recipe.ops if op.loop is not None}

    def record(self, op: Op, value: Any, operands: tuple[Any, ...]) -> Any:
        """The hook of the exact run."""
        self.steps.append(self._amplitude(op, value, operands))
        return value

    def _amplitude(self, op: Op, value: Any, operands: tuple[Any, ...]) -> Array | None:
        array = np.asarray(value)
        if op.kind in ("position", "step") or array.dtype.kind != "f":
            return None
        if op.kind == "input":
            return self._stored(array, 1.0) if self.profile.inputs else None
        if op.kind == "scalar":
            return None if self._representable(array) else self._stored(array, 1.0)
        self._measure(array)
        if op.kind == "contract" or (op.kind == "reduce" and op.detail == "sum"):
            widened = (
                self.profile.row_term
                if op.out.startswith(self.row_terms) and self.row_terms
                else 1.0
            )
            return np.hypot(self._accumulated(op, array, operands), self._stored(array, widened))
        if op.kind == "reduce" or (op.kind == "map" and op.detail in EXACT):
            return None
        return self._stored(array, self.profile.exponential if op.detail in ELEMENTARY else 1.0)

    def _stored(self, array: Array, units: float) -> Array:
        """Rounding a result to its stored type; what is exactly zero or infinite stays so."""
        size = np.abs(array).astype(float)
        amplitude = (units * self.profile.stage * size + self.profile.quantum) / np.sqrt(3)
        return np.where((size > 0) & np.isfinite(size), amplitude, 0.0)

    def _accumulated(self, op: Op, array: Array, operands: tuple[Any, ...]) -> Array:
        """Adding n products one after the other: each partial sum is rounded once."""
        summed = {x for operand in op.operands for x in operand.labels} - set(op.labels)
        n = prod(self.sizes[label_axis(x)] for x in summed)
        self.longest = max(self.longest, n)
        products = self._root_of_squares(op, operands)
        rounding = 1.0 if op.kind == "contract" else 0.0
        total = np.where(np.isfinite(array), array, 0).astype(float)
        steps = np.hypot(products * np.sqrt(rounding + n / 2), total * np.sqrt(n / 3))
        floor = np.where(products > 0, np.sqrt(n) * self.profile.quantum, 0)
        # What a loop's steps add up to is stored after each of them.
        unrolled = bool({label_axis(x) for x in summed} & self.loops)
        unit = self.profile.stage if unrolled else self.profile.accumulator
        return np.asarray(np.hypot(unit / np.sqrt(3) * steps, floor))

    def _root_of_squares(self, op: Op, operands: tuple[Any, ...]) -> Array:
        """The root of the sum of squared products, scaled first: small squares would vanish."""
        arrays = [np.asarray(o, dtype=float) for o in operands]
        # An undefined entry spoils what reads it, not the scale of the others.
        units = [float(np.max(np.abs(a), initial=0.0, where=np.isfinite(a))) or 1.0 for a in arrays]
        squared = [np.square(a / unit) for a, unit in zip(arrays, units, strict=True)]
        if op.kind == "reduce":
            axes = tuple(n for n, x in enumerate(op.operands[0].labels) if x not in op.labels)
            return np.asarray(np.sqrt(np.sum(squared[0], axis=axes)) * units[0])
        summed = opt_einsum.contract(formula(op), *squared)
        return np.asarray(np.sqrt(summed) * float(np.prod(units)))

    def _representable(self, array: Array) -> bool:
        """Whether a constant is exact in the type: its rounding is none."""
        if not np.isfinite(array).all():
            return True
        narrow = array.astype(float_type(self.profile.dtype).numpy)
        return bool((narrow.astype(float) == array.astype(float)).all())

    def _measure(self, array: Array) -> None:
        finite = np.abs(array[np.isfinite(array)])
        self.largest = max(self.largest, float(finite.max()) if finite.size else 0.0)


def _unchanged(_op: Op, value: Any, _operands: tuple[Any, ...]) -> Any:
    return value


@dataclass
class Recomputed:
    """The relative noise that computing weights again adds, per entry and per row."""

    entrywise: Array
    rowwise: Array


class NoisyMachine(Machine):
    """Runs a recipe with noise; `noisy` names the arrays that have a dimension of runs."""

    def __init__(
        self,
        values: Mapping[str, Any],
        sizes: Mapping[str, int],
        parameters: Mapping[str, Any],
        amplitudes: Amplitudes,
        factor: float = 1.0,
    ) -> None:
        super().__init__(dict(values), sizes, parameters, np.dtype(np.float64), _unchanged, {})
        self.amplitudes = iter(amplitudes.steps)
        self.factor = factor
        self.recomputed: Mapping[str, Recomputed] = {}
        self.count, self.rng = 1, np.random.default_rng(0)
        self.noisy: set[str] = set()

    def runs(
        self,
        recipe: Recipe,
        count: int,
        rng: np.random.Generator,
        recomputed: Mapping[str, Recomputed],
    ) -> dict[str, Array]:
        """The outputs of `count` runs, which are the leading axis of each."""
        self.count, self.rng, self.recomputed = count, rng, recomputed
        self.sizes = sizes = {**self.sizes, label_axis(RUNS): count}
        for op in recipe.ops:
            self.step(op)
        found: dict[str, Array] = {}
        for name, value, places in recipe.outputs:
            labels = (RUNS, *value.labels) if value.name in self.noisy else value.labels
            found[name] = placed(self.values[value.name], labels, ((RUNS,), *places), sizes)
        return found

    def step(self, op: Op) -> None:
        """Run one operation and disturb its result."""
        if op.kind == "loop":
            self._noisy_loop(op.loop)
            return
        wide = self._widened(op)
        value = contracted(self, wide) if wide.kind == "contract" else RULES[op.kind](self, wide)
        amplitude = next(self.amplitudes)
        disturbed = wide is not op
        if amplitude is not None:
            value = value + self.factor * amplitude * self.normal(amplitude.shape)
            disturbed = True
        if op.out in self.recomputed:
            value, disturbed = self._again(op.out, value), True
        self.values[op.out] = value
        self.noisy = self.noisy | {op.out} if disturbed else self.noisy - {op.out}

    def normal(self, shape: tuple[int, ...]) -> Array:
        """Independent standard normal noise, one draw per run."""
        return self.rng.standard_normal((self.count, *shape), dtype=np.float32)

    def _again(self, name: str, value: Array) -> Array:
        """Weights computed again from freshly rounded scores and the row's rounded log-sum-exp."""
        extra = self.recomputed[name]
        parts = (extra.entrywise, extra.rowwise)
        shift = sum((part * self.normal(part.shape) for part in parts), start=np.float64(0))
        return np.asarray(value * (1 + self.factor * shift))

    def _widened(self, op: Op) -> Op:
        """The operation with the runs as a leading label wherever an operand has them."""
        operands = tuple(
            Operand(o.name, (RUNS, *o.labels)) if o.name in self.noisy else o for o in op.operands
        )
        return (
            op
            if operands == op.operands
            else replace(op, operands=operands, labels=(RUNS, *op.labels))
        )

    def _noisy_loop(self, loop: Loop | None) -> None:
        if loop is None:
            return
        size = self.sizes[label_axis(loop.along)]
        kept: dict[str, list[Array]] = {name: [] for name, _ in loop.kept}
        for held, begin, _ in loop.carried:
            self._copy(held, begin.name)
        for position in reversed(range(size)) if loop.reverse else range(size):
            self.counters[loop.along] = position
            for op in loop.ops:
                self.step(op)
            for name, value in loop.kept:
                kept[name].append(self._all_runs(value))
            for held, _, after in loop.carried:
                self._copy(held, after.name)
        for name, value in loop.kept:
            rows = kept[name][::-1] if loop.reverse else kept[name]
            shape = (self.count, 0, *(self.sizes[label_axis(x)] for x in value.labels))
            self.values[name] = np.stack(rows, axis=1) if rows else np.zeros(shape)
            self.noisy.add(name)

    def _copy(self, to: str, source: str) -> None:
        self.values[to] = self.values[source]
        self.noisy = self.noisy | {to} if source in self.noisy else self.noisy - {to}

    def _all_runs(self, value: Operand) -> Array:
        array = np.asarray(self.values[value.name])
        return (
            array
            if value.name in self.noisy
            else np.broadcast_to(array, (self.count, *array.shape))
        )


def contracted(machine: Machine, op: Op) -> Array:
    """A pairwise contraction as a stack of matrix products, whatever its batch labels."""
    if len(op.operands) != 2:
        return np.asarray(RULES["contract"](machine, op))
    left, right = op.operands
    shared = [x for x in left.labels if x in right.labels]
    batch = tuple(x for x in op.labels if x in shared)
    summed = tuple(x for x in shared if x not in op.labels)
    rows = tuple(x for x in left.labels if x not in shared)
    columns = tuple(x for x in right.labels if x not in shared)
    if not summed or set(rows + columns) - set(op.labels) or _repeats(left) or _repeats(right):
        return np.asarray(RULES["contract"](machine, op))
    a = _stack(machine, left, batch, rows, summed)
    b = _stack(machine, right, batch, summed, columns)
    sizes = dict(zip(left.labels, np.shape(machine.values[left.name]), strict=True))
    sizes |= dict(zip(right.labels, np.shape(machine.values[right.name]), strict=True))
    have = (*batch, *rows, *columns)
    product = np.matmul(a, b).reshape([sizes[x] for x in have])
    return np.asarray(aligned(product, have, op.labels))


def _repeats(operand: Operand) -> bool:
    return len(set(operand.labels)) != len(operand.labels)


def _stack(
    machine: Machine, operand: Operand, batch: Labels, rows: Labels, columns: Labels
) -> Array:
    """An array as a stack of matrices."""
    moved = aligned(machine.values[operand.name], operand.labels, (*batch, *rows, *columns))
    cut = len(batch), len(batch) + len(rows)
    shape = moved.shape
    merged = (*shape[: cut[0]], prod(shape[cut[0] : cut[1]]), prod(shape[cut[1] :]))
    return np.asarray(moved.reshape(merged))


def exact_run(
    recipe: Recipe,
    arrays: Mapping[str, Array],
    sizes: Mapping[str, int],
    parameters: Mapping[str, Any],
    amplitudes: Amplitudes,
) -> dict[str, Array]:
    """The undisturbed run in float64, which also fills in the amplitudes."""
    return run(recipe, arrays, sizes, parameters, np.float64, hook=amplitudes.record)
