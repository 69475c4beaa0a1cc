"""Mutants of ranges, sentinels and accumulators."""

from __future__ import annotations

import numpy as np

from attnverify.notation import attention, causal, key_lengths
from tests.mutants.plain import Array, hidden, places, scores, softmax
from tests.mutants.registry import Function, mutant
from tests.mutants.tiling import tiles


@mutant("NUM-01", "global", "a row of scores below -5e4")
def finite_minus_infinity(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        s = scores(q, k)
        top = s.max(-1, keepdims=True)
        e = np.exp(s - (np.maximum(top, -5e4) if wrong else top))
        z = e.sum(-1, keepdims=True)
        return e / np.where(z == 0, 1, z).astype(z.dtype) @ v

    return subject


@mutant("NUM-04", "global", "products that float16 rounds or cannot hold")
def product_in_float16(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        product = scores(q, k, 1.0).astype(np.float16 if wrong else q.dtype).astype(q.dtype)
        return softmax(product * q.shape[-1] ** -0.5) @ v

    return subject


@mutant(
    "NUM-05",
    lambda: attention("causal_lengths", mask=causal() & key_lengths(), empty_rows="uniform"),
    "a row without keys, uniform by declaration",
    empty_rows="uniform",
)
def two_lowest_numbers_added(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, lengths: Array) -> Array:
        s = scores(q, k)
        i, j = places(s)
        low = np.finfo(s.dtype).min
        short = j < lengths[:, None, None, None]
        if wrong:
            s = s + np.where(j <= i, s.dtype.type(0), low) + np.where(short, s.dtype.type(0), low)
        else:
            s = np.where((j <= i) & short, s, low)
        return softmax(s) @ v

    return subject


@mutant("NUM-07", "global", "many keys, or values that float16 rounds")
def output_summed_in_float16(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        a = softmax(scores(q, k))
        found = np.zeros((*a.shape[:-1], v.shape[-1]), np.float16 if wrong else q.dtype)
        for j in range(k.shape[-2]):
            found = (found + a[..., j, None] * v[..., None, j, :]).astype(found.dtype)
        return found.astype(q.dtype)

    return subject


@mutant("NUM-09", "global", "rows of very different scores", quick=True)
def shift_of_the_neighbouring_row(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        s = scores(q, k)
        top = s.max(-1, keepdims=True)
        e = np.exp(s - (np.roll(top, 1, -2) if wrong else top))
        return e / e.sum(-1, keepdims=True) @ v

    return subject


@mutant("NUM-11", "causal", "far negative scores, a tile on the right that is masked")
def maximum_zero_after_a_masked_tile(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        s = scores(q, k)
        i, j = places(s)
        s = hidden(s, j <= i)
        top = np.full((*s.shape[:-1], 1), -np.inf, s.dtype)
        for t in reversed(tiles(k.shape[-2], 8)):
            top = np.maximum(top, s[..., t].max(-1, keepdims=True))
            if wrong:
                top = np.where(np.isfinite(top), top, s.dtype.type(0))
        e = np.exp(s - top)
        z = e.sum(-1, keepdims=True)
        return e / np.where(z == 0, 1, z).astype(z.dtype) @ v

    return subject
