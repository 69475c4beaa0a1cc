"""Values in a call: what stands beside a traced value, taken for a number or a truth value."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from attnverify.algebra.predicates import FALSE, TRUE, Predicate
from attnverify.algebra.terms import ZERO, Expr, Parameter, as_expr, indicator
from attnverify.errors import TraceError
from attnverify.flex.cases import compared
from attnverify.flex.traced import Number, Traced, Truth


def number(value: Any) -> Number:
    """A value as a traced number: a number of Python's, a tensor without axes, or a truth value."""
    value = plain(value)
    match value:
        case Number():
            return value
        case Truth(holds=where):
            return Number(indicator(where))
        case Parameter():
            return Number(as_expr(value))
        case bool():
            return Number(as_expr(int(value)))
        case int() | Fraction():
            return Number(as_expr(value))
        case float() if math.isfinite(value):
            return Number(as_expr(value))
        case float() if value == -math.inf:
            return Number(ZERO, TRUE)
        case float():
            raise TraceError(f"computes with {value}, which no finite score stands for")
    raise TraceError(f"computes with {_kind(value)}")


def finite(value: Any) -> Expr:
    """A value as an expression; minus infinity only goes into scores, by sums and choices."""
    found = number(value)
    if found.hidden != FALSE:
        raise TraceError(
            "computes with minus infinity in more than a sum, a choice or a positive factor",
            hint="say what is hidden by mask_mod",
        )
    return found.expr


def truth(value: Any, *, counted: bool = False) -> Predicate:
    """A value as a predicate; with `counted` a number is true where it is not 0."""
    value = plain(value)
    match value:
        case Truth(holds=where):
            return where
        case bool():
            return TRUE if value else FALSE
        case Number() | int() | float() if counted:
            return compared("!=", finite(value), ZERO)
    raise TraceError("uses a number as a truth value", hint="compare it, x != 0")


def plain(value: Any) -> Any:
    """What a tensor or array without axes holds; anything else as it is."""
    if isinstance(value, Traced) or getattr(value, "shape", None) != ():
        return value
    return value.item() if hasattr(value, "item") else value


def _kind(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if shape is None:
        return f"a value of type {type(value).__name__}"
    return f"a whole table of shape {tuple(shape)} where one entry is due"


def is_truth(value: Any) -> bool:
    """Whether a value is a truth value."""
    return isinstance(plain(value), Truth | bool)
