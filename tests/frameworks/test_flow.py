"""Gradients from afar: PyTorch's recurrent layers have the derived ones, position by position."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import attnverify as av
from attnverify.errors import RefutedError
from attnverify.flow.jacobian import Jacobian
from attnverify.inputs import Case, Draw
from attnverify.spec import Spec
from attnverify.testing import Trial
from tests.frameworks.test_recurrent import gru, lstm, rnn

pytestmark = pytest.mark.frameworks
torch = pytest.importorskip("torch")

LAYERS: list[tuple[str, Callable[..., Any], Mapping[str, Any]]] = [
    ("elman", rnn("tanh"), {"activation": "tanh"}),
    ("elman", rnn("relu"), {"activation": "relu"}),
    ("lstm", lstm, {"forget": True}),
    ("gru", gru, {"reset": "after"}),
]
IDS = [f"{name} {list(choices.values())}" for name, _, choices in LAYERS]
SIZES = {"batch": 2, "time": 40, "hidden": 6, "model": 5}


def from_afar(trial: Trial, spec: Spec, dtype: str, seed: int) -> Case:
    """A case whose cotangents stand at one position, late in a long sequence."""
    case = Draw(spec, dtype=dtype).case(SIZES, seed=seed)
    assert case.seed % SIZES["time"] > 30
    return trial.seeded(case)[1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "fn", "choices"), LAYERS, ids=IDS)
def test_torch_layers_have_the_derived_gradients_from_one_position(
    name: str, fn: Callable[..., Any], choices: Mapping[str, Any], dtype: str
) -> None:
    spec = av.load(name, **choices)
    trial = Trial(fn, spec, framework="torch", dtype=dtype)
    for seed in (39, 79, 38):
        case = from_afar(trial, spec, dtype, seed)
        assert np.flatnonzero(np.abs(case.cotangents["H"]).sum(axis=(0, 2))).tolist() == [seed % 40]
        trial.backward_agrees(case)


@pytest.mark.parametrize(("name", "fn", "choices"), LAYERS, ids=IDS)
def test_torch_layers_have_the_norms_by_distance_of_the_derived_jacobian(
    name: str, fn: Callable[..., Any], choices: Mapping[str, Any]
) -> None:
    spec = av.load(name, **choices)
    case = Draw(spec).case({**SIZES, "batch": 1}, seed=3)
    (blocks,) = Jacobian(spec, ["X"])(case.arrays, sizes=case.sizes, targets=[-1])
    trial = Trial(fn, spec, framework="torch", dtype="float64")
    rows = []
    for unit in range(SIZES["hidden"]):
        cotangent = np.zeros_like(case.cotangents["H"])
        cotangent[0, -1, unit] = 1.0
        one = Case(case.sizes, case.parameters, case.arrays, {"H": cotangent})
        rows.append(trial.gradient(one, "X"))
    found = np.stack([row.value[0] for row in rows], axis=1)
    sigma = np.stack([row.sigma[0] for row in rows], axis=1)
    apart = np.linalg.norm(found - blocks, 2, axis=(-2, -1))
    # Six standard deviations an entry, and so many of the Frobenius norm for the spectral one.
    assert (apart <= 6 * np.linalg.norm(sigma, axis=(-2, -1))).all()
    assert np.linalg.norm(found[0]) < np.linalg.norm(found[-1])


def cut_short(x: Any, h: Any, w: Any, *, U: Any, bias: Any) -> Any:
    """Back-propagation through time that ends after 20 steps; the forward pass is right."""
    first = rnn("tanh")(x[:, :20], h, w, U=U, bias=bias)
    rest = rnn("tanh")(x[:, 20:], first[:, -1].detach(), w, U=U, bias=bias)
    return torch.cat([first, rest], dim=1)


def test_a_gradient_that_is_cut_short_is_refuted() -> None:
    spec = av.load("elman", activation="tanh")
    trial = Trial(cut_short, spec, framework="torch", dtype="float64")
    with pytest.raises(RefutedError, match="backward d"):
        trial.backward_agrees(from_afar(trial, spec, "float64", 39))
