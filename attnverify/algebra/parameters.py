"""Parameters: how one is declared, and a value against its declared type and domain."""

from __future__ import annotations

import math
from fractions import Fraction

from attnverify.algebra.terms import Parameter
from attnverify.errors import ParameterError


def parameter(
    name: str,
    *,
    integer: bool = False,
    ge: float | Fraction | None = None,
    gt: float | Fraction | None = None,
    le: float | Fraction | None = None,
    lt: float | Fraction | None = None,
    default: float | Fraction | None = None,
    multiple_of: int | None = None,
    doc: str = "",
) -> Parameter:
    """A number that the spec leaves open, with its domain.

    Raises ParameterError for a domain without a value, or a default outside it.

    >>> parameter("window", integer=True, ge=1).positive
    True
    >>> parameter("rotary_dim", integer=True, ge=0, multiple_of=2).multiple_of
    2
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise ParameterError("a parameter's name is an identifier", found=repr(name))
    low, above, high, below, usual = (_bound(name, value) for value in (ge, gt, le, lt, default))
    result = Parameter(name, integer, low, above, high, below, usual, doc, multiple_of)
    _check_domain(result)
    if usual is not None:
        checked(result, int(usual) if usual.denominator == 1 else usual, "")
    return result


def _check_domain(parameter: Parameter) -> None:
    """Multiples are of whole numbers, and some value lies between the bounds."""
    step = parameter.multiple_of
    if step is not None and (
        isinstance(step, bool) or not isinstance(step, int) or step < 1 or not parameter.integer
    ):
        raise ParameterError(
            f"'{parameter.name}' is a multiple of a whole number",
            found=f"multiple_of={step!r}, integer={parameter.integer}",
            due="integer=True, multiple_of a whole number of at least 1",
        )
    low, high = lowest(parameter), highest(parameter)
    if not parameter.integer or low is None or high is None:
        return
    if not whole_values(parameter, math.ceil(low), math.floor(high)):
        raise ParameterError(f"'{parameter.name}' has no value", found=domain(parameter))


def lowest(parameter: Parameter) -> Fraction | None:
    """The lower bound of the domain, whether or not it belongs to it."""
    return parameter.ge if parameter.ge is not None else parameter.gt


def highest(parameter: Parameter) -> Fraction | None:
    """The upper bound of the domain, whether or not it belongs to it."""
    return parameter.le if parameter.le is not None else parameter.lt


def whole_values(parameter: Parameter, start: int, stop: int) -> range:
    """The values of an integer parameter from `start` to `stop`, both among them.

    >>> list(whole_values(parameter("n", integer=True, gt=0, multiple_of=2), -3, 6))
    [2, 4, 6]
    """
    if parameter.ge is not None:
        start = max(start, math.ceil(parameter.ge))
    if parameter.gt is not None:
        start = max(start, math.floor(parameter.gt) + 1)
    if parameter.le is not None:
        stop = min(stop, math.floor(parameter.le))
    if parameter.lt is not None:
        stop = min(stop, math.ceil(parameter.lt) - 1)
    step = parameter.multiple_of or 1
    return range(start + -start % step, stop + 1, step)


def _bound(name: str, value: float | Fraction | None) -> Fraction | None:
    """A bound as the decimal that it prints as."""
    if value is None or isinstance(value, Fraction):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return Fraction(repr(float(value)))
    if isinstance(value, int) and not isinstance(value, bool):
        return Fraction(value)
    raise ParameterError(f"a bound of '{name}' is a finite number or None", found=repr(value))


def checked(parameter: Parameter, value: object, spec: str) -> int | float | Fraction:
    """The value, if it has the parameter's type and lies in its domain.

    Raises ParameterError otherwise.
    """
    kind = "an integer" if parameter.integer else "a number"
    right = (
        isinstance(value, int) if parameter.integer else isinstance(value, int | float | Fraction)
    )
    if isinstance(value, bool) or not right or not isinstance(value, int | float | Fraction):
        raise ParameterError(
            f"'{parameter.name}' is {kind}", spec=spec, found=repr(value), due=domain(parameter)
        )
    if not math.isfinite(value) or not inside(parameter, value):
        raise ParameterError(
            f"'{parameter.name}' lies outside its domain",
            spec=spec,
            found=repr(value),
            due=domain(parameter),
        )
    return value


def domain(parameter: Parameter) -> str:
    """A parameter's domain in words.

    >>> from attnverify.notation import parameter
    >>> domain(parameter("window", integer=True, ge=1))
    'an integer >= 1'
    """
    bounds = [(">=", parameter.ge), (">", parameter.gt), ("<=", parameter.le), ("<", parameter.lt)]
    words = " and ".join(f"{sign} {bound}" for sign, bound in bounds if bound is not None)
    text = f"{'an integer' if parameter.integer else 'a number'} {words}".strip()
    return (
        text if parameter.multiple_of is None else f"{text}, a multiple of {parameter.multiple_of}"
    )


def inside(parameter: Parameter, value: float | Fraction) -> bool:
    """Whether a number lies in a parameter's domain."""
    return (
        (parameter.ge is None or value >= parameter.ge)
        and (parameter.gt is None or value > parameter.gt)
        and (parameter.le is None or value <= parameter.le)
        and (parameter.lt is None or value < parameter.lt)
        and (parameter.multiple_of is None or value % parameter.multiple_of == 0)
    )
