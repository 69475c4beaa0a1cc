"""Wrong backward passes beside a right forward pass, by hand, each with the words that name it.

`build(True)` has the bug, `build(False)` is its right twin; `words` are those of the operator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tests.mutants.plain import (
    Array,
    attend,
    hidden,
    places,
    pulled,
    scores,
    slopes_of_scores,
    softmax,
)
from tests.mutants.registry import Pair

Build = Callable[[bool], Pair]
LOG2 = float(np.log(2))


class Wrong(NamedTuple):
    """A wrong backward pass, what names it, and the spec with the settings of its check."""

    words: str
    spec: str
    build: Build
    settings: dict[str, Any]


TABLE: list[Wrong] = []


def named(words: str, spec: str = "global", **settings: Any) -> Callable[[Build], Build]:
    """Enter the decorated factory under the operator that it should be named by."""

    def enter(build: Build) -> Build:
        TABLE.append(Wrong(words, spec, build, settings))
        return build

    return enter


def _softmaxed(bend: Callable[[Array, Array], Array]) -> Build:
    """Factories of a backward pass whose softmax gradient is bent."""

    def build(wrong: bool) -> Pair:
        def backward(g: Array, q: Array, k: Array, v: Array) -> tuple[Array, ...]:
            a, d_a = softmax(scores(q, k)), g @ v.swapaxes(-1, -2)
            return pulled((bend if wrong else slopes_of_scores)(a, d_a), a, g, q, k)

        return Pair(attend, backward)

    return build


named("row term dropped")(_softmaxed(lambda a, d: a * d))
named("row term of another size")(
    _softmaxed(lambda a, d: a * (d - (a * d).sum(-1, keepdims=True) / 2))
)
named("Jacobian's diagonal")(_softmaxed(lambda a, d: a * (1 - a) * d))
named("log-softmax's gradient")(_softmaxed(lambda a, d: d - a * d.sum(-1, keepdims=True)))
named("row term of other sums")(_softmaxed(lambda a, d: a * (d - (a * d).sum(-2, keepdims=True))))
named("row term of other rows")(
    _softmaxed(lambda a, d: a * (d - (a * d).sum(-1, keepdims=True)[..., :1, :]))
)


def _after(bend: Callable[[Array, Array, Array], tuple[Array, ...]]) -> Build:
    """Factories of a backward pass whose gradients are bent when all is done."""

    def build(wrong: bool) -> Pair:
        def backward(g: Array, q: Array, k: Array, v: Array) -> tuple[Array, ...]:
            a = softmax(scores(q, k))
            slopes = pulled(slopes_of_scores(a, g @ v.swapaxes(-1, -2)), a, g, q, k)
            return bend(*slopes) if wrong else slopes

        return Pair(attend, backward)

    return build


def _root(x: Array) -> float:
    return float(x.shape[-1] ** 0.5)


named("scale of gradients")(_after(lambda q, k, v: (q, k * _root(k), v)))
named("scale of gradients")(_after(lambda q, k, v: (q / _root(q), k / _root(k), v)))
named("base of gradients")(_after(lambda q, k, v: (q * LOG2, k * LOG2, v)))
named("gradient lost")(_after(lambda q, k, v: (q, k, 0 * v)))


@named("one tile of a sum")
def last_tile_of_keys(wrong: bool) -> Pair:
    def backward(g: Array, q: Array, k: Array, v: Array) -> tuple[Array, ...]:
        a = softmax(scores(q, k))
        d_s = slopes_of_scores(a, g @ v.swapaxes(-1, -2)) * q.shape[-1] ** -0.5
        d_q = np.zeros_like(q)
        for start in range(0, k.shape[-2], 16):
            part = d_s[..., start : start + 16] @ k[..., start : start + 16, :]
            # Written over, where it is to be added to.
            d_q = part if wrong else d_q + part
        return d_q, d_s.swapaxes(-1, -2) @ q, a.swapaxes(-1, -2) @ g

    return Pair(attend, backward)


@named("unmasked backward", "causal")
def mask_of_the_forward_alone(wrong: bool) -> Pair:
    def seen(q: Array, k: Array) -> Array:
        i, j = places(scores(q, k))
        return j <= i

    def forward(q: Array, k: Array, v: Array) -> Array:
        return attend(q, k, v, seen(q, k))

    def backward(g: Array, q: Array, k: Array, v: Array) -> tuple[Array, ...]:
        a = softmax(hidden(scores(q, k), True if wrong else seen(q, k)))
        return pulled(slopes_of_scores(a, g @ v.swapaxes(-1, -2)), a, g, q, k)

    return Pair(forward, backward)


@named("weights not normalised", "causal")
def exponentials_without_their_sum(wrong: bool) -> Pair:
    def backward(g: Array, q: Array, k: Array, v: Array) -> tuple[Array, ...]:
        i, j = places(scores(q, k))
        s = hidden(scores(q, k), j <= i)
        a = np.exp(s - s.max(-1, keepdims=True))
        a = a if wrong else a / a.sum(-1, keepdims=True)
        return pulled(slopes_of_scores(a, g @ v.swapaxes(-1, -2)), a, g, q, k)

    return Pair(lambda q, k, v: attend(q, k, v, _causal(q, k)), backward)


def _causal(q: Array, k: Array) -> Array:
    i, j = places(scores(q, k))
    return j <= i


@named("cap's derivative", "softcap")
def cap_without_its_derivative(wrong: bool) -> Pair:
    def forward(q: Array, k: Array, v: Array, cap: float) -> Array:
        return (softmax(cap * np.tanh(scores(q, k) / cap)) @ v).astype(v.dtype)

    def backward(g: Array, q: Array, k: Array, v: Array, cap: float) -> tuple[Array, ...]:
        t = np.tanh(scores(q, k) / cap)
        a = softmax(cap * t)
        d_s = slopes_of_scores(a, g @ v.swapaxes(-1, -2))
        found = pulled(d_s if wrong else d_s * (1 - t**2), a, g, q, k)
        return tuple(x.astype(q.dtype) for x in found)

    return Pair(forward, backward)


@named("normaliser not differentiated", "sinks")
def normaliser_as_a_constant(wrong: bool) -> Pair:
    def parts(q: Array, k: Array, sinks: Array) -> tuple[Array, Array, Array]:
        s, low = scores(q, k), sinks[None, :, None, None]
        top = np.maximum(s.max(-1, keepdims=True), low)
        e, own = np.exp(s - top), np.exp(low - top)
        z = e.sum(-1, keepdims=True) + own
        return e / z, own / z, z

    def forward(q: Array, k: Array, v: Array, sinks: Array) -> Array:
        return parts(q, k, sinks)[0] @ v

    def backward(
        g: Array, q: Array, k: Array, v: Array, sinks: Array
    ) -> tuple[Array, Array, Array, Array]:
        a, own, _ = parts(q, k, sinks)
        d_a = g @ v.swapaxes(-1, -2)
        row = (a * d_a).sum(-1, keepdims=True) * (0 if wrong else 1)
        d_q, d_k, d_v = pulled(a * (d_a - row), a, g, q, k)
        return d_q, d_k, d_v, -(own * row).sum((0, 2, 3))

    return Pair(forward, backward)
