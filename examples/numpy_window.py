r"""Sliding-window attention in NumPy, a block of queries at a time, forward and backward.

Memory grows as the sequence does, so that a million tokens fit.  Each query sees the last 1024
keys up to its own.  Of a sequence that is so long, some rows are judged:

    attnverify check examples/numpy_window.py:attention --spec sliding_window --set window=1024 \
        --sizes '{"queries": 65536, "keys": 65536, "key_dim": 64, "value_dim": 64}' \
        --no-backward --time-limit 120

In Python, `check(attention, "sliding_window", vjp=pulled, window=1024, sizes=...)` judges the
backward pass too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
WINDOW = 1024
BLOCK = 512


def attention(q: Array, k: Array, v: Array, window: int = WINDOW) -> Array:
    """Softmax attention over the last `window` keys, (batch, heads, sequence, channels)."""
    out = np.empty((*q.shape[:-1], v.shape[-1]), q.dtype)
    for rows, keys, seen in _blocks(q.shape[-2], k.shape[-2], window):
        out[..., rows, :] = _weights(q[..., rows, :], k[..., keys, :], seen) @ v[..., keys, :]
    return out


def pulled(
    slope: Array, q: Array, k: Array, v: Array, window: int = WINDOW
) -> tuple[Array, Array, Array]:
    """The gradients by q, k and v under the cotangent `slope` of the output."""
    dq, dk, dv = np.empty_like(q), np.zeros_like(k), np.zeros_like(v)
    scale = _scale(q)
    for rows, keys, seen in _blocks(q.shape[-2], k.shape[-2], window):
        own, part = slope[..., rows, :], k[..., keys, :]
        weights = _weights(q[..., rows, :], part, seen)
        dv[..., keys, :] += weights.swapaxes(-1, -2) @ own
        moved = own @ v[..., keys, :].swapaxes(-1, -2)
        moved -= np.sum(weights * moved, axis=-1, keepdims=True)
        moved *= weights
        moved *= scale
        dq[..., rows, :] = moved @ part
        dk[..., keys, :] += moved.swapaxes(-1, -2) @ q[..., rows, :]
    return dq, dk, dv


def _blocks(queries: int, keys: int, window: int) -> Iterator[tuple[slice, slice, Array]]:
    """Blocks of rows, the keys that they see, and which row sees which."""
    for start in range(0, queries, BLOCK):
        stop = min(queries, start + BLOCK)
        first, last = max(0, start - window + 1), min(keys, stop)
        back = np.arange(start, stop)[:, None] - np.arange(first, last)
        yield slice(start, stop), slice(first, last), (back >= 0) & (back < window)


def _weights(q: Array, k: Array, seen: Array) -> Array:
    scores = q @ k.swapaxes(-1, -2)
    scores *= _scale(q)
    scores[..., ~seen] = -np.inf
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    return scores


def _scale(q: Array) -> Any:
    return q.dtype.type(1 / np.sqrt(q.shape[-1]))
