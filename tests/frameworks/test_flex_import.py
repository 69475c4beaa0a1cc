"""Modifications of FlexAttention are traced, verify, and agree with PyTorch's own flex attention.

Eager flex attention has no backward pass on the CPU, so that the forward alone is compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import attnverify as av
from attnverify.flex import tables

pytestmark = [
    pytest.mark.frameworks,
    # Flex attention warns that it is run eagerly, which is what is compared.
    pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile"),
]
torch = pytest.importorskip("torch")
flex = pytest.importorskip("torch.nn.attention.flex_attention")

from tests.frameworks.flex_mods import CASES, B, Case, H  # noqa: E402  it needs torch

Array = NDArray[Any]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    # Eager as it is, it would otherwise be traced anew for every shape.
    with torch.compiler.set_stance("force_eager"):
        yield


def attend(q: Any, k: Any, v: Any, *, score_mod: Any = None, mask_mod: Any = None) -> Any:
    shape = (q.shape[0], q.shape[1], q.shape[2], k.shape[2])
    mask = None if mask_mod is None else flex.create_block_mask(mask_mod, *shape, device="cpu")
    return flex.flex_attention(
        q, k, v, score_mod=score_mod, block_mask=mask, enable_gqa=q.shape[1] != k.shape[1]
    )


def drawn(case: Case) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(3)
    shapes = (H, case.queries, 4), (case.key_heads, case.keys, 4), (case.key_heads, case.keys, 3)
    q, k, v = (rng.standard_normal((B, *shape)) for shape in shapes)
    return q, k, v


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_oracle_of_what_is_traced_agrees_with_flex_attention(case: Case) -> None:
    mods, grouped = case.make(), case.key_heads != H
    q, k, v = drawn(case)
    oracle = av.compile(av.from_flex(**mods, enable_gqa=grouped))
    found = oracle(Q=q, K=k, V=v, **tables(**mods, enable_gqa=grouped))["O"]
    due = attend(*map(torch.from_numpy, (q, k, v)), **mods).numpy()
    np.testing.assert_allclose(found, due, rtol=case.tolerance, atol=case.tolerance)
