"""MLX's fused attention is judged right, and its float32 inside float64 by name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import attnverify as av
from attnverify.errors import MissingExtraError, ParameterError
from attnverify.verdict import Report, Status

pytestmark = pytest.mark.frameworks
mx = pytest.importorskip("mlx.core")

SIDES = ("forward O", "backward dQ", "backward dK", "backward dV")
SIXTEEN = ("float16", "bfloat16")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def fused(q: Any, k: Any, v: Any, **how: Any) -> Any:
    return mx.fast.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5, **how)


def by_hand(q: Any, k: Any, v: Any) -> Any:
    scores = q @ k.swapaxes(-1, -2) * q.shape[-1] ** -0.5
    return mx.softmax(scores, axis=-1, precise=True) @ v


def judged(fn: Callable[..., Any], spec: str = "global", **settings: Any) -> Report:
    return av.check(fn, spec, framework="mlx", **{"cases": 8, "explain": False, **settings})


RIGHT: dict[str, tuple[Callable[..., Any], str, dict[str, Any]]] = {
    "fused": (fused, "global", {}),
    "by hand": (by_hand, "global", {}),
    "fused, causal from the last position": (
        fused,
        "causal",
        {"align": "bottom_right", "kwargs": {"mask": "causal"}},
    ),
    "fused, a mask, True = keep": (fused, "masked", {}),
    "fused, shared keys": (fused, "grouped_query", {}),
}


@pytest.mark.parametrize(("fn", "spec", "settings"), RIGHT.values(), ids=RIGHT)
def test_attention_is_right_forward_and_backward(
    fn: Callable[..., Any], spec: str, settings: dict[str, Any]
) -> None:
    report = judged(fn, spec, **settings).raise_if_refuted()
    held = [v.name for v in report.comparisons if v.status is Status.HELD]
    assert held == [f"{side} (float32)" for side in SIDES]
    assert report.environment["mlx"]


@pytest.mark.parametrize("dtype", SIXTEEN)
def test_attention_is_right_in_sixteen_bits(dtype: str) -> None:
    report = judged(fused, dtypes=(dtype,)).raise_if_refuted()
    assert [v.status for v in report.comparisons] == [Status.HELD] * 4


def test_float32_inside_float64_is_refuted_by_name_unless_declared() -> None:
    found = judged(fused, dtypes=("float64",)).verdicts
    assert [v.status for v in found] == [Status.REFUTED] * 4
    assert all("float32 arithmetic inside float64" in v.detail for v in found)
    assert judged(fused, dtypes=("float64",), internal="float32").raise_if_refuted().ok


def in_place(q: Any, k: Any, v: Any) -> Any:
    out = fused(q, k, v)
    q[...] = 0
    return out


def late(q: Any, k: Any, v: Any) -> Any:
    return fused(q, k, v)[..., :1] @ mx.zeros((1, v.shape[-1] + 1))


WRONG: dict[str, tuple[Callable[..., Any], str]] = {
    "a scale that is 1": (
        lambda q, k, v: mx.fast.scaled_dot_product_attention(q, k, v, scale=1.0),
        "entries fail; first wrong entry",
    ),
    "another type": (
        lambda q, k, v: fused(q, k, v).astype(mx.float16),
        "dtype float16, due float32",
    ),
    "another shape": (late, "shape"),
    "no array": (lambda *_: None, "returned a builtins.NoneType for O, due an mlx.core"),
    "an input changed": (in_place, "the subject changed its input Q in place"),
    "shapes that do not broadcast": (
        lambda q, k, v: fused(q, k, v) + mx.zeros((17, 19, 23, 29)) + mx.zeros((3, 5, 7, 11)),
        "the subject raised ValueError: [broadcast_shapes]",
    ),
}


@pytest.mark.parametrize(("fn", "words"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_refuted_in_words(fn: Callable[..., Any], words: str) -> None:
    forward = judged(fn, cases=6).verdicts[0]
    assert forward.status is Status.REFUTED
    assert words in forward.detail


def test_a_gradient_that_is_cut_off_is_refuted() -> None:
    found = judged(lambda q, k, v: by_hand(mx.stop_gradient(q), k, v)).verdicts
    assert [v.name for v in found if v.status is Status.REFUTED] == ["backward dQ (float32)"]


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ParameterError, match="found: tpu"):
        judged(fused, device="tpu")


def test_without_mlx_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlx.core", None)
    monkeypatch.delitem(sys.modules, "attnverify.subjects.mlx", raising=False)
    with pytest.raises(MissingExtraError, match=r"attnverify\[mlx\]"):
        judged(fused)
