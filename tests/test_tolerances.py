"""The faults that bounds must see, in every kind of attention, and the right kernel, which not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import tolerances
from benchmarks.kernels import FAULTS, KINDS, Kernel, applies, toward_zero
from benchmarks.libraries import LIBRARIES
from benchmarks.tolerances import wrong

# What no bound sees: what is smaller than the roundings that the profile allows.
HIDDEN = {
    ("bfloat16", "strict"): {"sums in 16 bits"},
    ("float16", "strict"): {"sums in 16 bits"},
    ("bfloat16", "loose"): {"scale 0.3 %", "scale 0.1 %", "sums in 16 bits"},
    ("float32", "loose"): set[str](),
    ("float64", "loose"): set[str](),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "profile"), HIDDEN)
def test_faults_are_refuted_and_the_right_kernel_is_not(
    kind: str, dtype: str, profile: str
) -> None:
    rows = wrong(kind, dtype, profile, count=6, size=32)
    missed = {row["fault"] for row in rows if not row["refuted"]}
    assert missed - HIDDEN[dtype, profile] == {"none"}
    assert len(rows) == 1 + sum(applies(fault, kind, dtype) for fault in FAULTS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_hand_written_backward_pass_is_the_derivative(kind: str) -> None:
    rng = np.random.default_rng(5)
    heads = {"Q": 2, "K": 1 if kind == "GQA" else 2, "V": 1 if kind == "GQA" else 2}
    arrays = {name: rng.standard_normal((1, heads[name], 6, 4)) for name in "QKV"}
    arrays |= {"bias": rng.standard_normal((1, 2, 6, 6))} if kind == "bias" else {}
    cotangent = rng.standard_normal((1, 2, 6, 4))
    found = Kernel(kind, np.float64)(arrays, cotangent)
    for name, array in arrays.items():
        way, step = rng.standard_normal(array.shape), 1e-6
        ahead, behind = (
            Kernel(kind, np.float64)({**arrays, name: array + side * step * way}, cotangent)["O"]
            for side in (1, -1)
        )
        slope = float(((ahead - behind) * cotangent).sum()) / (2 * step)
        assert slope == pytest.approx(float((found[f"d{name}"] * way).sum()), rel=1e-6)


def test_truncation_never_goes_up() -> None:
    exact = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    cut = toward_zero(exact.astype(np.float16), exact).astype(np.float32)
    assert (np.abs(cut) <= np.abs(exact)).all()
    assert (np.abs(exact - cut) < 2.0**-10 * np.abs(exact)).all()


def test_the_program_prints_tables_and_writes_what_it_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = {name: one for name, one in LIBRARIES.items() if name == "NumPy"}
    monkeypatch.setattr("benchmarks.tolerances.LIBRARIES", ours)
    monkeypatch.setattr("benchmarks.tolerances.DTYPES", ("float32",))
    path = tmp_path / "new" / "figures.json"
    assert tolerances.main(["--quick", "--json", str(path)]) == 0
    figures = json.loads(path.read_text(encoding="utf-8"))
    (row,) = figures["right"]
    assert (row["library"], row["violations"], row["kinds"]) == ("NumPy", 0, len(KINDS))
    assert row["entries"] > 1000
    assert {r["fault"] for r in figures["wrong"] if r["refuted"]} >= {"scale 0.1 %"}
    printed = capsys.readouterr().out
    assert "future key in one row" in printed
    assert "the tightest profile that fits" in printed
