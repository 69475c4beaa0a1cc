"""Orders of growth with their constants: how a count grows, proved for all sizes of a region.

That an expression is never negative is shown by writing each size as its least value and more: it
then is a polynomial whose coefficients are all positive or 0. That is enough, not necessary.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import sympy


@dataclass(frozen=True)
class Region:
    """Symbols with the least value of each, in order; a least value may be an earlier symbol.

    >>> n, k = (sympy.Symbol(name, integer=True, positive=True) for name in "nk")
    >>> print(Region(((k, 2), (n, k))))
    k >= 2, n >= k
    """

    least: tuple[tuple[sympy.Symbol, sympy.Expr], ...]

    def moved(self, expr: sympy.Expr) -> sympy.Expr:
        """The expression with each symbol as its least value and more, which is not negative."""
        for symbol, least in reversed(self.least):
            more = sympy.Symbol(f"{symbol.name}+", nonnegative=True)
            expr = expr.subs(symbol, sympy.sympify(least) + more)
        return expr

    def __str__(self) -> str:
        return ", ".join(
            f"{symbol.name.removeprefix('n:')} >= {str(least).replace('n:', '')}"
            for symbol, least in self.least
        )


def never_negative(expr: sympy.Expr, region: Region) -> bool:
    """Whether an expression is shown to be at least 0 in a region; False says nothing.

    A quotient is shown so where its numerator and its denominator are.

    >>> n = sympy.Symbol("n", integer=True, positive=True)
    >>> never_negative(n**2 - n, Region(((n, 1),))), never_negative(n - 2, Region(((n, 1),)))
    (True, False)
    """
    above, below = sympy.fraction(sympy.together(region.moved(expr)))
    # Where every size is at its least the denominator may not vanish.
    least = below.subs(dict.fromkeys(below.free_symbols, 0))
    return _positive_terms(above) and _positive_terms(below) and bool(least > 0)


def _positive_terms(expr: sympy.Expr) -> bool:
    symbols = sorted(expr.free_symbols, key=str)
    if not expr.is_polynomial(*symbols):
        return False
    if not symbols:
        return bool(expr >= 0)
    return all(number >= 0 for number in sympy.Poly(sympy.expand(expr), *symbols).coeffs())


def leading(expr: sympy.Expr) -> sympy.Expr:
    """The terms of a polynomial that no other term of it is a multiple of.

    >>> n, d = sympy.symbols("n d", positive=True)
    >>> leading(2 * n**2 * d + 5 * n**2 + n * d)
    2*d*n**2
    """
    symbols = sorted(expr.free_symbols, key=str)
    if not symbols:
        return expr
    terms = dict(sympy.Poly(sympy.expand(expr), *symbols).terms())
    kept = [powers for powers in terms if not any(_below(powers, other) for other in terms)]
    monomials = (
        terms[powers] * sympy.prod(s**p for s, p in zip(symbols, powers, strict=True))
        for powers in kept
    )
    return sympy.Add(*monomials)


def _below(powers: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return powers != other and all(p <= q for p, q in zip(powers, other, strict=True))


# Constants between which a count and its order are looked for.
CONSTANTS = (
    Fraction(1, 4),
    Fraction(1, 3),
    Fraction(1, 2),
    1,
    Fraction(3, 2),
    2,
    3,
    4,
    6,
    8,
    12,
    16,
)


@dataclass(frozen=True)
class Between:
    """`low * order <= count <= high * order` for all sizes of a region."""

    low: Fraction
    high: Fraction
    region: Region

    def __str__(self) -> str:
        return f"{self.low} to {self.high} times, for all {self.region}"


def same_order(count: sympy.Expr, order: sympy.Expr, region: Region) -> Between | None:
    """The constants between which a count is its order, for all sizes of a region.

    None where none of a list of constants is shown to do: then the orders may differ. A ceiling in
    the count lies between its argument and one more.

    >>> n, d = (sympy.Symbol(name, integer=True, positive=True) for name in "nd")
    >>> print(same_order(2 * n**2 * d + n * d, n**2 * d, Region(((n, 1), (d, 1)))))
    2 to 3 times, for all n >= 1, d >= 1
    >>> same_order(n**2 * d, n * d, Region(((n, 1), (d, 1)))) is None
    True
    """
    least, most = bounds(count)
    low = [c for c in CONSTANTS if never_negative(least - _exact(c) * order, region)]
    high = [c for c in CONSTANTS if never_negative(_exact(c) * order - most, region)]
    if not low or not high:
        return None
    return Between(Fraction(max(low)), Fraction(min(high)), region)


def bounds(count: sympy.Expr) -> tuple[sympy.Expr, sympy.Expr]:
    """What a count is at least and at most, without its ceiling: that of a whole expression."""
    if isinstance(count, sympy.ceiling):
        return count.args[0], count.args[0] + 1
    return count, count


def _exact(number: int | Fraction) -> sympy.Rational:
    return sympy.Rational(Fraction(number).numerator, Fraction(number).denominator)


__all__ = ["Between", "Region", "bounds", "leading", "never_negative", "same_order"]
