"""The recipe on PyTorch and on JAX against the recipe on NumPy, to the roundoff of float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import attnverify as av
from attnverify.compare import within
from attnverify.compile.run import run
from attnverify.errors import ParameterError, ShapeError
from attnverify.inputs import Draw
from attnverify.provers.disturbed import UNIT, disturb
from attnverify.spec import Spec
from attnverify.verdict import Status

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
pytestmark = pytest.mark.frameworks

BACKENDS = ("torch", "jax")
SIZES = {
    "batch": 2, "heads": 2, "group": 2, "repeat": 2, "queries": 7, "keys": 7, "time": 5,
    "key_dim": 3, "value_dim": 4,
}  # fmt: skip


def differences(spec: Spec, forward: Spec, backend: str) -> list[str]:
    """What a backend gives otherwise than extended precision, by more than ten roundings move."""
    drawn = Draw(forward).case(SIZES, seed=3)
    numpy = av.compile(spec)
    extra = [e.tensor.name for e in spec.inputs if e.tensor.name not in drawn.arrays]
    seeds = dict(zip(extra, [*drawn.cotangents.values()][: len(extra)], strict=True))
    arrays = numpy.arrays({**drawn.arrays, **seeds})
    found = av.compile(spec, backend=backend)(**arrays, **drawn.parameters, sizes=drawn.sizes)
    told = (numpy.recipe, arrays, drawn.sizes, drawn.parameters, "longdouble")
    due = run(*told)
    moved = [run(*told, hook=disturb(UNIT, number)) for number in range(4)]
    wrong = []
    for name, exact in due.items():
        spread = np.max([np.abs(m[name] - exact) for m in moved], axis=0).astype(float)
        bound = 10 * (np.nan_to_num(spread) + np.nan_to_num(spread).mean())
        verdict = within(name, np.asarray(found[name]), exact.astype(float), bound + UNIT)
        wrong += [] if verdict.status is Status.HELD else [f"{name}: {verdict.detail}"]
    return wrong


@pytest.mark.parametrize("name", av.catalog())
def test_outputs_of_torch_are_those_of_numpy(name: str) -> None:
    spec = av.load(name)
    assert differences(spec, spec, "torch") == []


@pytest.mark.slow
@pytest.mark.parametrize("name", av.catalog())
def test_outputs_of_jax_are_those_of_numpy(name: str) -> None:
    spec = av.load(name)
    assert differences(spec, spec, "jax") == []


# A gradient has the operations of its outputs, and more.
GRADIENTS = ["global", "causal", "sliding_window", "grouped_query", "alibi", "rope", "softcap",
             "sinks", "additive", "sparsemax", "t5_bias", "padding", "gated_delta"]  # fmt: skip


# JAX compiles each operation of each shape, which takes seconds a spec.
QUICK = ("causal", "rope")


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_of_torch_are_those_of_numpy(name: str) -> None:
    spec = av.load(name)
    assert differences(av.gradient(spec), spec, "torch") == []


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in GRADIENTS]
)
def test_gradients_of_jax_are_those_of_numpy(name: str) -> None:
    spec = av.load(name)
    assert differences(av.gradient(spec), spec, "jax") == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_arrays_are_the_librarys_own_and_of_float64(backend: str) -> None:
    made = {"torch": torch.ones, "jax": jax.numpy.ones}[backend]((1, 1, 2, 3))
    found = av.compile(av.load("causal"), backend=backend)(Q=made, K=made, V=made)["O"]
    assert type(found).__module__.partition(".")[0] in ("torch", "jaxlib")
    assert str(found.dtype).endswith("float64")


def test_a_wrong_rule_of_a_backend_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    from attnverify.compile.torch import Library

    monkeypatch.setattr(Library, "inverse", lambda _, x: 1 / (x + 1e-12))
    spec = av.load("causal")
    assert differences(spec, spec, "torch")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("settings", "arrays", "error", "words"),
    [
        ({"device": "cuda:99"}, {}, ParameterError, "does not have"),
        ({"dtype": "longdouble"}, {}, ParameterError, "working dtype"),
        ({}, {"Q": np.full((1, 1, 2, 3), np.nan)}, ParameterError, "NaN and infinity"),
        ({}, {"Q": np.ones((1, 1, 2, 3), bool)}, ShapeError, "not of kind real"),
        ({}, {"Q": np.ones((1, 2, 3))}, ShapeError, "wrong number of axes"),
    ],
)
def test_what_a_backend_cannot_do_is_said(
    backend: str, settings: Any, arrays: Any, error: type[Exception], words: str
) -> None:
    ones = np.ones((1, 1, 2, 3))
    with pytest.raises(error, match=words):
        av.compile(av.load("causal"), backend=backend, **settings)(
            **{"Q": ones, "K": ones, "V": ones, **arrays}
        )


def test_numpy_has_no_device() -> None:
    with pytest.raises(ParameterError, match="computes on the CPU"):
        av.compile(av.load("causal"), device="cuda")
