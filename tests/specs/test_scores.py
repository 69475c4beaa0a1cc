"""Scores and windows of their own against loops from their papers, and what they reduce to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from attnverify import load
from attnverify.exact import evaluate
from tests.specs.loops import LONG, Array, Arrays, attend, expect, given, heads, long, weigh
from tests.specs.reference import computed, expect_equal, with_cotangents

SIZES = (
    {"batch": 1, "heads": 1, "queries": 1, "keys": 1, "key_dim": 1, "value_dim": 1, "hidden": 1,
     "align": 1, "distances": 5, "model": 1},
    {"batch": 2, "heads": 3, "queries": 5, "keys": 4, "key_dim": 2, "value_dim": 3, "hidden": 4,
     "align": 2, "distances": 5, "model": 3},
    {"batch": 1, "heads": 2, "queries": 3, "keys": 7, "key_dim": 4, "value_dim": 2, "hidden": 3,
     "align": 5, "distances": 7, "model": 2},
)  # fmt: skip


def rows(a: Arrays, score: Callable[[Array, Array], Any], seen: Any = None) -> Array:
    """Attention without heads, batch entry by batch entry; values are keys where V is not given."""
    return np.stack(
        [
            attend(a["Q"][b], a.get("K", a["V"])[b], a["V"][b], score, seen)
            for b in range(len(a["Q"]))
        ]
    )


def each_head(a: Arrays, score: Callable[[int, Array, Array], Any]) -> Array:
    q, k, v = a["Q"], a["K"], a["V"]
    return np.array(
        [
            [attend(q[b, h], k[b, h], v[b, h], partial(score, h))
             for h in range(q.shape[1])]
            for b in range(len(q))
        ]
    )  # fmt: skip


def predicted(a: Arrays, score: Callable[[Array, Array], Any], half: int) -> Array:
    """Luong's local-p: a softmax over the window about P, then the Gaussian."""
    out = []
    for q, k, v in zip(a["Q"], a["K"], a["V"], strict=True):
        for row in q:
            centre = len(k) / (1 + np.exp(-(a["v_P"] @ np.tanh(a["W_P"] @ row))))
            near = [j for j in range(len(k)) if centre - half <= j <= centre + half]
            bells = {j: np.exp(-((j - centre) ** 2) / (2 * (LONG(half) / 2) ** 2)) for j in near}
            damped = [v[j] * bells[j] if j in bells else v[j] for j in range(len(k))]
            seen = [j in bells for j in range(len(k))]
            out.append(weigh(seen, [score(row, key) for key in k], damped, v.shape[-1]))
    return np.array(out).reshape(*a["Q"].shape[:2], -1)


def cosine(q: Array, k: Array) -> Any:
    return q @ k / np.sqrt((q @ q) * (k @ k))


def rms(x: Array, gain: Array) -> Array:
    return np.asarray(gain * x / np.sqrt(np.mean(x * x) + LONG("0.25")))


def l2_layer(a: Arrays) -> Array:
    """Kim et al. 2021: P_h X A_h W_V, and W_O over the heads."""
    n_heads, width = a["W_Q"].shape[1:]
    out = np.zeros_like(a["X"])
    for b, x in enumerate(a["X"]):
        for h in range(n_heads):
            w = a["W_Q"][:, h]
            q, tied = x @ w, w @ w.T / np.sqrt(LONG(width))
            near = attend(q, q, x @ tied, lambda s, t: -((s - t) @ (s - t)) / np.sqrt(LONG(len(s))))
            out[b] = out[b] + near @ a["W_V"][:, h] @ a["W_O"][h]
    return out


def dot(q: Array, k: Array) -> Any:
    return q @ k


CASES: dict[str, tuple[str, dict[str, Any], Callable[[Arrays], Array]]] = {
    "dot": ("luong_dot", {}, lambda a: rows(a, dot)),
    "general": ("luong_general", {}, lambda a: rows(a, lambda q, k: q @ a["W"] @ k)),
    "local-m": (
        "luong_local_m",
        {"half_window": 1},
        lambda a: rows(a, dot, lambda i, j: abs(i - j) <= 1),
    ),
    "local-m general": (
        "luong_local_m",
        {"half_window": 2, "score": "general"},
        lambda a: rows(a, lambda q, k: q @ a["W"] @ k, lambda i, j: abs(i - j) <= 2),
    ),
    "local-p": ("luong_local_p", {"half_window": 2}, lambda a: predicted(a, dot, 2)),
    "local-p general": (
        "luong_local_p",
        {"half_window": 1, "score": "general"},
        lambda a: predicted(a, lambda q, k: q @ a["W"] @ k, 1),
    ),
    "regions": (
        "visual_attention",
        {},
        lambda a: rows(a, lambda q, k: a["v"] @ np.tanh(a["W"] @ q + a["U"] @ k)),
    ),
    "gated regions": (
        "visual_attention",
        {"gate": True},
        lambda a: (
            rows(a, lambda q, k: a["v"] @ np.tanh(a["W"] @ q + a["U"] @ k))
            / (1 + np.exp(-(a["Q"] @ a["w"])))[..., None]
        ),
    ),
    "cosine": (
        "cosine",
        {},
        lambda a: each_head(a, lambda h, q, k: cosine(q, k) * np.exp(a["log_scale"][h])),
    ),
    "cosine, fixed": (
        "cosine",
        {"temperature": "fixed", "tau": 0.5},
        lambda a: each_head(a, lambda _, q, k: cosine(q, k) * 2),
    ),
    "distance": (
        "l2",
        {},
        lambda a: each_head(a, lambda _, q, k: -((q - k) @ (q - k)) / np.sqrt(LONG(len(q)))),
    ),
    "normalised": (
        "qk_norm",
        {},
        lambda a: each_head(a, lambda h, q, k: a["g"][h] * cosine(q, k)),
    ),
    "rms": (
        "qk_norm",
        {"norm": "rms", "eps": 0.25},
        lambda a: each_head(
            a,
            lambda _, q, k: rms(q, a["g_Q"]) @ rms(k, a["g_K"]) / np.sqrt(LONG(len(q))),
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("sizes", SIZES, ids=("ones", "wide", "long"))
def test_scores_are_what_loops_compute(name: str, sizes: dict[str, int]) -> None:
    variant, values, reference = CASES[name]
    spec = load(variant, **values)
    inputs = given(spec, sizes)
    expect(spec, inputs, reference(long(inputs)))


def test_the_layer_of_tied_weights_is_what_loops_compute() -> None:
    spec = load("l2", form="layer")
    inputs = given(spec, {**SIZES[1], "time": 4})
    expect(spec, inputs, l2_layer(long(inputs)))


def test_a_large_scale_is_held_at_a_hundred() -> None:
    spec = load("cosine")
    inputs = {**given(spec, SIZES[1]), "log_scale": np.full(3, 7.0)}
    due = each_head(long(inputs), lambda _, q, k: 100 * cosine(q, k))
    expect(spec, inputs, due)


def test_a_bias_is_added_to_cosines() -> None:
    spec = load("cosine", bias_added=True)
    inputs = given(spec, SIZES[1])
    plain = {n: a for n, a in inputs.items() if n != "bias"}
    expect_equal(
        computed(spec, {**inputs, "bias": np.zeros_like(inputs["bias"])}),
        computed(load("cosine"), plain),
    )


def test_scaled_queries_make_the_dot_score_global() -> None:
    spec = load("luong_dot")
    inputs = given(spec, SIZES[1])
    wide = {n: a[:, None] for n, a in inputs.items()}
    wide["Q"] = wide["Q"].astype(LONG) * np.sqrt(LONG(2))
    due = computed(load("global"), wide).values["O"][:, 0]
    expect(spec, inputs, due)


def test_an_identity_weight_makes_the_general_score_the_dot() -> None:
    spec = load("luong_general")
    inputs = {**given(spec, {**SIZES[1], "hidden": 2}), "W": np.eye(2)}
    plain = {n: a for n, a in inputs.items() if n != "W"}
    expect_equal(computed(spec, inputs), computed(load("luong_dot"), plain))


def test_a_window_that_covers_all_makes_local_m_the_dot_score() -> None:
    inputs = given(load("luong_dot"), SIZES[1])
    wide = load("luong_local_m", half_window=9)
    expect_equal(computed(wide, inputs), computed(load("luong_dot"), inputs))


def test_rows_of_local_p_do_not_sum_to_one() -> None:
    """One key at the centre's side: its softmax is 1, its weight exp(-2 (0 - 1/2)^2) = e^-1/2."""
    one = {"Q": [[[0.0]]], "K": [[[1.0]]], "V": [[[1.0]]], "W_P": [[0.0]], "v_P": [0.0]}
    weights = evaluate(load("luong_local_p", half_window=1), one, names=["A", "B"])
    assert float(weights["B"][0, 0, 0]) == 1.0
    assert float(weights["A"][0, 0, 0]) == float(np.exp(-0.5))


@pytest.mark.parametrize("gradients", [False, True], ids=("forward", "gradients"))
def test_regions_are_additive_attention_whose_keys_are_its_values(gradients: bool) -> None:
    spec = load("visual_attention")
    inputs = given(spec, SIZES[1])
    both = {**inputs, "K": inputs["V"]}
    if not gradients:
        expect_equal(computed(spec, inputs), computed(load("additive"), both))
        return
    mine = computed(*with_cotangents(spec, inputs))
    other = computed(*with_cotangents(load("additive"), both))
    for name in ("dQ", "dW", "dU", "dv"):
        assert mine.against(name, other.values[name], other.moves[name]).status.value == "HELD"
    joined = other.values["dK"] + other.values["dV"]
    assert mine.against("dV", joined, other.moves["dK"] + other.moves["dV"]).status.value == "HELD"


def test_equal_vectors_are_each_others_nearest_key() -> None:
    """The L2 score of a key with itself is 0, the largest there is."""
    x = np.random.default_rng(2).normal(size=(1, 1, 4, 3))
    scores = evaluate(load("l2"), {"Q": x, "K": x, "V": x}, names=["S"])["S"][0, 0]
    assert all(scores[n].argmax() == n and scores[n, n] == 0 for n in range(4))


def test_global_attention_by_loops() -> None:
    """The loops that the references stand on compute what they should."""
    inputs = given(load("global"), SIZES[2])
    a = long(inputs)
    expect(load("global"), inputs, heads(a["Q"], a["K"], a["V"]))
