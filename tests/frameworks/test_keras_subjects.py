"""Keras functions and layers as subjects under the framework's own name, on JAX."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import attnverify as av
from attnverify.errors import MissingExtraError, ParameterError
from attnverify.notation import attention, single
from attnverify.spec import Spec
from attnverify.verdict import Report, Status

os.environ.setdefault("KERAS_BACKEND", "jax")

pytestmark = pytest.mark.frameworks
pytest.importorskip("jax")
keras = pytest.importorskip("keras")
ops = keras.ops

# Few shapes: every new one is compiled anew.
FEW: dict[str, Any] = {
    "batch": 2, "heads": 2, "queries": [3, 6], "keys": 5, "key_dim": 4, "value_dim": 4,
}  # fmt: skip
BACKWARD = ("backward dQ", "backward dK", "backward dV")
ONE_HEAD = attention("dots", heads=single(), scale=1)
ALONE = {name: size for name, size in FEW.items() if name != "heads"}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def judged(fn: Callable[..., Any], spec: str | Spec = "global", **settings: Any) -> Report:
    told = {"layout": "b n h d", "sizes": FEW, "cases": 6, "explain": False, **settings}
    return av.check(fn, spec, framework="keras", **told)


def fused(q: Any, k: Any, v: Any, **how: Any) -> Any:
    return ops.dot_product_attention(q, k, v, **how)


def by_hand(q: Any, k: Any, v: Any) -> Any:
    scores = ops.einsum("bqhd,bkhd->bhqk", q, k) * q.shape[-1] ** -0.5
    return ops.einsum("bhqk,bkhd->bqhd", ops.softmax(scores), v)


def layer(q: Any, k: Any, v: Any) -> Any:
    return keras.layers.Attention(dtype=str(q.dtype))([q, v, k])


def with_weights(q: Any, k: Any, v: Any) -> Any:
    made = keras.layers.Attention(dtype=str(q.dtype))
    output, weights = made([q, v, k], return_attention_scores=True)
    return {"output": output, "weights": weights}


SINGLE: dict[str, Any] = {"layout": None, "sizes": ALONE}
RIGHT: dict[str, tuple[Callable[..., Any], str | Spec, dict[str, Any]]] = {
    "fused": (fused, "global", {}),
    "fused, causal": (fused, "causal", {"kwargs": {"is_causal": True}}),
    "fused, inputs by name": (
        ops.dot_product_attention,
        "global",
        {"inputs": {"Q": "query", "K": "key", "V": "value"}},
    ),
    "by hand": (by_hand, "global", {}),
    "a layer": (layer, ONE_HEAD, SINGLE),
    "a layer's outputs by name": (
        with_weights,
        ONE_HEAD,
        {**SINGLE, "outputs": {"O": "output", "A": "weights"}},
    ),
}


@pytest.mark.parametrize(("fn", "spec", "settings"), RIGHT.values(), ids=RIGHT)
def test_attention_is_right_forward_and_backward(
    fn: Callable[..., Any], spec: str | Spec, settings: dict[str, Any]
) -> None:
    report = judged(fn, spec, **settings).raise_if_refuted()
    due = [*(f"forward {name}" for name in settings.get("outputs", ["O"])), *BACKWARD]
    assert [v.name for v in report.comparisons] == [f"{name} (float32)" for name in due]
    assert {v.status for v in report.comparisons} == {Status.HELD}
    assert {"keras", "jax"} <= report.environment.keys()


def test_the_fused_function_gives_float32_for_float64() -> None:
    settings: dict[str, Any] = {"dtypes": ("float64",), "cases": 3}
    forward = judged(fused, **settings).verdicts[0]
    assert forward.status is Status.REFUTED
    assert "dtype float32, due float64" in forward.detail
    assert judged(by_hand, **settings).raise_if_refuted().ok


def with_tanh(q: Any, k: Any, v: Any) -> Any:
    """Scores capped by Keras's tanh, which computes float64 in float32."""
    scores = ops.einsum("bqhd,bkhd->bhqk", q, k) * q.shape[-1] ** -0.5
    capped = 2 * keras.activations.tanh(scores / 2)
    return ops.einsum("bhqk,bkhd->bqhd", ops.softmax(capped), v)


def test_float32_inside_float64_is_refuted_by_name_unless_declared() -> None:
    settings: dict[str, Any] = {"dtypes": ("float64",), "cases": 3, "cap": 2.0}
    forward = judged(with_tanh, "softcap", **settings).verdicts[0]
    assert forward.status is Status.REFUTED
    assert "float32 arithmetic inside float64" in forward.detail
    assert judged(with_tanh, "softcap", internal="float32", **settings).raise_if_refuted().ok


WRONG: dict[str, tuple[Callable[..., Any], str]] = {
    "a scale that is 1": (
        lambda q, k, v: fused(q, k, v, scale=1.0),
        "entries fail; first wrong entry",
    ),
    "another type": (
        lambda q, k, v: ops.cast(fused(q, k, v), "float16"),
        "dtype float16, due float32",
    ),
    "another shape": (
        lambda q, k, v: ops.swapaxes(fused(q, k, v), 1, 2),
        "(b n h d)",
    ),
    "no array": (
        lambda q, k, v: keras.Variable(fused(q, k, v)),
        "for O, due a jax.Array",
    ),
}


@pytest.mark.parametrize(("fn", "words"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_refuted_in_words(fn: Callable[..., Any], words: str) -> None:
    forward = judged(fn, cases=3).verdicts[0]
    assert forward.status is Status.REFUTED
    assert words in forward.detail


def test_a_gradient_that_is_cut_off_is_refuted() -> None:
    found = judged(lambda q, k, v: by_hand(ops.stop_gradient(q), k, v), cases=3).verdicts
    assert [v.name for v in found if v.status is Status.REFUTED] == ["backward dQ (float32)"]


def test_another_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(ParameterError, match="KERAS_BACKEND=jax"):
        judged(fused)


def test_without_keras_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    monkeypatch.delitem(sys.modules, "attnverify.subjects.keras", raising=False)
    with pytest.raises(MissingExtraError, match=r"attnverify\[keras,jax\]"):
        judged(fused)
