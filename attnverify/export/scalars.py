"""Numbers made of sizes and parameters as Python's own arithmetic, with `math` alone."""

from __future__ import annotations

import sympy
from sympy.printing.precedence import PRECEDENCE
from sympy.printing.pycode import PythonCodePrinter

from attnverify.algebra.terms import symbol_axis
from attnverify.compile.scalars import size_name


class _Numbers(PythonCodePrinter):  # type: ignore[misc]  # SymPy ships no types
    """A number as Python: whole ones stay whole."""

    def _print_Symbol(self, expr: sympy.Symbol) -> str:
        axis = symbol_axis(expr)
        return size_name(axis) if axis is not None else str(expr.name).partition("@")[0]

    def _print_floor(self, expr: sympy.floor) -> str:
        above, below = expr.args[0].as_numer_denom()
        divided = [self.parenthesize(x, PRECEDENCE["Mul"] + 1) for x in (above, below)]
        return "({} // {})".format(*divided)

    def _print_NegativeInfinity(self, _: sympy.Expr) -> str:
        return "-math.inf"

    def _print_Infinity(self, _: sympy.Expr) -> str:
        return "math.inf"


_PRINTER = _Numbers()


def number_text(value: sympy.Expr | None) -> str:
    """A number as Python source.

    >>> from attnverify.algebra.terms import size_symbol
    >>> number_text(1 / sympy.sqrt(size_symbol("key_dim")))
    '1/math.sqrt(n_key_dim)'
    """
    return str(_PRINTER.doprint(sympy.Integer(0) if value is None else value))


def is_atom(text: str) -> bool:
    """Whether a number's text needs no brackets inside a larger expression."""
    return text.isidentifier() or text.replace(".", "", 1).isdigit() or text == "math.nan"
