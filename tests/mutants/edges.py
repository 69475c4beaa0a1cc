"""Mutants at the edges: rows without keys, one query, one sequence, poisoned slots."""

from __future__ import annotations

import numpy as np

from tests.mutants.plain import Array, attend, hidden, places, scores, softmax
from tests.mutants.registry import Function, mutant


def unguarded(s: Array) -> Array:
    """A softmax that divides 0 by 0 where a row sees nothing."""
    e = np.exp(s - s.max(-1, keepdims=True, initial=-np.inf))
    return e / e.sum(-1, keepdims=True)


@mutant("EDG-01", "masked", "a row without keys, declared", empty_rows="zeros", quick=True)
def nan_in_a_masked_row(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, mask: Array) -> Array:
        s = hidden(scores(q, k), mask)
        return (unguarded(s) if wrong else softmax(s)) @ v

    return subject


@mutant("EDG-02", "padding", "a sequence without keys, declared", empty_rows="zeros")
def nan_without_keys(wrong: bool) -> Function:
    def of_one(q: Array, k: Array, v: Array) -> Array:
        s = scores(q, k)
        e = np.exp(s - s.max(-1, keepdims=True, initial=-np.inf))
        total = e.sum(-1, keepdims=True)
        return e @ v / (total if wrong else np.where(total == 0, 1, total).astype(v.dtype))

    def subject(q: Array, k: Array, v: Array, lengths: Array) -> Array:
        outs = [of_one(q[b], k[b, :, :n], v[b, :, :n]) for b, n in enumerate(lengths)]
        return np.stack(outs)

    return subject


@mutant("EDG-04", "causal", "one query, several keys")
def one_query_taken_for_decoding(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        i, j = places(scores(q, k))
        return attend(q, k, v, (wrong and q.shape[-2] == 1) | (j <= i))

    return subject


@mutant(
    "EDG-06",
    "causal",
    "NaN in a masked slot, declared not to leak",
    poison="isolates",
)
def nan_leaks_from_a_masked_value(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        s = scores(q, k)
        i, j = places(s)
        a = softmax(hidden(s, j <= i))
        if wrong:
            return a @ v
        outs = [a[:, :, r, : r + 1, None] * v[:, :, : r + 1] for r in range(q.shape[-2])]
        return np.stack([out.sum(-2) for out in outs], -2)

    return subject


@mutant("EDG-10", "global", "a batch of one", layout="b n h d")
def axes_of_one_squeezed(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        out = attend(*(x.swapaxes(1, 2) for x in (q, k, v))).swapaxes(1, 2)
        return out.squeeze() if wrong else out

    return subject
