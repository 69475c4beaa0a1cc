"""Theory beside measurement: each law holds as stated, and a wrong one does not."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import numpy as np
import pytest

from attnverify.compare import at_most
from attnverify.flow.theory import attention, depth, lipschitz, recurrent
from attnverify.provers.outcome import Outcome
from attnverify.verdict import Status, Verdict


def test_pascanus_bound_is_never_violated_in_ten_thousand_recurrences() -> None:
    verdict = recurrent.pascanu(10_000)
    assert verdict.status is Status.HELD, verdict.detail
    assert verdict.cases == 10_000
    drawn = list(recurrent.recurrences(10_000))
    assert sum(len(group.U) for group in drawn) == 10_000
    # The bound says something: some networks come within a hundredth of it.
    shares = verdict.evidence["figure"]["curves"][1]["y"]
    assert max(shares) > 0.99


WRONG: list[tuple[str, Callable[[], Verdict]]] = [
    ("a radius for a norm", lambda: recurrent.pascanu(600, size_of=recurrent.spectral_radius)),
    (
        "a slope too small",
        lambda: recurrent.pascanu(600, steepest={"tanh": 1.0, "logistic": 0.2, "relu": 1.0}),
    ),
    (
        "a norm too small",
        lambda: recurrent.pascanu(600, size_of=lambda U: 0.9 * recurrent.norms(U)),
    ),
    ("the converse", lambda: recurrent.exploding(240)),
    ("half of a half", lambda: attention.softmax_bound(60, limit=0.25)),
    ("just below a half", lambda: attention.softmax_bound(60, limit=0.5 - 1e-12)),
    ("half the saturation", lambda: attention.saturation(40, slack=0.5)),
    ("peaked scores", lambda: attention.dilution(10, scale=12.0)),
    ("variance d^2", lambda: attention.variance(500, power=2.0)),
    ("reach one too far", lambda: depth.window_reach((3,), (2,), length=8, beyond=1)),
    ("reach one too near", lambda: depth.window_reach((3,), (2,), length=8, beyond=-1)),
    ("quadratic collapse", lambda: depth.rank_collapse(3, due=2.0)),
    ("Kim without 1/N", lambda: lipschitz.kim(6, inverse_n=0.0)),
    ("Kim in the ninth digit", lambda: lipschitz.kim(6, inverse_n=1 + 1e-9)),
    ("a Lipschitz constant", lambda: lipschitz.lipschitz("global")),
]


@pytest.mark.parametrize(("_what", "judged"), WRONG, ids=[what for what, _ in WRONG])
def test_what_is_wrong_is_refuted(_what: str, judged: Callable[[], Verdict]) -> None:
    verdict = judged()
    assert verdict.status is Status.REFUTED
    assert verdict.detail


RIGHT: list[tuple[str, Callable[[], Verdict], Status]] = [
    ("direct path", attention.direct_path, Status.PROVED),
    ("direct path, masked", lambda: attention.direct_path("causal"), Status.PROVED),
    ("score path", attention.score_path, Status.PROVED),
    ("score path, masked", lambda: attention.score_path("causal"), Status.PROVED),
    ("score path by queries", lambda: attention.score_path(by="Q"), Status.PROVED),
    ("uniform weights", attention.uniform, Status.PROVED),
    ("softmax Jacobian", lambda: attention.softmax_bound(600), Status.HELD),
    ("saturation", lambda: attention.saturation(60), Status.HELD),
    ("dilution", lambda: attention.dilution(10), Status.HELD),
    ("variance", lambda: attention.variance(4000), Status.HELD),
    ("scale", lambda: attention.scaled(80), Status.HELD),
    ("vanishing", lambda: recurrent.vanishing(240), Status.HELD),
    ("window", lambda: depth.window_reach((2, 3), (1, 2, 3), length=9), Status.HELD),
    ("skips", lambda: depth.collapse_by_depth(3), Status.HELD),
    ("l2 attention", lambda: lipschitz.lipschitz("l2"), Status.HELD),
    ("a ball", lipschitz.ball, Status.HELD),
]


@pytest.mark.parametrize(("_what", "judged", "due"), RIGHT, ids=[what for what, _, _ in RIGHT])
def test_what_is_right_is_so(_what: str, judged: Callable[[], Verdict], due: Status) -> None:
    verdict = judged()
    assert verdict.status is due, verdict.detail
    assert verdict.scope


def test_the_slope_of_rank_collapse_is_three() -> None:
    verdict = depth.rank_collapse()
    assert verdict.status is Status.HELD
    assert 2.9 <= verdict.evidence["slope, smallest"] <= verdict.evidence["slope, largest"] <= 3.1


def test_kims_probe_matches_to_eight_digits() -> None:
    verdict = lipschitz.kim()
    assert verdict.status is Status.HELD, verdict.detail
    assert verdict.evidence["largest difference"] < 1e-8


def test_what_no_prover_reaches_is_not_called_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    # The face shows the function of this name.
    judging = import_module("attnverify.verify")
    silent = Outcome(proved=False, reason="not asked")
    monkeypatch.setattr(judging, "prove", lambda _statement: silent)
    assert attention.direct_path().status is Status.HELD


def test_a_formula_with_a_wrong_sign_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "negative", lambda expr: expr)
    assert attention.score_path().status is Status.REFUTED


def test_softmax_jacobians_are_those_of_the_formula() -> None:
    scores = np.random.default_rng(0).standard_normal((4, 5))
    p = attention.weights(scores)
    due = np.einsum("ri,ij->rij", p, np.eye(5)) - np.einsum("ri,rj->rij", p, p)
    found = np.abs(attention.softmax_jacobians(scores) - due).max(axis=(1, 2))
    verdict = at_most("jacobian", found, attention.rounding(scores))
    assert verdict.status is Status.HELD, verdict.detail


def test_a_bound_is_exceeded_by_nan_and_by_more_than_it_allows() -> None:
    for got in (np.array([0.5, np.nan]), np.array([0.5, 1.5])):
        assert at_most("x", got, np.array(1.0)).status is Status.REFUTED
    held = at_most("x", np.array([0.5, 1.0]), np.array(1.0))
    assert held.evidence["closest"] == 1.0
    zero = at_most("x", np.array([0.0, 1e-300]), np.array(0.0))
    assert zero.status is Status.REFUTED
    assert zero.witness is not None
    assert zero.witness.index == {"axis0": 1}
