"""Rows of a long output of PyTorch's own attention, whose backward pass is its autodiff's."""

from __future__ import annotations

from typing import Any

import pytest

import attnverify as av
from attnverify.verdict import Report, Status

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.frameworks

sdpa = torch.nn.functional.scaled_dot_product_attention
SIZES = {"heads": 2, "queries": 700, "keys": 700, "key_dim": 16, "value_dim": 16}


def checked(fn: Any, dtype: str) -> Report:
    settings: Any = {"framework": "torch", "dtypes": (dtype,), "sizes": SIZES, "rows": 16}
    return av.check(fn, "causal", **settings)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_scaled_dot_product_attention_is_held(dtype: str) -> None:
    report = checked(lambda q, k, v: sdpa(q, k, v, is_causal=True), dtype)
    assert report.ok, [v.detail for v in report.verdicts if v.status is Status.REFUTED]
    assert all("of 700 rows" in v.detail for v in report.verdicts)


class Dropped(torch.autograd.Function):  # type: ignore[misc,name-defined]  # torch is Any here
    """Keys that get no gradient from one tile of queries."""

    @staticmethod
    def forward(_ctx: Any, q: Any) -> Any:
        return q.clone()

    @staticmethod
    def backward(_ctx: Any, slope: Any) -> Any:
        kept = slope.clone()
        kept[..., 576:640, :] = 0
        return kept


def test_a_tile_of_queries_that_gets_no_gradient_is_refuted() -> None:
    report = checked(lambda q, k, v: sdpa(Dropped.apply(q), k, v, is_causal=True), "float32")
    wrong = {v.name for v in report.verdicts if v.status is Status.REFUTED}
    assert wrong & {"<dQ, Q> = <dK, K> (float32)", "backward dQ (float32)"}
