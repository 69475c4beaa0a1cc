"""Subjects over ranks of torch.distributed: judged as one, and a rank that ends is a verdict."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import attnverify as av
from attnverify.errors import ParameterError
from attnverify.verdict import Report, Status
from examples.torch_ring import reuses_its_own_block, ring_attention
from tests.frameworks import ranked
from tests.house import ROOT

pytestmark = pytest.mark.frameworks
RING = f"{ROOT}/examples/torch_ring.py"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def judged(fn: Any, spec: str = "global", **settings: Any) -> Report:
    return av.check(
        fn, spec, **{"framework": "torch", "ranks": 2, "cases": 3, "explain": False, **settings}
    )


def statuses(report: Report) -> dict[str, str]:
    return {verdict.name: verdict.status.value for verdict in report.comparisons}


def test_the_right_ring_is_held_and_the_one_that_stands_still_is_not() -> None:
    right = judged(ring_attention)
    assert set(statuses(right).values()) == {"HELD"}, statuses(right)
    assert len(statuses(right)) == 4
    assert right.ok
    wrong = judged(reuses_its_own_block)
    assert statuses(wrong)["forward O (float32)"] == "HELD"
    assert statuses(wrong)["backward dQ (float32)"] == "REFUTED"
    failing = next(v for v in wrong.verdicts if v.name == "backward dQ (float32)")
    assert "--ranks 2 --shard n" in failing.replay


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 3])
def test_the_right_ring_is_held_on_more_ranks_and_in_float64(ranks: int) -> None:
    report = judged(f"{RING}:ring_attention", ranks=ranks, dtypes=["float64"], cases=8)
    assert set(statuses(report).values()) == {"HELD"}, statuses(report)
    assert report.ok


@pytest.mark.slow
def test_gradients_of_whole_arrays_are_summed() -> None:
    right = judged(ranked.with_sinks, "sinks")
    assert set(statuses(right).values()) == {"HELD"}, statuses(right)
    name = next(n for n in statuses(right) if "sink" in n.lower())
    wrong = statuses(judged(ranked.unsummed, "sinks"))
    assert wrong.pop(name) == "REFUTED"
    assert set(wrong.values()) == {"HELD"}


WAYS: list[tuple[Callable[..., Any], str]] = [
    (ranked.dying, "rank 1 of 2: the subject crashed: its process was ended by SIGKILL"),
    (ranked.hanging, "of 2: the subject gave no answer within 4 s"),
    (ranked.raising, "rank 1 of 2: the subject raised ValueError: no block for me"),
    (ranked.uneven, "the ranks gave shards of O that do not fit"),
    (ranked.local, "entries fail"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("fn", "words"), WAYS)
def test_a_rank_that_ends_or_waits_is_a_verdict_in_words(
    fn: Callable[..., Any], words: str
) -> None:
    started = time.monotonic()
    report = judged(fn, time_limit=4.0, cases=1)
    found = next(v for v in report.verdicts if v.name == "forward O (float32)")
    assert found.status is Status.REFUTED
    assert words in found.detail
    assert time.monotonic() - started < 200


def test_what_cannot_be_sharded_is_an_error() -> None:
    with pytest.raises(ParameterError, match="does not divide"):
        judged(ring_attention, sizes={"keys": 3, "queries": 2})
    with pytest.raises(ParameterError, match="no input has the axis"):
        judged(ring_attention, ranks={"z": 2})
    with pytest.raises(ParameterError, match="share out one axis"):
        judged(ring_attention, ranks={"n": 2, "b": 2})
    with pytest.raises(ParameterError, match="two ranks"):
        judged(ring_attention, ranks=1)
    with pytest.raises(ParameterError, match=r"torch\.distributed"):
        judged(ring_attention, framework="numpy")
    with pytest.raises(ParameterError, match="merged behind"):
        judged(ring_attention, layout="b h (d n)")
