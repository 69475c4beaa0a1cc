"""JAX's own attention is judged right in float32, and its float32 inside float64 by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import attnverify as av
from attnverify.algebra.terms import Tensor
from attnverify.attention import Mask
from attnverify.notation import (
    additive_bias,
    attention,
    causal,
    given,
    grouped,
    key_lengths,
    within,
)
from attnverify.spec import Spec
from attnverify.verdict import Report, Status

pytestmark = pytest.mark.frameworks
jax = pytest.importorskip("jax")
jnp = jax.numpy
library = jax.nn.dot_product_attention

# It takes (batch, sequence, heads, channels), and as many value channels as key channels.
LIBRARY: dict[str, Any] = {
    "framework": "jax", "layout": "b n h d", "sizes": {"value_dim": "key_dim"}, "cases": 6,
}  # fmt: skip
# Few shapes: every new one is compiled anew.
FEW: dict[str, Any] = {
    "batch": 2, "heads": 4, "queries": [3, 6], "keys": 5, "key_dim": 4, "value_dim": 4,
}  # fmt: skip
SHARED = {name: size for name, size in FEW.items() if name != "heads"} | {"group": 2, "repeat": 2}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def judged(fn: Callable[..., Any], spec: str | Spec, **settings: Any) -> Report:
    return av.check(fn, spec, **{**LIBRARY, "sizes": FEW, "explain": False, **settings})


@pytest.mark.parametrize(
    ("spec", "kwargs"),
    [
        pytest.param("global", {}, marks=pytest.mark.slow),
        pytest.param("causal", {"is_causal": True}, marks=pytest.mark.slow),
    ],
)
def test_dot_product_attention_is_right_in_every_size(spec: str, kwargs: dict[str, Any]) -> None:
    report = av.check(library, spec, kwargs=kwargs, **LIBRARY)
    assert [v.status for v in report.raise_if_refuted().comparisons] == [Status.HELD] * 4


def window(q: Any, k: Any, v: Any, *, left: int, right: int) -> Any:
    return library(q, k, v, local_window_size=(left, right))


def counted(q: Any, k: Any, v: Any, *, lengths: Any) -> Any:
    return library(q, k, v, key_value_seq_lengths=lengths.astype("int32"))


def counted_queries(q: Any, k: Any, v: Any, *, query_lengths: Any) -> Any:
    return library(q, k, v, query_seq_lengths=query_lengths.astype("int32"))


def given_queries() -> Mask:
    """Sequence b has `query_lengths[b]` queries; later ones see nothing."""
    lengths = Tensor("query_lengths", "int")
    return Mask(lambda site: site.i < lengths[site.b], lambda site: (lengths[site.b],))


MASKED: dict[str, Any] = {"inputs": {"mask": "mask"}}
ALL_SHARED: dict[str, Any] = {"sizes": SHARED}

RIGHT: dict[str, tuple[Callable[..., Any], str | Spec, dict[str, Any]]] = {
    "another scale": (library, attention("jax", scale=0.25), {"kwargs": {"scale": 0.25}}),
    "causal from the first position": (library, "causal", {"kwargs": {"is_causal": True}}),
    "a window to both sides": (window, "local", {}),
    "a causal window, its size the extent to the left": (
        library,
        av.load("sliding_window", window=2, counts="left"),
        {"kwargs": {"is_causal": True, "local_window_size": 2}},
    ),
    "a mask, True = keep": (library, "masked", MASKED),
    "rows without keys are the mean of all values": (
        library,
        "masked",
        {**MASKED, "empty_rows": "uniform"},
    ),
    "a bias after the scale": (library, "biased", {}),
    "a bias and a mask": (
        library,
        attention("jax", bias=additive_bias(), mask=given()),
        {},
    ),
    "lengths of keys": (counted, attention("jax", mask=key_lengths()), {}),
    "lengths of queries, later ones zeros": (
        counted_queries,
        attention("jax", mask=given_queries()),
        {"empty_rows": "zeros"},
    ),
    "key heads repeat in place": (library, "grouped_query", ALL_SHARED),
    "grouped, causal and windowed": (
        library,
        attention("jax", heads=grouped(), mask=causal() & within(left=2)),
        {"kwargs": {"is_causal": True, "local_window_size": (2, 0)}, **ALL_SHARED},
    ),
}


# XLA compiles each shape anew.
LONG = {"another scale", "key heads repeat in place"}


@pytest.mark.parametrize(
    ("fn", "spec", "settings"),
    [
        pytest.param(*row, marks=pytest.mark.slow if name in LONG else (), id=name)
        for name, row in RIGHT.items()
    ],
)
def test_dot_product_attention_is_right_by(
    fn: Callable[..., Any], spec: str | Spec, settings: dict[str, Any]
) -> None:
    report = judged(fn, spec, **settings).raise_if_refuted()
    held = {v.name for v in report.verdicts if v.status is Status.HELD}
    assert held >= {"forward O (float32)", *(f"backward d{n} (float32)" for n in "QKV")}


WRONG: dict[str, tuple[Callable[..., Any], str | Spec, dict[str, Any]]] = {
    "causal from the last position": (
        library,
        av.load("causal", align="bottom_right"),
        {"kwargs": {"is_causal": True}},
    ),
    "a window whose size counts the query": (
        library,
        av.load("sliding_window", window=2),
        {"kwargs": {"is_causal": True, "local_window_size": 2}},
    ),
    "a mask of what is hidden": (
        lambda q, k, v, *, mask: library(q, k, v, mask=~mask),
        "masked",
        {},
    ),
    "rows without keys that are zeros": (library, "masked", {**MASKED, "empty_rows": "zeros"}),
    "a bias that is scaled": (library, av.load("biased", scaled=True), {}),
    "key heads in cycles": (library, av.load("grouped_query", head_map="tile"), ALL_SHARED),
}


@pytest.mark.parametrize(("fn", "spec", "settings"), WRONG.values(), ids=WRONG)
def test_dot_product_attention_is_refuted_by(
    fn: Callable[..., Any], spec: str | Spec, settings: dict[str, Any]
) -> None:
    forward = judged(fn, spec, **settings).verdicts[0]
    assert forward.status is Status.REFUTED
    assert forward.evidence["failing"] > 0


@pytest.mark.slow
def test_dot_product_attention_computes_float64_in_float32() -> None:
    settings = {"dtypes": ("float64",), "cases": 3}
    forward = judged(library, "global", **settings).verdicts[0]
    assert forward.status is Status.REFUTED
    assert "float32 arithmetic inside float64" in forward.detail
    assert judged(library, "global", internal="float32", **settings).raise_if_refuted().ok


def test_plain_code_is_right_in_bfloat16() -> None:
    def plain(q: Any, k: Any, v: Any) -> Any:
        s = jnp.einsum("bhid,bhjd->bhij", q, k) / jnp.sqrt(jnp.asarray(q.shape[-1], q.dtype))
        return jnp.einsum("bhij,bhjd->bhid", jax.nn.softmax(s, -1), v)

    report = judged(plain, "global", layout=None, dtypes=("bfloat16",))
    assert report.raise_if_refuted().ok


def test_a_stopped_gradient_is_refuted() -> None:
    def stopped(q: Any, k: Any, v: Any) -> Any:
        s = jnp.einsum("bhid,bhjd->bhij", q, jax.lax.stop_gradient(k)) / q.shape[-1] ** 0.5
        return jnp.einsum("bhij,bhjd->bhid", jax.nn.softmax(s, -1), v)

    assert {v.name: v.status.value for v in judged(stopped, "global", layout=None).comparisons} == {
        "forward O (float32)": "HELD",
        "backward dQ (float32)": "HELD",
        "backward dK (float32)": "REFUTED",
        "backward dV (float32)": "HELD",
    }
