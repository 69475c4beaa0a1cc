"""Mutants of positions: rotations, slopes and relative biases."""

from __future__ import annotations

import numpy as np

from attnverify.notation import attention, bucket_bias, causal
from attnverify.spec import Spec
from tests.mutants.plain import Array, attend, hidden, places, scores, softmax
from tests.mutants.registry import Function, mutant


def decoder_with_memory() -> Spec:
    bias = bucket_bias(two_sided=False, buckets=8, max_distance=20, align="bottom_right")
    return attention("t5_memory", bias=bias, mask=causal("bottom_right"), scale=1)


def frequencies(width: int) -> Array:
    """10000^(-2p / width) for each pair p of channels."""
    return 10000.0 ** (-2 * np.arange(width // 2) / width)


def turned(x: Array, angle: Array) -> Array:
    """Channels p and p + width / 2 turned by an angle per position and pair."""
    low, high = np.split(x, 2, -1)
    cos, sin = np.cos(angle), np.sin(angle)
    parts = [low * cos - high * sin, high * cos + low * sin]
    return np.concatenate(parts, -1).astype(x.dtype)


def angles(x: Array, start: Array = 0) -> Array:
    """Position times frequency for the rows of x, counted from `start`."""
    return (np.arange(x.shape[-2]) + start)[..., None] * frequencies(x.shape[-1])


@mutant("POS-01", "rope", "d >= 4 and positions beyond 0", pairing="half")
def interleaved_angles_on_halves(wrong: bool) -> Function:
    def rotated(x: Array) -> Array:
        if not wrong:
            return turned(x, angles(x))
        twice = np.repeat(angles(x), 2, -1)
        low, high = np.split(x, 2, -1)
        found = x * np.cos(twice) + np.concatenate([-high, low], -1) * np.sin(twice)
        return found.astype(x.dtype)

    return lambda q, k, v: attend(rotated(q), rotated(k), v)


@mutant("POS-02", "rope", "d >= 4", pairing="half")
def interleaved_pairs(wrong: bool) -> Function:
    def rotated(x: Array) -> Array:
        if not wrong:
            return turned(x, angles(x))
        order = np.concatenate([np.arange(0, x.shape[-1], 2), np.arange(1, x.shape[-1], 2)])
        return turned(x[..., order], angles(x))

    return lambda q, k, v: attend(rotated(q), rotated(k), v)


@mutant("POS-06", "rope", "positions beyond what float16 tells apart, or its frequencies")
def angles_in_float16(wrong: bool) -> Function:
    def rotated(x: Array) -> Array:
        kind = np.float16 if wrong else np.float64
        place = np.arange(x.shape[-2]).astype(kind).astype(np.float64)
        angle = place[:, None] * frequencies(x.shape[-1]).astype(kind)
        even, odd = x[..., ::2], x[..., 1::2]
        cos, sin = np.cos(angle), np.sin(angle)
        found = np.stack([even * cos - odd * sin, odd * cos + even * sin], -1)
        return found.reshape(x.shape).astype(x.dtype)

    return lambda q, k, v: attend(rotated(q), rotated(k), v)


@mutant(
    "POS-07", "rope", "two calls of one length with other offsets", pairing="half", offset="input"
)
def angles_kept_by_length(wrong: bool) -> Function:
    kept: dict[tuple[int, ...], Array] = {}

    def subject(q: Array, k: Array, v: Array, offset: Array) -> Array:
        fresh = angles(q, offset[:, None, None])
        angle = kept.setdefault(q.shape, fresh) if wrong else fresh
        return attend(turned(q, angle), turned(k, angles(k)), v)

    return subject


@mutant("POS-08", "rope", "n_q != n_k (a cache)", pairing="half", offset="bottom_right")
def rotation_from_zero_with_a_cache(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        start = 0 if wrong else k.shape[-2] - q.shape[-2]
        return attend(turned(q, angles(q, start)), turned(k, angles(k)), v)

    return subject


def slopes(heads: int, first: int = 1) -> Array:
    """2^(-8 h / heads), h from `first`; between powers of two every other slope of the next."""
    whole = 2 ** (heads.bit_length() - 1)
    found = [2.0 ** (-8 * h / whole) for h in range(first, first + whole)]
    more = [2.0 ** (-4 * h / whole) for h in range(first, first + 2 * whole, 2)]
    return np.array([*found, *more[: heads - whole]])[:, None, None]


@mutant("POS-12", "alibi", "any slope")
def slope_times_query(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        s = scores(q, k)
        i, j = places(s)
        biased = s + slopes(q.shape[1]) * (i + 1 if wrong else j - i)
        return (softmax(hidden(biased, j <= i)) @ v).astype(v.dtype)

    return subject


@mutant("POS-13", "alibi", "any slope")
def slope_exponent_from_zero(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array) -> Array:
        s = scores(q, k)
        i, j = places(s)
        biased = s + slopes(q.shape[1], 0 if wrong else 1) * (j - i)
        return (softmax(hidden(biased, j <= i)) @ v).astype(v.dtype)

    return subject


def buckets(away: Array, count: int, far: int, *, two_sided: bool) -> Array:
    """The logarithmic bucket of key position minus query position."""
    half, sign = count, 0
    if two_sided:
        half, sign = count // 2, (away > 0) * (count // 2)
    back = np.abs(away) if two_sided else np.maximum(-away, 0)
    exact = half // 2
    logs = np.log(np.maximum(back, 1) / exact) / np.log(far / exact) * (half - exact)
    # Floors of numbers that are whole but for rounding are taken as whole.
    large = np.minimum(exact + np.floor(logs + 1e-9).astype(int), half - 1)
    return sign + np.where(back < exact, back, large)


@mutant("POS-16", decoder_with_memory, "n_k > n_q (a memory)")
def relative_bias_without_memory(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, table: Array) -> Array:
        s = scores(q, k, 1.0)
        i, j = places(s)
        i = i + k.shape[-2] - q.shape[-2]
        away = j - (i - k.shape[-2] + q.shape[-2] if wrong else i)
        bias = table[buckets(away, 8, 20, two_sided=False)].transpose(2, 0, 1)
        return softmax(hidden(s + bias, j <= i)) @ v

    return subject


@mutant("POS-17", "t5_bias", "any position")
def buckets_halved_for_the_wrong_side(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, table: Array) -> Array:
        s = scores(q, k, 1.0)
        i, j = places(s)
        bucket = buckets(j - i, 32, 128, two_sided=not wrong)
        return softmax(s + table[bucket].transpose(2, 0, 1)) @ v

    return subject


@mutant("POS-21", "cross", "n_k > 1")
def relative_bias_in_cross_attention(wrong: bool) -> Function:
    table = np.linspace(-0.5, 0.5, 8).astype(np.float32)

    def subject(q: Array, k: Array, v: Array) -> Array:
        s = scores(q, k)
        i, j = places(s)
        bias = table[buckets(j - i, 8, 20, two_sided=True)]
        return softmax(s + bias if wrong else s) @ v

    return subject


def relative_shift(x: Array, *, drop_last: bool) -> Array:
    """Row i moved left by n_q - 1 - i: pad a column, read the memory anew, drop a row."""
    *outer, rows, columns = x.shape
    padded = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(1, 0)]).reshape(*outer, columns + 1, rows)
    kept = padded[..., :-1, :] if drop_last else padded[..., 1:, :]
    return kept.reshape(*outer, rows, columns)


@mutant("POS-22", "transformer_xl", "n_q > 1", inputs={"v": "v_bias"})
def wrong_row_dropped_in_the_shift(wrong: bool) -> Function:
    def subject(
        q: Array, k: Array, v: Array, *, R: Array, W_R: Array, u: Array, v_bias: Array
    ) -> Array:
        length = k.shape[-2]
        far = np.einsum("pe,ehk->hpk", R, W_R)[:, :length]
        far = np.pad(far, [(0, 0), (0, length - far.shape[1]), (0, 0)])[:, ::-1]
        moved = relative_shift((q + v_bias[:, None]) @ far.swapaxes(-1, -2), drop_last=wrong)
        s = ((q + u[:, None]) @ k.swapaxes(-1, -2) + moved) * q.shape[-1] ** -0.5
        i, j = places(s)
        return softmax(hidden(s, j <= i + length - q.shape[-2])) @ v

    return subject


@mutant("POS-25", "alibi", "two calls with other n_q", ordered=False, quick=True)
def bias_kept_from_the_first_call(wrong: bool) -> Function:
    kept: list[Array] = []

    def away(s: Array) -> Array:
        i, j = places(s)
        return -np.abs(j - i)

    def subject(q: Array, k: Array, v: Array) -> Array:
        s = scores(q, k)
        if not wrong or not kept or kept[-1].shape[-1] < s.shape[-1]:
            kept.append(away(s))
        bias = slopes(q.shape[1]) * kept[-1][:, : s.shape[-1]]
        return (softmax(s + bias) @ v).astype(v.dtype)

    return subject


@mutant("POS-27", "rope", "an offset per sequence", pairing="half", offset="input")
def start_offset_of_the_wrong_sign(wrong: bool) -> Function:
    def subject(q: Array, k: Array, v: Array, offset: Array) -> Array:
        start = (-offset if wrong else offset)[:, None, None]
        return attend(turned(q, angles(q, start)), turned(k, angles(k)), v)

    return subject
