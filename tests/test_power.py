"""A comparison says what it would have caught, and passes nothing where that is nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import attnverify as av
from attnverify.dtypes import float_type
from attnverify.verdict import Report, Status, Verdict
from benchmarks.kernels import Kernel

Array = npt.NDArray[Any]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def fused(kind: str, fault: str = "") -> tuple[Callable[..., Any], Callable[..., Any]]:
    """A kernel's forward and its backward pass."""

    def run(d_out: Array, q: Array, k: Array, v: Array) -> dict[str, Array]:
        return Kernel(kind, q.dtype, fault)({"Q": q, "K": k, "V": v}, d_out)

    def forward(q: Array, k: Array, v: Array) -> Array:
        return run(np.zeros((*q.shape[:-1], v.shape[-1]), q.dtype), q, k, v)["O"]

    def backward(d_out: Array, q: Array, k: Array, v: Array) -> tuple[Array, ...]:
        found = run(d_out, q, k, v)
        return found["dQ"], found["dK"], found["dV"]

    return forward, backward


def judged(spec: str, kind: str = "causal", fault: str = "", **settings: Any) -> Report:
    forward, backward = fused(kind, fault)
    return av.check(forward, spec, **{"vjp": backward, "explain": False, **settings})


def power(verdict: Verdict) -> dict[str, str]:
    return dict(verdict.evidence["power"])


EVERY = dict.fromkeys(("scale 1 %", "scale 0.3 %", "leaked key", "dropped key"), "caught")


def test_in_float32_every_fault_that_applies_would_have_been_caught() -> None:
    report = judged("causal", cases=14).raise_if_refuted()
    forward, *backward = report.comparisons
    assert power(forward) == {**EVERY, "missing row": "does not apply"}
    assert [power(one) for one in backward] == [{**EVERY, "missing row": "caught"}] * 3
    assert "would have caught: scale 1 %, scale 0.3 %, leaked key, dropped key" in forward.detail


def test_where_nothing_is_hidden_no_key_can_leak() -> None:
    report = judged("global", kind="full", cases=12).raise_if_refuted()
    assert [power(one)["leaked key"] for one in report.comparisons] == ["does not apply"] * 4


def test_a_spec_without_a_softmax_is_asked_for_what_it_has() -> None:
    def linear(q: Array, k: Array, v: Array) -> Array:
        f, g = (np.where(x > 0, x + 1, np.exp(np.minimum(x, 0))) for x in (q, k))
        w = f @ g.swapaxes(-1, -2)
        return w @ v / w.sum(-1, keepdims=True)  # type: ignore[no-any-return]  # as the formula gives

    forward = av.check(linear, "linear", cases=18).verdicts[0]
    assert forward.status is Status.HELD
    assert power(forward) == {
        "scale 1 %": "caught", "scale 0.3 %": "caught", "leaked key": "does not apply",
        "dropped key": "caught", "missing row": "does not apply",
    }  # fmt: skip


def test_a_comparison_that_would_have_caught_nothing_is_undecided() -> None:
    """With one key the weights are 1 whatever the scores: any scale would have passed."""
    report = judged("global", kind="full", sizes={"keys": 1})
    statuses = {v.name.split()[1]: v.status for v in report.comparisons}
    assert statuses == {
        "O": Status.UNDECIDED, "dQ": Status.UNDECIDED, "dK": Status.UNDECIDED, "dV": Status.HELD,
    }  # fmt: skip
    assert "these cases would have caught no fault" in report.verdicts[0].detail
    assert power(report.verdicts[3])["missing row"] == "caught"
    assert not report.ok


def test_what_is_caught_is_refuted_when_it_is_there() -> None:
    report = judged("causal", fault="scale 0.3 %", cases=9)
    assert {v.status for v in report.comparisons} == {Status.REFUTED}


@pytest.mark.parametrize(
    "fault", [pytest.param("scale 1 %", marks=pytest.mark.slow), "scale 0.3 %"]
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_power_says_what_a_subject_with_the_fault_meets(fault: str, dtype: str) -> None:
    """Five draws in 16 bits see neither scale, and do not say that they would."""
    right = judged("causal", cases=5, dtypes=(dtype,))
    wrong = judged("causal", fault=fault, cases=5, dtypes=(dtype,))
    told = {v.name: power(v)[fault] for v in right.comparisons}
    assert set(told.values()) == {"caught" if dtype == "float32" else "missed"}
    met = {v.name: v.status is Status.REFUTED for v in wrong.comparisons}
    assert met == {name: word == "caught" for name, word in told.items()}


def test_a_kept_case_is_asked_for_its_own_fault_alone(tmp_path: Path) -> None:
    def nothing(_q: Array, _k: Array, v: Array) -> Array:
        return 0 * v

    sizes = {"queries": 1, "keys": 1}
    witness = av.check(nothing, "global", sizes=sizes, cases=6).verdicts[0].witness
    assert witness is not None
    assert witness.path is not None
    again = judged("global", kind="full", replay=Path(witness.path))
    assert again.verdicts[0].status is Status.HELD
    assert "nothing else" in again.verdicts[0].detail
    assert tmp_path.exists()


# What many draws show together


@pytest.mark.slow
def test_a_scale_off_by_less_than_a_rounding_is_seen_by_many_draws_together() -> None:
    settings: dict[str, Any] = {"dtypes": ("bfloat16",), "profile": "strict"}
    right = judged("causal", **settings).raise_if_refuted()
    assert {power(v)["scale 0.3 %"] for v in right.comparisons} == {"caught"}
    told = right.verdicts[0].evidence["filters"]["temperature"]
    assert abs(told["amplitude"]) < 3 * told["spread"]
    wrong = judged("causal", fault="scale 0.3 %", vjp=None, **settings)
    forward = wrong.verdicts[0]
    assert forward.status is Status.REFUTED
    assert "go the same way, as if the scale of the scores were off by +0.3" in forward.detail
    assert forward.evidence["filters"]["temperature"]["amplitude"] == pytest.approx(3e-3, rel=0.1)
    assert forward.replay.endswith("--dtype bfloat16 --profile strict --seed 0")


@pytest.mark.parametrize("fault", ["P truncated", "O truncated"])
def test_truncation_in_place_of_rounding_is_seen_along_the_values_themselves(fault: str) -> None:
    half = float_type("bfloat16").roundoff / 2
    forward = judged("causal", fault=fault, dtypes=("bfloat16",), vjp=None).verdicts[0]
    assert forward.status is Status.REFUTED
    gain = forward.evidence["filters"]["gain"]
    # A step is two roundoffs for the smallest mantissa, one for the largest; half of it is lost.
    assert -2 * half * 1.05 < gain["amplitude"] < -half
    assert "all values were off" in forward.detail


def test_too_few_draws_say_nothing_together() -> None:
    forward = judged("causal", cases=5).verdicts[0]
    assert forward.status is Status.HELD
    assert "filters" not in forward.evidence


def cached(fault: str = "") -> Callable[..., dict[str, Array]]:
    """Decoding with a cache, which goes back to the caller."""

    def run(q: Array, k: Array, v: Array, **past: Array) -> dict[str, Array]:
        keys, values = (
            np.concatenate([past[f"{name}_past"], new], axis=2)
            for name, new in (("K", k), ("V", v))
        )
        scores = q @ keys.swapaxes(-1, -2) / np.sqrt(np.array(q.shape[-1], q.dtype))
        seen = np.tri(q.shape[2], keys.shape[2], keys.shape[2] - q.shape[2], dtype=bool)
        scores = np.where(seen, scores, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        output = weights / weights.sum(-1, keepdims=True) @ values
        return {"O": output, "K_all": keys[:, :, ::-1] if fault else keys}

    return run


def test_a_cache_that_no_score_reaches_is_told_apart_by_a_lost_position() -> None:
    settings: dict[str, Any] = {"outputs": ("O", "K_all"), "cases": 8, "explain": False}
    settings |= {"sizes": {"queries": "new"}}
    right = {v.name: v for v in av.check(cached(), "kv_cache", **settings).verdicts}
    verdict = right["forward K_all (float32)"]
    assert (verdict.status, power(verdict)["dropped key"]) == (Status.HELD, "caught")
    wrong = {v.name: v for v in av.check(cached("reversed"), "kv_cache", **settings).verdicts}
    assert wrong["forward K_all (float32)"].status is Status.REFUTED
