"""Mutants of scales and normalisers."""

from __future__ import annotations

import numpy as np

from attnverify.notation import attention, parameter
from attnverify.spec import Spec
from tests.mutants.plain import Array, attend, hidden, log_sum, places, scores, softmax
from tests.mutants.registry import Function, mutant


def scaled() -> Spec:
    scale = parameter("scale", gt=0)
    return attention("scaled", scale=scale, parameters=[scale])


@mutant("NRM-01", "global", "several heads", quick=True)
def scale_by_the_model_width(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        width = q.shape[1] * q.shape[-1] if wrong else q.shape[-1]
        return softmax(scores(q, k, width**-0.5)) @ v

    return subject


@mutant("NRM-03", "global", "n_k > 1 or d > 1")
def scale_after_softmax(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        scale = q.shape[-1] ** -0.5
        return softmax(scores(q, k, 1.0)) * scale @ v if wrong else attend(q, k, v)

    return subject


@mutant("NRM-04", "global", "n_k > 1")
def softmax_over_queries(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        return softmax(scores(q, k), -2 if wrong else -1) @ v

    return subject


@mutant("NRM-06", "global", "d no multiple of 32")
def scale_of_the_padded_width(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        width = q.shape[-1]
        spare = [(0, 0)] * 3 + [(0, -width % 32)]
        q, k = np.pad(q, spare), np.pad(k, spare)
        return softmax(scores(q, k, (q.shape[-1] if wrong else width) ** -0.5)) @ v

    return subject


@mutant("NRM-08", "biased", "a bias with more than two values")
def bias_scaled_with_the_scores(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, bias: Array) -> Array:
        s = scores(q, k)
        return softmax(s + bias * (q.shape[-1] ** -0.5 if wrong else 1)) @ v

    return subject


@mutant("NRM-09", "softcap", "a cap and a mask", ordered=True)
def cap_after_mask(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, cap: float) -> Array:
        s = scores(q, k)
        i, j = places(s)
        if wrong:
            return softmax(cap * np.tanh(hidden(s, j <= i) / cap)) @ v
        return softmax(hidden(cap * np.tanh(s / cap), j <= i)) @ v

    return subject


@mutant("NRM-11", "softmax_plus_one", "a row maximum that is not 0")
def one_left_unshifted(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        s = scores(q, k)
        top = np.maximum(s.max(-1, keepdims=True), 0)
        if wrong:
            top = s.max(-1, keepdims=True)
        e = np.exp(s - top)
        return e / ((1 if wrong else np.exp(-top)) + e.sum(-1, keepdims=True)) @ v

    return subject


@mutant("NRM-13", "global", "L asked for", outputs=("O", "L"))
def log_sum_in_base_two(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> tuple[Array, Array]:
        return attend(q, k, v), log_sum(scores(q, k)) / (np.log(2.0).item() if wrong else 1)

    return subject


@mutant("NRM-17", scaled, "a scale of one's own")
def own_scale_ignored(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, scale: float) -> Array:
        return softmax(scores(q, k, None if wrong else scale)) @ v

    return subject
