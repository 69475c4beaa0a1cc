"""The oracle's own program, every intermediate disturbed as its rounding would disturb it.

Runs are one more leading dimension of each disturbed array.  Quantities of a row are operations of
their own, so their noise is shared by the row: what is coherent in the program stays coherent
here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.compile.recipe import Labels, Loop, Op, Operand, Recipe, label_axis
from attnverify.compile.run import RULES, Machine, aligned, placed
from attnverify.rounding.amplitudes import Amplitudes
from attnverify.rounding.storage import EXACT

Array = NDArray[Any]
RUNS = "run@runs"


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
        self.lean, self.grown = amplitudes.lean, set[str]()
        self.cut, self.cuts = amplitudes.profile.cut, amplitudes.cuts
        self.amplitudes = iter(zip(amplitudes.steps, amplitudes.uses, strict=True))
        self.factor = factor
        self.recomputed: Mapping[str, Recomputed] = {}
        self.count, self.rng = 1, np.random.default_rng(0)
        # A constant is rounded the same way in every case that has it.
        self.constant = np.random.default_rng(0)
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
        amplitude, uses = next(self.amplitudes)
        op = self._anew(op, uses) if uses else op
        wide = self._widened(op)
        value = contracted(self, wide) if wide.kind == "contract" else RULES[op.kind](self, wide)
        disturbed = wide is not op
        if amplitude is not None:
            rng = self.constant if op.kind == "scalar" else self.rng
            value = value + self.factor * amplitude * self.normal(amplitude.shape, rng)
            disturbed = True
        if op.out in self.cuts and np.asarray(value).dtype.kind == "f":
            value, disturbed = self._one_way(value, len(op.labels)), True
        if self.lean and self._sums_exponentials(op):
            value, disturbed = self._leaning(op, value), True
        if op.out in self.recomputed:
            value, disturbed = self._again(op.out, value), True
        self.values[op.out] = value
        self.noisy = self.noisy | {op.out} if disturbed else self.noisy - {op.out}

    def normal(self, shape: tuple[int, ...], rng: np.random.Generator | None = None) -> Array:
        """Independent standard normal noise, one draw per run."""
        return (rng or self.rng).standard_normal((self.count, *shape), dtype=np.float32)

    def _anew(self, op: Op, uses: tuple[Array | None, ...]) -> Op:
        """The operation on operands that are rounded for it alone."""
        operands = list(op.operands)
        for number, (operand, amplitude) in enumerate(zip(op.operands, uses, strict=True)):
            if amplitude is not None:
                name = f"{operand.name} {number}"
                noise = self.factor * amplitude * self.normal(amplitude.shape)
                rounded = self.values[operand.name] + noise
                self.values[name] = (
                    self._one_way(rounded, len(operand.labels)) if self.cut else rounded
                )
                self.noisy = self.noisy | {name}
                operands[number] = replace(operand, name=name)
        return replace(op, operands=tuple(operands))

    def _one_way(self, value: Array, axes: int) -> Array:
        """An array whose entries all lose the same part, in every case alike: they are cut."""
        return np.asarray(value * (1 + self.cut * self._alike(axes)))

    def _alike(self, axes: int) -> Array:
        """Noise that all entries of an array have in common, in every case that has the array."""
        return self.factor * self.normal((1,) * axes, self.constant)

    def _leaning(self, op: Op, value: Array) -> Array:
        """A sum of exponentials with the error of the largest: in every run, row and case alike.

        The largest score of a row is shifted to 0.  A cheap exp of 0 is a little off 1; that is
        summed as it is and stored as 1, so that all values of a row lean to one side.
        """
        lean = self.lean * self._alike(len(op.labels))
        return np.asarray(value + np.where(value > 0, lean, 0))

    def _sums_exponentials(self, op: Op) -> bool:
        """Whether an operation sums exponentials; what holds exponentials is kept in mind."""
        read = any(operand.name in self.grown for operand in op.operands)
        if op.detail == "exp" or (read and op.kind == "map" and op.detail in EXACT):
            self.grown.add(op.out)
        return read and op.kind == "reduce" and op.detail == "sum"

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
            following = [
                (held, self.values[a.name], a.name in self.noisy) for held, _, a in loop.carried
            ]
            for held, state, noisy in following:
                self.values[held] = state
                self.noisy = self.noisy | {held} if noisy else self.noisy - {held}
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
