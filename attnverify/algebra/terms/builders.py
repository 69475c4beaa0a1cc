"""What builds expressions: sums and products flattened, scalars joined, values taken for nodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TypeAlias

import sympy

from attnverify.algebra.predicates import FALSE, TRUE, Predicate
from attnverify.algebra.terms.nodes import (
    Add,
    Apply,
    Axis,
    Expr,
    Index,
    Indicator,
    Mul,
    Parameter,
    Place,
    Power,
    Scalar,
    Total,
    size_symbol,
)
from attnverify.algebra.terms.symbols import index_symbol
from attnverify.errors import SpecError

Number: TypeAlias = "int | float | Fraction"

ZERO = Scalar(sympy.Integer(0))
ONE = Scalar(sympy.Integer(1))


def number(value: Number) -> sympy.Expr:
    """A Python number as an exact rational; a float means the decimal that it prints as."""
    if isinstance(value, float):
        return sympy.Rational(repr(float(value)))  # NumPy's own floats print their type's name
    return sympy.Rational(value.numerator, value.denominator)


def as_expr(value: object) -> Expr:
    """Return a number, index, parameter, predicate or expression as an expression."""
    match value:
        case Expr():
            return value
        case Index():
            return Scalar(index_symbol(value))
        case Parameter():
            return Scalar(value.symbol)
        case Predicate():
            return indicator(value)
        case bool():
            raise SpecError(
                "a number or expression was expected",
                found=repr(value),
                hint="use eq(a, b) instead of ==",
            )
        case int() | Fraction():
            return Scalar(number(value))
        case float() if math.isfinite(value):
            return Scalar(number(value))
        case tuple() if value and all(isinstance(part, Index) for part in value):
            return position(value)
    raise SpecError(
        "a number or expression was expected", found=f"{type(value).__name__} {value!r}"
    )


def position(place: Place) -> Expr:
    """The position of a place on its axis: row-major on a product axis."""
    result: sympy.Expr = sympy.Integer(0)
    for index in place if isinstance(place, tuple) else (place,):
        result = result * size_symbol(index.axis.name) + index_symbol(index)
    return Scalar(result)


def add(*values: object) -> Expr:
    """Sum, flattened; scalar terms are joined into one, kept last."""
    scalar: sympy.Expr = sympy.Integer(0)
    terms: list[Expr] = []
    for value in values:
        expr = as_expr(value)
        for term in expr.terms if isinstance(expr, Add) else (expr,):
            if isinstance(term, Scalar):
                scalar = scalar + term.value
            else:
                terms.append(term)
    if not terms:
        return Scalar(sympy.expand(scalar))
    if scalar != 0:
        terms.append(Scalar(scalar))
    return terms[0] if len(terms) == 1 else Add(tuple(terms))


def mul(*values: object) -> Expr:
    """Product, flattened; scalar factors are joined into one, kept first."""
    scalar: sympy.Expr = sympy.Integer(1)
    factors: list[Expr] = []
    for value in values:
        expr = as_expr(value)
        for factor in expr.factors if isinstance(expr, Mul) else (expr,):
            if isinstance(factor, Scalar):
                scalar = scalar * factor.value
            else:
                factors.append(factor)
    if scalar == 0:
        return ZERO
    if not factors:
        return Scalar(scalar)
    if scalar != 1:
        if len(factors) == 1 and isinstance(factors[0], Add) and scalar == -1:
            return add(*(negative(term) for term in factors[0].terms))
        factors.insert(0, Scalar(scalar))
    return factors[0] if len(factors) == 1 else Mul(tuple(factors))


def negative(value: object) -> Expr:
    """Minus a value."""
    return mul(-1, value)


def power(base: object, exponent: object) -> Expr:
    """`base ** exponent`, rational exponent; of a scalar known to be positive it is a scalar."""
    if isinstance(exponent, float) and math.isfinite(exponent):
        exponent = Fraction(repr(float(exponent)))
    if isinstance(exponent, bool) or not isinstance(exponent, int | Fraction):
        raise SpecError(
            "an exponent is a number",
            found=f"({base}) ** ({exponent})",
            hint="write exp(x * log(base)) for a positive base",
        )
    body = as_expr(base)
    if exponent == 0:
        return ONE
    if exponent == 1:
        return body
    if isinstance(body, Scalar):
        if body.value == 0 and exponent < 0:
            raise SpecError("division by zero", found=f"({base}) ** ({exponent})")
        # SymPy may cancel a base against its inverse, which the total inverse allows only where
        # the base is not 0.
        if body.value.is_positive or (
            body.value.is_number and body.value.is_nonzero and exponent == int(exponent)
        ):
            return Scalar(body.value ** sympy.Rational(exponent))
        if exponent > 0 and exponent == int(exponent):
            return Scalar(body.value ** int(exponent))
    if isinstance(body, Power) and body.exponent == -1 and exponent == int(exponent):
        return power(body.base, -exponent)
    return Power(body, Fraction(exponent))


def inverse(value: object) -> Expr:
    """The total inverse: 0 where the value is 0."""
    return power(value, -1)


def floor_div(left: object, right: object) -> Expr:
    """The largest whole number that is at most `left / right`.

    `left` is a whole number made of positions, sizes, integer parameters and numbers; `right` is
    one that is known to be at least 1. Raises SpecError for anything else.
    """
    above, below = _whole(left, "left"), _whole(right, "right")
    if not below.is_positive:
        raise SpecError(
            "floor_div and remainder divide by a whole number of at least 1",
            found=str(Scalar(below)),
            hint="declare the parameter with integer=True, ge=1",
        )
    return Scalar(sympy.floor(above / below))


def remainder(left: object, right: object) -> Expr:
    """What `floor_div(left, right)` leaves over: from 0 to `right - 1`."""
    above, below = _whole(left, "left"), _whole(right, "right")
    quotient = floor_div(left, right)
    if not isinstance(quotient, Scalar):  # floor_div makes scalars alone; this narrows the type
        raise SpecError("a remainder is of scalars", found=str(quotient))
    return Scalar(sympy.expand(above - below * quotient.value))


def _whole(value: object, side: str) -> sympy.Expr:
    """A scalar that is a whole number by its form."""
    expr = as_expr(value)
    if isinstance(expr, Scalar) and expr.value.is_integer:
        return expr.value
    raise SpecError(
        "floor_div and remainder take whole numbers: positions, sizes, integer parameters, numbers",
        side=side,
        found=str(expr),
        hint="compare an integer input with products: (w * p <= x) & (x < w * p + w)",
    )


def indicator(where: Predicate) -> Expr:
    """1 where a predicate holds and 0 elsewhere."""
    if where == TRUE:
        return ONE
    return ZERO if where == FALSE else Indicator(where)


def apply(primitive: str, *arguments: object) -> Expr:
    """A primitive applied to arguments."""
    return Apply(primitive, tuple(as_expr(argument) for argument in arguments))


def total(body: object, over: Index | Sequence[Index]) -> Expr:
    """The sum of `body` over the full range of one index or several.

    Raises SpecError where `over` is not an index or repeats one.
    """
    indices = (over,) if isinstance(over, Index | Axis) else tuple(over)
    if not all(isinstance(index, Index) for index in indices):
        raise SpecError(
            "total(..., over=) takes indices", found=repr(over), due="an index such as keys['j']"
        )
    if len(set(indices)) != len(indices):
        raise SpecError("a sum names an index twice", found=", ".join(i.name for i in indices))
    return Total(as_expr(body), indices) if indices else as_expr(body)
