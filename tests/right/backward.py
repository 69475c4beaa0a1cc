"""Backward passes by hand, each in another order: form(r, dO, q, k, v, keep) gives dQ, dK, dV."""

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

Gradients = tuple[Array, ...]


def _ends(r: Arithmetic, d_s: Array, a: Array, d_out: Array, q: Array, k: Array) -> Gradients:
    """The gradients of q, k and v from those of the scores, which are scaled first."""
    d_s = r(d_s * r.wide(q.shape[-1] ** -0.5))
    return d_s @ k, turned(d_s) @ q, turned(a) @ d_out


def textbook(
    r: Arithmetic, d_out: Array, q: Array, k: Array, v: Array, keep: Array | None = None
) -> Gradients:
    """DS = A (dA - sum A dA), weights kept from the forward pass."""
    a = softmax(r, hidden(scores(r, q, k), keep))
    d_a = r(d_out @ turned(v))
    d_s = r(a * r(d_a - r((a * d_a).sum(-1, keepdims=True))))
    return _ends(r, d_s, a, d_out, q, k)


def by_output(
    r: Arithmetic, d_out: Array, q: Array, k: Array, v: Array, keep: Array | None = None
) -> Gradients:
    """The row term is sum dO O, and weights are computed again from the log-sum-exp (Dao 2022)."""
    s = hidden(scores(r, q, k), keep)
    out = r(softmax(r, s) @ v)
    term = (d_out * out).sum(-1, keepdims=True)
    p = np.exp(s - log_sum(s))
    d_s = r(p * (d_out @ turned(v) - term))
    return _ends(r, d_s, r(p), d_out, q, k)


def in_tiles(
    r: Arithmetic, d_out: Array, q: Array, k: Array, v: Array, keep: Array | None = None
) -> Gradients:
    """The same over tiles of 16 keys, dQ added up from tile to tile."""
    s = hidden(scores(r, q, k), keep)
    out = r(softmax(r, s) @ v)
    term, end = (d_out * out).sum(-1, keepdims=True), log_sum(s)
    d_q, parts = np.zeros_like(q), []
    for t in tiles(s.shape[-1], 16):
        p = np.exp(s[..., t] - end)
        d_s = r(p * (d_out @ turned(v[..., t, :]) - term))
        one, two, three = _ends(r, d_s, r(p), d_out, q, k[..., t, :])
        d_q = d_q + one
        parts.append((two, three))
    return d_q, *(np.concatenate(found, -2) for found in zip(*parts, strict=True))


def over_query_tiles(
    r: Arithmetic, d_out: Array, q: Array, k: Array, v: Array, keep: Array | None = None
) -> Gradients:
    """Tiles of 8 queries from the last to the first, dK and dV added up."""
    s = hidden(scores(r, q, k), keep)
    d_k, d_v, rows = np.zeros_like(k), np.zeros_like(v), []
    for t in tiles(s.shape[-2], 8)[::-1]:
        a, seed = softmax(r, s[..., t, :]), d_out[..., t, :]
        d_a = r(seed @ turned(v))
        d_s = r(a * r(d_a - r((a * d_a).sum(-1, keepdims=True))))
        one, two, three = _ends(r, d_s, a, seed, q[..., t, :], k)
        rows.append(one)
        d_k, d_v = d_k + two, d_v + three
    return np.concatenate(rows[::-1], -2), d_k, d_v


def by_jacobian(
    r: Arithmetic, d_out: Array, q: Array, k: Array, v: Array, keep: Array | None = None
) -> Gradients:
    """The softmax's Jacobian, diag(a) - a a', applied to each row."""
    a = softmax(r, hidden(scores(r, q, k), keep))
    d_a = r(d_out @ turned(v))
    d_s = r(r(a * d_a) - a * r((a[..., None, :] @ d_a[..., None])[..., 0]))
    return _ends(r, d_s, a, d_out, q, k)


def through_quotient(
    r: Arithmetic, d_out: Array, q: Array, k: Array, v: Array, keep: Array | None = None
) -> Gradients:
    """O = (E V) / Z taken apart: the quotient's rule, then exp's."""
    s = hidden(scores(r, q, k), keep)
    e = r(np.exp(r(s - top(s))))
    z = e.sum(-1, keepdims=True)
    out = r((e @ v) / z)
    d_n = r(d_out / z)
    d_e = r(d_n @ turned(v) - (d_n * out).sum(-1, keepdims=True))
    d_q, d_k, _ = _ends(r, r(d_e * e), e, d_out, q, k)
    return d_q, d_k, turned(e) @ d_n


def scale_in_query(
    r: Arithmetic, d_out: Array, q: Array, k: Array, v: Array, keep: Array | None = None
) -> Gradients:
    """The scale was folded into the query: its gradient is scaled last."""
    scale = r.wide(q.shape[-1] ** -0.5)
    folded = r(q * scale)
    a = softmax(r, hidden(r(folded @ turned(k)), keep))
    d_a = r(d_out @ turned(v))
    d_s = r(a * r(d_a - r((a * d_a).sum(-1, keepdims=True))))
    return r(d_s @ k) * scale, turned(d_s) @ folded, turned(a) @ d_out


def with_sink(r: Arithmetic, d_out: Array, q: Array, k: Array, v: Array, sinks: Array) -> Gradients:
    """The sink takes part in the row term; its gradient is minus its weight times that term."""
    s = scores(r, q, k)
    extra = np.broadcast_to(sinks[:, None, None], (*s.shape[:-1], 1))
    a = softmax(r, np.concatenate([s, extra], -1))
    seen, sink = a[..., :-1], a[..., -1:]
    d_a = r(d_out @ turned(v))
    term = r((seen * d_a).sum(-1, keepdims=True))
    d_s = r(seen * r(d_a - term))
    return *_ends(r, d_s, seen, d_out, q, k), -r(sink * term).sum((0, 2, 3))


def sink_by_sigmoid(
    r: Arithmetic, d_out: Array, q: Array, k: Array, v: Array, sinks: Array
) -> Gradients:
    """The product's rule: a plain softmax, and the logistic function of its log-sum-exp."""
    s = scores(r, q, k)
    gap = log_sum(s) - sinks[:, None, None]
    small = np.exp(-np.abs(gap))
    share, less = (np.where(side, 1, small) / (1 + small) for side in (gap > 0, gap <= 0))
    a = softmax(r, s)
    d_plain = r(d_out * share)
    d_a = r(d_plain @ turned(v))
    term = r((a * d_a).sum(-1, keepdims=True))
    # d share / d gap = share (1 - share), and d gap / d S = A.
    d_gap = term * less
    d_s = r(a * r(d_a - term)) + r(a * d_gap)
    return *_ends(r, d_s, a, d_plain, q, k), -d_gap.sum((0, 2, 3))


def grouped_by_repeat(r: Arithmetic, d_out: Array, q: Array, k: Array, v: Array) -> Gradients:
    """Heads repeated, and the gradients of the copies added up."""
    repeat = q.shape[1] // k.shape[1]
    more = [np.repeat(x, repeat, 1) for x in (k, v)]
    d_q, *others = textbook(r, d_out, q, *more)
    apart = [x.reshape(*k.shape[:2], repeat, *x.shape[2:]).sum(2) for x in others]
    return d_q, *apart


def grouped_by_reshape(r: Arithmetic, d_out: Array, q: Array, k: Array, v: Array) -> Gradients:
    """All queries of a group against its key head as one longer sequence."""
    groups = k.shape[1]
    merged = [x.reshape(x.shape[0], groups, -1, x.shape[-1]) for x in (q, d_out)]
    d_q, d_k, d_v = by_output(r, merged[1], merged[0], k, v)
    return d_q.reshape(q.shape), d_k, d_v


def biased(r: Arithmetic, d_out: Array, q: Array, k: Array, v: Array, bias: Array) -> Gradients:
    """The bias's gradient is that of the scores before the scale."""
    a = softmax(r, r(scores(r, q, k) + bias))
    d_a = r(d_out @ turned(v))
    d_s = r(a * r(d_a - r((a * d_a).sum(-1, keepdims=True))))
    return *_ends(r, d_s, a, d_out, q, k), d_s


def bias_shifted(
    r: Arithmetic, d_out: Array, q: Array, k: Array, v: Array, bias: Array
) -> Gradients:
    """The shift has no gradient of its own: that of a row adds up to zero."""
    return biased(r, d_out, q, k, v, r(bias - bias.max(-1, keepdims=True)))


def capped(r: Arithmetic, d_out: Array, q: Array, k: Array, v: Array, cap: float) -> Gradients:
    """The cap's slope is 1 - tanh^2."""
    t = r(np.tanh(r(scores(r, q, k) / r.wide(cap))))
    a = softmax(r, r(t * r.wide(cap)))
    d_a = r(d_out @ turned(v))
    d_s = r(r(a * r(d_a - r((a * d_a).sum(-1, keepdims=True)))) * r(1 - t * t))
    return _ends(r, d_s, a, d_out, q, k)


def windowed_by_band(
    r: Arithmetic, d_out: Array, q: Array, k: Array, v: Array, window: int
) -> Gradients:
    """Each query's own slice of keys, its gradients added where they belong."""
    d_k, d_v, rows = np.zeros_like(k), np.zeros_like(v), []
    for i in range(q.shape[-2]):
        band, row = slice(max(0, i - window + 1), i + 1), slice(i, i + 1)
        one, two, three = textbook(
            r, d_out[..., row, :], q[..., row, :], k[..., band, :], v[..., band, :]
        )
        rows.append(one)
        d_k[..., band, :] += two
        d_v[..., band, :] += three
    return np.concatenate(rows, -2), d_k, d_v
