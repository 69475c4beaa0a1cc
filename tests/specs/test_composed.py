"""Composed specs agree with attention in plain loops, written from the papers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from attnverify.compile import compile as compiled
from attnverify.library import load
from attnverify.spec import Spec
from tests.specs.plain import Array, Place, Plain, Row, scaled, softmax

B, H, N_Q, N_K, D, C = 2, 2, 5, 7, 4, 3
ROWS = np.random.default_rng(7)

Given = dict[str, Any]


def arrays(n_q: int = N_Q, n_k: int = N_K, heads: int = H, key_heads: int = H) -> Given:
    """Q, K and V with unequal sizes."""
    rng = np.random.default_rng([n_q, n_k, heads, key_heads])
    return {
        "Q": rng.standard_normal((B, heads, n_q, D)),
        "K": rng.standard_normal((B, key_heads, n_k, D)),
        "V": rng.standard_normal((B, key_heads, n_k, C)),
    }


def check(spec: Spec, plain: Plain, given: Given, **parameters: Any) -> None:
    """The compiled spec and the loops, to a few units in the last place of what is summed."""
    found = compiled(spec)(**given, **parameters)["O"]
    due = plain.run({**given, **parameters})
    size = np.abs(given["V"]).max() + np.abs(due[np.isfinite(due)]).max(initial=0)
    gap = np.abs(found - due)
    assert np.array_equal(np.isnan(found), np.isnan(due))
    assert np.nanmax(gap, initial=0) <= 2.0**-52 * 64 * size, f"{spec.name}: {np.nanmax(gap)}"


def shift(at: Place) -> int:
    return at.n_k - at.n_q


# ---- Masks

MASKS: dict[str, tuple[str, Given, Given, Callable[[Place], bool]]] = {
    "causal": ("causal", {}, {}, lambda at: at.j <= at.i),
    "causal, bottom-right": (
        "causal", {"align": "bottom_right"}, {}, lambda at: at.j <= at.i + shift(at),
    ),
    "causal, offset": ("causal", {"offset": 2}, {}, lambda at: at.j <= at.i + 2),
    "causal, offset by sequence": (
        "causal",
        {"offset": "input"},
        {"offset": np.array([1, -2])},
        lambda at: at.j <= at.i + [1, -2][at.b],
    ),
    "local": (
        "local", {}, {"left": 2, "right": 1}, lambda at: at.i - 2 <= at.j <= at.i + 1,
    ),
    "local, bottom-right": (
        "local",
        {"align": "bottom_right"},
        {"left": 1, "right": 0},
        lambda at: at.i + shift(at) - 1 <= at.j <= at.i + shift(at),
    ),
    "sliding window": (
        "sliding_window", {}, {"window": 3}, lambda at: at.j <= at.i and at.i - at.j < 3,
    ),
    "sliding window, keys to the left": (
        "sliding_window",
        {"counts": "left"},
        {"window": 3},
        lambda at: at.j <= at.i and at.i - at.j <= 3,
    ),
    "sliding window, bottom-right": (
        "sliding_window",
        {"align": "bottom_right"},
        {"window": 2},
        lambda at: 0 <= at.i + shift(at) - at.j < 2,
    ),
    "dilated": (
        "dilated",
        {},
        {"window": 2, "step": 2},
        lambda at: at.j in (at.i, at.i - 2),
    ),
    "dilated, two-sided": (
        "dilated",
        {"causal": False},
        {"window": 2, "step": 3},
        lambda at: at.j in (at.i - 3, at.i, at.i + 3),
    ),
    "blocked": ("blocked", {}, {"block": 3}, lambda at: at.i // 3 == at.j // 3),
    "strided": (
        "strided",
        {},
        {"stride": 2},
        lambda at: at.j in range(max(0, at.i - 2), at.i + 1)
        or (at.j <= at.i and (at.i - at.j) % 2 == 0),
    ),
    "strided, the second part": (
        "strided",
        {"part": "second"},
        {"stride": 3},
        lambda at: at.j <= at.i and (at.i - at.j) % 3 == 0,
    ),
    "fixed": (
        "strided",
        {"pattern": "fixed"},
        {"stride": 3, "width": 1},
        lambda at: at.j <= at.i and (at.j // 3 == at.i // 3 or at.j % 3 in range(2, 3)),
    ),
    "prefix": ("prefix", {}, {"prefix": 3}, lambda at: at.j < 3 or at.j <= at.i),
    "prefix by sequence": (
        "prefix",
        {"source": "input"},
        {"lengths": np.array([0, 4])},
        lambda at: at.j < [0, 4][at.b] or at.j <= at.i,
    ),
    "padding": (
        "padding", {}, {"lengths": np.array([7, 2])}, lambda at: at.j < [7, 2][at.b],
    ),
}  # fmt: skip


@pytest.mark.parametrize("title", MASKS)
def test_masked_variants(title: str) -> None:
    name, choices, more, keep = MASKS[title]
    check(load(name, **choices), Plain(keep=keep), {**arrays(), **split(more)[0]}, **split(more)[1])


def split(more: Mapping[str, Any]) -> tuple[Given, Given]:
    """Arrays and numbers."""
    given = {name: value for name, value in more.items() if isinstance(value, np.ndarray)}
    return given, {name: value for name, value in more.items() if name not in given}


def test_masks_given_as_arrays_are_broadcast_over_the_axes_they_lack() -> None:
    mask = ROWS.random((B, H, N_Q, N_K)) < 0.6
    for broadcast, at in (("", (0, 1, 2, 3)), ("batch heads", (2, 3)), ("heads queries", (0, 3))):
        axes = [n for n in range(4) if n not in at]
        shown = mask[tuple(0 if n in axes else slice(None) for n in range(4))]
        whole = np.broadcast_to(np.expand_dims(shown, axes), mask.shape)
        plain = Plain(keep=lambda p, whole=whole: bool(whole[p.b, p.h, p.i, p.j]))  # type: ignore[misc]  # the loop's value
        check(load("masked", broadcast=broadcast), plain, {**arrays(), "mask": shown})


def test_rows_without_keys_follow_the_convention() -> None:
    mask = np.ones((B, H, N_Q, N_K), bool)
    mask[0, 1, 2] = False
    gives: dict[str, Callable[[Array], Any]] = {
        "zeros": lambda values: np.zeros(values.shape[-1]),
        "nan": lambda values: np.full(values.shape[-1], np.nan),
        "uniform": lambda values: values.mean(0),
    }
    for convention, empty in gives.items():
        plain = Plain(keep=lambda p: bool(mask[p.b, p.h, p.i, p.j]), empty=empty)
        check(load("masked", empty_rows=convention), plain, {**arrays(), "mask": mask})


def test_documents_by_ids_and_by_bounds_are_one() -> None:
    ids = np.array([[3, 3, 0, 0, 0, 9], [1, 1, 1, 1, 1, 1]])
    bounds = np.array([[0, 2, 5], [0, 6, 6]])
    given = arrays(6, 6)
    plain = Plain(keep=lambda at: at.j <= at.i and ids[at.b, at.i] == ids[at.b, at.j])
    check(load("documents"), plain, {**given, "segments": ids})
    check(load("documents", source="bounds"), plain, {**given, "bounds": bounds})
    both = Plain(keep=lambda at: bool(ids[at.b, at.i] == ids[at.b, at.j]))
    check(load("documents", ordered=False), both, {**given, "segments": ids})


def test_top_k_keeps_the_largest_scores() -> None:
    def largest(seen: Sequence[int], scores: Row) -> Sequence[int]:
        ranked = sorted(zip(scores, seen, strict=True), key=lambda pair: (-pair[0], pair[1]))
        return sorted(j for _, j in ranked[:3])

    check(load("top_k"), Plain(choose=largest), arrays(), k=3)
    ordered = Plain(keep=lambda at: at.j <= at.i, choose=largest)
    check(load("top_k", ordered=True), ordered, arrays(), k=3)


# ---- Heads


def test_heads_share_keys() -> None:
    given = arrays(heads=6, key_heads=2)
    check(load("grouped_query"), Plain(head=lambda h, _: h // 3, score=shared(3)), given)
    tiled = Plain(head=lambda h, _: h % 2, score=tiled_score)
    check(load("grouped_query", head_map="tile"), tiled, given)
    one = {name: a[:, 0] if name != "Q" else a for name, a in arrays(heads=3).items()}
    check(load("multi_query"), Plain(), one)
    listed = Plain(score=lambda at: float(at.q @ at.k(0)))
    check(load("multi_query", scaled=False), listed, one)


def shared(repeat: int) -> Callable[[Place], float]:
    return lambda at: float(at.q @ at.k(at.h // repeat)) / math.sqrt(at.q.size)


def tiled_score(at: Place) -> float:
    return float(at.q @ at.k(at.h % 2)) / math.sqrt(at.q.size)


# ---- Positions


def turned(x: Array, position: float, pairs: Sequence[tuple[int, int]], base: float) -> Array:
    """A vector whose pairs of channels are turned by position x frequency."""
    out = x.copy()
    for p, (one, other) in enumerate(pairs):
        angle = position * base ** (-p / len(pairs))
        out[one] = x[one] * math.cos(angle) - x[other] * math.sin(angle)
        out[other] = x[other] * math.cos(angle) + x[one] * math.sin(angle)
    return out


ROPES: dict[str, tuple[Given, Given, list[tuple[int, int]], Callable[[Place], int]]] = {
    "interleaved": ({}, {}, [(0, 1), (2, 3)], lambda at: at.i),
    "half": ({"pairing": "half"}, {}, [(0, 2), (1, 3)], lambda at: at.i),
    "an offset": ({"offset": 3}, {}, [(0, 1), (2, 3)], lambda at: at.i + 3),
    "from the last": (
        {"offset": "bottom_right", "pairing": "half"},
        {},
        [(0, 2), (1, 3)],
        lambda at: at.i + shift(at),
    ),
    "an offset by sequence": (
        {"offset": "input"},
        {"offset": np.array([4, 0])},
        [(0, 1), (2, 3)],
        lambda at: at.i + [4, 0][at.b],
    ),
    "some channels": ({"rotary_dim": 2}, {}, [(0, 1)], lambda at: at.i),
    "some channels, half": (
        {"rotary_dim": 2, "pairing": "half"}, {}, [(0, 1)], lambda at: at.i,
    ),
}  # fmt: skip


@pytest.mark.parametrize("title", ROPES)
def test_rotary_embedding(title: str) -> None:
    choices, more, pairs, position = ROPES[title]

    def score(at: Place) -> float:
        q = turned(at.q, position(at), pairs, 10000)
        k = turned(at.k(at.h), at.j, pairs, 10000)
        return float(q @ k) / math.sqrt(q.size)

    check(load("rope", **choices), Plain(score=score), {**arrays(), **more})


@pytest.mark.parametrize("pairing", ["interleaved", "half"])
@pytest.mark.parametrize("count", [1, 2])
def test_rotary_tables_are_read_at_positions(pairing: str, count: int) -> None:
    angles = ROWS.standard_normal((N_K, count))
    pairs = [
        (2 * p, 2 * p + 1) if pairing == "interleaved" else (p, p + count) for p in range(count)
    ]

    def turn(x: Array, position: int) -> Array:
        out = x.copy()
        for p, (one, other) in enumerate(pairs):
            cos, sin = math.cos(angles[position, p]), math.sin(angles[position, p])
            out[one], out[other] = x[one] * cos - x[other] * sin, x[other] * cos + x[one] * sin
        return out

    def score(at: Place) -> float:
        return float(turn(at.q, at.i) @ turn(at.k(at.h), at.j)) / math.sqrt(D)

    given = {**arrays(), "cos": np.cos(angles), "sin": np.sin(angles)}
    check(load("rope", pairing=pairing, angles="tables"), Plain(score=score), given)


def test_rotary_scores_depend_on_distances_alone() -> None:
    given = arrays()
    same = {**given, "Q": np.broadcast_to(given["Q"][:, :, :1], given["Q"].shape)}
    spec = load("rope", outputs="S")
    scores = compiled(spec)(**{**same, "K": np.broadcast_to(same["K"][:, :, :1], same["K"].shape)})[
        "S"
    ]
    for i, j in pairwise(range(N_Q)):
        assert np.allclose(scores[:, :, i, i], scores[:, :, j, j], rtol=1e-12, atol=1e-12)


SLOPES = {
    1: [2.0**-8], 2: [2.0**-4, 2.0**-8], 4: [2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8],
    3: [2.0**-4, 2.0**-8, 2.0**-2],
}  # fmt: skip


@pytest.mark.parametrize("heads", SLOPES)
def test_alibi(heads: int) -> None:
    given = arrays(heads=heads, key_heads=heads)
    slopes = SLOPES[heads]

    def ordered(at: Place) -> float:
        return scaled(at) + slopes[at.h] * (at.j - at.i)

    def both(at: Place) -> float:
        return scaled(at) - slopes[at.h] * abs(at.j - at.i)

    check(load("alibi"), Plain(keep=lambda at: at.j <= at.i, score=ordered), given)
    check(load("alibi", ordered=False), Plain(score=both), given)
    read = {**given, "slopes": np.array(slopes)}
    check(load("alibi", ordered=False, slopes="input"), Plain(score=both), read)


def bucket(distance: int, buckets: int, largest: int, *, two_sided: bool) -> int:
    """T5's bucket as the paper's code has it."""
    start = 0
    if two_sided:
        buckets //= 2
        start = buckets if distance > 0 else 0
        distance = abs(distance)
    else:
        distance = max(-distance, 0)
    near = buckets // 2
    if distance < near:
        return start + distance
    far = near + int(math.log(distance / near) / math.log(largest / near) * (buckets - near))
    return start + min(far, buckets - 1)


@pytest.mark.parametrize("two_sided", [True, False])
def test_t5_bias(two_sided: bool) -> None:
    table = ROWS.standard_normal((8, H))
    given = {**arrays(9, 12), "table": table}

    def score(at: Place) -> float:
        n = bucket(at.j - at.i, 8, 20, two_sided=two_sided)
        return float(at.q @ at.k(at.h) + table[n, at.h])

    keep = (lambda _: True) if two_sided else (lambda at: at.j <= at.i)
    spec = load("t5_bias", two_sided=two_sided, buckets=8, max_distance=20)
    check(spec, Plain(keep=keep, score=score), given)


def test_biases_are_added_after_or_before_the_scale() -> None:
    bias = ROWS.standard_normal((B, H, N_Q, N_K))
    given = {**arrays(), "bias": bias}
    added = Plain(score=lambda at: scaled(at) + bias[at.b, at.h, at.i, at.j])
    check(load("biased"), added, given)
    inside = Plain(
        score=lambda at: (float(at.q @ at.k(at.h)) + bias[at.b, at.h, at.i, at.j]) / math.sqrt(D)
    )
    check(load("biased", scaled=True), inside, given)


# ---- Caps and normalisers


def test_softcap_before_and_after_the_mask() -> None:
    capped = Plain(score=lambda at: 1.5 * math.tanh(scaled(at) / 1.5))
    check(load("softcap"), capped, arrays(), cap=1.5)
    ordered = Plain(keep=lambda at: at.j <= at.i, score=capped.score)
    check(load("softcap", ordered=True), ordered, arrays(), cap=1.5)
    leaking = Plain(score=lambda at: capped.score(at) if at.j <= at.i else -1.5)
    check(load("softcap", ordered=True, cap_before_mask=False), leaking, arrays(), cap=1.5)


def over(extra: Callable[[Place], float]) -> Callable[[Row, Place], Row]:
    """exp(s) over their sum and one thing more."""
    return lambda scores, at: [
        math.exp(s) / (extra(at) + sum(map(math.exp, scores))) for s in scores
    ]


def simplex(scores: Row, exponent: int) -> Row:
    """max(s - tau, 0)^exponent with tau found by bisection."""
    low, high = min(scores) - 1, max(scores)
    for _ in range(200):
        tau = (low + high) / 2
        mass = sum(max(s - tau, 0) ** exponent for s in scores)
        low, high = (tau, high) if mass > 1 else (low, tau)
    return [max(s - low, 0) ** exponent for s in scores]


NORMALISERS: dict[str, tuple[str, Given, Given, Plain]] = {
    "global": ("global", {}, {}, Plain()),
    "cross": ("cross", {}, {}, Plain()),
    "softmax plus one": ("softmax_plus_one", {}, {}, Plain(weights=over(lambda _: 1.0))),
    "sinks": (
        "sinks",
        {},
        {"sinks": np.array([0.5, -2.0])},
        Plain(weights=over(lambda at: math.exp([0.5, -2.0][at.h]))),
    ),
    "sigmoid": (
        "sigmoid",
        {},
        {},
        Plain(weights=lambda s, at: [1 / (1 + at.n_k * math.exp(-x)) for x in s]),
    ),
    "sigmoid, b given": (
        "sigmoid",
        {"bias": "parameter"},
        {"b": -0.5},
        Plain(weights=lambda s, _: [1 / (1 + math.exp(0.5 - x)) for x in s]),
    ),
    "relu": ("relu", {}, {}, Plain(weights=lambda s, at: [max(x, 0) / at.n_k for x in s])),
    "squared relu": (
        "squared_relu",
        {},
        {},
        Plain(
            score=lambda at: float(at.q @ at.k(at.h)) / at.n_k,
            weights=lambda s, _: [max(x, 0) ** 2 for x in s],
        ),
    ),
    "sparsemax": ("sparsemax", {}, {}, Plain(weights=lambda s, _: simplex(s, 1))),
    "entmax 1.5": (
        "entmax15", {}, {}, Plain(weights=lambda s, _: simplex([x / 2 for x in s], 2)),
    ),
    "scalable softmax": (
        "scalable_softmax",
        {},
        {"s": np.array([0.4, 1.2])},
        Plain(score=lambda at: scaled(at) * [0.4, 1.2][at.h] * math.log(at.n_k)),
    ),
    "scalable softmax, causal": (
        "scalable_softmax",
        {"ordered": True},
        {"s": np.array([0.4, 1.2])},
        Plain(
            keep=lambda at: at.j <= at.i,
            score=lambda at: scaled(at) * [0.4, 1.2][at.h] * math.log(at.i + 1),
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("title", NORMALISERS)
def test_normalisers(title: str) -> None:
    name, choices, more, plain = NORMALISERS[title]
    given, numbers = split(more)
    check(load(name, **choices), plain, {**arrays(), **given}, **numbers)


def test_dropped_weights_are_scaled_up() -> None:
    drop = ROWS.random((B, H, N_Q, N_K)) < 0.7
    given = {**arrays(), "drop": drop}

    def kept(scores: Row, at: Place) -> Row:
        shown = drop[at.b, at.h, at.i]
        return [w * shown[j] / 0.75 for j, w in enumerate(softmax(scores, at))]

    check(load("global", dropout=True), Plain(weights=kept), given, p=0.25)


@pytest.mark.parametrize(("base", "unit"), [("e", 1.0), (2, math.log(2))])
def test_the_log_sum_exp_has_its_base(base: object, unit: float) -> None:
    given = arrays()
    found = compiled(load("global", lse_base=base, outputs="O L A"))(**given)
    scores = np.einsum("bhik,bhjk->bhij", given["Q"], given["K"]) / math.sqrt(D)
    due = np.log(np.exp(scores).sum(-1)) / unit
    assert np.abs(found["L"] - due).max() < 1e-13
    assert np.abs(found["A"].sum(-1) - 1).max() < 1e-14


# ---- Execution forms


def test_execution_forms_are_what_they_implement() -> None:
    given = arrays(6, 6)
    tiles = {"sizes": {"tile": 2}}
    check_equal("online_softmax", load("global"), given, {}, tiles)
    check_equal("online_softmax", load("causal"), given, {"ordered": True}, tiles)
    check_equal("split_kv", load("global"), given, {}, {"sizes": {"part": 3}})
    check_equal("ring", load("global"), given, {}, {"sizes": {"rank": 3}})


def check_equal(name: str, due: Spec, given: Given, choices: Given, call: Given) -> None:
    found = compiled(load(name, **choices))(**given, **call)["O"]
    assert np.abs(found - compiled(due)(**given)["O"]).max() < 1e-14


def test_a_cache_and_pages_are_causal_attention_from_the_last_key() -> None:
    given = arrays(3, 8)
    due = compiled(load("causal", align="bottom_right"))(**given)["O"]
    parts = {
        **{name: given[name][:, :, 5:] for name in ("K", "V")},
        **{f"{name}_past": given[name][:, :, :5] for name in ("K", "V")},
    }
    found = compiled(load("kv_cache", outputs="O K_all"))(Q=given["Q"], **parts)
    assert np.abs(found["O"] - due).max() < 1e-14
    assert np.array_equal(found["K_all"], given["K"])
    table, pages = np.array([[4, 1, 0], [2, 5, 3]]), {}
    for name in ("K", "V"):
        pages[name] = np.full((6, 3, H, given[name].shape[-1]), 9.0)
        for b, n, s in np.ndindex(2, 3, 3):
            if 3 * n + s < 8:
                pages[name][table[b, n], s] = given[name][b, :, 3 * n + s]
    lengths = np.array([8, 8])
    paged = compiled(load("paged"))(Q=given["Q"], **pages, table=table, lengths=lengths)["O"]
    assert np.abs(paged - due).max() < 1e-14
