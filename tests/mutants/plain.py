"""Attention and its gradient in plain NumPy: what the mutants bend."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def scores(q: Array, k: Array, scale: float | None = None) -> Array:
    """The products q . k, by default over the root of the channels."""
    factor = q.shape[-1] ** -0.5 if scale is None else scale
    return q @ k.swapaxes(-1, -2) * factor


def places(s: Array) -> tuple[Array, Array]:
    """Query positions as a column, key positions as a row."""
    i, j = np.ogrid[: s.shape[-2], : s.shape[-1]]
    return i, j


def hidden(s: Array, keep: Array) -> Array:
    """Scores with minus infinity where a key is not seen."""
    return np.where(keep, s, s.dtype.type(-np.inf))


def softmax(s: Array, axis: int = -1) -> Array:
    """Weights of finite or minus infinite scores; a row of nothing else gives zeros."""
    top = s.max(axis, keepdims=True, initial=-np.inf)
    e = np.exp(s - np.where(np.isfinite(top), top, 0).astype(s.dtype))
    z = e.sum(axis, keepdims=True)
    return e / np.where(z == 0, 1, z).astype(s.dtype)


def log_sum(s: Array) -> Array:
    """The log-sum-exp of each row."""
    top = s.max(-1, keepdims=True)
    return (top + np.log(np.exp(s - top).sum(-1, keepdims=True)))[..., 0]


def weights(q: Array, k: Array, keep: Array = True) -> Array:
    """The softmax of the scores that are seen."""
    return softmax(hidden(scores(q, k), keep))


def attend(q: Array, k: Array, v: Array, keep: Array = True) -> Array:
    """Attention over the keys that are seen."""
    return weights(q, k, keep) @ v


def slopes_of_scores(a: Array, d_a: Array) -> Array:
    """The softmax's gradient: a (da - sum of a da)."""
    return a * (d_a - (a * d_a).sum(-1, keepdims=True))


def pulled(d_s: Array, a: Array, d_out: Array, q: Array, k: Array) -> tuple[Array, Array, Array]:
    """The gradients of q, k and v from those of the scores and of the output."""
    d_s = d_s * q.shape[-1] ** -0.5
    return d_s @ k, d_s.swapaxes(-1, -2) @ q, a.swapaxes(-1, -2) @ d_out


def gradients(
    d_out: Array, q: Array, k: Array, v: Array, keep: Array = True
) -> tuple[Array, Array, Array]:
    """dQ, dK and dV of attention over the keys that are seen."""
    a = weights(q, k, keep)
    return pulled(slopes_of_scores(a, d_out @ v.swapaxes(-1, -2)), a, d_out, q, k)
