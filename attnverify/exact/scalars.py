"""Scalars of the index calculus as closures: sizes, parameters, positions and their arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from math import floor, prod

import sympy

from attnverify.algebra.terms import symbol_axis, symbol_index
from attnverify.errors import AttnverifyError, ParameterError, ShapeError
from attnverify.exact.arithmetic import Arithmetic, Value
from attnverify.exact.places import Places

Thunk = Callable[[], Value]


class Scalars:
    """Compiles SymPy trees; integers and fractions stay exact until a root is taken."""

    def __init__(
        self, places: Places, parameters: Mapping[str, Fraction], arithmetic: Arithmetic
    ) -> None:
        self.places, self.parameters, self.arithmetic = places, parameters, arithmetic

    def compiled(self, value: sympy.Expr) -> Thunk:
        """The closure that gives the scalar's value as an int, a Fraction or an mpmath number."""
        with self.places.reading() as used:
            thunk = self._thunk(value)
        if used:
            return thunk
        constant = thunk()
        return lambda: constant

    def _thunk(self, value: sympy.Expr) -> Thunk:
        match value:
            case sympy.Integer():
                return _constant(int(value))
            case sympy.Rational():
                return _constant(Fraction(int(value.p), int(value.q)))
            case sympy.Symbol():
                return self._symbol(value)
            case sympy.Add():
                terms = [self._thunk(part) for part in value.args]
                return lambda: sum(term() for term in terms)
            case sympy.Mul():
                factors = [self._thunk(part) for part in value.args]
                return lambda: prod(factor() for factor in factors)
            case sympy.floor():
                return self._floor(value.args[0])
            case sympy.Pow():
                return self._power(value.base, value.exp)
        if value is sympy.pi:  # from the derivative of erf
            return _constant(self.arithmetic.pi())
        raise AttnverifyError(
            "the exact interpreter has no rule for this scalar",
            found=f"{type(value).__name__}: {value}",
            due="sums, products, powers, whole parts of numbers, sizes, parameters, positions",
        )

    def _symbol(self, symbol: sympy.Symbol) -> Thunk:
        axis, index = symbol_axis(symbol), symbol_index(symbol)
        if axis is not None:
            if axis not in self.places.sizes:
                raise ShapeError("an axis has no size", axis=axis, due=", ".join(self.places.sizes))
            return _constant(self.places.sizes[axis])
        if index is not None:
            slot, positions = self.places.read(index), self.places.positions
            return lambda: positions[slot]
        if symbol.name not in self.parameters:
            raise ParameterError(
                "a parameter has no value",
                found=symbol.name,
                due=f"parameters={{'{symbol.name}': ...}}",
            )
        number = self.parameters[symbol.name]
        return _constant(int(number) if number.denominator == 1 else number)

    def _floor(self, value: sympy.Expr) -> Thunk:
        inside = self._thunk(value)

        def run() -> int:
            quotient = inside()
            if not isinstance(quotient, int | Fraction):
                raise AttnverifyError(
                    "a whole part is taken of fractions", found=f"{value} = {quotient}"
                )
            return floor(quotient)

        return run

    def _power(self, base: sympy.Expr, exponent: sympy.Expr) -> Thunk:
        below, above, arithmetic = self._thunk(base), self._thunk(exponent), self.arithmetic

        def run() -> Value:
            low, high = below(), above()
            if isinstance(low, int | Fraction) and isinstance(high, int):
                return Fraction(low) ** high if low or high >= 0 else 0
            if isinstance(high, int | Fraction):
                return arithmetic.power(low, Fraction(high))
            return arithmetic.number(low) ** high

        return run


def _constant(value: Value) -> Thunk:
    return lambda: value
