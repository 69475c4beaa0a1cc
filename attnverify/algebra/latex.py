"""Expressions as LaTeX, for pages and papers."""

from __future__ import annotations

import re
from fractions import Fraction

import sympy
from sympy.printing.latex import LatexPrinter

from attnverify.algebra.predicates import (
    TRUE,
    All,
    AnyOf,
    Compare,
    Holds,
    Not,
    Predicate,
    Truth,
)
from attnverify.algebra.rewrite import unknown
from attnverify.algebra.terms import (
    Add,
    Apply,
    Axis,
    Entry,
    Expr,
    Index,
    Indicator,
    Maximum,
    Mul,
    Power,
    Previous,
    Scalar,
    Softmax,
    Threshold,
    Total,
    mul,
    power,
    symbol_axis,
)
from attnverify.algebra.text import ATOM, POWER, PRODUCT, SUM, numerator_denominator, split_minus

_WORDS = {"<=": r"\le", ">=": r"\ge", "==": "=", "!=": r"\ne", "<": "<", ">": ">"}
_FUNCTIONS = {"exp", "log", "tanh", "sin", "cos"}


def name_latex(name: str) -> str:
    r"""A tensor or parameter name: `dQ` as an upright d, `W_Q` with its subscript, words upright.

    >>> name_latex("dW_Q")
    '\\mathrm{d}W_{Q}'
    """
    cotangent = re.fullmatch(r"d(\d*)([A-Z]\w*)", name)
    if cotangent:
        order = f"^{{{cotangent[1]}}}" if cotangent[1] else ""
        return rf"\mathrm{{d}}{order}{name_latex(cotangent[2])}"
    stem, _, tail = name.partition("_")
    stem = _upright(stem)
    return f"{stem}_{{{_upright(tail)}}}" if tail else stem


def _upright(word: str) -> str:
    """A single letter as it is, a word upright."""
    return word if len(word) == 1 else rf"\mathrm{{{word}}}".replace("_", r"\_")


def index_latex(index: Index) -> str:
    """An index, with its primes."""
    stem = index.name.rstrip("'")
    return (stem if len(stem) == 1 else rf"\mathit{{{stem}}}") + "'" * (len(index.name) - len(stem))


class _ScalarPrinter(LatexPrinter):  # type: ignore[misc]  # SymPy ships no types
    def _print_Symbol(self, expr: sympy.Symbol, style: str = "plain") -> str:  # noqa: ARG002  SymPy hands a style on
        axis = symbol_axis(expr)
        if axis is not None:
            return name_latex(Axis(axis).symbol)
        name, at, _ = str(expr.name).partition("@")
        return (
            index_latex(Index(name, Axis(""))) if at else rf"\mathrm{{{name}}}".replace("_", r"\_")
        )

    def _print_floor(self, expr: sympy.floor, exp: str | None = None) -> str:
        above, below = expr.args[0].as_numer_denom()
        text = rf"\left\lfloor \frac{{{self._print(above)}}}{{{self._print(below)}}} \right\rfloor"
        return text if exp is None else f"{text}^{{{exp}}}"


_PRINTER = _ScalarPrinter()


def expression_latex(expr: Expr, strength: int = SUM) -> str:
    """An expression as LaTeX, in parentheses where its binding is weaker than `strength`."""
    body, own = _latex(expr)
    return rf"\left({body}\right)" if own < strength else body


def entry_latex(entry: Entry) -> str:
    """An entry with its indices as subscripts."""
    indices = " ".join(index_latex(index) for index in entry.indices)
    name = name_latex(entry.tensor.name)
    if not indices:
        return name
    return f"{{{name}}}_{{{indices}}}" if "_" in name else f"{name}_{{{indices}}}"


def _latex(expr: Expr) -> tuple[str, int]:
    match expr:
        case Scalar(value):
            return _PRINTER.doprint(
                value
            ), SUM if value.is_Add else PRODUCT if value.is_Mul else ATOM
        case Entry():
            return entry_latex(expr), ATOM
        case Previous(entry):
            return rf"\operatorname{{prev}}\left({entry_latex(entry)}\right)", ATOM
        case Add(terms):
            parts = [
                (sign, expression_latex(body, PRODUCT)) for sign, body in map(split_minus, terms)
            ]
            lead = "-" if parts[0][0] == "-" else ""
            return lead + parts[0][1] + "".join(f" {sign} {body}" for sign, body in parts[1:]), SUM
        case Mul():
            return _product_latex(expr), PRODUCT
        case Power(base, exponent):
            return _power_latex(base, exponent)
        case Apply(name, arguments):
            head = (
                rf"\{name}"
                if name in _FUNCTIONS
                else rf"\operatorname{{{name}}}".replace("_", r"\_")
            )
            return rf"{head}\left({', '.join(map(expression_latex, arguments))}\right)", ATOM
        case Total(body, over):
            return (
                rf"\sum_{{{' '.join(map(index_latex, over))}}} {expression_latex(body, PRODUCT)}",
                PRODUCT,
            )
        case Softmax(score, over, where, at):
            read = "" if at == over else rf"\big|_{{{index_latex(at)}}}"
            return _row_latex(r"\operatorname*{softmax}", score, over, where) + read, ATOM
        case Maximum(score, over, where) | Threshold(score, over, where, _):
            return _row_latex(_row_name(expr), score, over, where), ATOM
        case Indicator(where):
            return rf"\left[{predicate_latex(where)}\right]", ATOM
    raise unknown(expr, "LaTeX printing")


def _row_name(expr: Maximum | Threshold) -> str:
    if isinstance(expr, Maximum):
        return r"\max"
    return r"\tau" if expr.exponent == 1 else rf"\tau^{{({expr.exponent})}}"


def _row_latex(name: str, score: Expr, over: Index, where: Predicate) -> str:
    """A function of a row of scores, its index and its mask below its name."""
    seen = "" if where == TRUE else rf":\,{predicate_latex(where)}"
    return rf"{name}_{{{index_latex(over)}{seen}}}\left({expression_latex(score)}\right)"


def _product_latex(expr: Mul) -> str:
    sign, body = split_minus(expr)
    over, under = numerator_denominator(body.factors if isinstance(body, Mul) else (body,))
    lead = "-" if sign == "-" else ""
    if not under:
        last = len(over) - 1
        return lead + r" \, ".join(
            expression_latex(f, PRODUCT if n == last else POWER) for n, f in enumerate(over)
        )
    top = expression_latex(mul(*over)) if over else "1"
    return rf"{lead}\frac{{{top}}}{{{expression_latex(mul(*under))}}}"


def _power_latex(base: Expr, exponent: Fraction) -> tuple[str, int]:
    if exponent < 0:
        below = base if exponent == -1 else power(base, -exponent)
        return rf"\frac{{1}}{{{expression_latex(below)}}}", PRODUCT
    if exponent == Fraction(1, 2):
        return rf"\sqrt{{{expression_latex(base)}}}", ATOM
    return rf"{expression_latex(base, ATOM)}^{{{exponent}}}", POWER


def predicate_latex(predicate: Predicate, *, inner: bool = False) -> str:
    """A predicate as LaTeX."""
    match predicate:
        case Truth(value):
            return r"\text{true}" if value else r"\text{false}"
        case Compare(op, left, right):
            return f"{expression_latex(left)} {_WORDS[op]} {expression_latex(right)}"
        case Holds(entry):
            return entry_latex(entry)
        case Not(part):
            return rf"\lnot {predicate_latex(part, inner=True)}"
        case All(parts) | AnyOf(parts):
            word = r" \land " if isinstance(predicate, All) else r" \lor "
            body = word.join(predicate_latex(part, inner=True) for part in parts)
            return f"({body})" if inner else body
    raise TypeError(f"no LaTeX for {type(predicate).__name__}")
