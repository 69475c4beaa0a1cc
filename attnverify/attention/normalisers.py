"""Normalisers: from scores and a mask to the weights that multiply the values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

from attnverify.algebra.predicates import TRUE, Predicate
from attnverify.algebra.terms import (
    ONE,
    Apply,
    Entry,
    Expr,
    Parameter,
    Softmax,
    Tensor,
    Threshold,
    add,
    as_expr,
    indicator,
    mul,
    negative,
    power,
    total,
)
from attnverify.attention.site import Part, Site
from attnverify.equations import Equation

APART = "each weight is a function of its own score"


@dataclass(frozen=True)
class Normaliser:
    """How a row of scores becomes weights.

    `weights(site, score, keep)` gives the weights at the site's own key; `mass(site, score, keep)`
    is what exponentials are divided by, whose logarithm is the LSE, None where nothing is divided;
    `sharper(site, keep)` is a factor of the scores. `divides` tells that a row without keys is 0/0
    by the formula. What it breaks has its reason: `rows` that do not sum to one, `shifts` of the
    scores of a row that move its weights, weights over `one`.
    """

    weights: Callable[[Site, Entry, Predicate], Part]
    mass: Callable[[Site, Entry, Predicate], Expr] | None = None
    sharper: Callable[[Site, Predicate], Part] | None = None
    divides: bool = False
    rows: str = ""
    shifts: str = ""
    one: str = ""


def softmax_weights() -> Normaliser:
    """exp(s) over the sum of exp(s) of the visible keys (Vaswani et al. 2017, eq. 1)."""
    return Normaliser(
        lambda site, score, keep: Part(Softmax(score, site.j, keep, site.j)),
        mass=_mass,
        divides=True,
    )


def scalable_weights(factor: Parameter | float | None = None) -> Normaliser:
    """Softmax of s log(n) times the scores, n the number of keys that the row sees.

    s is the input `s` (heads), or a number. Source: Nakanishi 2025, eq. 3.
    """

    def sharper(site: Site, keep: Predicate) -> Part:
        s = Tensor("s")[site.query_head] if factor is None else as_expr(factor)
        count = as_expr(site.j.axis.size)
        if keep != TRUE:
            # A row without keys has weights 0 whatever its scores are, but they must be numbers.
            count = Apply("larger", (total(indicator(keep), over=site.j), ONE))
        return Part(mul(s, Apply("log", (count,))), inputs=(s,) if isinstance(s, Entry) else ())

    return replace(softmax_weights(), sharper=sharper)


def plus_one_weights() -> Normaliser:
    """exp(s) / (1 + sum exp(s)): a row may attend to nothing (Miller 2023)."""
    return _with_sink(lambda _: Part(ONE))


def sink_weights() -> Normaliser:
    """A learned logit per head, the input `sinks` (heads), joins the denominator (gpt-oss 2025)."""

    def sink(site: Site) -> Part:
        logit = Tensor("sinks")[site.query_head]
        return Part(Apply("exp", (logit,)), inputs=(logit,))

    return _with_sink(sink)


def _with_sink(sink: Callable[[Site], Part]) -> Normaliser:
    def mass(site: Site, score: Entry, keep: Predicate) -> Expr:
        return add(_mass(site, score, keep), sink(site).value)

    def weights(site: Site, score: Entry, keep: Predicate) -> Part:
        grown = mul(indicator(keep), Apply("exp", (score,)))
        row = Equation(site.at_row("Z"), mass(site, score, keep))
        return Part(mul(grown, power(row.head, -1)), (row,), sink(site).inputs)

    return Normaliser(
        weights,
        mass,
        rows="the sink takes a share of every row",
        shifts="the sink's logit does not move with the scores",
    )


def _mass(site: Site, score: Entry, keep: Predicate) -> Expr:
    """The sum of exp(s) over the visible keys."""
    return total(mul(indicator(keep), Apply("exp", (score,))), over=site.j)


def sigmoid_weights(bias: Parameter | float | None = None) -> Normaliser:
    """The logistic function of s + b, key by key; b is -log(n_k) unless given.

    Source: Ramapuram et al. 2024, section 3.
    """

    def weights(site: Site, score: Entry, keep: Predicate) -> Part:
        b = negative(Apply("log", (as_expr(site.j.axis.size),))) if bias is None else as_expr(bias)
        return Part(mul(indicator(keep), Apply("logistic", (add(score, b),))))

    return Normaliser(weights, rows=APART, shifts=APART)


def relu_weights(exponent: int = 1, *, per_key: bool = True) -> Normaliser:
    """max(s, 0)^exponent, with `per_key` over the number of keys.

    Source: Wortsman et al. 2023, section 3; Hua et al. 2022 for the square without the division.
    """

    def weights(site: Site, score: Entry, keep: Predicate) -> Part:
        grown = power(Apply("relu", (score,)), exponent)
        count = power(site.j.axis.size, -1 if per_key else 0)
        return Part(mul(indicator(keep), grown, count))

    return Normaliser(weights, rows=APART, shifts=APART, one="weights grow with the scores")


def sparsemax_weights() -> Normaliser:
    """The projection of the scores on the simplex: max(s - tau, 0) (Martins & Astudillo 2016)."""
    return entmax_weights(2)


def entmax_weights(alpha: Fraction | int = Fraction(3, 2)) -> Normaliser:
    """max((alpha - 1) s - tau, 0)^(1 / (alpha - 1)), tau such that a row sums to one.

    Source: Peters et al. 2019, eq. 9.
    """
    slope = Fraction(alpha) - 1

    def weights(site: Site, score: Entry, keep: Predicate) -> Part:
        scaled = mul(slope, score)
        tau = site.at_row("tau")
        row = Equation(tau, Threshold(scaled, site.j, keep, 1 / slope))
        over = Apply("relu", (add(scaled, negative(tau)),))
        return Part(mul(indicator(keep), power(over, 1 / slope)), (row,))

    return Normaliser(weights, divides=True)
