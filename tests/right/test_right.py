"""Right attentions, however they are written, are not refuted; each is another program."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

import attnverify as av
from attnverify.inputs import Draw
from attnverify.verdict import Status
from tests.right import backward as b
from tests.right import forward as f
from tests.right.arithmetic import Form, subject
from tests.right.table import ANY, SPECS, Right, trial
from tests.seeds import SEEDS, WHOLE

DTYPES = ("float64", "float32", "bfloat16", "float16")
# These are judged on every case in every run; the others on each style of entries once.
EVERYWHERE = {("causal", "float32"), ("causal", "bfloat16")}
# Float16 asks all that bfloat16 asks, under a narrower range; grouped heads and sinks stay.
LONG = {(spec, "float16") for spec in ("causal", "masked", "global")}
JUDGED = [
    pytest.param(spec, dtype, marks=pytest.mark.slow if (spec, dtype) in LONG else ())
    for spec in SPECS
    for dtype in DTYPES
]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("spec", "dtype"), JUDGED)
def test_what_is_right_is_not_refuted(spec: str, dtype: str, seed: int) -> None:
    count = None if WHOLE or (spec, dtype) in EVERYWHERE else 10
    found = list(trial(spec, dtype, seed, count))
    refuted = [(name, v.name, v.detail) for name, v in found if v.status is not Status.HELD]
    assert refuted == []
    assert len(found) >= len(SPECS[spec]) * len(av.load(spec).inputs)
    # Bfloat16 leaves out draws whose scores lose their meaning in it.
    assert all((v.cases or 0) >= 7 for _, v in found)


def test_there_are_many_ways() -> None:
    pairs = [pair for pairs in SPECS.values() for pair in pairs]
    assert len({pair.forward for pair in ANY}) >= 16
    assert len({pair.backward for pair in pairs}) >= 12


BROKEN: list[tuple[Form, Form, set[str]]] = [
    (lambda r, q, k, v: f.textbook(r, q * 1.01, k, v), b.textbook, {"forward O"}),
    (lambda r, q, k, v: f.online(r, q, k[..., 1:, :], v[..., 1:, :])
     if k.shape[-2] > 1 else f.online(r, q, k, v), b.textbook, {"forward O"}),
    (f.textbook, lambda r, *x: (*b.in_tiles(r, *x)[:2], 0.99 * b.in_tiles(r, *x)[2]),
     {"backward dV"}),
    (f.textbook, lambda r, d, q, k, v: (b.textbook(r, d, q, k, v)[0] * 1.01,
                                        *b.textbook(r, d, q, k, v)[1:]), {"backward dQ"}),
]  # fmt: skip


@pytest.mark.parametrize(("forward", "backward", "fails"), BROKEN)
def test_a_form_with_a_fault_is_refuted(
    forward: Form, backward: Form, fails: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SPECS, "global", (Right(forward, backward),))
    refuted = {v.name for _, v in trial("global", "float32", 0, 10) if v.status is Status.REFUTED}
    assert refuted == {f"{name} (float32)" for name in fails}


@pytest.mark.parametrize("spec", ["causal", "sinks"])
def test_bounds_are_shared_and_not_changed_by_it(spec: str) -> None:
    """`check` itself says of the first form what the trial says of it."""
    pair = SPECS[spec][0]
    fn, vjp = (subject(form, stored=False) for form in (pair.forward, pair.backward))
    whole = av.check(fn, spec, vjp=vjp, cases=10).verdicts
    own = [v for name, v in trial(spec, "float32", 0, 10) if name == pair.name]
    assert [v.detail for v in whole if v.compares] == [v.detail for v in own if v.compares]


def test_the_forms_differ_in_their_roundings() -> None:
    """Ways that are one program would be counted twice."""
    case = Draw(av.load("global"), dtype="float32").case(
        {"queries": 9, "keys": 33, "key_dim": 7, "value_dim": 5}, seed=3
    )
    arrays = [case.arrays[name] for name in "QKV"]
    found = {subject(pair.forward, stored=False)(*arrays).tobytes() for pair in ANY}
    # A mask of nothing leaves the textbook's own program.
    same = {f.textbook, f.added_infinity, f.finite_sentinel}
    assert len(found) >= len({pair.forward for pair in ANY} - same)


@pytest.mark.parametrize("module", ["arithmetic", "forward", "backward"])
def test_the_forms_share_no_code_with_the_package(module: str) -> None:
    source = (Path(__file__).parent / f"{module}.py").read_text(encoding="utf-8")
    taken = {n.module for n in ast.walk(ast.parse(source)) if isinstance(n, ast.ImportFrom)}
    taken |= {
        name.name
        for n in ast.walk(ast.parse(source))
        if isinstance(n, ast.Import)
        for name in n.names
    }
    assert not [name for name in taken if name and name.startswith("attnverify")]
    assert np.__name__ in taken
