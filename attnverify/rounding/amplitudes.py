"""How far the rounding of each operation may move its result, from the undisturbed run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, reduce
from math import prod
from typing import Any

import numpy as np
import opt_einsum
from numpy.typing import NDArray

from attnverify.compile.recipe import Op, Recipe, label_axis
from attnverify.compile.run import formula, run
from attnverify.dtypes import FloatType, float_type
from attnverify.rounding.profiles import Profile, near_zero
from attnverify.rounding.storage import EXACT, Storage, is_product, storage

Array = NDArray[Any]

ELEMENTARY = {"exp", "log", "tanh", "sin", "cos", "logistic", "erf", "power", "alibi_slope"}


@dataclass
class Amplitudes:
    """From the exact run: how far each operation's rounding may move its result."""

    recipe: Recipe
    profile: Profile
    sizes: Mapping[str, int]
    row_terms: tuple[str, ...] = ()
    # Where only some arrays are stored: the outputs among them, those named besides, and whether
    # operands are rounded at each use, not once where they are computed.
    outputs: tuple[str, ...] = ()
    stored: tuple[str, ...] = ()
    anew: bool = False
    # Inputs that are drawn anew in each run, and how far: as a multiple of no rounding.
    shares: Mapping[str, Array] = field(default_factory=dict)
    # Inputs of another type than the rest.
    types: Mapping[str, FloatType] = field(default_factory=dict)
    steps: list[Array | None] = field(default_factory=list)
    uses: list[tuple[Array | None, ...]] = field(default_factory=list)
    longest: int = 1
    largest: float = 0.0
    # The entries of all arrays of one run together.
    entries: int = 0
    beyond: bool = False

    @cached_property
    def loops(self) -> set[str]:
        """The axes that recurrences run along."""
        return {label_axis(op.loop.along) for op in self.recipe.ops if op.loop is not None}

    @property
    def lean(self) -> float:
        """How far exp of 0 is from 1 where only a stored 1 hides it."""
        profile = self.profile
        return profile.exponential * profile.stage / 3**0.5 if profile.selective else 0.0

    @cached_property
    def storage(self) -> Storage | None:
        """What is stored, where not everything is."""
        return storage(self.recipe, self.outputs) if self.profile.selective else None

    @cached_property
    def cuts(self) -> frozenset[str]:
        """The arrays that are cut where they are computed, where operands are cut, not rounded."""
        if self.storage is None or not self.profile.cut:
            return frozenset()
        read = frozenset(op.out for op in self.recipe.ops if op.kind == "input")
        return read if self.anew else read | self.storage.operands

    def record(self, op: Op, value: Any, operands: tuple[Any, ...]) -> Any:
        """The hook of the exact run."""
        self.entries += np.size(value)
        own = self._amplitude(op, value, operands)
        kept = self._kept(op, value)
        parts = [part for part in (own, kept) if part is not None]
        self.steps.append(np.asarray(reduce(np.hypot, parts)) if parts else None)
        self.uses.append(self._used(op, operands))
        return value

    def _kept(self, op: Op, value: Any) -> Array | None:
        """What rounding to its stored type adds to what is wider inside."""
        array = np.asarray(value)
        if self.storage is None or op.kind in ("input", "scalar") or array.dtype.kind != "f":
            return None
        if op.out in self.storage.outputs or op.out in self.stored:
            return self._rounded(array, self.profile.stored)
        if op.out in self.storage.operands and not self.anew:
            return self._rounded(array, self.profile.operand)
        return None

    def _used(self, op: Op, operands: tuple[Any, ...]) -> tuple[Array | None, ...]:
        """What rounding the operands of a product for it alone adds to them."""
        if self.storage is None or not self.anew or not is_product(op):
            return ()
        given = [o.name in self.storage.given for o in op.operands]
        return tuple(
            None if known else self._rounded(np.asarray(array), self.profile.operand)
            for known, array in zip(given, operands, strict=True)
        )

    def _rounded(self, array: Array, kind: FloatType, scale: float = 1.0) -> Array:
        """Rounding to a type, entries divided by a scale first."""
        self._measure(array, kind.largest * scale)
        size = np.abs(array).astype(float)
        amplitude = (kind.roundoff * size + near_zero(kind) * scale) / np.sqrt(3)
        return np.where((size > 0) & np.isfinite(size), amplitude, 0.0)

    def _read(self, array: Array, kind: FloatType | None) -> Array | None:
        """What is rounded of an input on the way in."""
        if kind is None or self.profile.cut:
            return self._given(array) if self.profile.inputs else None
        if kind.roundoff < self.profile.stage:
            # A wider input is an intermediate like others: it may be stored as they are.
            return self._stored(array, 1.0)
        # What comes in 8 bits, or as wide as anything inside, is read as it is.
        return None

    def _given(self, array: Array) -> Array:
        """Rounding an input on the way in, its largest entry taken to the end of the range."""
        kind = self.profile.operand
        most = float(np.max(np.abs(array), initial=0.0, where=np.isfinite(array)))
        return self._rounded(array, kind, most / kind.largest if self.profile.scaled else 1.0)

    def _amplitude(self, op: Op, value: Any, operands: tuple[Any, ...]) -> Array | None:
        array = np.asarray(value)
        if op.kind in ("position", "step") or array.dtype.kind != "f":
            return None
        if op.kind == "input" and op.out in self.shares:
            return self.shares[op.out].reshape(np.shape(value))  # product axes are split inside
        if op.kind == "input":
            return self._read(array, self.types.get(op.out))
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

    def _measure(self, array: Array, range_end: float = 0.0) -> None:
        """Keep the largest entry so far, and whether any left the range of its own type."""
        finite = np.abs(array[np.isfinite(array)])
        most = float(finite.max()) if finite.size else 0.0
        self.largest = max(self.largest, most)
        self.beyond = self.beyond or most > (range_end or self.profile.largest) * (1 + 1e-9)


def exact_run(
    recipe: Recipe,
    arrays: Mapping[str, Array],
    sizes: Mapping[str, int],
    parameters: Mapping[str, Any],
    amplitudes: Amplitudes,
) -> dict[str, Array]:
    """The undisturbed run in float64, which also fills in the amplitudes."""
    return run(recipe, arrays, sizes, parameters, np.float64, hook=amplitudes.record)
