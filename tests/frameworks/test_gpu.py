"""Fused kernels on an accelerator, judged there: right ones pass, and what is wrong there is told.

No environment selects these by default: `pytest -m gpu tests/frameworks/test_gpu.py` where there is
one; without one they are skipped and say so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    how = {"framework": "torch", "device": "cuda", "dtypes": (dtype,), "explain": False, **settings}
    return av.check(fn, spec, **how)


def by(backend: SDPBackend, **told: Any) -> Callable[..., Any]:
    def attention(q: Any, k: Any, v: Any) -> Any:
        with sdpa_kernel(backend):
            return sdpa(q, k, v, **told)

    return attention


# The memory-efficient kernel multiplies float32 on tensor cores, three products for one.
RIGHT = [
    (SDPBackend.FLASH_ATTENTION, "float16", "loose"),
    (SDPBackend.FLASH_ATTENTION, "bfloat16", "loose"),
    (SDPBackend.EFFICIENT_ATTENTION, "float16", "loose"),
    (SDPBackend.EFFICIENT_ATTENTION, "bfloat16", "loose"),
    (SDPBackend.EFFICIENT_ATTENTION, "float32", "tf32x3"),
    (SDPBackend.MATH, "float32", "loose"),
    (SDPBackend.MATH, "float64", "loose"),
]


@pytest.mark.parametrize(
    ("backend", "dtype", "profile"), RIGHT, ids=[f"{b.name}-{d}" for b, d, _ in RIGHT]
)
@pytest.mark.parametrize("causal", [False, True], ids=["global", "causal"])
def test_fused_kernels_are_right_where_they_run(
    backend: Any, dtype: str, profile: str, causal: bool
) -> None:
    fn = by(backend, is_causal=causal)
    # Kernels align a causal mask differently where lengths differ.
    sizes = {**FUSED, "keys": "queries"} if causal else FUSED
    report = judged(fn, "causal" if causal else "global", dtype, sizes=sizes, profile=profile)
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


@pytest.fixture
def _tensor_cores() -> Iterator[None]:
    earlier = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision(earlier)


@pytest.mark.usefixtures("_tensor_cores")
def test_tensor_cores_in_place_of_float32_are_refuted_unless_declared() -> None:
    math = by(SDPBackend.MATH)
    assert any(v.status is Status.REFUTED for v in judged(math, "global", "float32").verdicts)
    report = judged(math, "global", "float32", profile="tf32")
    assert [(v.name, v.detail) for _, v in report.failures] == []
    off = judged(WRONG["a scale off by a hundredth"], "global", "float32", profile="tf32")
    assert any(v.status is Status.REFUTED for v in off.verdicts)


def test_rows_of_a_causal_million_tokens_are_held() -> None:
    tokens = 2**20
    sizes = {"queries": tokens, "keys": tokens, "key_dim": 64, "value_dim": 64}

    def causal(q: Any, k: Any, v: Any) -> Any:
        # What is not fused would take a terabyte of scores.
        with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]):
            return sdpa(q, k, v, is_causal=True)

    report = judged(causal, "causal", "bfloat16", sizes=sizes, rows=8, profile="strict")
    assert report.ok, [v.detail for v in report.verdicts if v.status is Status.REFUTED]
    assert report.verdicts[0].detail.startswith("8 of 1,048,576 rows")


def test_a_compiled_spec_computes_on_the_device() -> None:
    made = torch.ones((1, 1, 5, 3), device="cuda")
    found = av.compile(av.load("causal"), backend="torch", device="cuda")(Q=made, K=made, V=made)
    assert found["O"].device.type == "cuda"
    assert found["O"].dtype == torch.float64
