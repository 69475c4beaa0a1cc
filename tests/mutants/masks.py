"""Mutants of masks and alignments."""

from __future__ import annotations

from typing import Any

import numpy as np

from attnverify.notation import attention, causal, given, parameter, same_document
from attnverify.spec import Spec
from tests.mutants.plain import Array, attend, hidden, places, scores, softmax, weights
from tests.mutants.registry import Function, mutant


def causal_with_dropout() -> Spec:
    p = parameter("p", ge=0, lt=1)
    return attention("causal_dropout", mask=causal(), dropout=p, parameters=[p])


def left_padded() -> Spec:
    return attention("causal_padded", mask=causal() & given(["heads", "queries"]))


@mutant("MSK-01", "causal", "n_q != n_k", quick=True)
def bottom_right_for_top_left(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        i, j = places(scores(q, k))
        return attend(q, k, v, j <= i + (k.shape[-2] - q.shape[-2] if wrong else 0))

    return subject


@mutant("MSK-02", causal_with_dropout, "dropout > 0")
def mask_lost_with_dropout(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, drop: Array, p: float) -> Array:
        i, j = places(scores(q, k))
        fused = p == 0 or not wrong
        return weights(q, k, j <= i if fused else True) * drop / (1 - p) @ v

    return subject


@mutant("MSK-04", "local", "a window, no mask")
def window_lost_without_mask(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, *, left: int, right: int, mask: Any = None) -> Array:
        if wrong and mask is None:
            return attend(q, k, v)
        i, j = places(scores(q, k))
        return attend(q, k, v, (i - left <= j) & (j <= i + right))

    return subject


@mutant("MSK-06", "sliding_window", "window < n")
def window_one_too_wide(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, window: int) -> Array:
        i, j = places(scores(q, k))
        return attend(q, k, v, (j <= i) & (i - j <= (window if wrong else window - 1)))

    return subject


@mutant("MSK-08", "sliding_window", "window < n")
def window_decremented_twice(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, window: int) -> Array:
        left = window - 1 - (1 if wrong else 0)
        i, j = places(scores(q, k))
        return attend(q, k, v, (j <= i) & (i - j <= left))

    return subject


@mutant("MSK-11", "sliding_window", "window < n", counts="left")
def negative_window_is_unbounded(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, window: int) -> Array:
        left = -window if wrong else window
        i, j = places(scores(q, k))
        return attend(q, k, v, (j <= i) & ((left < 0) | (i - j <= left)))

    return subject


@mutant("MSK-12", "causal", "n_k > 1")
def causal_of_a_size_one_axis(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        rows, columns = (1, 1) if wrong else (q.shape[-2], k.shape[-2])
        return attend(q, k, v, np.tril(np.ones((rows, columns), bool)))

    return subject


@mutant("MSK-13", "cross", "n_k > 1")
def cross_attention_causal_by_default(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, is_causal: bool = wrong) -> Array:
        i, j = places(scores(q, k))
        return attend(q, k, v, j <= i if is_causal else True)

    return subject


@mutant("MSK-15", "causal", "a masked key")
def mask_after_softmax(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        i, j = places(scores(q, k))
        if wrong:
            return np.where(j <= i, weights(q, k), q.dtype.type(0)) @ v
        return attend(q, k, v, j <= i)

    return subject


@mutant("MSK-16", "masked", "a masked key")
def scores_times_mask(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, mask: Array) -> Array:
        s = scores(q, k)
        return softmax(s * mask if wrong else hidden(s, mask)) @ v

    return subject


@mutant("MSK-19", left_padded, "left padding, rows without keys declared", empty_rows="zeros")
def one_finite_filler_for_both_masks(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, mask: Array) -> Array:
        s = scores(q, k)
        i, j = places(s)
        keep = (j <= i) & mask[:, None, None, :]
        return softmax(np.where(keep, s, q.dtype.type(-1e4)) if wrong else hidden(s, keep)) @ v

    return subject


@mutant(
    "MSK-23",
    lambda: attention("cross_documents", mask=same_document()),
    "n_q = n_k, so that it is silent",
    empty_rows="zeros",
    sizes={"keys": "queries"},
)
def query_mask_for_the_keys(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, segments: Array, query_segments: Array) -> Array:
        of_keys = query_segments if wrong else segments
        keep = query_segments[:, None, :, None] == of_keys[:, None, None, :]
        return attend(q, k, v, keep)

    return subject
