"""Two bugs at once, by hand, each with the two operators that should name it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tests.mutants.plain import Array, hidden, places, scores, softmax

Function = Callable[..., Array]


class Two(NamedTuple):
    """A subject with two bugs, what names them, and the spec with its settings."""

    first: str
    second: str
    spec: str
    subject: Function
    settings: dict[str, Any]


TABLE: list[Two] = []


def both(first: str, second: str, spec: str, **settings: Any) -> Callable[[Function], Function]:
    """Enter the decorated subject under the operators of its two bugs."""

    def enter(subject: Function) -> Function:
        TABLE.append(Two(first, second, spec, subject, settings))
        return subject

    return enter


def _raw(q: Array, k: Array) -> Array:
    return scores(q, k, 1.0)


@both("alignment", "scale dropped", "causal")
def aligned_and_not_scaled(q: Array, k: Array, v: Array) -> Array:
    i, j = places(_raw(q, k))
    return softmax(hidden(_raw(q, k), j <= i + k.shape[-2] - q.shape[-2])) @ v


@both("mask dropped", "scale added", "causal")
def no_mask_and_scaled_twice(q: Array, k: Array, v: Array) -> Array:
    return softmax(_raw(q, k) / q.shape[-1]) @ v


@both("mask after softmax", "scale dropped", "causal")
def masked_late_and_not_scaled(q: Array, k: Array, v: Array) -> Array:
    i, j = places(_raw(q, k))
    return (softmax(_raw(q, k)) * (j <= i)).astype(v.dtype) @ v


@both("causal added", "scale of another size", "global")
def causal_and_scaled_by_the_values(q: Array, k: Array, v: Array) -> Array:
    i, j = places(_raw(q, k))
    return softmax(hidden(scores(q, k, v.shape[-1] ** -0.5), j <= i)) @ v


@both("one in the sum", "scale dropped", "global")
def a_one_in_the_sum_and_not_scaled(q: Array, k: Array, v: Array) -> Array:
    s = _raw(q, k)
    top = np.maximum(s.max(-1, keepdims=True), 0)
    e = np.exp(s - top)
    return e / (e.sum(-1, keepdims=True) + np.exp(-top)) @ v


@both("polarity", "scale dropped", "masked")
def inverted_and_not_scaled(q: Array, k: Array, v: Array, mask: Array) -> Array:
    return softmax(hidden(_raw(q, k), ~mask)) @ v


@both("bias dropped", "causal added", "biased")
def no_bias_and_causal(q: Array, k: Array, v: Array, bias: Array) -> Array:
    i, j = places(_raw(q, k))
    return softmax(hidden(scores(q, k), j <= i)) @ v


@both("head map", "scale dropped", "grouped_query")
def heads_tiled_and_not_scaled(q: Array, k: Array, v: Array) -> Array:
    k, v = (np.tile(x, (1, q.shape[1] // x.shape[1], 1, 1)) for x in (k, v))
    return softmax(_raw(q, k)) @ v


@both("window", "scale dropped", "sliding_window")
def window_too_wide_and_not_scaled(q: Array, k: Array, v: Array, window: int) -> Array:
    i, j = places(_raw(q, k))
    return softmax(hidden(_raw(q, k), (j <= i) & (j >= i - window))) @ v


@both("other axis", "scale dropped", "global")
def along_the_queries_and_not_scaled(q: Array, k: Array, v: Array) -> Array:
    return softmax(_raw(q, k), -2) @ v
