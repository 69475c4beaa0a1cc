"""Scores: what a query and a key make of each other, biases, and the cap."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction

from attnverify.algebra.along import axis
from attnverify.algebra.functions import alibi_slope, t5_bucket
from attnverify.algebra.predicates import Compare
from attnverify.algebra.terms import (
    Apply,
    Entry,
    Expr,
    Parameter,
    Tensor,
    add,
    as_expr,
    indicator,
    mul,
    negative,
    power,
    total,
)
from attnverify.attention.masks import diagonal, offset_inputs
from attnverify.attention.site import Part, Site
from attnverify.errors import ParameterError


@dataclass(frozen=True)
class Score:
    """How a query and a key are compared.

    `scaled` tells that the usual scale applies, `affine` that the score is affine in the key.
    """

    compare: Callable[[Site, Entry, Entry], Part]
    scaled: bool = True
    affine: bool = False


def dot_score() -> Score:
    """The dot product, scaled by 1/sqrt(key_dim) unless told otherwise (Vaswani et al. 2017)."""
    return Score(lambda site, q, k: Part(_dots(site, q, k)), affine=True)


def cosine_score(temperature: Parameter | float | None = None) -> Score:
    """The cosine of query and key over a temperature, a number or the input `tau` per head.

    Source: Liu et al. 2022 (Swin v2), eq. 2.
    """

    def compare(site: Site, q: Entry, k: Entry) -> Part:
        norms = [power(total(power(x, 2), over=site.channels), Fraction(-1, 2)) for x in (q, k)]
        tau = Tensor("tau")[site.query_head] if temperature is None else as_expr(temperature)
        inputs = (tau,) if isinstance(tau, Entry) else ()
        return Part(mul(_dots(site, q, k), *norms, power(tau, -1)), inputs=inputs)

    return Score(compare, scaled=False)


def distance_score() -> Score:
    """Minus the squared distance of query and key, scaled as dot products are (Kim et al. 2021)."""

    def compare(site: Site, q: Entry, k: Entry) -> Part:
        return Part(negative(total(power(add(q, negative(k)), 2), over=site.channels)))

    return Score(compare)


def _dots(site: Site, q: Entry, k: Entry) -> Expr:
    return total(mul(q, k), over=site.channels)


@dataclass(frozen=True)
class Bias:
    """What is added to the scores; `ordered` tells that positions matter."""

    value: Callable[[Site], Expr]
    inputs: Callable[[Site], tuple[Entry, ...]] = lambda _: ()
    ordered: bool = False


def additive_bias(broadcast: Iterable[str] = ()) -> Bias:
    """A float input `bias` over the scores, without the axes named in `broadcast`."""
    left_out = tuple(broadcast)

    def entry(site: Site) -> Entry:
        return Tensor("bias")[site.places(left_out)]

    return Bias(entry, lambda site: (entry(site),))


def alibi_bias(
    *,
    two_sided: bool = False,
    slopes: str = "standard",
    align: str = "top_left",
    offset: object = 0,
) -> Bias:
    """A bias that falls with the distance of query and key: slope_h (j - i), or -slope_h |j - i|.

    `slopes="standard"` computes the geometric sequence for any number of heads, `"input"` reads
    them from the input `slopes` (heads). `align` and `offset` are those of the mask.
    Raises ParameterError for another source of slopes, or where there are no heads.
    Source: Press et al. 2022, section 3.
    """
    if slopes not in ("standard", "input"):
        raise ParameterError(
            "an unknown source of slopes", found=repr(slopes), due="'standard' or 'input'"
        )

    def slope(site: Site) -> Expr:
        if not site.query_head:
            raise ParameterError("slopes belong to heads", found="no axis of heads")
        if slopes == "input":
            return Tensor("slopes")[site.query_head]
        return alibi_slope(*site.query_head)

    def value(site: Site) -> Expr:
        away = add(site.j, negative(diagonal(site, align, offset)))
        return mul(slope(site), negative(Apply("absolute", (away,))) if two_sided else away)

    def inputs(site: Site) -> tuple[Entry, ...]:
        read = (Tensor("slopes")[site.query_head],) if slopes == "input" else ()
        return (*read, *offset_inputs(site, offset))

    return Bias(value, inputs, ordered=True)


def bucket_bias(
    *,
    two_sided: bool = True,
    buckets: int = 32,
    max_distance: object = 128,
    align: str = "top_left",
    offset: object = 0,
) -> Bias:
    """A learned bias `table` (buckets, heads), read at the logarithmic bucket of j - i.

    Source: Raffel et al. 2020, section 2.1.
    """
    n = axis("buckets", size=buckets)["n"]

    def entry(site: Site) -> Entry:
        return Tensor("table")[(n, *site.query_head)]

    def value(site: Site) -> Expr:
        away = add(site.j, negative(diagonal(site, align, offset)))
        bucket = t5_bucket(away, buckets=buckets, max_distance=max_distance, two_sided=two_sided)
        return total(mul(indicator(Compare("==", as_expr(n), bucket)), entry(site)), over=n)

    def inputs(site: Site) -> tuple[Entry, ...]:
        return (entry(site), *offset_inputs(site, offset))

    return Bias(value, inputs, ordered=True)


def softcap(score: Expr, cap: object) -> Expr:
    """C tanh(s / c): a score held within its cap (Gemma 2, 2024, section 2)."""
    bound = as_expr(cap)
    return mul(bound, Apply("tanh", (mul(score, power(bound, -1)),)))
