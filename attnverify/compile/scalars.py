"""Scalars of sizes and parameters as Python expressions of the printed source."""

from __future__ import annotations

from collections.abc import Iterable

import sympy
from sympy.printing.precedence import PRECEDENCE
from sympy.printing.str import StrPrinter

from attnverify.algebra.terms import symbol_axis
from attnverify.compile.recipe import Label, label_axis


class _ScalarPrinter(StrPrinter):  # type: ignore[misc]  # SymPy ships no types
    """A scalar as Python: integers stay integers, anything else is of the working precision."""

    def _print_Symbol(self, expr: sympy.Symbol) -> str:
        axis = symbol_axis(expr)
        return size_name(axis) if axis is not None else str(expr.name).partition("@")[0]

    def _print_Rational(self, expr: sympy.Rational) -> str:
        return f"real({expr.p}) / real({expr.q})"

    def _print_Mul(self, expr: sympy.Mul) -> str:
        # What stands below the line is made real: sizes are integers, and Python's quotient of
        # integers is a double in every working precision.
        above, below = sympy.fraction(expr)
        if below == 1:
            factors = expr.as_ordered_factors()
            return "*".join(self.parenthesize(x, PRECEDENCE["Mul"]) for x in factors)
        return f"({self._print(above)}) / real({self._print(below)})"

    def _print_floor(self, expr: sympy.floor) -> str:
        above, below = expr.args[0].as_numer_denom()
        return f"(({self._print(above)}) // ({self._print(below)}))"

    def _print_Pow(self, expr: sympy.Pow, **_: object) -> str:
        if expr.is_integer and expr.exp.is_Integer:
            return f"(({self._print(expr.base)}) ** {expr.exp})"
        base = f"real({self._print(expr.base)})"
        if expr.exp == sympy.Rational(1, 2):
            return f"np.sqrt({base})"
        if expr.exp == sympy.Rational(-1, 2):
            return f"(1 / np.sqrt({base}))"
        return f"({base} ** ({self._print(expr.exp)}))"

    def _print_NegativeInfinity(self, _: sympy.Expr) -> str:
        return "-np.inf"

    def _print_Pi(self, expr: sympy.Expr) -> str:
        # pi and the like to more digits than any working precision holds.
        return f"real('{sympy.N(expr, 40)}')"

    def _print_log(self, expr: sympy.Expr) -> str:
        return f"np.log(real({self._print(expr.args[0])}))"


_SCALARS = _ScalarPrinter()


def size_name(axis: str) -> str:
    """The variable that holds an axis's size."""
    return f"n_{axis}"


def scalar_source(value: sympy.Expr) -> str:
    """A scalar as a Python expression."""
    return str(_SCALARS.doprint(value))


def shape(labels: Iterable[Label]) -> str:
    """Sizes, separated by commas."""
    return ", ".join(size_name(label_axis(x)) for x in labels)


def joined(labels: Iterable[Label]) -> str:
    """The size of several labels in one dimension."""
    return "*".join(size_name(label_axis(x)) for x in labels)
