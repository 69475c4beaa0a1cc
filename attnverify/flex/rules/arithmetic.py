"""Arithmetic and rounding: whole parts are of positions, minus infinity stays what it is."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from attnverify.algebra.predicates import FALSE, disjunction
from attnverify.algebra.primitives import call
from attnverify.algebra.terms import Expr, Scalar, add, floor_div, mul, negative, power, remainder
from attnverify.errors import TraceError
from attnverify.flex.cases import by_case
from attnverify.flex.signs import is_not_negative, is_positive, is_whole
from attnverify.flex.traced import Number, Truth, rule
from attnverify.flex.values import finite, number, plain, truth


@rule("add", "iadd")
def _add(left: Any, right: Any, *, alpha: Any = 1) -> Number:
    x, y = number(left), number(_mul(right, alpha) if alpha != 1 else right)
    return Number(add(x.expr, y.expr), disjunction(x.hidden, y.hidden))


@rule("sub", "subtract", "isub")
def _sub(left: Any, right: Any, *, alpha: Any = 1) -> Number:
    x, y = number(left), finite(_mul(right, alpha) if alpha != 1 else right)
    return Number(add(x.expr, negative(y)), x.hidden)


@rule("rsub")
def _rsub(left: Any, right: Any) -> Number:
    return _sub(right, left)


@rule("mul", "multiply", "imul")
def _mul(left: Any, right: Any) -> Number:
    x, y = number(left), number(right)
    for one, other in ((x, y), (y, x)):
        if one.hidden != FALSE:
            if not is_positive(finite(other)):
                raise TraceError("multiplies minus infinity by what may be 0 or below")
            return Number(mul(x.expr, y.expr), one.hidden)
    return Number(mul(x.expr, y.expr))


@rule("div", "divide", "true_divide", "idiv", "itruediv")
def _div(left: Any, right: Any, *, rounding_mode: str | None = None) -> Number:
    if rounding_mode == "floor":
        return _floor_divide(left, right)
    if rounding_mode is not None:
        return _truncated(_div(left, right))
    below = finite(right)
    if isinstance(below, Scalar) and not (below.value.is_nonzero or is_positive(below)):
        raise TraceError("divides by positions that may be 0")
    return _mul(left, Number(power(below, -1)))


@rule("floor_divide", "ifloordiv")
def _floor_divide(left: Any, right: Any) -> Number:
    below = _divisor(right)
    return Number(by_case(lambda x: _whole_part(x, below), finite(left)))


@rule("remainder", "mod", "imod", "fmod_of_positions")
def _remainder(left: Any, right: Any) -> Number:
    below = _divisor(right)

    def rest(x: Expr) -> Expr:
        return add(x, negative(mul(below, _whole_part(x, below))))

    above = finite(left)
    return Number(remainder(above, below) if isinstance(above, Scalar) else by_case(rest, above))


def _divisor(value: Any) -> Expr:
    below = finite(value)
    if not (isinstance(below, Scalar) and below.value.is_integer and below.value.is_positive):
        raise TraceError(
            "divides with a rest by what is not known to be a whole number of at least 1",
            hint="leave a number open with parameter(..., integer=True, ge=1)",
        )
    return below


def _whole_part(above: Expr, below: Expr) -> Expr:
    if not isinstance(above, Scalar) or not above.value.is_integer:
        raise TraceError(
            "divides with a rest what is not made of positions and whole numbers alone",
            hint="compare an entry of a table with products: (w * p <= x) & (x < w * p + w)",
        )
    return floor_div(above, below)


@rule("fmod")
def _fmod(left: Any, right: Any) -> Number:
    if not is_not_negative(finite(left)):
        raise TraceError("takes fmod of what may be negative", hint="use % or torch.remainder")
    return _remainder(left, right)


@rule("neg", "negative")
def _neg(value: Any) -> Number:
    return Number(negative(finite(value)))


@rule("pow", "power", "float_power", "rpow")
def _pow(base: Any, exponent: Any) -> Number:
    index = plain(exponent)
    if isinstance(index, int | float | Fraction) and not isinstance(index, bool):
        body = finite(base)
        if index != int(index) and not is_not_negative(body):
            raise TraceError("takes a root of what may be negative")
        return Number(power(body, index))
    bottom = finite(base)
    if not is_positive(bottom):
        raise TraceError("takes a power of what may be 0 or below")
    return Number(call("exp", mul(finite(exponent), call("log", bottom))))


# ---- Rounding: positions divided by numbers


@rule("floor")
def _floor(value: Any) -> Number:
    body = finite(value)
    if is_whole(body):
        return Number(body)
    if isinstance(body, Scalar):
        above, below = body.value.as_numer_denom()
        if above.is_integer and below.is_integer and below.is_positive:
            return Number(floor_div(Scalar(above), Scalar(below)))
    raise TraceError("rounds what is not made of positions and whole numbers alone")


@rule("ceil")
def _ceil(value: Any) -> Number:
    return _neg(_floor(_neg(value)))


@rule("trunc", "fix")
def _truncated(value: Any) -> Number:
    body = finite(value)
    if not is_whole(body) and not is_not_negative(body):
        raise TraceError("rounds towards 0 what may be negative", hint="use // or torch.floor")
    return _floor(value)


@rule("to", "type", "astype", "type_as")
def _to(value: Any, *what: Any, dtype: Any = None, **_: Any) -> Number | Truth:
    named = [str(part) for part in (*what, dtype) if part is not None]
    words = " ".join(named).replace("<class '", "").replace("'>", "")
    kinds = {"bool": "bool", "int": "int", "long": "int", "float": "real", "double": "real"}
    for word, kind in kinds.items():
        if word in words.lower():
            return _as_kind(value, kind)
    return value if isinstance(value, Truth) else number(value)


def _as_kind(value: Any, kind: str) -> Number | Truth:
    if kind == "bool":
        return Truth(truth(value, counted=True))
    return number(value) if kind == "real" else _truncated(value)


for _name, _of in {
    "float": "real", "double": "real", "half": "real", "bfloat16": "real",
    "int": "int", "long": "int", "short": "int", "bool": "bool",
}.items():  # fmt: skip
    rule(_name)(lambda x, kind=_of: _as_kind(x, kind))


@rule("clone", "contiguous", "cpu", "cuda", "squeeze", "as_tensor", "asarray", "positive")
def _same(value: Any) -> Any:
    return value
