"""The benchmark times what it says: every peer computes the same gradients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attnverify.errors import RefutedError
from benchmarks import __main__ as program
from benchmarks import imports, judging, passes, peers, timing


def check_peer(name: str) -> None:
    arrays = passes.operands(12, 5)
    _, peer = peers.PEERS[name]
    gap = passes.apart(peer(*arrays)(), peers.by_hand(*arrays)())
    assert gap <= 64 * 12 * np.finfo(np.float64).eps, name


@pytest.mark.parametrize("name", ["attnverify", "autograd"])
def test_peers_that_come_with_us_agree_with_the_hand_written_pass(name: str) -> None:
    check_peer(name)


@pytest.mark.frameworks
@pytest.mark.parametrize("name", ["torch autograd", "torch SDPA", "jax jit"])
def test_framework_peers_agree_with_the_hand_written_pass(name: str) -> None:
    check_peer(name)


@pytest.mark.frameworks
def test_a_case_is_compared_by_the_judge_and_by_gradcheck() -> None:
    rows = {row["job"]: row for row in judging.measure_case(quick=True)}
    assert set(rows) == {"with the tolerance", "without the tolerance", judging.GRADCHECK}
    assert rows[judging.GRADCHECK]["ratio"] == 1
    assert all(row["seconds"] > 0 for row in rows.values())


@pytest.mark.frameworks
@pytest.mark.parametrize("job", ["with the tolerance", "without the tolerance", judging.GRADCHECK])
def test_each_job_sees_a_wrong_gradient(job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(q: Any) -> Any:
        """The values of q, and twice its gradient."""
        return 2 * q - q.detach()

    right = judging.by_torch
    monkeypatch.setattr(judging, "by_torch", lambda q, k, v: right(twice(q), k, v))
    with pytest.raises((AssertionError, RefutedError, RuntimeError)):
        judging.one_case(judging.SMALL)[job]()


def test_the_hand_written_pass_is_the_derivative() -> None:
    q, k, v, do = passes.operands(4, 3)
    u = passes.operands(4, 3, seed=1)[0]
    h = 1e-6

    def loss(query: peers.Array) -> float:
        s = query @ k.T / 3**0.5
        e = np.exp(s)
        return float((e / e.sum(1, keepdims=True) @ v * do).sum())

    slope = (loss(q + h * u) - loss(q - h * u)) / (2 * h)
    dq, _, _ = peers.by_hand(q, k, v, do)()
    assert abs(slope - float((dq * u).sum())) < 1e-7


def test_a_wrong_gradient_is_told_apart() -> None:
    arrays = passes.operands(6, 4)
    dq, dk, dv = peers.by_hand(*arrays)()
    assert passes.apart((dq, 1.01 * dk, dv), (dq, dk, dv)) > 1e-3


def test_jobs_take_turns() -> None:
    order: list[str] = []
    medians = timing.interleaved(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=6
    )
    rounds = ["".join(order[start : start + 4]) for start in range(0, len(order), 4)]
    assert len(rounds) == 6
    assert set(rounds) == {"aabb", "bbaa"}
    assert all(value >= 0 for value in medians.values())


def test_rounds_stay_between_three_and_the_most() -> None:
    assert timing.rounds_for(lambda: None, budget=1e-12, most=9) == 3
    assert timing.rounds_for(lambda: None, budget=1e9, most=9) == 9


def test_import_is_timed_in_another_process() -> None:
    assert 0 < imports.import_seconds("json") < 60


@pytest.mark.slow
def test_the_program_prints_tables_and_writes_what_it_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / "figures.json"
    parts = ["imports", "passes", "verify", "check"]
    assert program.main(["--quick", "--only", *parts, "--json", str(path)]) == 0
    figures = json.loads(path.read_text(encoding="utf-8"))
    assert figures["schema"] == 1
    assert figures["imports"][0]["module"] == "attnverify"
    assert {"hand NumPy", "attnverify"} <= {row["peer"] for row in figures["passes"]}
    first = figures["verify"][0]
    assert first["cpu"] > 0
    assert first["statements"] > 0 < first["routes"]
    assert figures["check"][0]["subject"] == "NumPy"
    assert figures["check"][0]["cases"] == 3
    assert figures["check"][0]["cpu"] > 0
    assert "to hand NumPy" in capsys.readouterr().out
