"""Fit the numbers that a subject computes by, where they are none that a known bug has.

Each fit is a guess from the subject's own weights, and is then judged like any mutant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import chain

from attnverify.algebra.terms import Expr, Scalar, mul, power, size_symbol
from attnverify.check.diagnose import Diagnosis
from attnverify.check.explanation import Explanation, Observed
from attnverify.check.fits_heads import heads_fitted
from attnverify.check.fits_scores import common, scores_fitted, shown
from attnverify.check.fits_seen import seen_fitted
from attnverify.check.recovered import recovered, staged
from attnverify.spec import Spec
from attnverify.transforms.mutate import Mutant, Operator
from attnverify.transforms.mutate.scores import scale_of, width
from attnverify.transforms.mutate.sites import Stage, scale_node, with_new

KEYS, WIDTHS = 6, (4, 9, 16)
FITTED = Operator("scale fitted", "the scores have another scale", lambda _: iter(()))


def fitted(search: Diagnosis) -> Sequence[Explanation | Observed]:
    """The numbers that give the subject's answers, in place of the spec's."""
    if not search.sieves:
        return []
    guesses = chain(_scaled(search), seen_fitted(search), scores_fitted(search))
    near = [m for m in search.in_time(guesses) if search.passes(m)]
    told = (search.evidence_for(m) for m in near)
    found = [one for one in told if one is not None][:1]
    return found or (heads_fitted(search) if search.quick else [])


def _scaled(search: Diagnosis) -> Iterator[Mutant]:
    found = staged(search)
    if found is None or width(found[1]) is None:
        return
    spec, stage = found
    if scale_node(stage) != stage.scores.body:
        return
    measured = {w: m for w in WIDTHS if (m := _measured(search, stage, w)) is not None}
    if len(measured) == len(WIDTHS):
        yield from _guessed(spec, stage, measured)


def _measured(search: Diagnosis, stage: Stage, channels: int) -> tuple[float, float] | None:
    """The scale that the subject has at a number of channels, and that of the spec."""
    if scale_of(stage).free_symbols != {size_symbol("key_dim")}:
        return None
    sizes = {"queries": KEYS, "keys": KEYS, "key_dim": channels}
    found = recovered(search, sizes, search.seed + channels)
    slope = None if found is None else found.slope(found.scores())
    own = float(scale_of(stage).subs(dict.fromkeys(scale_of(stage).free_symbols, channels)))
    # A scale below zero is no power of anything.
    return (slope * own, own) if slope is not None and slope * own > 0 else None


def _guessed(
    spec: Spec, stage: Stage, measured: dict[int, tuple[float, float]]
) -> Iterator[Mutant]:
    """A constant scale, a power of the channels, or a multiple of the spec's."""
    node, d = scale_node(stage), width(stage)
    if node is None or d is None:
        return
    own = mul(power(Scalar(scale_of(stage)), -1), node)
    first = WIDTHS[0]
    guesses: list[tuple[list[float], Callable[[Fraction], Expr], str]] = [
        (
            [got for got, _ in measured.values()],
            lambda n: mul(n, own),
            "computes scale {}",
        ),
        (
            [-math.log(got) / math.log(w) for w, (got, _) in measured.items()],
            lambda n: mul(power(d, -n), own),
            "computes scale d_k^-({})",
        ),
        (
            [got / due for got, due in measured.values()],
            lambda n: mul(n, node),
            "computes the spec's scale times {}",
        ),
    ]
    for guess, built, told in guesses:
        number = common(guess)
        if number is not None:
            due = f"the spec says {measured[first][1]:.4g} at {first} key channels"
            sentence = f"{told.format(shown(number))}; {due}"
            yield Mutant(
                with_new(spec, stage.name, node, built(number)), FITTED, stage.name, sentence
            )
