"""Mutants of tiled and split computation."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from tests.mutants.plain import Array, attend, hidden, places, scores, softmax
from tests.mutants.registry import Function, mutant

State = tuple[Array, Array, Array]


def tiles(length: int, size: int) -> list[slice]:
    """The tiles of a length, the last one as long as what is left."""
    return [slice(start, stop) for start, stop in pairwise([*range(0, length, size), length])]


def state(s: Array, v: Array) -> State:
    """Maximum, sum and unnormalised output of some keys; minus infinity, 0, 0 of none."""
    top = s.max(-1, keepdims=True)
    e = np.exp(s - np.where(np.isfinite(top), top, 0).astype(s.dtype))
    return top, e.sum(-1, keepdims=True), e @ v


def merge(one: State, two: State, *, guard: bool = True) -> State:
    """Two states as one; without `guard` two empty ones meet as inf - inf."""
    top = np.maximum(one[0], two[0])
    base = np.where(np.isfinite(top), top, 0).astype(top.dtype) if guard else top
    by = [np.exp(part[0] - base) for part in (one, two)]
    return top, one[1] * by[0] + two[1] * by[1], one[2] * by[0] + two[2] * by[1]


def output(found: State) -> Array:
    """The output of a state; 0 where no key was seen."""
    return found[2] / np.where(found[1] == 0, 1, found[1]).astype(found[1].dtype)


@mutant("TIL-01", "global", "n_k no multiple of 16", quick=True)
def padded_keys_in_the_softmax(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        spare = [(0, 0), (0, 0), (0, -k.shape[-2] % 16), (0, 0)]
        padded = np.pad(k, spare)
        real = np.arange(padded.shape[-2]) < k.shape[-2]
        return attend(q, padded, np.pad(v, spare), True if wrong else real)

    return subject


@mutant("TIL-03", "sliding_window", "a window no multiple of 16, n beyond window + 16")
def window_by_whole_tiles(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, window: int) -> Array:
        i, j = places(scores(q, k))
        first = np.maximum(i - window + 1, 0)
        return attend(q, k, v, (j <= i) & (j >= (first // 16 * 16 if wrong else first)))

    return subject


@mutant("TIL-05", "causal", "n beyond a tile of 16")
def tiles_on_the_diagonal_skipped(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        i, j = places(scores(q, k))
        # A tile of 16 keys is skipped as a whole when no row of the tile of queries sees it.
        last = i // 16 * 16 + (0 if wrong else 15)
        skipped = (j // 16 * 16 > last) if not wrong else (j // 16 * 16 + 15 > last) & (j >= 16)
        return attend(q, k, v, (j <= i) & ~skipped)

    return subject


@mutant("TIL-07", "global", "more than d_v / 2 splits of 16 keys")
def late_splits_not_merged(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        s = scores(q, k)
        parts = [state(s[..., t], v[..., t, :]) for t in tiles(k.shape[-2], 16)]
        found = parts[0]
        for part in parts[1 : max(1, v.shape[-1] // 2) if wrong else None]:
            found = merge(found, part)
        return output(found)

    return subject


@mutant("TIL-08", "causal", "two parts that a row sees nothing of")
def empty_states_merged_unguarded(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        s = scores(q, k)
        i, j = places(s)
        s = hidden(s, j <= i)
        parts = [state(s[..., t], v[..., t, :]) for t in tiles(k.shape[-2], 4)]
        while len(parts) > 1:
            pairs = [parts[at : at + 2] for at in range(0, len(parts), 2)]
            parts = [merge(*p, guard=not wrong) if len(p) == 2 else p[0] for p in pairs]
        return output(parts[0])

    return subject


@mutant("TIL-11", "global", "d or d_v beyond 64")
def first_64_channels(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        some = slice(64 if wrong else None)
        s = scores(q[..., some], k[..., some], q.shape[-1] ** -0.5)
        return softmax(s) @ v

    return subject


@mutant("TIL-15", "masked", "a first tile of 16 keys that a row sees nothing of")
def online_softmax_without_guard(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, mask: Array) -> Array:
        s = hidden(scores(q, k), mask)
        found: State | None = None
        for t in tiles(k.shape[-2], 16):
            part = state(s[..., t], v[..., t, :])
            if wrong:
                e = np.exp(s[..., t] - part[0])
                part = part[0], e.sum(-1, keepdims=True), e @ v[..., t, :]
            found = part if found is None else merge(found, part, guard=not wrong)
        assert found is not None
        return output(found)

    return subject
