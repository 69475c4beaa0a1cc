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
from attnverify.errors import TraceError
from attnverify.flex import tables
from attnverify.invariants import INVARIANTS
from attnverify.notation import parameter
from attnverify.verdict import Status
from attnverify.verify import ask

pytestmark = [
    pytest.mark.frameworks,
    # Flex attention warns that it is run eagerly, which is what is compared.
    pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile"),
]
torch = pytest.importorskip("torch")
flex = pytest.importorskip("torch.nn.attention.flex_attention")

from tests.frameworks.flex_masks import B, H  # noqa: E402  it needs torch
from tests.frameworks.flex_mods import CASES, Case  # noqa: E402  it needs torch

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


def traced(case: Case) -> Any:
    return av.from_flex(**case.make(), enable_gqa=case.key_heads != H)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_rows_of_what_is_traced_sum_to_one(case: Case) -> None:
    invariant = next(each for each in INVARIANTS if each.name == "rows sum to one")
    assert ask(invariant, traced(case), 1, 0).status in (Status.PROVED, Status.HELD)


WHOLE = ["one packed sequence", "relative bias, clipped"]


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_traced_verifies(name: str) -> None:
    assert av.verify(traced(CASES[name]), examples=2).ok


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_of_what_is_traced_verifies(case: Case) -> None:
    assert av.verify(traced(case), examples=8).ok


# ---- A checker for code that is there: the function takes the tables that its mods close over


def sloped(slopes: Any) -> dict[str, Any]:
    def score(s: Any, _b: Any, h: Any, q_idx: Any, kv_idx: Any) -> Any:
        return s + slopes[h] * (kv_idx - q_idx)

    return {"score_mod": score, "mask_mod": lambda _b, _h, q_idx, kv_idx: q_idx >= kv_idx}


def packed(document: Any) -> dict[str, Any]:
    def same(b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
        return (document[b, q_idx] == document[b, kv_idx]) & (kv_idx <= q_idx)

    return {"mask_mod": same}


def capped(cap: float) -> dict[str, Any]:
    return {"score_mod": lambda s, _b, _h, _q, _k: cap * torch.tanh(s / cap)}


def subject(make: Any) -> Any:
    def fn(q: Array, k: Array, v: Array, **given: Any) -> Any:
        known = {n: torch.from_numpy(x) if hasattr(x, "shape") else x for n, x in given.items()}
        return attend(*map(torch.from_numpy, (q, k, v)), **make(**known)).numpy()

    return fn


PAIRS = {
    "a table of heads": (sloped, {"slopes": torch.ones(2)}),
    "documents": (packed, {"document": torch.zeros(2, 3, dtype=torch.int64)}),
    "a number left open": (capped, {"cap": 5.0}),
}


@pytest.mark.parametrize(("make", "given"), PAIRS.values(), ids=PAIRS)
def test_flex_attention_is_checked_against_its_own_modification(
    make: Any, given: dict[str, Any]
) -> None:
    left_open = [parameter("cap", gt=0, default=5)] if "cap" in given else []
    spec = av.from_flex(**make(**given), parameters=left_open)
    report = av.check(subject(make), spec, dtypes=("float32",), cases=4, explain=False)
    assert report.verdicts[0].status is Status.HELD


def test_another_modification_is_refuted() -> None:
    spec = av.from_flex(**sloped(torch.ones(2)))
    wrong = subject(lambda slopes: {**sloped(slopes), "mask_mod": None})
    report = av.check(wrong, spec, dtypes=("float32",), cases=4, explain=False)
    assert report.verdicts[0].status is Status.REFUTED


# ---- What torch itself does to a traced value, and cannot

TABLE, ROWS = torch.ones(2, 3), torch.ones(2, 3, 4, 5)
REFUSED = {
    "random numbers": lambda s, *_: s + torch.rand_like(s),
    "random numbers of nothing": lambda s, *_: s + torch.rand(()),
    "dropout": lambda s, *_: torch.nn.functional.dropout(s),
    "a sum": lambda s, *_: torch.sum(s),
    "a stack": lambda s, _b, _h, q, _k: torch.stack([s, q]),
    "a write": lambda s, _b, h, _q, _k: (TABLE.__setitem__((0, h), 1.0), s)[1],
    "a gather": lambda s, _b, h, _q, _k: s + torch.index_select(TABLE, 0, h),
    "a product of rows": lambda s, b, h, q, _k: s + torch.dot(ROWS[b, h, q], ROWS[b, h, q]),
    "a row": lambda s, _b, h, _q, _k: s + TABLE[h],
    "a tensor of it": lambda s, _b, _h, q, _k: s + torch.tensor(q),
    "an unknown function": lambda s, *_: torch.special.bessel_j0(s),
    "a cast that rounds": lambda s, *_: s.to(torch.int32),
    "a rounding": lambda s, *_: torch.round(s),
}


@pytest.mark.parametrize("mod", REFUSED.values(), ids=REFUSED)
def test_what_torch_cannot_do_to_a_traced_value_is_told(mod: Any) -> None:
    with pytest.raises(TraceError, match=r"^line \d+ of test_flex_import.py, in <lambda>: `"):
        av.from_flex(score_mod=mod)
