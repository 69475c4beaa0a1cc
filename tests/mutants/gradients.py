"""Mutants of the backward pass: every forward here is right."""

from __future__ import annotations

import numpy as np

from tests.mutants.plain import (
    Array,
    attend,
    gradients,
    hidden,
    log_sum,
    places,
    pulled,
    scores,
    slopes_of_scores,
    softmax,
    weights,
)
from tests.mutants.registry import Pair, mutant

Three = tuple[Array, Array, Array]


@mutant("GRD-01", "global", "n_k > 1", quick=True)
def causal_in_the_backward_alone(wrong: bool) -> Pair:
    def backward(d_out: Array, q: Array, k: Array, v: Array) -> Three:
        a = weights(q, k)
        d_s = slopes_of_scores(a, d_out @ v.swapaxes(-1, -2))
        i, j = places(d_s)
        return pulled(d_s * (j <= i) if wrong else d_s, a, d_out, q, k)

    return Pair(attend, backward)


@mutant("GRD-03", "grouped_query", "several heads to a key head")
def one_head_of_a_group(wrong: bool) -> Pair:
    def expanded(q: Array, *shared: Array) -> list[Array]:
        return [np.repeat(x, q.shape[1] // x.shape[1], 1) for x in shared]

    def forward(q: Array, k: Array, v: Array) -> Array:
        return attend(q, *expanded(q, k, v))

    def backward(d_out: Array, q: Array, k: Array, v: Array) -> Three:
        d_q, d_k, d_v = gradients(d_out, q, *expanded(q, k, v))
        batch, heads, length, _ = k.shape
        grouped = [x.reshape(batch, heads, -1, length, x.shape[-1]) for x in (d_k, d_v)]
        d_k, d_v = ((x[:, :, -1] if wrong else x.sum(2)) for x in grouped)
        return d_q, d_k, d_v

    return Pair(forward, backward)


@mutant("GRD-06", "global", "d_v beyond 32 and no multiple of it")
def last_columns_of_d_v_dropped(wrong: bool) -> Pair:
    def backward(d_out: Array, q: Array, k: Array, v: Array) -> Three:
        d_q, d_k, d_v = gradients(d_out, q, k, v)
        whole = v.shape[-1] // 32 * 32
        if wrong and whole:
            d_v[..., whole:] = 0
        return d_q, d_k, d_v

    return Pair(attend, backward)


@mutant("GRD-07", "global", "n_q beyond 128")
def row_term_of_wrapped_rows(wrong: bool) -> Pair:
    def backward(d_out: Array, q: Array, k: Array, v: Array) -> Three:
        a, d_a = weights(q, k), d_out @ v.swapaxes(-1, -2)
        delta = (a * d_a).sum(-1, keepdims=True)
        row = np.arange(q.shape[-2])
        return pulled(a * (d_a - delta[..., row % 128 if wrong else row, :]), a, d_out, q, k)

    return Pair(attend, backward)


@mutant("GRD-08", "global", "n_q beyond a tile of 16")
def statistics_of_the_first_tile(wrong: bool) -> Pair:
    def backward(d_out: Array, q: Array, k: Array, v: Array) -> Three:
        s, d_a = scores(q, k), d_out @ v.swapaxes(-1, -2)
        row = np.arange(q.shape[-2])
        lse = log_sum(s)[..., row % 16 if wrong else row, None]
        delta = (softmax(s) * d_a).sum(-1, keepdims=True)[..., row % 16 if wrong else row, :]
        a = np.exp(s - lse)
        return pulled(a * (d_a - delta), a, d_out, q, k)

    return Pair(attend, backward)


@mutant("GRD-10", "global", "L asked for, with a cotangent", outputs=("O", "L"))
def slope_of_the_log_sum_lost(wrong: bool) -> Pair:
    def forward(q: Array, k: Array, v: Array) -> tuple[Array, Array]:
        return attend(q, k, v), log_sum(scores(q, k))

    def backward(seeds: tuple[Array, Array], q: Array, k: Array, v: Array) -> Three:
        d_out, d_lse = seeds
        a = weights(q, k)
        d_s = slopes_of_scores(a, d_out @ v.swapaxes(-1, -2))
        return pulled(d_s if wrong else d_s + a * d_lse[..., None], a, d_out, q, k)

    return Pair(forward, backward)


@mutant("GRD-11", "masked", "a row without keys, declared", empty_rows="zeros")
def nan_weights_kept_for_the_backward(wrong: bool) -> Pair:
    def forward(q: Array, k: Array, v: Array, mask: Array) -> Array:
        return attend(q, k, v, mask)

    def backward(d_out: Array, q: Array, k: Array, v: Array, mask: Array) -> Three:
        s = hidden(scores(q, k), mask)
        e = np.exp(s - s.max(-1, keepdims=True))
        a = e / e.sum(-1, keepdims=True) if wrong else softmax(s)
        return pulled(slopes_of_scores(a, d_out @ v.swapaxes(-1, -2)), a, d_out, q, k)

    return Pair(forward, backward)


@mutant("GRD-15", "biased", "a bias without batch and heads", broadcast="batch heads")
def bias_gradient_of_one_head(wrong: bool) -> Pair:
    def forward(q: Array, k: Array, v: Array, bias: Array) -> Array:
        return softmax(scores(q, k) + bias) @ v

    def backward(
        d_out: Array, q: Array, k: Array, v: Array, bias: Array
    ) -> tuple[Array, Array, Array, Array]:
        a = softmax(scores(q, k) + bias)
        d_s = slopes_of_scores(a, d_out @ v.swapaxes(-1, -2))
        return *pulled(d_s, a, d_out, q, k), d_s[0, 0] if wrong else d_s.sum((0, 1))

    return Pair(forward, backward)


@mutant("GRD-17", "global", "n_k beyond a chunk of 8")
def first_chunk_at_every_step(wrong: bool) -> Pair:
    def backward(d_out: Array, q: Array, k: Array, v: Array) -> Three:
        place = np.arange(k.shape[-2])
        if wrong:
            k, v = (x[..., place % 8, :] for x in (k, v))
        return gradients(d_out, q, k, v)

    return Pair(attend, backward)
