"""The derived tangent against differences of the exact interpreter, and against the gradient."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from attnverify.equations import Recurrence
from attnverify.errors import ParameterError
from attnverify.exact import difference, evaluate
from attnverify.library import load
from attnverify.spec import Spec
from attnverify.transforms import tangent as forward
from attnverify.transforms.gradient import gradient
from attnverify.transforms.tangent import tangent
from tests.drawn import (
    TINY,
    Array,
    arrays,
    check_arrays_close,
    check_close,
    extent,
    inner,
    moves,
    parameters,
)
from tests.members import GLOBAL, MEMBERS, TITLES
from tests.trials import SIZES, TRIALS

SPECS: dict[str, Spec] = {**MEMBERS, **TRIALS}
EXTENT = {**TINY, **SIZES}


def drawn(spec: Spec, seed: int) -> tuple[dict[str, Array], dict[str, Array], dict[str, float]]:
    """Arrays, a direction for each real input, and values for open parameters."""
    rng = np.random.default_rng(seed)
    values = {
        p.name: 0.3 if p.name == "decay" else parameters(spec)[p.name] for p in spec.parameters
    }
    return arrays(spec, rng, EXTENT), moves(spec, rng, EXTENT), values


def tangents(spec: Spec, seed: int) -> tuple[dict[str, Array], dict[str, Array]]:
    """The derived tangent of each output, and the difference that it is due to be."""
    given, directions, values = drawn(spec, seed)
    derived = tangent(spec)
    heads = derived.inputs[len(spec.inputs) :]
    named = {h.tensor.name: m for h, m in zip(heads, directions.values(), strict=True)}
    sizes = extent(spec, EXTENT)
    found = evaluate(derived, {**given, **named}, values, sizes=sizes)
    moved = dict(zip(spec.outputs, (found[name] for name in derived.outputs), strict=True))
    return moved, difference(spec, given, directions, values, sizes=sizes)


@pytest.mark.parametrize("title", SPECS)
def test_the_tangent_is_the_difference(title: str) -> None:
    found, due = tangents(SPECS[title], 21)
    for name, value in due.items():
        check_arrays_close(found[name], value)


@pytest.mark.parametrize("title", SPECS)
def test_tangent_and_gradient_are_adjoint(title: str) -> None:
    """Cotangents times tangents of outputs are gradients times tangents of inputs."""
    spec = SPECS[title]
    given, directions, values = drawn(spec, 22)
    moved, _ = tangents(spec, 22)
    derived = gradient(spec)
    rng = np.random.default_rng(23)
    heads = [entry.tensor.name for entry in derived.inputs[len(spec.inputs) :]]
    weights = {n: rng.normal(size=moved[o].shape) for n, o in zip(heads, spec.outputs, strict=True)}
    slopes = evaluate(derived, {**given, **weights}, values, sizes=extent(spec, EXTENT))
    outside = sum(inner(weights[n], moved[o]) for n, o in zip(heads, spec.outputs, strict=True))
    named = zip(derived.outputs, directions.values(), strict=True)
    check_close(sum(inner(slopes[name], move) for name, move in named), outside)


def test_a_tangent_has_the_inputs_and_outputs_promised() -> None:
    spec = load("biased")
    derived = tangent(spec, wrt=("bias", "Q"))
    assert [e.tensor.name for e in derived.inputs] == ["Q", "K", "V", "bias", "tbias", "tQ"]
    assert derived.outputs == ("tO",)
    assert derived.heads["tO"].places == spec.heads["O"].places
    assert (
        tangent(spec, wrt="V").equation("tO").body
        == tangent(load("global"), wrt="V").equation("tO").body
    )
    assert tangent(TRIALS["names in use"]).outputs == ("tA",)
    assert [e.tensor.name for e in tangent(TRIALS["names in use"]).inputs][2:] == ["tX2", "tD"]


def test_the_tangent_of_a_softmax_has_its_row_term() -> None:
    derived = tangent(load("causal"))
    assert str(derived.equation("tA")) == "tA[b,h,i,j] = A[b,h,i,j] (tS[b,h,i,j] - R[b,h,i])"
    assert str(derived.equation("R")) == "R[b,h,i] = sum_j A[b,h,i,j] tS[b,h,i,j]"


def test_an_output_that_does_not_move_has_tangent_zero() -> None:
    derived = tangent(TRIALS["an output that an input does not reach"], wrt="X")
    assert str(derived.equation("tY")) == "tY[j] = 0"
    assert str(derived.equation("tO")) == "tO[j] = 2 X[j] tX[j]"


def test_a_recurrence_stays_one_in_its_direction() -> None:
    for name in ("linear_rnn", "downwards"):
        (source,) = (s for s in SPECS[name].equations if isinstance(s, Recurrence))
        (moved,) = (s for s in tangent(SPECS[name]).equations if isinstance(s, Recurrence))
        assert moved.reverse == source.reverse
        assert set(moved.states) == {"H", "tH"}


@pytest.mark.parametrize("title", [GLOBAL, "linear_rnn", "additive", "softmax at the start"])
def test_the_tangent_of_a_tangent_is_the_second_difference(title: str) -> None:
    found, due = tangents(tangent(SPECS[title]), 24)
    for name, value in due.items():
        check_arrays_close(found[name], value)


def test_what_has_no_tangent_is_told_in_words() -> None:
    asked: list[Callable[[], Spec]] = [
        lambda: tangent(load("masked"), wrt="mask"),
        lambda: tangent(load("global"), wrt=["Q", "P"]),
    ]
    for ask in asked:
        with pytest.raises(ParameterError, match="real inputs"):
            ask()


def test_a_broken_row_term_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "negative", lambda value: value)
    found, due = tangents(SPECS[GLOBAL], 25)
    with pytest.raises(AssertionError):
        check_arrays_close(found["O"], due["O"], digits=3)


def test_every_spec_is_tried() -> None:
    assert set(TITLES) | set(TRIALS) == set(SPECS)
