"""Keras's attention layers on JAX agree with their specs, forward and backward, weights included.

Every layer is built for the shapes of a case and called without a state of its own, so that its
weights are inputs like any other.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import attnverify as av
from attnverify.notation import attention, causal, given, parameter, single
from attnverify.spec import Spec
from attnverify.verdict import Report, Status

os.environ.setdefault("KERAS_BACKEND", "jax")

pytestmark = pytest.mark.frameworks
jax = pytest.importorskip("jax")
keras = pytest.importorskip("keras")
jnp, layers = jax.numpy, keras.layers

HEADS, GROUPS = 4, 2
scale = parameter("scale", gt=0, doc="what scores are multiplied by")
# Few shapes: every new one is compiled anew.
LENGTHS = {"batch": 2, "queries": [3, 6], "keys": 5}
ALONE = {**LENGTHS, "key_dim": 4, "value_dim": 5}
MERGED = {**LENGTHS, "key_dim": 4, "value_dim": 4}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def judged(fn: Callable[..., Any], spec: str | Spec, **settings: Any) -> Report:
    assert keras.backend.backend() == "jax"
    return av.check(fn, spec, framework="jax", **{"cases": 6, "explain": False, **settings})


def called(layer: Any, shapes: list[Any], weights: list[Any], *inputs: Any, **how: Any) -> Any:
    """What a layer gives with these weights."""
    layer.build(*shapes)
    return layer.stateless_call(weights, [], *inputs, **how)[0]


def dots(q: Any, k: Any, v: Any, *, scale: Any = None, mask: Any = None, **how: Any) -> Any:
    layer = layers.Attention(use_scale=scale is not None, dtype=str(q.dtype))
    weights = [] if scale is None else [jnp.asarray(scale, q.dtype)]
    seen = None if mask is None else [None, mask]
    return called(layer, [[q.shape, v.shape, k.shape]], weights, [q, v, k], mask=seen, **how)


def with_scores(q: Any, k: Any, v: Any) -> Any:
    return dots(q, k, v, return_attention_scores=True)


def plain(name: str, **choices: Any) -> Spec:
    """Attention of one head without an axis of heads."""
    return attention(name, heads=single(), **{"scale": 1, **choices})


DOTS: dict[str, tuple[Callable[..., Any], Spec, dict[str, Any]]] = {
    "the scale is 1": (dots, plain("dots"), {}),
    "weights": (with_scores, plain("dots"), {"outputs": ["O", "A"]}),
    "a learned scale": (dots, plain("dots", scale=scale, parameters=[scale]), {}),
    "causal from the first position": (
        dots,
        plain("causal dots", mask=causal()),
        {"kwargs": {"use_causal_mask": True}},
    ),
    "a mask of keys, True = keep": (dots, plain("masked dots", mask=given(["queries"])), {}),
    "both masks": (
        dots,
        plain("masked causal dots", mask=causal() & given(["queries"])),
        {"kwargs": {"use_causal_mask": True}},
    ),
}


LEAK = {"masked keys have no influence", "causality"}


@pytest.mark.parametrize(("fn", "spec", "settings"), DOTS.values(), ids=DOTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_attention_is_right(
    fn: Callable[..., Any], spec: Spec, settings: dict[str, Any], dtype: str
) -> None:
    report = judged(fn, spec, sizes=ALONE, dtypes=(dtype,), **settings)
    found = {(v.name, v.detail) for _, v in report.failures}
    # The layers mask by adding -1e9, which a large key climbs over.
    assert {name.partition(" (")[0] for name, _ in found} <= LEAK
    assert bool(found) is ("causal" in spec.name or "masked" in spec.name)
    assert {f"backward d{name} ({dtype})" for name in "QKV"} <= {v.name for v in report.verdicts}


def added(q: Any, k: Any, values: Any, *, W: Any, U: Any, v: Any) -> Any:
    """Additive attention: Bahdanau's W and U stand outside the layer, v is its scale."""
    layer = layers.AdditiveAttention(dtype=str(q.dtype))
    query, key = jnp.einsum("bik,ak->bia", q, W), jnp.einsum("bjl,al->bja", k, U)
    return called(layer, [[query.shape, values.shape, key.shape]], [v], [query, values, key])


ADDED = {"sizes": {**ALONE, "hidden": 3, "align": 4}}


def test_additive_attention_is_right() -> None:
    report = judged(added, "additive", **ADDED).raise_if_refuted()
    assert len(report.comparisons) == 7


@pytest.mark.slow
def test_additive_attention_computes_tanh_of_float64_in_float32() -> None:
    settings = {**ADDED, "dtypes": ("float64",), "cases": 3}
    forward = judged(added, "additive", **settings).verdicts[0]
    assert "float32 arithmetic inside float64" in forward.detail
    assert judged(added, "additive", internal="float32", **settings).raise_if_refuted().ok


def whole_layer(x_q: Any, x_k: Any, x_v: Any, *, told: Any = None, **weights: Any) -> Any:
    """MultiHeadAttention; it takes queries, values, keys, in this order."""
    _, heads, width = weights["W_Q"].shape
    bias, dtype = "b_Q" in weights, str(x_q.dtype)
    layer = layers.MultiHeadAttention(
        heads, width, weights["W_V"].shape[2], use_bias=bias, dtype=dtype
    )
    marks = "Wb" if bias else "W"
    given = [weights[f"{mark}_{name}"] for name in "QKVO" for mark in marks]
    shapes = [x_q.shape, x_v.shape, x_k.shape]
    return called(layer, shapes, given, x_q, x_v, x_k, **(told or {}))


@pytest.mark.parametrize("bias", [pytest.param(False, marks=pytest.mark.slow), True])
def test_multi_head_attention_is_right_with_its_weights(bias: bool) -> None:
    sizes = {**MERGED, "heads": 2, "model": 6}
    report = judged(whole_layer, "multi_head", bias=bias, sizes=sizes).raise_if_refuted()
    assert len(report.comparisons) == (12 if bias else 8)


@pytest.mark.slow
def test_multi_head_attention_computes_scores_of_its_own_where_they_are_asked_for() -> None:
    def fn(*inputs: Any, **weights: Any) -> Any:
        return whole_layer(*inputs, told={"return_attention_scores": True}, **weights)

    sizes = {**ALONE, "heads": 2, "model": 6}
    report = judged(fn, "multi_head", outputs=["O", "A"], sizes=sizes, dtypes=("float64",))
    assert report.raise_if_refuted().ok


def unit(heads: int, width: int, dtype: Any) -> Any:
    """Projections that take heads apart and leave every channel as it is."""
    return jnp.eye(heads * width, dtype=dtype).reshape(heads * width, heads, width)


def heads_alone(
    q: Any, k: Any, v: Any, *, groups: int = HEADS, mask: Any = None, **how: Any
) -> Any:
    """A layer with unit projections: its heads merged with their channels."""
    width, told = q.shape[-1] // HEADS, {n: how.pop(n) for n in ("sliding_window",) if n in how}
    told |= {"use_bias": False, "dtype": str(q.dtype)}
    if groups == HEADS:
        layer = layers.MultiHeadAttention(HEADS, width, **told)
    else:
        layer = layers.GroupQueryAttention(width, HEADS, groups, **told)
    query, key = unit(HEADS, width, q.dtype), unit(groups, width, q.dtype)
    out = jnp.moveaxis(query, 0, -1)
    shapes = [q.shape, v.shape, k.shape]
    weights = [query, key, key, out]
    return called(layer, shapes, weights, q, v, k, attention_mask=mask, **how)


WIDE = {"layout": "b n (h d)", "sizes": {**MERGED, "heads": HEADS}}
SHARED = {"layout": "b n (h d)", "sizes": {**MERGED, "group": GROUPS, "repeat": HEADS // GROUPS}}
CAUSAL = {"use_causal_mask": True}
MASKED = av.load("masked", broadcast="heads")

MASKS: dict[str, tuple[str | Spec, dict[str, Any], dict[str, Any]]] = {
    "causal from the first position": ("causal", CAUSAL, {}),
    "a mask, True = keep": (MASKED, {}, {}),
    "a window to both sides": ("local", {"sliding_window": 2}, {"left": 1, "right": 1}),
    "a window that counts the query": (
        "sliding_window",
        {**CAUSAL, "sliding_window": 2},
        {"window": 2},
    ),
}


# XLA compiles each shape anew.
QUICK_MASKS = {"a window to both sides"}


@pytest.mark.parametrize(
    ("spec", "kwargs", "params"),
    [
        pytest.param(*row, marks=() if name in QUICK_MASKS else pytest.mark.slow, id=name)
        for name, row in MASKS.items()
    ],
)
def test_masks_of_multi_head_attention_are_right(
    spec: str | Spec, kwargs: dict[str, Any], params: dict[str, Any]
) -> None:
    report = judged(heads_alone, spec, kwargs=kwargs, **WIDE, **params)
    assert report.raise_if_refuted().ok


def test_grouped_query_attention_is_right() -> None:
    report = judged(heads_alone, "grouped_query", kwargs={"groups": GROUPS}, **SHARED)
    assert report.raise_if_refuted().ok
    assert len(report.comparisons) == 4


# Another convention each, and what it is judged by.
WRONG: dict[str, tuple[Callable[..., Any], str | Spec, dict[str, Any]]] = {
    "the scale of Vaswani et al.": (dots, plain("dots", scale=None), {"sizes": ALONE}),
    "a mask of what is hidden": (
        lambda q, k, v, *, mask: dots(q, k, v, mask=~mask),
        plain("dots", mask=given(["queries"])),
        {"sizes": ALONE},
    ),
    "causal from the last position": (
        dots,
        plain("dots", mask=causal("bottom_right")),
        {"sizes": ALONE, "kwargs": CAUSAL},
    ),
    "values before keys": (
        lambda x_q, x_k, x_v, **weights: whole_layer(x_q, x_v, x_k, **weights),
        "multi_head",
        {"sizes": {**MERGED, "heads": 2, "model": 6}},
    ),
    "a sum of keys and queries without v": (
        lambda q, k, values, *, W, U, v: added(q, k, values, W=W, U=U, v=jnp.ones_like(v)),
        "additive",
        ADDED,
    ),
    "key heads in cycles": (
        heads_alone,
        av.load("grouped_query", head_map="tile"),
        {"kwargs": {"groups": GROUPS}, **SHARED},
    ),
    "a window that does not count the query": (
        heads_alone,
        av.load("sliding_window", window=2, counts="left"),
        {"kwargs": {**CAUSAL, "sliding_window": 2}, **WIDE},
    ),
}


@pytest.mark.parametrize(("fn", "spec", "settings"), WRONG.values(), ids=WRONG)
def test_another_convention_is_refuted(
    fn: Callable[..., Any], spec: str | Spec, settings: dict[str, Any]
) -> None:
    forward = judged(fn, spec, cases=3, **settings).verdicts[0]
    assert forward.name == "forward O (float32)"
    assert forward.status is Status.REFUTED
    assert forward.evidence["failing"] > 0


def test_rows_without_keys_are_not_zeros() -> None:
    report = judged(heads_alone, MASKED, **WIDE)
    note = next(v for v in report.verdicts if v.name.startswith("rows without keys"))
    assert "gives other finite values there" in note.detail
