"""Right libraries are not refuted in any type that they take, and the known exceptions are.

What a library declares (float32 inside float64, zeros in rows without keys) is declared; the
exceptions are findings with names, and a profile is not widened for them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import attnverify as av
from attnverify.notation import attention, single
from attnverify.spec import Spec
from attnverify.verdict import Report, Status
from tests.seeds import SEEDS, WHOLE

os.environ.setdefault("KERAS_BACKEND", "jax")

pytestmark = pytest.mark.frameworks
torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
keras = pytest.importorskip("keras")
onnx = pytest.importorskip("onnx")
mx = pytest.importorskip("mlx.core")
functional, jnp, ops = torch.nn.functional, jax.numpy, keras.ops
sdpa = functional.scaled_dot_product_attention

WIDE, NARROW = ("float64", "float32"), ("bfloat16", "float16")
ALL = (*WIDE, *NARROW)
# JAX compiles anew for every shape.
FEW: dict[str, Any] = {
    "batch": 2, "heads": 4, "queries": [3, 6] if WHOLE else 6, "keys": 5, "key_dim": 4,
    "value_dim": 4,
}  # fmt: skip
ALONE = {name: size for name, size in FEW.items() if name != "heads"}
SHARED = ALONE | {"group": 2, "repeat": 2}
ONE_HEAD = attention("dots", heads=single(), scale=1)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@dataclass(frozen=True)
class Right:
    """A right function in the types that it takes; `narrow` are those with float32 inside."""

    name: str
    framework: str
    fn: Callable[..., Any] | Any
    spec: str | Spec
    dtypes: tuple[str, ...] = ALL
    narrow: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)


# PyTorch


def math(q: Any, k: Any, v: Any) -> Any:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel(SDPBackend.MATH):
        return sdpa(q, k, v)


def eager(q: Any, k: Any, v: Any, *, keep: Any = None, cap: Any = None) -> Any:
    s = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    s = s if cap is None else cap * torch.tanh(s / cap)
    return (s if keep is None else s.masked_fill(~keep, float("-inf"))).softmax(-1) @ v


def eager_window(q: Any, k: Any, v: Any, *, window: int) -> Any:
    i, j = torch.arange(q.shape[-2])[:, None], torch.arange(k.shape[-2])
    return eager(q, k, v, keep=(j <= i) & (i - j < window))


def scaled_query(q: Any, k: Any, v: Any) -> Any:
    return (q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)).softmax(-1) @ v


CAUSAL: dict[str, Any] = {"kwargs": {"is_causal": True}}
GROUPED: dict[str, Any] = {"kwargs": {"enable_gqa": True}}
MASKED: dict[str, Any] = {"inputs": {"mask": "attn_mask"}, "empty_rows": "zeros"}
TORCH = [
    Right("sdpa", "torch", sdpa, "global"),
    Right("sdpa, causal", "torch", sdpa, "causal", settings=CAUSAL),
    Right("sdpa, grouped", "torch", sdpa, "grouped_query", settings=GROUPED),
    Right("sdpa, masked", "torch", sdpa, "masked", settings=MASKED),
    Right("sdpa, biased", "torch", sdpa, "biased", settings={"inputs": {"bias": "attn_mask"}}),
    Right("sdpa, math", "torch", math, "global"),
    Right("eager", "torch", eager, "global"),
    Right("eager, scale in the query", "torch", scaled_query, "global"),
    Right("eager, capped", "torch", eager, "softcap"),
    Right("eager, window", "torch", eager_window, "sliding_window"),
]  # fmt: skip


# JAX

library = jax.nn.dot_product_attention


def plain(q: Any, k: Any, v: Any) -> Any:
    s = jnp.einsum("bqhd,bkhd->bhqk", q, k) / jnp.sqrt(jnp.asarray(q.shape[-1], q.dtype))
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(s, -1), v)


def written_out(q: Any, k: Any, v: Any) -> Any:
    s = jnp.einsum("bqhd,bkhd->bhqk", q, k) * jnp.asarray(q.shape[-1] ** -0.5, q.dtype)
    e = jnp.exp(s - s.max(-1, keepdims=True))
    return jnp.einsum("bhqk,bkhd->bqhd", e / e.sum(-1, keepdims=True), v)


def by_jax(name: str, fn: Any, spec: str, dtypes: tuple[str, ...], **settings: Any) -> Right:
    told = {"layout": "b n h d", "sizes": FEW, "cases": 8, **settings}
    narrow = ("float64",) if fn is library else ()
    return Right(name, "jax", fn, spec, dtypes, narrow, told)


FUSED = ("float64", "float32", "bfloat16")  # of float16 below
JAX = [
    by_jax("jax.nn", library, "global", FUSED),
    by_jax("jax.nn, causal", library, "causal", FUSED, kwargs={"is_causal": True}),
    by_jax("jax.nn, grouped", library, "grouped_query", FUSED, sizes=SHARED),
    by_jax("jax.nn, masked", library, "masked", FUSED, empty_rows="uniform"),
    by_jax("jax.nn, biased", library, "biased", FUSED),
    by_jax("jnp", plain, "global", ALL),
    by_jax("jnp, written out", written_out, "global", ALL),
]


# Keras on JAX


def fused(q: Any, k: Any, v: Any, **how: Any) -> Any:
    return ops.dot_product_attention(q, k, v, **how)


def by_ops(q: Any, k: Any, v: Any) -> Any:
    scores = ops.einsum("bqhd,bkhd->bhqk", q, k) * q.shape[-1] ** -0.5
    return ops.einsum("bhqk,bkhd->bqhd", ops.softmax(scores), v)


def layer(q: Any, k: Any, v: Any) -> Any:
    return keras.layers.Attention(dtype=str(q.dtype))([q, v, k])


def by_keras(name: str, fn: Any, spec: str | Spec, dtypes: tuple[str, ...], **how: Any) -> Right:
    told = {"layout": "b n h d", "sizes": FEW, "cases": 8, **how}
    return Right(name, "keras", fn, spec, dtypes, settings=told)


KERAS = [
    by_keras("keras, fused", fused, "global", ("float32", "bfloat16")),
    by_keras("keras, causal", fused, "causal", ("float32", "bfloat16"), **CAUSAL),
    by_keras("keras, by ops", by_ops, "global", ALL),
    by_keras("keras, a layer", layer, ONE_HEAD, ALL, layout=None, sizes=ALONE),
]


# MLX


def fast(q: Any, k: Any, v: Any, **how: Any) -> Any:
    return mx.fast.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5, **how)


def by_mlx(q: Any, k: Any, v: Any) -> Any:
    scores = q @ k.swapaxes(-1, -2) * q.shape[-1] ** -0.5
    return mx.softmax(scores, axis=-1, precise=True) @ v


INSIDE = ("float64",)
MLX = [
    Right("mlx", "mlx", fast, "global", ALL, INSIDE),
    Right("mlx, causal", "mlx", fast, "causal", ALL, INSIDE,
          {"kwargs": {"mask": "causal"}, "align": "bottom_right"}),
    Right("mlx, grouped", "mlx", fast, "grouped_query", ALL, INSIDE),
    Right("mlx, by hand", "mlx", by_mlx, "global", ALL, INSIDE),
]  # fmt: skip


# ONNX and the array API


def node(**attributes: Any) -> Any:
    return onnx.helper.make_node("Attention", list("QKV"), ["Y"], **attributes)


def standard(q: Any, k: Any, v: Any) -> Any:
    import array_api_compat

    xp = array_api_compat.array_namespace(q, k, v)
    s = q @ xp.matrix_transpose(k) * q.shape[-1] ** -0.5
    e = xp.exp(s - xp.max(s, axis=-1, keepdims=True))
    return e / xp.sum(e, axis=-1, keepdims=True) @ v


OTHERS = [
    Right("onnx", "onnx", node(), "global", (*WIDE, "float16")),
    Right("onnx, causal", "onnx", node(is_causal=1), "causal", (*WIDE, "float16")),
    Right("onnxruntime", "onnxruntime", node(), "global", (*WIDE, "float16"), INSIDE),
    Right("onnxruntime, causal", "onnxruntime", node(is_causal=1), "causal",
          (*WIDE, "float16"), INSIDE),
    Right("array API, NumPy", "array_api", standard, "global", WIDE),
    Right("array API, torch", "array_api:torch", standard, "global", (*WIDE, "float16")),
]  # fmt: skip

# In float32 each of these is judged beside its library's other tests.
TABLE = [
    (right, dtype)
    for right in (*TORCH, *JAX, *KERAS, *MLX, *OTHERS)
    for dtype in right.dtypes
    if WHOLE or dtype != "float32"
]


def judged(right: Right, dtype: str, **settings: Any) -> Report:
    declared = {"internal": "float32"} if dtype in right.narrow else {}
    # Ten cases have each style of entries once.
    told = {"cases": None if WHOLE else 10, **right.settings, **declared, **settings}
    return av.check(right.fn, right.spec, framework=right.framework, dtypes=(dtype,), **told)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("right", "dtype"), TABLE, ids=[f"{right.name} {dtype}" for right, dtype in TABLE]
)
def test_what_is_right_is_not_refuted(right: Right, dtype: str, seed: int) -> None:
    report = judged(right, dtype, seed=seed).raise_if_refuted()
    held = [v for v in report.verdicts if v.status is Status.HELD]
    assert {v.name for v in held} >= {f"forward O ({dtype})"}
    if right.framework in ("torch", "jax", "keras", "mlx"):
        assert {v.name for v in held} >= {f"backward d{n} ({dtype})" for n in "QKV"}


# The exceptions, by name: what is judged, how, which comparisons fail, and in what words.

BOTH = ("forward O", "backward dQ", "backward dK", "backward dV")
INNER = "float32 arithmetic inside float64"
LONG: dict[str, Any] = {"batch": 1, "heads": 1, "queries": 4, "key_dim": 4, "value_dim": 4}
FINDINGS: dict[str, tuple[Right, str, dict[str, Any], tuple[str, ...], str]] = {
    "jax.nn.dot_product_attention computes float64 in float32": (
        by_jax("", library, "global", FUSED), "float64", {"internal": None}, BOTH, INNER,
    ),
    "mlx.fast computes float64 in float32": (
        Right("", "mlx", fast, "global"), "float64", {"cases": 8}, BOTH, INNER,
    ),
    "keras on jax gives float32 for float64": (
        by_keras("", fused, "global", ALL), "float64", {}, BOTH[:1], "dtype float32, due float64",
    ),
    "onnxruntime computes float64 in float32": (
        Right("", "onnxruntime", node(), "global"), "float64", {"cases": 8}, BOTH[:1], INNER,
    ),
    "the reference evaluator of onnx adds bfloat16 in bfloat16": (
        # Sums of few terms hide it: a third of what a check draws is not enough under every seed.
        Right("", "onnx", node(), "global"), "bfloat16", {"cases": 24}, BOTH[:1], "smallest",
    ),
    "jax.nn.softmax loses its row term in float16 where the normaliser reaches 256": (
        # dQ loses the mean of the keys, which is small in most draws; dK loses what shows in each.
        by_jax("", plain, "global", ALL), "float16", {"sizes": LONG | {"keys": 300}, "cases": 13},
        BOTH[2:3], "entries fail",
    ),
}  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", FINDINGS)
def test_a_known_exception_is_refuted(name: str, seed: int) -> None:
    right, dtype, settings, fails, words = FINDINGS[name]
    report = judged(right, dtype, seed=seed, **settings)
    refuted = {v.name: v.detail for v in report.verdicts if v.status is Status.REFUTED}
    assert {f"{failing} ({dtype})" for failing in fails} <= refuted.keys()
    assert all(words in refuted[f"{failing} ({dtype})"] for failing in fails)


@pytest.mark.slow
def test_the_row_term_of_float16_is_right_up_to_255_keys() -> None:
    settings = {"sizes": LONG | {"keys": 255}, "cases": 13}
    assert judged(by_jax("", plain, "global", ALL), "float16", **settings).raise_if_refuted().ok


@pytest.mark.slow
def test_the_fused_function_of_jax_raises_in_float16_or_is_right() -> None:
    """Releases differ: some have no such product on the CPU."""
    found = judged(by_jax("", library, "global", FUSED), "float16").verdicts
    raised = [v for v in found if v.status is Status.REFUTED]
    assert all("the subject raised" in v.detail for v in raised)
    assert len(raised) in (0, 4)
