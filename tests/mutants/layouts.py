"""Mutants of memory: strides that are ignored, offsets that wrap, axes that are confused."""

from __future__ import annotations

import numpy as np

from tests.mutants.plain import Array, attend, gradients
from tests.mutants.registry import Function, Pair, mutant


def in_memory_order(x: Array) -> Array:
    """The entries as they lie in memory, as if the array were contiguous."""
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
    return np.ascontiguousarray(x.transpose(order)).reshape(x.shape)


@mutant("LAY-01", "global", "a view that is not contiguous")
def strides_ignored(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        return attend(*((in_memory_order(x) if wrong else x) for x in (q, k, v)))

    return subject


@mutant("LAY-04", "global", "n_k beyond 128")
def row_offset_wraps(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        row = np.arange(k.shape[-2])
        read = row % 128 if wrong else row
        return attend(q, k[..., read, :], v[..., read, :])

    return subject


@mutant("LAY-06", "global", "a cotangent that is not contiguous")
def strides_of_the_cotangent_ignored(wrong: bool) -> Pair:
    def backward(d_out: Array, q: Array, k: Array, v: Array) -> tuple[Array, Array, Array]:
        return gradients(in_memory_order(d_out) if wrong else d_out, q, k, v)

    return Pair(attend, backward)


@mutant("LAY-07", "global", "several heads", layout="b n h d", quick=True)
def heads_and_positions_confused(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        q, k, v = (x.swapaxes(1, 2) for x in (q, k, v))
        if wrong:
            # Read in the order (heads, length) what lies in the order (length, heads).
            k, v = (x.swapaxes(1, 2).reshape(x.shape) for x in (k, v))
        return attend(q, k, v).swapaxes(1, 2)

    return subject
