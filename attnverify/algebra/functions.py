"""Functions of notation beyond the elementary ones: tables, extrema, what is not defined."""

from __future__ import annotations

from fractions import Fraction

from attnverify.algebra.predicates import TRUE, as_predicate
from attnverify.algebra.primitives import call
from attnverify.algebra.terms import (
    Expr,
    Index,
    Maximum,
    Place,
    Threshold,
    as_expr,
    mul,
    number,
    position,
)
from attnverify.errors import SpecError


def absolute(value: object) -> Expr:
    """The size of a value, without its sign."""
    return call("absolute", value)


def sign(value: object) -> Expr:
    """-1, 0 or 1, as a value is below, at or above 0."""
    return call("sign", value)


def undefined() -> Expr:
    """A value that is not defined: NaN in numbers, one unknown number in proofs.

    `where(row_is_empty, undefined(), value)` leaves the other rows, and every gradient, as they
    are.
    """
    return call("undefined")


def alibi_slope(head: Place) -> Expr:
    """The ALiBi slope of a place on the head axis, an index or a tuple on a product axis.

    Of n heads, m the largest power of two among them, head h has 2^(-8 (h+1)/m) below m and
    2^(-4 (2 (h-m) + 1)/m) from m on. Derivatives are 0, proofs know nothing of it.
    Source: Press et al. 2022, section 3, and their code for other numbers of heads.

    >>> from attnverify.algebra.terms import Axis
    >>> print(alibi_slope(Axis("heads")["h"]))
    alibi_slope(h, n_h)
    """
    parts = head if isinstance(head, tuple) else (head,)
    if not parts or not all(isinstance(part, Index) for part in parts):
        raise SpecError("alibi_slope(...) takes a place", found=repr(head), due='heads["h"]')
    return call("alibi_slope", position(head), mul(*(part.axis.size for part in parts)))


def t5_bucket(
    distance: object,
    buckets: object = 32,
    max_distance: object = 128,
    *,
    two_sided: bool = True,
) -> Expr:
    """T5's bucket of a distance, key position minus query position: a whole number from 0.

    Two-sided, keys after the query take the second half of the buckets; one-sided, they share
    bucket 0. Of the buckets of a side, half hold one distance each, and the others grow to
    `max_distance` by a logarithm. Its edges are those of real arithmetic, which the libraries'
    float32 meets. Derivatives are 0, proofs know nothing of it.
    Raises SpecError where there is no near or no far bucket. Source: Raffel et al. 2020, section
    2.1, and the authors' code.

    >>> from attnverify.algebra.terms import Axis
    >>> queries, keys = Axis("queries"), Axis("keys")
    >>> print(t5_bucket(keys["j"] - queries["i"]))
    t5_bucket(-i + j, 32, 128, 1)
    """
    if isinstance(buckets, int) and isinstance(max_distance, int):
        near = (buckets // 2 if two_sided else buckets) // 2
        if near < 1 or max_distance <= near:
            raise SpecError(
                "T5's buckets need near and far ones",
                found=f"buckets={buckets}, max_distance={max_distance}, two_sided={two_sided}",
                due="two buckets or more on each side, max_distance beyond half of them",
            )
    return call("t5_bucket", as_expr(distance), buckets, max_distance, int(two_sided))


def maximum(score: object, over: Index, where: object = TRUE) -> Expr:
    """The largest score along an axis where `where` holds, 0 for a row without one.

    Derivatives hold it constant, as a shift that cancels needs.

    >>> from attnverify.algebra.terms import Axis, Tensor
    >>> j = Axis("keys")["j"]
    >>> print(maximum(Tensor("S")[j], over=j))
    stop_gradient(max_j(S[j]))
    """
    _check_index("maximum", over)
    return call("stop_gradient", Maximum(as_expr(score), over, as_predicate(where)))


def threshold(score: object, over: Index, exponent: object = 1, where: object = TRUE) -> Expr:
    """The tau with sum_over [where] max(score - tau, 0)^exponent = 1, 0 for a row without a place.

    Sparsemax is max(s - tau, 0) of exponent 1, alpha-entmax max(s - tau, 0)^p of exponent
    p = 1/(alpha - 1) and scores s = (alpha - 1) times the given ones: exponent 2 of halved scores
    for alpha = 1.5. Derivatives follow by the implicit function theorem; a score that equals tau
    bears no weight. Raises SpecError for an exponent below 1.
    Source: Martins & Astudillo 2016; Peters et al. 2019, section 3.

    >>> from attnverify.algebra.terms import Axis, Tensor
    >>> j = Axis("keys")["j"]
    >>> print(threshold(Tensor("S")[j] / 2, over=j, exponent=2))
    threshold_j(S[j] / 2; 2)
    """
    _check_index("threshold", over)
    if isinstance(exponent, bool) or not isinstance(exponent, int | float | Fraction):
        raise SpecError("a threshold's exponent is a number", found=repr(exponent), due="1, 3/2, 2")
    rational = number(exponent)
    power = Fraction(int(rational.p), int(rational.q))
    if power < 1:
        raise SpecError("a threshold's exponent is at least 1", found=str(power), due="1, 3/2, 2")
    return Threshold(as_expr(score), over, as_predicate(where), power)


def _check_index(name: str, over: object) -> None:
    if not isinstance(over, Index):
        raise SpecError(f"{name}(..., over=) takes an index", found=repr(over))
