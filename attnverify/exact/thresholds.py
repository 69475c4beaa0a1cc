"""The threshold of sparsemax and entmax, by Newton's method from below at any precision."""

from __future__ import annotations

from fractions import Fraction

from attnverify.errors import AttnverifyError
from attnverify.exact.arithmetic import Arithmetic, Rational, Value

MOST_STEPS = 10_000


def threshold(arithmetic: Arithmetic, scores: list[Value], exponent: Fraction) -> Value:
    """The tau with sum max(score - tau, 0) ** exponent = 1, 0 where there is no score.

    The sum is convex and falls with tau, and is at least 1 at the largest score less 1. From there
    Newton's steps rise to the root and never pass it. For exponent 1 the sum is made of straight
    pieces, so that the steps end on the root itself, in fractions as well; for another exponent
    they end when the last digit stands.
    Raises AttnverifyError for fractions and another exponent than 1.
    """
    if not scores:
        return arithmetic.number(0)
    if isinstance(arithmetic, Rational) and exponent != 1:
        raise AttnverifyError(
            "a value is not rational",
            found=f"a threshold of exponent {exponent}",
            hint="evaluate with precision=50 instead of rational=True",
        )
    values = [arithmetic.number(score) for score in scores]
    tau = max(values) - 1
    for _ in range(MOST_STEPS):
        above = [value - tau for value in values if value > tau]
        excess = sum(arithmetic.power(part, exponent) for part in above) - 1
        slope = exponent * sum(_lower(arithmetic, part, exponent - 1) for part in above)
        after = tau + excess / arithmetic.number(slope)
        if not after > tau:
            return tau
        tau = after
    raise AttnverifyError("a threshold was not found", found=f"{len(scores)} scores")


def _lower(arithmetic: Arithmetic, part: Value, exponent: Fraction) -> Value:
    """A positive part to a power that may be 0."""
    return arithmetic.power(part, exponent) if exponent else 1
