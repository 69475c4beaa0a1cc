"""Mutants of dropout; which weights are kept is an input, `drop`."""

from __future__ import annotations

import numpy as np

from tests.mutants.plain import Array, attend, pulled, slopes_of_scores, weights
from tests.mutants.registry import Function, Pair, mutant


@mutant("DRP-01", "global", "any call")
def dropout_in_evaluation(wrong: bool) -> Function:
    rng = np.random.default_rng(1)

    def subject(q: Array, k: Array, v: Array, p: float = 0.1) -> Array:
        a = weights(q, k)
        kept = (rng.random(a.shape) >= p) / (1 - p) if wrong else 1
        return (a * kept @ v).astype(v.dtype)

    return subject


@mutant("DRP-03", "global", "dropout and a cotangent", dropout=True, quick=True)
def backward_scaled_by_p(wrong: bool) -> Pair:
    def forward(q: Array, k: Array, v: Array, drop: Array, p: float) -> Array:
        return weights(q, k) * drop / (1 - p) @ v

    def backward(
        d_out: Array, q: Array, k: Array, v: Array, *, drop: Array, p: float
    ) -> tuple[Array, Array, Array]:
        a = weights(q, k)
        d_a = d_out @ v.swapaxes(-1, -2) * drop * (p if wrong else 1 / (1 - p))
        d_q, d_k, _ = pulled(slopes_of_scores(a, d_a), a, d_out, q, k)
        return d_q, d_k, (a * drop / (1 - p)).swapaxes(-1, -2) @ d_out

    return Pair(forward, backward)


@mutant("DRP-06", "global", "several heads, or two calls of one shape", dropout=True)
def one_mask_for_all_heads_and_calls(wrong: bool) -> Function:
    kept: dict[tuple[int, ...], Array] = {}

    def subject(q: Array, k: Array, v: Array, drop: Array, p: float) -> Array:
        # A constant seed: each head, and each call of this shape, gets what the first one got.
        used = kept.setdefault(drop.shape[2:], drop[:1, :1]) if wrong else drop
        return weights(q, k) * used / (1 - p) @ v

    return subject


@mutant("DRP-07", "global", "dropout", dropout=True)
def dropout_of_the_output(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, drop: Array, p: float) -> Array:
        if not wrong:
            return weights(q, k) * drop / (1 - p) @ v
        out = attend(q, k, v)
        return out * np.resize(drop, out.shape) / (1 - p)

    return subject
