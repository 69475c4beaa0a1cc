"""Functions of one number and of two."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from attnverify.algebra.primitives import call
from attnverify.errors import TraceError
from attnverify.flex.signs import is_not_negative, is_positive
from attnverify.flex.traced import Number, called, rule
from attnverify.flex.values import finite, number

for _name, _primitive in {
    "exp": "exp", "tanh": "tanh", "sin": "sin", "cos": "cos", "erf": "erf", "relu": "relu",
    "sigmoid": "logistic", "expit": "logistic", "sign": "sign", "sgn": "sign",
    "abs": "absolute", "absolute": "absolute", "fabs": "absolute", "detach": "stop_gradient",
}.items():  # fmt: skip
    rule(_name)(lambda x, primitive=_primitive, **_: _applied(primitive, x))


def _applied(primitive: str, value: Any) -> Number:
    body = finite(value)
    if primitive in ("relu", "absolute") and is_not_negative(body):
        return Number(body)
    return Number(call(primitive, body))


@rule("exp2")
def _exp2(value: Any) -> Any:
    return called("pow", 2, Number(finite(value)))


@rule("log")
def _log(value: Any) -> Number:
    body = finite(value)
    if not is_positive(body):
        raise TraceError("takes the logarithm of what may be 0 or below")
    return Number(call("log", body))


@rule("log2")
def _log2(value: Any) -> Any:
    return called("div", _log(value), Number(call("log", 2)))


@rule("log1p")
def _log1p(value: Any) -> Number:
    return _log(called("add", value, 1))


@rule("sqrt")
def _sqrt(value: Any) -> Any:
    return called("pow", value, Fraction(1, 2))


@rule("rsqrt")
def _rsqrt(value: Any) -> Any:
    return called("pow", value, Fraction(-1, 2))


@rule("square")
def _square(value: Any) -> Any:
    return called("pow", value, 2)


@rule("reciprocal")
def _reciprocal(value: Any) -> Any:
    return called("div", 1, value)


@rule("maximum", "max", "fmax")
def _maximum(left: Any, right: Any) -> Number:
    return Number(call("larger", finite(left), finite(right)))


@rule("minimum", "min", "fmin")
def _minimum(left: Any, right: Any) -> Number:
    return Number(call("smaller", finite(left), finite(right)))


@rule("clamp", "clip")
def _clamp(value: Any, min: Any = None, max: Any = None) -> Number:  # noqa: A002  torch's names
    found = number(value) if min is None else _maximum(value, min)
    return found if max is None else _minimum(found, max)


@rule("clamp_min")
def _clamp_min(value: Any, min: Any) -> Number:  # noqa: A002  torch's name
    return _maximum(value, min)


@rule("clamp_max")
def _clamp_max(value: Any, max: Any) -> Number:  # noqa: A002  torch's name
    return _minimum(value, max)
