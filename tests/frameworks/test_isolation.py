"""PyTorch and JAX in a process of their own: the same verdicts, and crashes that are told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attnverify as av
from attnverify.subjects import plan
from attnverify.subjects.isolated import Isolated, process_of
from attnverify.verdict import Report, Status
from tests.frameworks import apart

pytestmark = pytest.mark.frameworks

FORWARD = "forward O (float32)"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def judged(fn: Any, **settings: Any) -> Report:
    return av.check(fn, "causal", **{"isolate": True, "cases": 4, "explain": False, **settings})


def statuses(report: Report) -> dict[str, str]:
    return {verdict.name: verdict.status.value for verdict in report.comparisons}


BOTH = [
    ("torch", apart.torch_right, "float64", "HELD"),
    ("torch", apart.torch_unscaled, "float32", "REFUTED"),
    ("jax", apart.jax_right, "float64", "HELD"),
    ("jax", apart.jax_unscaled, "float32", "REFUTED"),
]
# XLA compiles each shape in each process.
LONG = {apart.jax_right, apart.jax_unscaled}


@pytest.mark.parametrize(
    ("framework", "fn", "dtype", "status"),
    [
        pytest.param(*b, marks=pytest.mark.slow if b[1] in LONG else (), id=b[1].__name__)
        for b in BOTH
    ],
)
def test_verdicts_are_those_of_this_process(
    framework: str, fn: Callable[..., Any], dtype: str, status: str
) -> None:
    pytest.importorskip(framework)
    how: dict[str, Any] = {"framework": framework, "dtypes": (dtype,)}
    there, here = statuses(judged(fn, **how)), statuses(judged(fn, isolate=False, **how))
    assert there == here
    assert {name.split()[0] for name in there} == {"forward", "backward"}
    assert there[f"forward O ({dtype})"] == there[f"backward dK ({dtype})"] == status


def test_sixteen_bits_go_to_torch_and_back() -> None:
    pytest.importorskip("torch")
    report = judged(apart.torch_right, framework="torch", dtypes=("bfloat16",), cases=3)
    here = judged(
        apart.torch_right, framework="torch", dtypes=("bfloat16",), cases=3, isolate=False
    )
    assert [v.detail for v in report.comparisons] == [v.detail for v in here.comparisons]


WRONG = [
    ("torch", apart.torch_crashing, FORWARD, "crashed: its process was ended by SIGSEGV"),
    ("torch", apart.torch_doubling, FORWARD, "changed its input K in place"),
    ("torch", apart.torch_strided_wrong, "strided inputs (float32)", "wrong on strided ones"),
    ("jax", apart.jax_crashing, FORWARD, "crashed: its process was ended by SIGSEGV"),
]
# each start of a process of JAX takes seconds
SLOW = (apart.jax_crashing,)


@pytest.mark.parametrize(
    ("framework", "fn", "name", "words"),
    [
        pytest.param(*w, marks=pytest.mark.slow if w[1] in SLOW else (), id=w[1].__name__)
        for w in WRONG
    ],
)
def test_misbehaviour_is_refuted_in_words(
    framework: str, fn: Callable[..., Any], name: str, words: str
) -> None:
    pytest.importorskip(framework)
    report = judged(fn, framework=framework, cases=9)
    verdict = next(verdict for verdict in report.verdicts if verdict.name == name)
    assert verdict.status is Status.REFUTED
    assert words in verdict.detail


def test_a_view_in_torch_is_told() -> None:
    pytest.importorskip("torch")
    call = plan(av.load("causal"))
    one = {name: np.ones((1, 1, 1, 2), np.float32) for name in "QKV"}
    two = {name: np.ones((1, 1, 2, 2), np.float32) for name in "QKV"}
    with process_of(apart.torch_views, call, "torch") as process:
        assert Isolated(call, process).twice(one, one, {}).views == (("O", "V"),)
        assert Isolated(call, process).twice(two, two, {}).views == ()


@pytest.mark.slow
def test_compiled_flex_attention_ends_its_process_on_an_empty_sequence() -> None:
    torch = pytest.importorskip("torch")
    sizes = {"batch": 1, "heads": 1, "queries": 0, "keys": 1, "key_dim": 16, "value_dim": 16}
    report = av.check(
        apart.compiled_flex, "global", isolate=True, time_limit=300, sizes=sizes, cases=1,
        explain=False,
    )  # fmt: skip
    verdict = next(verdict for verdict in report.verdicts if verdict.name == FORWARD)
    # A release that computes nothing from nothing is right, and the run says so.
    if verdict.status is Status.HELD:
        return
    assert verdict.status is Status.REFUTED
    assert "queries=0" in verdict.detail
    assert any(words in verdict.detail for words in ("was ended by SIGFPE", "subject raised")), (
        torch.__version__,
        verdict.detail,
    )
