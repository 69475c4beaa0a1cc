"""PyTorch's attention of jagged tensors is judged as kernels for variable lengths are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import attnverify as av
from attnverify.notation import attention, key_lengths, query_lengths
from attnverify.verdict import Report, Status

pytestmark = pytest.mark.frameworks
torch = pytest.importorskip("torch")

SPEC = attention("packed", mask=query_lengths() & key_lengths())


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def judged(fn: Callable[..., Any]) -> Report:
    return av.check(
        fn,
        SPEC,
        framework="torch",
        layout="(b n) h d",
        packed={"queries": "query_lengths", "keys": "lengths"},
        inputs={"query_lengths": "cu_q", "lengths": "cu_k"},
        empty_rows="zeros",
        explain=False,
    )


def jagged(q: Any, k: Any, v: Any, *, cu_q: Any, cu_k: Any) -> Any:
    made = torch.nested.nested_tensor_from_jagged
    q, k, v = (made(x, cu.long()).transpose(1, 2) for x, cu in ((q, cu_q), (k, cu_k), (v, cu_k)))
    attended = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    return attended.transpose(1, 2).values()


def with_keys_alone(q: Any, k: Any, v: Any, *, cu_q: Any, cu_k: Any) -> Any:
    """Jagged attention of the sequences that have keys; the others give zeros."""
    seen = cu_k.diff() > 0
    rows = torch.repeat_interleave(seen, cu_q.diff())
    if not rows.any():
        return torch.zeros(len(q), *v.shape[1:]) + 0 * (q.sum() + k.sum() + v.sum())
    ends = [torch.nn.functional.pad(cu.diff()[seen].cumsum(0), (1, 0)) for cu in (cu_q, cu_k)]
    found = jagged(q[rows], k, v, cu_q=ends[0], cu_k=ends[1])
    return torch.zeros(len(q), *v.shape[1:]).index_put((rows,), found)


def test_jagged_attention_is_right_for_sequences_with_keys() -> None:
    report = judged(with_keys_alone).raise_if_refuted()
    assert [v.status for v in report.verdicts[:4]] == [Status.HELD] * 4
    assert all((v.cases or 0) >= 24 for v in report.verdicts[:4])
    # Jagged attention refuses strided tokens aloud, which is no fault.
    (strided,) = [v for v in report.verdicts if v.name.startswith("strided inputs")]
    assert strided.status is Status.UNDECIDED


def test_jagged_attention_raises_for_a_sequence_without_keys() -> None:
    forward = judged(jagged).verdicts[0]
    assert forward.status is Status.REFUTED
    assert "the subject raised RuntimeError" in forward.detail


def test_neighbours_that_see_each_other_are_refuted_forward_and_backward() -> None:
    def as_one(q: Any, k: Any, v: Any, *, cu_q: Any, cu_k: Any) -> Any:
        ends = [cu[[0, -1]] for cu in (cu_q, cu_k)]
        return with_keys_alone(q, k, v, cu_q=ends[0], cu_k=ends[1])

    assert [v.status for v in judged(as_one).verdicts] == [Status.REFUTED] * 4
