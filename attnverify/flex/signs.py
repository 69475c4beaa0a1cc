"""What is known of an expression by its form alone: its sign, and that it is a whole number."""

from __future__ import annotations

from attnverify.algebra.primitives import is_whole as is_whole_by_form
from attnverify.algebra.terms import (
    Add,
    Apply,
    Entry,
    Expr,
    Indicator,
    Mul,
    Power,
    Scalar,
    Total,
)


def is_positive(expr: Expr) -> bool:
    """Whether an expression is above 0 at every place.

    >>> from attnverify.notation import absolute, axes
    >>> i = axes("queries")[0]["i"]
    >>> is_positive(1 + absolute(3 - i)), is_positive(3 - i)
    (True, False)
    """
    match expr:
        case Scalar(value):
            return bool(value.is_positive)
        case Apply("exp" | "logistic", _):
            return True
        case Add(terms):
            return all(map(is_not_negative, terms)) and any(map(is_positive, terms))
        case Mul(factors):
            return all(map(is_positive, factors))
        case Power(base, _):
            return is_positive(base)
        case Apply("larger", parts):
            return any(map(is_positive, parts))
        case Apply("smaller", parts):
            return all(map(is_positive, parts))
    return False


def is_not_negative(expr: Expr) -> bool:
    """Whether an expression is 0 or above at every place."""
    match expr:
        case Scalar(value):
            return bool(value.is_nonnegative)
        case Apply("absolute" | "relu", _) | Indicator():
            return True
        case Add(terms) | Mul(terms):
            return is_positive(expr) or all(map(is_not_negative, terms))
        case Power(base, exponent):
            return is_not_negative(base) or exponent.numerator % 2 == 0
        case Apply("larger", parts):
            return any(map(is_not_negative, parts))
        case Apply("smaller", parts):
            return all(map(is_not_negative, parts))
    return is_positive(expr)


def is_whole(expr: Expr) -> bool:
    """Whether an expression is a whole number at every place."""
    match expr:
        case Indicator():
            return True
        case Apply("absolute" | "relu" | "sign" | "larger" | "smaller", parts):
            return all(map(is_whole, parts))
        case Add(terms) | Mul(terms):
            return all(map(is_whole, terms))
        case Total(body, _):
            return is_whole(body)
        case Entry() | Scalar():
            return is_whole_by_form(expr)
    return False
