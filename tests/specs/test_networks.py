"""Layers and blocks against loops from their papers, and what they reduce to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from attnverify import load
from tests.specs.loops import (
    LONG,
    Array,
    Arrays,
    attend,
    expect,
    given,
    heads,
    long,
    scaled,
    softmax,
    weigh,
)
from tests.specs.reference import computed, expect_equal, with_cotangents

ONES = dict.fromkeys(
    ("batch", "heads", "key_heads", "value_heads", "queries", "keys", "time", "points", "projected",
     "distances", "key_dim", "value_dim", "model", "hidden", "narrow", "pairs"), 1,
) | {"side": 2}  # fmt: skip
WIDE = {**ONES, "batch": 2, "heads": 3, "key_heads": 2, "value_heads": 4, "queries": 5, "keys": 4,
        "time": 4, "points": 2, "projected": 3, "distances": 5, "key_dim": 2, "value_dim": 3,
        "model": 4, "hidden": 5, "narrow": 3, "pairs": 2}  # fmt: skip
LENGTHY = {**WIDE, "batch": 1, "queries": 3, "keys": 7, "time": 6, "distances": 9, "key_dim": 3}
SIZES = {"ones": ONES, "wide": WIDE, "long": LENGTHY}


def multi_head(x: Array, y: Array, v: Array, w: tuple[Array, ...], seen: Any = None) -> Array:
    """Attention of x to y with values v for one batch entry; weights are stored per head."""
    w_q, w_k, w_v, w_o = w
    out = LONG(0)
    for h in range(w_q.shape[1]):
        q, k, values = x @ w_q[:, h], y @ w_k[:, h], v @ w_v[:, h]
        out = out + attend(q, k, values, scaled, seen) @ w_o[h]
    return np.asarray(out)


def weights(a: Arrays, *marks: str) -> tuple[Array, ...]:
    return tuple(a[mark] for mark in marks)


OWN = ("W_Q", "W_K", "W_V", "W_O")
CROSS = ("W_CQ", "W_CK", "W_CV", "W_CO")


def norm(x: Array, gain: Array, shift: Array) -> Array:
    out = []
    for row in x:
        centred = row - sum(row) / len(row)
        out.append(gain * centred / np.sqrt(sum(centred**2) / len(row) + LONG("0.25")) + shift)
    return np.stack(out)


def talking(a: Arrays, divide: bool) -> Array:
    """Shazeer et al. 2020: J, L, softmax, U, O, head by head and row by row."""
    out = np.zeros((*a["X_Q"].shape[:2], a["W_O"].shape[-1]), LONG)
    for b, i in np.ndindex(*out.shape[:2]):
        x, y, z = a["X_Q"][b, i], a["X_K"][b], a["X_V"][b]
        root = np.sqrt(LONG(a["W_Q"].shape[-1])) if divide else LONG(1)
        dots = [
            [(x @ a["W_Q"][:, g]) @ (key @ a["W_K"][:, g]) / root for key in y]
            for g in range(a["W_Q"].shape[1])
        ]
        mixed = np.einsum("gj,gh->hj", np.array(dots), a["W_L"])
        shares = np.array([softmax(list(row)) for row in mixed])
        for r in range(a["W_V"].shape[1]):
            blend = sum(a["W_W"][h, r] * shares[h] for h in range(len(shares)))
            out[b, i] += (blend @ (z @ a["W_V"][:, r])) @ a["W_O"][r]
    return out


def differential(a: Arrays, rms: bool, share: Any, start: Any) -> Array:
    one = heads(a["Q_1"], a["K_1"], a["V"])
    two = heads(a["Q_2"], a["K_2"], a["V"])
    out = np.asarray(one - share * two)
    if not rms:
        return out
    size = np.sqrt(np.mean(out * out, axis=-1, keepdims=True) + LONG("0.25"))
    return np.asarray((1 - start) * a["gain"] * out / size)


def learned(a: Arrays) -> Any:
    return np.exp(a["l_Q1"] @ a["l_K1"]) - np.exp(a["l_Q2"] @ a["l_K2"]) + LONG("0.5")


def shaw(a: Arrays, clip: int, moved: bool) -> Array:
    out = np.zeros((*a["Q"].shape[:3], a["V"].shape[-1]), LONG)
    for b, h, i in np.ndindex(*out.shape[:3]):
        n = a["K"].shape[2]
        row = [max(-clip, min(clip, j - i)) + clip for j in range(n)]
        scores = [scaled(a["Q"][b, h, i], a["K"][b, h, j] + a["R_K"][row[j]]) for j in range(n)]
        values = [a["V"][b, h, j] + (a["R_V"][row[j]] if moved else 0) for j in range(n)]
        out[b, h, i] = weigh([True] * n, scores, values, out.shape[-1])
    return out


def transformer_xl(a: Arrays) -> Array:
    out = np.zeros((*a["Q"].shape[:3], a["V"].shape[-1]), LONG)
    for b, h, i in np.ndindex(*out.shape[:3]):
        n, width = a["K"].shape[2], a["K"].shape[-1]
        here = i + n - a["Q"].shape[2]
        q, scores = a["Q"][b, h, i], []
        for j in range(n):
            score = (q + a["u"][h]) @ a["K"][b, h, j]
            if 0 <= here - j < len(a["R"]):
                score += (q + a["v"][h]) @ (a["R"][here - j] @ a["W_R"][:, h])
            scores.append(score / np.sqrt(LONG(width)))
        values = list(a["V"][b, h])
        out[b, h, i] = weigh([j <= here for j in range(n)], scores, values, out.shape[-1])
    return out


def linformer(a: Arrays) -> Array:
    out = np.zeros((*a["Q"].shape[:3], a["V"].shape[-1]), LONG)
    for b, h in np.ndindex(*out.shape[:2]):
        e, f = a["E"], a.get("F", a["E"])
        e, f = (m[h] if m.ndim == 3 else m for m in (e, f))
        out[b, h] = attend(a["Q"][b, h], e @ a["K"][b, h], f @ a["V"][b, h], scaled)
    return out


def objects(a: Arrays) -> Array:
    return np.stack(
        [
            multi_head(x + a["P_Q"], y + p, y, weights(a, *OWN))
            for x, y, p in zip(a["X_Q"], a["X_K"], a["P_K"], strict=True)
        ]
    )


def perceiver(a: Arrays, residual: bool) -> Array:
    out = [multi_head(a["Z"], x, x, weights(a, *OWN)) for x in a["X"]]
    return np.stack([a["Z"] + one for one in out] if residual else out)


def block(a: Arrays, n: int, x: Array, y: Array, whole: bool) -> Array:
    """Lee et al. 2019: MAB(x, y), or its attention alone."""
    near = multi_head(x, y, y, weights(a, *(f"{mark}{n}" for mark in OWN)))
    if not whole:
        return near
    first = norm(x + near, a[f"g_1{n}"], a[f"s_1{n}"])
    row = np.maximum(first @ a[f"W_F{n}"] + a[f"b_F{n}"], 0)
    return norm(first + row, a[f"g_2{n}"], a[f"s_2{n}"])


def induced(a: Arrays, whole: bool) -> Array:
    return np.stack([block(a, 2, x, block(a, 1, a["I"], x, whole), whole) for x in a["X"]])


def mlp(a: Arrays, x: Array) -> Array:
    return np.asarray(np.maximum(x @ a["W_1"] + a["b_1"], 0) @ a["W_2"] + a["b_2"])


def before(x: Array, _: Callable[[Array], Array], f: Callable[[Array], Array]) -> Array:
    return x + f(_(x))


def after(x: Array, _: Callable[[Array], Array], f: Callable[[Array], Array]) -> Array:
    return _(x + f(x))


def part(a: Arrays, name: str, causal: bool, memory: Array, x: Array) -> Array:
    """One part of a block, by name."""
    if name == "mlp":
        return mlp(a, x)
    if name == "cross":
        return multi_head(x, memory, memory, weights(a, *CROSS))
    return multi_head(x, x, x, weights(a, *OWN), (lambda i, j: j <= i) if causal else None)


def stacked(a: Arrays, order: str, decoder: bool) -> Array:
    """Vaswani et al. 2017 and Xiong et al. 2020: parts, residuals and norms in one order."""
    wrap = after if order == "post" else before
    out = []
    for b, x in enumerate(a["X"]):
        memory = a["M"][b] if decoder else x
        for n, name in enumerate(("own", "cross", "mlp") if decoder else ("own", "mlp"), 1):
            scale = partial(norm, gain=a[f"g_{n}"], shift=a[f"s_{n}"])
            x = wrap(x, scale, partial(part, a, name, decoder, memory))  # noqa: PLW2901  one part after another
        out.append(x)
    return np.stack(out)


def turn(x: Array, cos: Array, sin: Array) -> Array:
    """Each pair of neighbours rotated."""
    out = np.zeros_like(x)
    for p in range(len(cos)):
        one, two = x[2 * p], x[2 * p + 1]
        out[2 * p] = one * cos[p] - two * sin[p]
        out[2 * p + 1] = one * sin[p] + two * cos[p]
    return out


def latent(a: Arrays) -> Array:
    """DeepSeek-V2, eqs. 37 to 47, token by token, keys and values of each head written out."""
    out = np.zeros_like(a["X"])
    for b, x in enumerate(a["X"]):
        own, shared = x @ a["W_DQ"], x @ a["W_DKV"]
        places = [turn(x[t] @ a["W_KR"], a["cos"][t], a["sin"][t]) for t in range(len(x))]
        for h in range(a["W_UQ"].shape[1]):
            keys = [np.concatenate([c @ a["W_UK"][:, h], r])
                    for c, r in zip(shared, places, strict=True)]  # fmt: skip
            values = [c @ a["W_UV"][:, h] for c in shared]
            for t in range(len(x)):
                turned = turn(own[t] @ a["W_QR"][:, h], a["cos"][t], a["sin"][t])
                query = np.concatenate([own[t] @ a["W_UQ"][:, h], turned])
                seen = [s <= t for s in range(len(x))]
                row = weigh(seen, [scaled(query, k) for k in keys], values, len(values[0]))
                out[b, t] = out[b, t] + row @ a["W_O"][h]
    return out


HALF = LONG("0.5")
EPS = {"eps": 0.25}
CASES: dict[str, tuple[str, dict[str, Any], Callable[[Arrays], Array]]] = {
    "talking heads": ("talking_heads", {}, lambda a: talking(a, divide=False)),
    "talking heads, scaled": (
        "talking_heads",
        {"scale": "key_dim"},
        lambda a: talking(a, divide=True),
    ),
    "differential": (
        "differential",
        {"lam": 0.75, "lambda_init": 0.5, **EPS},
        lambda a: differential(a, True, LONG("0.75"), HALF),
    ),
    "differential, learned": (
        "differential",
        {"weight": "learned", "lambda_init": 0.5, **EPS},
        lambda a: differential(a, True, learned(a), HALF),
    ),
    "differential without norm": (
        "differential",
        {"norm": "none", "weight": "learned", "lambda_init": 0.5},
        lambda a: differential(a, False, learned(a), HALF),
    ),
    "relative keys": ("shaw", {"clip": 2, "values": False}, lambda a: shaw(a, 2, moved=False)),
    "relative keys and values": ("shaw", {"clip": 2}, lambda a: shaw(a, 2, moved=True)),
    "content and position": ("transformer_xl", {}, transformer_xl),
    "projected": ("linformer", {}, linformer),
    "projected, over heads": ("linformer", {"share": "heads"}, linformer),
    "projected, all alike": ("linformer", {"share": "keys_values"}, linformer),
    "object queries": ("object_queries", {}, objects),
    "latent queries": ("perceiver", {}, lambda a: perceiver(a, residual=False)),
    "latent queries, residual": (
        "perceiver",
        {"residual": True},
        lambda a: perceiver(a, residual=True),
    ),
    "induced set": ("induced_set", EPS, lambda a: induced(a, whole=True)),
    "induced set, attention": (
        "induced_set",
        {"form": "attention"},
        lambda a: induced(a, whole=False),
    ),
    "encoder": ("encoder_block", EPS, lambda a: stacked(a, "post", decoder=False)),
    "encoder, pre": (
        "encoder_block",
        {"norm": "pre", **EPS},
        lambda a: stacked(a, "pre", decoder=False),
    ),
    "decoder": ("decoder_block", EPS, lambda a: stacked(a, "post", decoder=True)),
    "decoder, pre": (
        "decoder_block",
        {"norm": "pre", **EPS},
        lambda a: stacked(a, "pre", decoder=True),
    ),
    "latent": ("latent", {}, latent),
    "latent, absorbed": ("latent", {"form": "absorbed"}, latent),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("sizes", SIZES)
def test_layers_are_what_loops_compute(name: str, sizes: str) -> None:
    variant, values, reference = CASES[name]
    spec = load(variant, **values)
    inputs = given(spec, {**SIZES[sizes], "distances": 5} if variant == "shaw" else SIZES[sizes])
    expect(spec, inputs, reference(long(inputs)))


# ---- What they reduce to


def test_talking_heads_that_mix_nothing_are_multi_head_attention() -> None:
    spec = load("talking_heads", scale="key_dim")
    inputs = given(spec, {**WIDE, "key_heads": 3, "value_heads": 3})
    plain = {n: a for n, a in inputs.items() if n not in ("W_L", "W_W")}
    same = {**inputs, "W_L": np.eye(3), "W_W": np.eye(3)}
    expect_equal(computed(spec, same), computed(load("multi_head"), plain))


def test_differential_attention_that_takes_nothing_away_is_global() -> None:
    spec = load("differential", norm="none", lam=0)
    inputs = given(spec, WIDE)
    plain = {"Q": inputs["Q_1"], "K": inputs["K_1"], "V": inputs["V"]}
    expect_equal(computed(spec, inputs), computed(load("global"), plain))


@pytest.mark.parametrize("share", ["none", "heads", "keys_values"])
def test_projections_by_the_identity_leave_global_attention(share: str) -> None:
    spec = load("linformer", share=share)
    inputs = given(spec, {**WIDE, "projected": 4})
    same = {n: np.broadcast_to(np.eye(4), a.shape) if n in "EF" else a for n, a in inputs.items()}
    plain = {n: inputs[n] for n in "QKV"}
    expect_equal(computed(spec, same), computed(load("global"), plain))


def test_relative_tables_of_zeros_leave_global_attention() -> None:
    spec = load("shaw", clip=2)
    inputs = given(spec, WIDE)
    none = {n: np.zeros_like(a) if n.startswith("R_") else a for n, a in inputs.items()}
    plain = {n: inputs[n] for n in "QKV"}
    expect_equal(computed(spec, none), computed(load("global"), plain))


def test_a_clip_of_zero_does_not_leave_global_attention() -> None:
    """Keys move alike, which the softmax forgets, but values move too: by R_V's one row."""
    inputs = given(load("shaw", clip=0), {**WIDE, "distances": 1})
    due = computed(load("global"), {n: inputs[n] for n in "QKV"}).values["O"]
    expect(load("shaw", clip=0), inputs, due + inputs["R_V"][0])
    keys = {n: a for n, a in inputs.items() if n != "R_V"}
    expect(load("shaw", clip=0, values=False), keys, due)


def crossed(x: Array, y: Array, v: Array, w: tuple[Array, ...]) -> Array:
    """The catalogue's cross-attention between projections."""
    q, k, values = (
        np.einsum("bie,ehk->bhik", part, weight)
        for part, weight in zip((x, y, v), w[:3], strict=True)
    )
    out = computed(load("cross"), {"Q": q, "K": k, "V": values}).values["O"]
    return np.asarray(np.einsum("bhic,hce->bie", out, w[3]))


def test_object_queries_are_cross_attention() -> None:
    inputs = given(load("object_queries"), WIDE)
    a = long(inputs)
    due = crossed(a["X_Q"] + a["P_Q"], a["X_K"] + a["P_K"], a["X_K"], weights(a, *OWN))
    expect(load("object_queries"), inputs, due)


def test_latent_queries_are_cross_attention() -> None:
    inputs = given(load("perceiver"), WIDE)
    a = long(inputs)
    latents = np.broadcast_to(a["Z"], (2, *a["Z"].shape))
    expect(load("perceiver"), inputs, crossed(latents, a["X"], a["X"], weights(a, *OWN)))


def test_an_induced_set_is_cross_attention_twice() -> None:
    inputs = given(load("induced_set", form="attention"), WIDE)
    a = long(inputs)
    points = np.broadcast_to(a["I"], (2, *a["I"].shape))
    one, two = (weights(a, *(f"{mark}{n}" for mark in OWN)) for n in (1, 2))
    middle = crossed(points, a["X"], a["X"], one)
    expect(load("induced_set", form="attention"), inputs, crossed(a["X"], middle, middle, two))


@pytest.mark.parametrize("gradients", [False, True], ids=("forward", "gradients"))
def test_the_absorbed_form_of_latent_attention_is_the_naive_one(gradients: bool) -> None:
    naive, absorbed = load("latent"), load("latent", form="absorbed")
    inputs = given(naive, WIDE)
    pair = [(spec, inputs) for spec in (naive, absorbed)]
    if gradients:
        pair = [with_cotangents(spec, inputs) for spec in (naive, absorbed)]
    expect_equal(computed(*pair[0]), computed(*pair[1]))
