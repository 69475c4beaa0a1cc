"""The form that divides last: the same function, and room for who scales a finished output."""

from __future__ import annotations

import numpy as np
import pytest

import attnverify as av
from attnverify.compare import within
from attnverify.inputs import Draw
from attnverify.rounding import forms as forms_of
from attnverify.rounding.divided import by_last_division, divided
from attnverify.verdict import Status
from tests.right.table import SPECS, Right, trial

SPECIFIED = ["sinks", "softmax_plus_one", "paged", "neighbourhood_2d"]


@pytest.mark.parametrize("name", SPECIFIED)
def test_it_is_the_same_function(name: str) -> None:
    spec = av.load(name)
    changed = divided(spec)
    assert changed is not None
    assert "O_whole" in changed.heads
    *_, case = Draw(spec).schedule(seed=5, count=5)
    due = av.compile(spec)(**case.arrays, **case.parameters, sizes=case.sizes)["O"]
    got = av.compile(changed)(**case.arrays, **case.parameters, sizes=case.sizes)["O"]
    bound = 64 * np.finfo(np.float64).eps * np.abs(due).max()
    assert within(name, got, due, bound).status is Status.HELD


@pytest.mark.parametrize("name", ["sigmoid", "elman", "linear"])
def test_where_nothing_is_divided_so_there_is_none(name: str) -> None:
    assert divided(av.load(name)) is None
    assert by_last_division(av.load(name)) is None


def refuted(pair: Right, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    monkeypatch.setitem(SPECS, "sinks", (pair,))
    found = trial("sinks", "float16", seed=0)
    return {verdict.name for _, verdict in found if verdict.status is Status.REFUTED}


@pytest.mark.slow
def test_a_stored_cotangent_of_a_scaled_output_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the form, code that multiplies a softmax by a sink's share is refuted."""
    pair = SPECS["sinks"][1]
    assert refuted(pair, monkeypatch) == set()
    monkeypatch.setattr(forms_of, "by_last_division", lambda _spec: None)
    assert refuted(pair, monkeypatch) == {"backward dQ (float16)"}
