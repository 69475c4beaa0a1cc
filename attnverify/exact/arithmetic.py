"""Two arithmetics for the interpreter, rationals and floating point of any precision.

Each primitive has one rule.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from threading import get_ident
from typing import Any, TypeAlias

import mpmath
from mpmath.libmp import from_rational

from attnverify.errors import AttnverifyError, UnknownPrimitiveError
from attnverify.exact.tables import alibi_slope, t5_bucket

# int, Fraction or an mpmath number: mpmath publishes no types, so this is what a checker can know.
Value: TypeAlias = Any


class HighPrecision:
    """Arithmetic with the given number of decimal digits and no bound on exponents."""

    def __init__(self, digits: int) -> None:
        if isinstance(digits, bool) or not isinstance(digits, int) or digits < 17:
            raise AttnverifyError(
                "the interpreter's precision is a number of decimal digits",
                found=repr(digits),
                due="an integer >= 17, so that every float64 is taken exactly",
            )
        self.functions = _functions(digits, get_ident())
        self._kind = self.functions.mpf
        self.digits = digits

    def number(self, value: Value) -> Value:
        """A Python, NumPy or SymPy number as an mpmath number; floats are exact."""
        if isinstance(value, self._kind):
            return value
        if type(value) is Fraction:  # as `convert` does, which makes it a fraction of its own first
            whole, part = value.numerator, value.denominator
            return self.functions.make_mpf(from_rational(whole, part, self.functions.prec))
        return self.functions.convert(value)

    def power(self, base: Value, exponent: Fraction) -> Value:
        """`base ** exponent`, 0 where a negative exponent meets 0."""
        base = self.number(base)
        if base == 0:
            return base
        if exponent.denominator == 1:
            return base ** int(exponent)
        if base < 0:
            raise _negative_base(base, exponent)
        root = self.functions.sqrt(base) if exponent.denominator == 2 else None
        if root is None:
            return self.functions.power(base, self.number(exponent))
        return root ** int(exponent * 2)

    def pi(self) -> Value:
        """Pi to all digits."""
        return +self.functions.pi


@lru_cache(maxsize=64)
def _functions(digits: int, _thread: int) -> Any:
    """Mpmath's functions at a number of digits; a thread has its own, for they change inside."""
    found = mpmath.mp.clone()
    found.dps = digits
    return found


class Rational:
    """Arithmetic with fractions; a function that leaves the rationals raises."""

    functions: Any = None
    digits = None

    def number(self, value: Value) -> Fraction:
        """A Python or NumPy number as a fraction; AttnverifyError where it is not finite."""
        return value if isinstance(value, Fraction) else fraction(value)

    def power(self, base: Value, exponent: Fraction) -> Fraction:
        """`base ** exponent`, 0 where a negative exponent meets 0; an irrational root raises."""
        body = self.number(base)
        if body == 0:
            return body
        if exponent.denominator == 1:
            return Fraction(body ** int(exponent))
        if body < 0:
            raise _negative_base(body, exponent)
        above = _whole_root(body.numerator, exponent.denominator)
        below = _whole_root(body.denominator, exponent.denominator)
        if above is None or below is None:
            raise _irrational(f"({base}) ** ({exponent})")
        return Fraction(Fraction(above, below) ** exponent.numerator)

    def pi(self) -> Fraction:
        """Pi is no fraction."""
        raise _irrational("pi")


Arithmetic: TypeAlias = "HighPrecision | Rational"


def fraction(value: Value) -> Fraction:
    """A number as a fraction, without loss; AttnverifyError where it is not finite.

    >>> fraction(0.5)
    Fraction(1, 2)
    """
    try:
        if hasattr(value, "_mpf_"):  # of any precision
            sign, mantissa, exponent, _ = value._mpf_
            if not mantissa and exponent:  # mpmath's way to write nan and the infinities
                raise ValueError("not finite")
            size = int(mantissa) * Fraction(2) ** int(exponent)
            return -size if sign else size
        return Fraction(*value.as_integer_ratio())
    except (AttributeError, ValueError, OverflowError) as error:
        raise AttnverifyError("a finite number was expected", found=repr(value)) from error


def _negative_base(base: Value, exponent: Fraction) -> AttnverifyError:
    return AttnverifyError(
        "a fractional power of a negative number is not real",
        found=f"({base}) ** ({exponent})",
        due="a base >= 0",
    )


def _irrational(what: str) -> AttnverifyError:
    return AttnverifyError(
        "a value is not rational",
        found=what,
        hint="evaluate with precision=50 instead of rational=True",
    )


def _whole_root(value: int, degree: int) -> int | None:
    """The whole number whose power is `value`, if there is one."""
    low, high = 0, 1 << (value.bit_length() // degree + 1)
    while low < high:
        middle = (low + high) // 2
        if middle**degree < value:
            low = middle + 1
        else:
            high = middle
    return low if low**degree == value else None


Rule = Callable[..., Value]


def _log(mp: Any, x: Value) -> Value:
    if x < 0:
        raise AttnverifyError("the logarithm of a negative number is not real", found=str(x))
    return mp.ninf if x == 0 else mp.log(x)


def _logistic(mp: Any, x: Value) -> Value:
    if x < 0:  # e^-x would outgrow the digits kept of the 1 beside it
        return mp.exp(x) / (1 + mp.exp(x))
    return 1 / (1 + mp.exp(-x))


# Each rule takes mpmath's functions, then the arguments.
IRRATIONAL: dict[str, Rule] = {
    "exp": lambda mp, x: mp.exp(x),
    "log": _log,
    "tanh": lambda mp, x: mp.tanh(x),
    "sin": lambda mp, x: mp.sin(x),
    "cos": lambda mp, x: mp.cos(x),
    "logistic": _logistic,
    "erf": lambda mp, x: mp.erf(x),
    "alibi_slope": alibi_slope,
    "undefined": lambda mp: mp.nan,
}
RATIONAL: dict[str, Rule] = {
    "relu": lambda x: x if x > 0 else 0 * x,
    "step": lambda x: int(x > 0),
    "absolute": lambda x: -x if x < 0 else x,
    "sign": lambda x: int(x > 0) - int(x < 0),
    "larger": max,
    "smaller": min,
    "stop_gradient": lambda x: x,
    "t5_bucket": t5_bucket,
}


def rule(name: str, arithmetic: Arithmetic) -> Rule:
    """The exact rule of a primitive: from the values of its arguments to its value.

    Raises UnknownPrimitiveError where there is none, AttnverifyError where rationals do not
    suffice.

    >>> rule("larger", Rational())(Fraction(1, 3), Fraction(1, 2))
    Fraction(1, 2)
    """
    if name in RATIONAL:
        return RATIONAL[name]
    if name not in IRRATIONAL:
        raise UnknownPrimitiveError(
            f"the exact interpreter has no rule for '{name}'",
            found=name,
            due=", ".join([*RATIONAL, *IRRATIONAL]),
        )
    if isinstance(arithmetic, Rational):
        raise _irrational(name)
    function, functions = IRRATIONAL[name], arithmetic.functions
    return lambda *values: function(functions, *map(arithmetic.number, values))
