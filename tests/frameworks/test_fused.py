"""PyTorch's fused kernels fit `strict`, although their exp is a cubic; its eager code does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import attnverify as av
from attnverify.verdict import Report, Status

pytestmark = pytest.mark.frameworks
torch = pytest.importorskip("torch")
sdpa = torch.nn.functional.scaled_dot_product_attention
WINDOW = 9


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def windowed(q: Any, k: Any, v: Any) -> Any:
    """A narrow window: the largest weight, which is stored as 1, tells in every row."""
    i, j = torch.arange(q.shape[-2])[:, None], torch.arange(k.shape[-2])
    return sdpa(q, k, v, attn_mask=(j <= i) & (j > i - WINDOW))


def eager(q: Any, k: Any, v: Any) -> Any:
    s = q @ k.mT / q.shape[-1] ** 0.5
    i, j = torch.arange(q.shape[-2])[:, None], torch.arange(k.shape[-2])
    return s.masked_fill((j > i) | (j <= i - WINDOW), float("-inf")).softmax(-1) @ v


SIZES: dict[str, Any] = {
    "queries": [64, 97], "keys": "queries", "key_dim": [32, 64], "value_dim": "key_dim",
    "batch": 1, "heads": 2,
}  # fmt: skip


def judged(fn: Any, dtype: str, cases: int) -> Report:
    settings: dict[str, Any] = {"framework": "torch", "dtypes": (dtype,), "profile": "strict"}
    return av.check(
        fn, "sliding_window", window=WINDOW, sizes=SIZES, cases=cases, explain=False, **settings
    )


@pytest.mark.parametrize("dtype", ["float16", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_the_fused_kernel_fits_strict_and_eager_code_does_not(dtype: str) -> None:
    report = judged(windowed, dtype, 31).raise_if_refuted()
    assert {v.evidence["power"]["scale 0.3 %"] for v in report.comparisons} == {"caught"}
    assert judged(eager, dtype, 4).verdicts[0].status is Status.REFUTED
