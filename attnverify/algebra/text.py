"""Expressions as plain text, in the order in which they were written."""

from __future__ import annotations

from fractions import Fraction

import sympy
from sympy.printing.str import StrPrinter

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
    Indicator,
    Maximum,
    Mul,
    Place,
    Power,
    Previous,
    Scalar,
    Softmax,
    Threshold,
    Total,
    mul,
    negative,
    power,
    symbol_axis,
)

# Binding strength: a part is put in parentheses where a stronger one is due.
SUM, PRODUCT, POWER, ATOM = 1, 2, 3, 4


class _ScalarPrinter(StrPrinter):  # type: ignore[misc]  # SymPy ships no types
    """SymPy's printer with the papers' names for sizes and positions."""

    def _print_Symbol(self, expr: sympy.Symbol) -> str:
        axis = symbol_axis(expr)
        if axis is not None:
            return Axis(axis).symbol
        return str(expr.name).partition("@")[0]

    def _print_floor(self, expr: sympy.floor) -> str:
        above, below = expr.args[0].as_numer_denom()
        top, bottom = (
            f"({self._print(part)})" if part.is_Add or part.is_Mul else self._print(part)
            for part in (above, below)
        )
        return f"floor({top}/{bottom})"


_PRINTER = _ScalarPrinter()


def expression_text(expr: Expr, strength: int = SUM) -> str:
    """An expression as text, in parentheses where its binding is weaker than `strength`."""
    body, own = _text(expr)
    return f"({body})" if own < strength else body


def _text(expr: Expr) -> tuple[str, int]:
    match expr:
        case Scalar(value):
            return scalar_text(value)
        case Entry(tensor, places):
            return (
                f"{tensor.name}[{','.join(place_text(p) for p in places)}]"
                if places
                else tensor.name
            ), ATOM
        case Previous(entry):
            return f"previous({expression_text(entry)})", ATOM
        case Add(terms):
            return _sum_text(terms), SUM
        case Mul(factors):
            return _product_text(factors), PRODUCT
        case Power(base, exponent):
            return _power_text(base, exponent)
        case Apply(name, arguments):
            return f"{name}({', '.join(expression_text(a) for a in arguments)})", ATOM
        case Total(body, over):
            names = ",".join(index.name for index in over)
            return f"sum_{names} {expression_text(body, PRODUCT)}", PRODUCT
        case Softmax(score, over, where, at):
            read = "" if at == over else f" at {at.name}"
            return f"softmax_{over.name}({_seen_text(score, where)}){read}", ATOM
        case Maximum() | Threshold():
            return _row_text(expr), ATOM
        case Indicator(where):
            return f"[{predicate_text(where)}]", ATOM
    raise unknown(expr, "printing")


def _row_text(expr: Maximum | Threshold) -> str:
    seen = _seen_text(expr.score, expr.where)
    if isinstance(expr, Maximum):
        return f"max_{expr.over.name}({seen})"
    raised = "" if expr.exponent == 1 else f"; {expr.exponent}"
    return f"threshold_{expr.over.name}({seen}{raised})"


def _seen_text(score: Expr, where: Predicate) -> str:
    """A score, and the places where it is seen unless it is so everywhere."""
    return expression_text(score) + ("" if where == TRUE else f" | {predicate_text(where)}")


def scalar_text(value: sympy.Expr) -> tuple[str, int]:
    """A scalar as text, with its binding strength."""
    body = _PRINTER.doprint(value)
    if value.is_Add:
        return body, SUM
    if body.startswith("-") or value.is_Mul or (value.is_Rational and not value.is_Integer):
        return body, PRODUCT
    return body, POWER if value.is_Pow else ATOM


def place_text(place: Place) -> str:
    """A place as text: an index, or the indices of a product axis joined by a dot."""
    return ".".join(i.name for i in place) if isinstance(place, tuple) else place.name


def split_minus(term: Expr) -> tuple[str, Expr]:
    """The sign to print before a term, and the term without it."""
    lead = term.factors[0] if isinstance(term, Mul) else term
    if isinstance(lead, Scalar) and lead.value.could_extract_minus_sign():
        return "-", negative(term)
    return "+", term


def _sum_text(terms: tuple[Expr, ...]) -> str:
    parts: list[str] = []
    for term in terms:
        sign, body = split_minus(term)
        # A sum sign reaches as far right as it can, so a sum that is not last has parentheses.
        text = expression_text(body, PRODUCT)
        text = f"({text})" if _open_right(body) and term is not terms[-1] else text
        parts.append(f" {sign} {text}" if parts else ("-" if sign == "-" else "") + text)
    return "".join(parts)


def _open_right(expr: Expr) -> bool:
    return isinstance(expr, Total) or (
        isinstance(expr, Mul) and isinstance(expr.factors[-1], Total)
    )


def numerator_denominator(factors: tuple[Expr, ...]) -> tuple[list[Expr], list[Expr]]:
    """The factors above and below the line of a printed fraction."""
    over: list[Expr] = []
    under: list[Expr] = []
    for factor in factors:
        if isinstance(factor, Scalar):
            top, bottom = factor.value.as_numer_denom()
            if top != 1:
                over.append(Scalar(top))
            if bottom != 1:
                under.append(Scalar(bottom))
        elif isinstance(factor, Power) and factor.exponent < 0:
            under.append(power(factor.base, -factor.exponent))
        else:
            over.append(factor)
    return over, under


def _product_text(factors: tuple[Expr, ...]) -> str:
    sign, body = split_minus(mul(*factors))
    over, under = numerator_denominator(body.factors if isinstance(body, Mul) else (body,))
    closed = [
        expression_text(f, PRODUCT)
        if n == len(over) - 1 and not under
        else expression_text(f, POWER)
        for n, f in enumerate(over)
    ]
    top = " ".join(closed) or "1"
    bottom = [expression_text(f, POWER) for f in under]
    text = (
        top
        if not bottom
        else f"{top} / {bottom[0] if len(bottom) == 1 else '(' + ' '.join(bottom) + ')'}"
    )
    return ("-" if sign == "-" else "") + text


def _power_text(base: Expr, exponent: Fraction) -> tuple[str, int]:
    if exponent < 0:
        below = base if exponent == -1 else power(base, -exponent)
        return f"1 / {expression_text(below, POWER)}", PRODUCT
    if exponent == Fraction(1, 2):
        return f"sqrt({expression_text(base)})", ATOM
    raised = str(exponent) if exponent.denominator == 1 else f"({exponent})"
    return f"{expression_text(base, ATOM)}^{raised}", POWER


def predicate_text(predicate: Predicate, *, inner: bool = False) -> str:
    """A predicate as text."""
    match predicate:
        case Truth(value):
            return "true" if value else "false"
        case Compare(op, left, right):
            sign = {"==": "=", "!=": "!="}.get(op, op)
            return f"{expression_text(left)} {sign} {expression_text(right)}"
        case Holds(entry):
            return expression_text(entry)
        case Not(part):
            return f"not {predicate_text(part, inner=True)}"
        case All(parts) | AnyOf(parts):
            word = " and " if isinstance(predicate, All) else " or "
            body = word.join(predicate_text(part, inner=True) for part in parts)
            return f"({body})" if inner else body
    raise TypeError(f"no text for {type(predicate).__name__}")
