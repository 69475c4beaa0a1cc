"""Arithmetic of recipes whose exponentials are pairs: `mantissa * exp(log-scale)`.

A sum takes the largest scale out and a quotient subtracts scales, so softmax, sinks and log-sum-exp
never overflow, and no theorem about shifts is needed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import sympy

from attnverify.algebra.terms import size_symbol
from attnverify.compile.contract import contract_all
from attnverify.compile.recipe import Builder, Labels, Operand, label_axis, union

ARITHMETIC = {"add", "subtract", "multiply", "maximum", "larger", "smaller"}


@dataclass(frozen=True)
class Pair:
    """`mantissa * exp(up - down)`; None stands for a mantissa of one, or a scale of zero."""

    mantissa: Operand | None
    up: Operand | None
    down: Operand | None = None

    @property
    def tame(self) -> bool:
        """Whether scales of both signs have met, as in a quotient: then it can be written out."""
        return self.up is not None and self.down is not None


Lowered: TypeAlias = Operand | Pair


class Arithmetic:
    """Operations on arrays and pairs; `order` is the order in which labels are wanted."""

    def __init__(self, build: Builder) -> None:
        self.build = build
        self.order: Labels = ()

    # Arrays

    def map(self, function: str, *operands: Operand, hint: str = "x") -> Operand:
        """A function of several arrays, place by place."""
        if function in ARITHMETIC:
            operands = tuple(self._of_one_type(operands))
        labels = union(o.labels for o in operands)
        if all(x in self.order for x in labels) and all(o.labels != labels for o in operands):
            labels = tuple(sorted(labels, key=self.order.index))
        return self.build.emit("map", labels, operands, function, hint=hint)

    def _of_one_type(self, operands: Iterable[Operand]) -> list[Operand]:
        """Arrays of whole numbers beside real ones as real ones: NumPy would widen float32."""
        operands = list(operands)
        if all(o.name in self.build.whole for o in operands):
            return operands
        return [self.real(o) if o.labels else o for o in operands]

    def fold(self, function: str, values: list[Operand], hint: str = "x") -> Operand:
        """A function of two arrays over a list of them, from the left."""
        result = values[0]
        for value in values[1:]:
            result = self.map(function, result, value, hint=hint)
        return result

    def number(self, value: sympy.Expr | float) -> Operand:
        """A number made of sizes and parameters."""
        return self.build.emit("scalar", (), value=sympy.sympify(value), hint="c")

    def real(self, value: Operand) -> Operand:
        """The value in the working precision, where it holds integers."""
        return self.map("as_real", value) if value.name in self.build.whole else value

    def full(self, value: Operand, want: Labels, hint: str) -> Operand:
        """The value with every wanted label as a dimension, in that order."""
        if value.labels == want:
            return value
        return self.build.emit("map", want, (value,), "broadcast", hint=hint)

    def reduce(self, how: str, value: Operand, over: Labels, hint: str) -> Operand:
        """The sum or the largest value over some labels."""
        kept = tuple(x for x in value.labels if x not in over)
        if kept == value.labels:
            return value
        return self.build.emit("reduce", kept, (value,), how, hint=hint)

    def contract(
        self, values: list[Operand], keep: Operand | None, over: Labels, *, hint: str, want: Labels
    ) -> Operand:
        """The sum over labels of a product of arrays, of the places where `keep` holds."""
        if not values and keep is not None:
            values, keep = [self.map("as_real", keep, hint=hint)], None
        values = self._of_one_type(values) or [self.number(1)]
        if keep is not None:
            seen = set(keep.labels)
            spot = max(range(len(values)), key=lambda n: len(set(values[n].labels) & seen))
            values[spot] = self.map("select", keep, values[spot], self.number(0), hint=hint)
        return contract_all(self.build, values, over, hint, want)

    def raised(self, value: Operand, exponent: Fraction, hint: str) -> Operand:
        """An array to a rational power; a negative one is the total inverse."""
        value = value if exponent > 0 and exponent.denominator == 1 else self.real(value)
        named = {Fraction(-1): "inverse", Fraction(1, 2): "sqrt", Fraction(2): "square"}
        if exponent in named:
            return self.map(named[exponent], value, hint=hint)
        if exponent < 0:
            return self.raised(self.map("inverse", value, hint=hint), -exponent, hint)
        raised = self.number(sympy.Rational(exponent.numerator, exponent.denominator))
        return self.map("power", value, raised, hint=hint)

    # Pairs

    def plain(self, value: Lowered, hint: str = "x") -> Operand:
        """The value as one array."""
        if isinstance(value, Operand):
            return value
        grown = self.map("exp", self.scale(value), hint=hint)
        if value.mantissa is None:
            return grown
        return self.map("multiply", grown, value.mantissa, hint=hint)

    def scale(self, pair: Pair, keep: Operand | None = None, hint: str = "scale") -> Operand:
        """The log-scale of a pair as one array, minus infinity where `keep` does not hold."""
        up = pair.up if pair.up is not None else self.number(0)
        if keep is not None:
            up = self.map("select", keep, up, self.number(-sympy.oo), hint=hint)
        return up if pair.down is None else self.map("subtract", up, pair.down, hint=hint)

    def logarithm(self, pair: Pair, hint: str) -> Operand:
        """The logarithm of a pair: that of its mantissa, and its log-scale."""
        scale = self.scale(pair)
        if pair.mantissa is None:
            return scale
        return self.map("add", self.map("log", pair.mantissa), scale, hint=hint)

    def power(self, value: Lowered, exponent: Fraction, hint: str) -> Lowered:
        """A value to a rational power; the inverse of a pair changes its scales over."""
        if not isinstance(value, Pair):
            return self.raised(value, exponent, hint)
        mantissa = None if value.mantissa is None else self.raised(value.mantissa, exponent, hint)
        if exponent == -1:
            return Pair(mantissa, value.down, value.up)
        factor = self.number(sympy.Rational(exponent.numerator, exponent.denominator))
        return Pair(mantissa, self.map("multiply", self.scale(value), factor))

    def sum(self, values: list[Lowered], hint: str) -> Pair:
        """Terms brought to the largest of their scales, and added."""
        scales = [
            self.scale(value) if isinstance(value, Pair) else self.number(0) for value in values
        ]
        top = self.fold("maximum", scales, "top")
        parts = [
            self._rescaled(value, scale, top) for value, scale in zip(values, scales, strict=True)
        ]
        return Pair(self.fold("add", parts, hint), top)

    def _rescaled(self, value: Lowered, scale: Operand, top: Operand) -> Operand:
        down = self.map("exp", self.map("subtract", scale, top))
        mantissa = value.mantissa if isinstance(value, Pair) else value
        return down if mantissa is None else self.map("multiply", mantissa, down)

    def product(
        self, values: list[Lowered], keep: Operand | None, over: Labels, *, hint: str, want: Labels
    ) -> Lowered:
        """The sum over labels of a product: pairs join into one, the rest is contracted."""
        values, over = self._repeated(values, keep, over)
        values, all_kept = self._loose_kept(values, keep, hint)
        pairs = [value for value in values if isinstance(value, Pair)]
        plain = [value for value in values if isinstance(value, Operand)]
        plain += [pair.mantissa for pair in pairs if pair.mantissa is not None]
        if not pairs:
            keep = None if all_kept else keep
            return self.contract(plain, keep, over, hint=hint, want=want)
        pair = Pair(None, self._joined(p.up for p in pairs), self._joined(p.down for p in pairs))
        scaled = {x for side in (pair.up, pair.down) if side is not None for x in side.labels}
        if set(over) & scaled:
            return self._total(plain, pair, keep, over, hint=hint, want=want)
        if pair.tame or keep is not None:
            grown = self.map("exp", self.scale(pair, keep, hint), hint=hint)
            return self.contract([grown, *plain], None, over, hint=hint, want=want)
        if not plain and not over:
            return pair
        return Pair(self.contract(plain, None, over, hint=hint, want=want), pair.up, pair.down)

    def _loose_kept(
        self, values: list[Lowered], keep: Operand | None, hint: str
    ) -> tuple[list[Lowered], bool]:
        """Values that may not be finite, selected one by one: 0 times NaN is not 0.

        The flag says whether the product is 0 already where `keep` does not hold.
        """
        if keep is None or not any(map(self._loose, values)):
            return values, False
        return [
            self._selected(value, keep, hint) if self._loose(value) else value for value in values
        ], True

    def _selected(self, value: Lowered, keep: Operand, hint: str) -> Lowered:
        """A value of the places where `keep` holds; a pair stays one, so that it can be shifted."""
        zero = self.number(0)
        if isinstance(value, Operand):
            return self.map("select", keep, value, zero, hint=hint)
        # What multiplies is 0 elsewhere; the scale itself is selected where it is written out.
        mantissa, down = (
            None if side is None else self.map("select", keep, side, zero, hint=hint)
            for side in (value.mantissa, value.down)
        )
        return Pair(mantissa, value.up, down)

    def _loose(self, value: Lowered) -> bool:
        sides = (value.mantissa, value.up, value.down) if isinstance(value, Pair) else (value,)
        return any(side is not None and side.name in self.build.loose for side in sides)

    def _repeated(
        self, values: list[Lowered], keep: Operand | None, over: Labels
    ) -> tuple[list[Lowered], Labels]:
        """A label that nothing has is summed by counting its positions."""
        parts = [keep] if keep is not None else []
        for value in values:
            sides = (value.mantissa, value.up, value.down) if isinstance(value, Pair) else (value,)
            parts += [side for side in sides if side is not None]
        absent = set(over) - {x for part in parts for x in part.labels}
        if not absent:
            return values, over
        count = sympy.prod(size_symbol(label_axis(x)) for x in sorted(absent))
        return [*values, self.number(count)], tuple(x for x in over if x not in absent)

    def _joined(self, scales: Iterable[Operand | None]) -> Operand | None:
        """The sum of the scales that are there."""
        present = [scale for scale in scales if scale is not None]
        return self.fold("add", present, "scale") if present else None

    def _total(
        self,
        plain: list[Operand],
        pair: Pair,
        keep: Operand | None,
        over: Labels,
        *,
        hint: str,
        want: Labels,
    ) -> Pair:
        """A sum over labels of the scale itself, whose largest value is taken out."""
        shown = self.scale(pair, keep, hint)
        top = self.reduce("max", shown, over, "top")
        # A row without any place has no largest scale: it sums to zero at scale zero.
        top = self.map("finite", top, hint="top") if keep is not None else top
        grown = self.map("exp", self.map("subtract", shown, top, hint=hint), hint=hint)
        return Pair(self.contract([grown, *plain], None, over, hint=hint, want=want), top)
