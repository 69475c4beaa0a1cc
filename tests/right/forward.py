"""Forward passes, each in another order or by another identity: form(r, q, k, v, keep)."""

from __future__ import annotations

import numpy as np

from tests.right.arithmetic import (
    Arithmetic,
    Array,
    hidden,
    log_sum,
    scores,
    softmax,
    tiles,
    top,
    turned,
)

LOG2_E = 1.4426950408889634
State = tuple[Array, Array, Array]


def textbook(r: Arithmetic, q: Array, k: Array, v: Array, keep: Array | None = None) -> Array:
    """Scores, softmax, weighted sum (Vaswani et al. 2017, eq. 1)."""
    return softmax(r, hidden(scores(r, q, k), keep)) @ v


def scale_in_query(r: Arithmetic, q: Array, k: Array, v: Array, keep: Array | None = None) -> Array:
    """The scale is folded into the query before the products."""
    folded = r(q * r.wide(q.shape[-1] ** -0.5))
    return softmax(r, hidden(r(folded @ turned(k)), keep)) @ v


def scale_in_both(r: Arithmetic, q: Array, k: Array, v: Array, keep: Array | None = None) -> Array:
    """Half of the scale goes to the query, half to the key."""
    half = r.wide(q.shape[-1] ** -0.25)
    return softmax(r, hidden(r(r(q * half) @ turned(r(k * half))), keep)) @ v


def base_two(r: Arithmetic, q: Array, k: Array, v: Array, keep: Array | None = None) -> Array:
    """Powers of two, with the base's logarithm in the scale."""
    s = hidden(r(r(q @ turned(k)) * r.wide(LOG2_E * q.shape[-1] ** -0.5)), keep)
    e = r(np.exp2(r(s - top(s))))
    return r(e / e.sum(-1, keepdims=True)) @ v


def divided_last(r: Arithmetic, q: Array, k: Array, v: Array, keep: Array | None = None) -> Array:
    """Weights are summed against the values first and divided by their sum last."""
    s = hidden(scores(r, q, k), keep)
    e = r(np.exp(r(s - top(s))))
    return r(e @ v) / e.sum(-1, keepdims=True)


def by_log_sum(r: Arithmetic, q: Array, k: Array, v: Array, keep: Array | None = None) -> Array:
    """Weights are exp(score - log-sum-exp), which stays in the wide type."""
    s = hidden(scores(r, q, k), keep)
    return r(np.exp(s - log_sum(s))) @ v


def log_weights(r: Arithmetic, q: Array, k: Array, v: Array, keep: Array | None = None) -> Array:
    """Logarithms of weights first, as a log-softmax gives them."""
    s = hidden(scores(r, q, k), keep)
    shifted = s - top(s)
    return r(np.exp(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))) @ v


def masked_after(r: Arithmetic, q: Array, k: Array, v: Array, keep: Array | None = None) -> Array:
    """Weights of all keys, those not seen put to zero, and the rest divided by their sum."""
    s = scores(r, q, k)
    e = np.exp(np.minimum(s - top(hidden(s, keep)), 0))
    seen = r(e if keep is None else e * keep)
    return r(seen / seen.sum(-1, keepdims=True)) @ v


def added_infinity(r: Arithmetic, q: Array, k: Array, v: Array, keep: Array | None = None) -> Array:
    """A mask of zeros and minus infinities is added to the scores."""
    s = scores(r, q, k)
    mask = np.zeros(s.shape[-2:], r.wide) if keep is None else np.where(keep, 0.0, -np.inf)
    return softmax(r, s + mask.astype(r.wide)) @ v


def finite_sentinel(
    r: Arithmetic, q: Array, k: Array, v: Array, keep: Array | None = None
) -> Array:
    """The lowest finite number stands for minus infinity, and the shift takes it to zero weight."""
    s = scores(r, q, k)
    low = np.finfo(np.float32).min
    return softmax(r, s if keep is None else np.where(keep, s, r.wide(low))) @ v


def keys_in_reverse(
    r: Arithmetic, q: Array, k: Array, v: Array, keep: Array | None = None
) -> Array:
    """Keys and values from the last to the first."""
    seen = None if keep is None else keep[..., ::-1]
    return softmax(r, hidden(scores(r, q, k[..., ::-1, :]), seen)) @ v[..., ::-1, :]


def two_passes(r: Arithmetic, q: Array, k: Array, v: Array, keep: Array | None = None) -> Array:
    """One pass over tiles for the largest score and the sum, a second for the output."""
    s = hidden(scores(r, q, k), keep)
    high, total = top(s), 0
    for t in tiles(s.shape[-1], 8):
        total = total + np.exp(s[..., t] - high).sum(-1, keepdims=True)
    out = np.zeros((*s.shape[:-1], v.shape[-1]), r.wide)
    for t in tiles(s.shape[-1], 8):
        out += r(np.exp(s[..., t] - high) / total) @ v[..., t, :]
    return out


def _state(r: Arithmetic, s: Array, v: Array) -> State:
    """Largest score, sum and output of some keys, not yet divided."""
    high = s.max(-1, keepdims=True)
    e = r(np.exp(s - top(s)))
    return high, e.sum(-1, keepdims=True), e @ v


def _merged(one: State, two: State) -> State:
    """Two states as one (Milakov and Gimelshein 2018)."""
    high = np.maximum(one[0], two[0])
    base = np.where(np.isfinite(high), high, 0).astype(high.dtype)
    first, second = (np.exp(part[0] - base) for part in (one, two))
    return high, one[1] * first + two[1] * second, one[2] * first + two[2] * second


def _states(
    r: Arithmetic, q: Array, k: Array, v: Array, keep: Array | None, size: int
) -> list[State]:
    s = hidden(scores(r, q, k), keep)
    return [_state(r, s[..., t], v[..., t, :]) for t in tiles(s.shape[-1], size)]


def online(r: Arithmetic, q: Array, k: Array, v: Array, keep: Array | None = None) -> Array:
    """One key after the other, sums rescaled whenever a larger score comes."""
    states = _states(r, q, k, v, keep, 1)
    found = states[0]
    for state in states[1:]:
        found = _merged(found, state)
    return found[2] / found[1]


def online_in_tiles(
    r: Arithmetic, q: Array, k: Array, v: Array, keep: Array | None = None
) -> Array:
    """Tiles of 16 keys (Dao et al. 2022, algorithm 1)."""
    states = _states(r, q, k, v, keep, 16)
    found = states[0]
    for state in states[1:]:
        found = _merged(found, state)
    return found[2] / found[1]


def normalised_in_tiles(
    r: Arithmetic, q: Array, k: Array, v: Array, keep: Array | None = None
) -> Array:
    """Tiles of 8 keys, the output divided by the sum so far after each of them."""
    states = _states(r, q, k, v, keep, 8)
    high, total, out = states[0]
    out = out / np.where(total > 0, total, 1)
    for state in states[1:]:
        before, (high, total, whole) = total, _merged((high, total, out * total), state)
        out = np.where(total > 0, whole / np.where(total > 0, total, 1), before * 0)
    return out


def split_and_merged(
    r: Arithmetic, q: Array, k: Array, v: Array, keep: Array | None = None
) -> Array:
    """Three splits of the keys, each a softmax of its own, merged by their log-sum-exps."""
    s = hidden(scores(r, q, k), keep)
    parts = []
    for t in tiles(s.shape[-1], max(1, -(-s.shape[-1] // 3))):
        high, total, out = _state(r, s[..., t], v[..., t, :])
        safe = np.where(total > 0, total, 1)
        with np.errstate(divide="ignore"):
            parts.append((out / safe, np.where(total > 0, high + np.log(safe), -np.inf)))
    ends = np.stack([end for _, end in parts])
    share = np.exp(ends - ends.max(0))
    share = share / share.sum(0)
    return sum(w.astype(r.wide) * out for w, (out, _) in zip(share, parts, strict=True))


def pairwise(r: Arithmetic, q: Array, k: Array, v: Array, keep: Array | None = None) -> Array:
    """States of single keys merged two and two, as a tree of threads does."""
    states = _states(r, q, k, v, keep, 1)
    while len(states) > 1:
        pairs = [states[at : at + 2] for at in range(0, len(states), 2)]
        states = [_merged(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    return states[0][2] / states[0][1]


def row_by_row(r: Arithmetic, q: Array, k: Array, v: Array, keep: Array | None = None) -> Array:
    """Each query alone, its products as sums of single ones."""
    rows = []
    for i in range(q.shape[-2]):
        s = r(r((q[..., i, None, :] * k).sum(-1)) / r.wide(q.shape[-1] ** 0.5))
        s = hidden(s, None if keep is None else keep[..., i, :])
        rows.append((softmax(r, s)[..., None] * v).sum(-2))
    return np.stack(rows, -2)


def with_sink(r: Arithmetic, q: Array, k: Array, v: Array, sinks: Array) -> Array:
    """The sink as one more score, whose weight is dropped."""
    s = scores(r, q, k)
    extra = np.broadcast_to(sinks[:, None, None], (*s.shape[:-1], 1))
    return softmax(r, np.concatenate([s, extra], -1))[..., :-1] @ v


def sink_by_sigmoid(r: Arithmetic, q: Array, k: Array, v: Array, sinks: Array) -> Array:
    """A plain softmax times the logistic function of log-sum-exp less sink."""
    s = scores(r, q, k)
    gap = log_sum(s) - sinks[:, None, None]
    small = np.exp(-np.abs(gap))
    share = np.where(gap > 0, 1, small) / (1 + small)
    return (softmax(r, s) @ v) * share


def grouped_by_repeat(r: Arithmetic, q: Array, k: Array, v: Array) -> Array:
    """Each key head repeated in place for the query heads that share it."""
    repeat = q.shape[1] // k.shape[1]
    return textbook(r, q, np.repeat(k, repeat, 1), np.repeat(v, repeat, 1))


def grouped_by_reshape(r: Arithmetic, q: Array, k: Array, v: Array) -> Array:
    """Query heads taken apart into groups, keys broadcast over each group."""
    apart = q.reshape(q.shape[0], k.shape[1], -1, *q.shape[2:])
    out = scale_in_query(r, apart, k[:, :, None], v[:, :, None])
    return out.reshape(*q.shape[:-1], v.shape[-1])


def biased(r: Arithmetic, q: Array, k: Array, v: Array, bias: Array) -> Array:
    """The bias added after the scale."""
    return softmax(r, r(scores(r, q, k) + bias)) @ v


def bias_shifted(r: Arithmetic, q: Array, k: Array, v: Array, bias: Array) -> Array:
    """Every row's bias less its largest one, which no weight depends on."""
    return softmax(r, r(scores(r, q, k) + r(bias - bias.max(-1, keepdims=True)))) @ v


def capped(r: Arithmetic, q: Array, k: Array, v: Array, cap: float) -> Array:
    """Scores through cap tanh(s / cap)."""
    return softmax(r, r(r(np.tanh(r(scores(r, q, k) / r.wide(cap)))) * r.wide(cap))) @ v


def windowed_by_band(r: Arithmetic, q: Array, k: Array, v: Array, window: int) -> Array:
    """Each query's own slice of keys alone, nothing masked."""
    rows = []
    for i in range(q.shape[-2]):
        band = slice(max(0, i - window + 1), i + 1)
        rows.append(textbook(r, q[..., i : i + 1, :], k[..., band, :], v[..., band, :]))
    return np.concatenate(rows, -2)
