"""Mutants of heads: how they are split, merged, shared and mixed."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.mutants.plain import Array, attend, scores, softmax
from tests.mutants.registry import Function, mutant


@mutant("HED-01", "grouped_query", "1 < key heads < heads", quick=True)
def key_heads_tiled(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        repeat = q.shape[1] // k.shape[1]
        if wrong:
            return attend(q, np.tile(k, (1, repeat, 1, 1)), np.tile(v, (1, repeat, 1, 1)))
        return attend(q, np.repeat(k, repeat, 1), np.repeat(v, repeat, 1))

    return subject


def split(x: Array, heads: int, *, in_place: bool = False) -> Array:
    """(batch, length, heads x width) to (batch, heads, length, width)."""
    batch, length, whole = x.shape
    if in_place:
        return x.reshape(batch, heads, length, whole // heads)
    return x.reshape(batch, length, heads, whole // heads).swapaxes(1, 2)


def merged(x: Array, *, in_place: bool = False) -> Array:
    """(batch, heads, length, width) to (batch, length, heads x width)."""
    batch, heads, length, width = x.shape
    moved = x if in_place else x.swapaxes(1, 2)
    return moved.reshape(batch, length, heads * width)


TWO_HEADS: dict[str, Any] = {"layout": "b n (h d)", "sizes": {"heads": 2}}


@mutant("HED-04", "global", "several heads and positions", **TWO_HEADS)
def split_without_transpose(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        return merged(attend(*(split(x, 2, in_place=wrong) for x in (q, k, v))))

    return subject


@mutant("HED-05", "global", "several heads and positions", **TWO_HEADS)
def merged_without_transpose(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        return merged(attend(*(split(x, 2) for x in (q, k, v))), in_place=wrong)

    return subject


@mutant(
    "HED-09",
    "global",
    "several heads, packed head by head",
    sizes={"keys": "queries", "value_dim": "key_dim"},
)
def packed_by_head_split_in_thirds(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        heads = q.shape[1]
        # Along the features: q, k and v of the first head, then of the second, ...
        packed = merged(np.concatenate([q, k, v], -1))
        if wrong:
            return attend(*(split(x, heads) for x in np.split(packed, 3, -1)))
        return attend(*np.split(split(packed, heads), 3, -1))

    return subject


@mutant("HED-12", "talking_heads", "several heads, a mixture that is not the identity")
def weights_mixed_in_vain(wrong: bool) -> Function:
    def subject(
        x_q: Array,
        x_k: Array,
        x_v: Array,
        *,
        W_Q: Array,
        W_K: Array,
        W_V: Array,
        W_O: Array,
        W_L: Array,
        W_W: Array,
    ) -> Array:
        q, k = np.einsum("bie,egk->bgik", x_q, W_Q), np.einsum("bje,egk->bgjk", x_k, W_K)
        s = np.einsum("gh,bgij->bhij", W_L, scores(q, k, 1.0))
        a = softmax(s)
        mixed = np.einsum("hr,bhij->brij", W_W, a)
        # The mixture goes to a name that nobody reads any more, and the weights stay as they were.
        values = W_W.shape[1]
        used = np.take(a, np.arange(values) % a.shape[1], 1) if wrong else mixed
        out = used @ np.einsum("bje,erc->brjc", x_v, W_V)
        return np.einsum("bric,rce->bie", out, W_O)

    return subject
