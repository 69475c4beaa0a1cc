"""Fused kernels on an accelerator, judged there: right ones pass, and what is wrong there is told.

No environment selects these by default: `pytest -m gpu tests/frameworks/test_gpu.py` where there is
one; without one they are skipped and say so.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import attnverify as av
from attnverify.verdict import Report, Status

pytestmark = pytest.mark.gpu
torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402  after the skip

sdpa = torch.nn.functional.scaled_dot_product_attention
# Fused kernels take some head sizes only, the same for keys and values.
FUSED: dict[str, Any] = {"key_dim": [8, 16, 64], "value_dim": "key_dim"}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def judged(fn: Callable[..., Any], spec: str, dtype: str, **settings: Any) -> Report:
    how = {"framework": "torch", "device": "cuda", "dtypes": (dtype,), **settings}
    return av.check(fn, spec, **how)


def by(backend: SDPBackend, **told: Any) -> Callable[..., Any]:
    def attention(q: Any, k: Any, v: Any) -> Any:
        with sdpa_kernel(backend):
            return sdpa(q, k, v, **told)

    return attention


# Left out: the memory-efficient kernel in float32, which was REFUTED when tried (PyTorch 2.11): an
# entry or two of dQ lay just beyond six deviations in one case of 38. Why is not known yet.
RIGHT = [
    (SDPBackend.FLASH_ATTENTION, "float16"),
    (SDPBackend.FLASH_ATTENTION, "bfloat16"),
    (SDPBackend.EFFICIENT_ATTENTION, "float16"),
    (SDPBackend.EFFICIENT_ATTENTION, "bfloat16"),
    (SDPBackend.MATH, "float32"),
    (SDPBackend.MATH, "float64"),
]


@pytest.mark.parametrize(("backend", "dtype"), RIGHT, ids=[f"{b.name}-{d}" for b, d in RIGHT])
@pytest.mark.parametrize("causal", [False, True], ids=["global", "causal"])
def test_fused_kernels_are_right_where_they_run(backend: Any, dtype: str, causal: bool) -> None:
    fn = by(backend, is_causal=causal)
    # Kernels align a causal mask differently where lengths differ.
    sizes = {**FUSED, "keys": "queries"} if causal else FUSED
    report = judged(fn, "causal" if causal else "global", dtype, sizes=sizes)
    assert [(v.name, v.detail) for _, v in report.failures] == []
    assert sum(v.compares for v in report.verdicts) == 4


WRONG: dict[str, Callable[..., Any]] = {
    "an answer on another device": lambda q, k, v: sdpa(q, k, v).cpu(),
    "a scale off by a hundredth": lambda q, k, v: sdpa(q * 1.01, k, v),
    "no gradient of the keys": lambda q, k, v: sdpa(q, k.detach(), v),
}


@pytest.mark.parametrize("fn", WRONG.values(), ids=WRONG)
def test_what_is_wrong_there_is_refuted(fn: Callable[..., Any]) -> None:
    report = judged(fn, "global", "float32", cases=12)
    assert any(v.status is Status.REFUTED for v in report.verdicts)


def test_tensor_cores_in_place_of_float32_are_refuted() -> None:
    earlier = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        report = judged(by(SDPBackend.MATH), "global", "float32")
    finally:
        torch.set_float32_matmul_precision(earlier)
    assert any(v.status is Status.REFUTED for v in report.verdicts)
