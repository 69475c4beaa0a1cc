"""Faults put into the oracle's program: each changes what its name says, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import attnverify as av
from attnverify.inputs import Case, Draw
from attnverify.rounding import Rounding
from attnverify.rounding.altered import Altered, Given
from attnverify.transforms.tangent import tangent

Array = npt.NDArray[Any]
SIZES = {"batch": 2, "heads": 3, "queries": 6, "keys": 7, "key_dim": 4, "value_dim": 5}
GROUPED = {name: size for name, size in SIZES.items() if name != "heads"} | {
    "group": 2,
    "repeat": 2,
}


def put(name: str, case: Case) -> tuple[Altered, Given, Rounding]:
    spec = av.load(name)
    rounding = Rounding(spec, "float64", backward=True)
    seeds = {rounding.cotangents[out]: array for out, array in case.cotangents.items()}
    given = rounding.given({**case.arrays, **seeds}, case.parameters, case.sizes)
    return Altered(spec, backward=True), given, rounding


def drawn(name: str) -> Case:
    sizes = GROUPED if name == "grouped_query" else SIZES
    return Draw(av.load(name)).case({**sizes, "window": 3}, seed=4)


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def attention(case: Case, seen: Array, scale: float = 1.0) -> Array:
    """O by hand."""
    q, k, v = (case.arrays[name] for name in "QKV")
    repeat = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, repeat, 1), np.repeat(v, repeat, 1)
    s = q @ k.swapaxes(-1, -2) * scale / q.shape[-1] ** 0.5
    e = np.exp(np.where(seen, s, -np.inf))
    out: Array = e / e.sum(-1, keepdims=True) @ v
    return out


def causal(name: str) -> Array:
    seen = np.tril(np.ones((6, 7), bool)) if name == "causal" else np.ones((6, 7), bool)
    return np.broadcast_to(seen, (2, 4 if name == "grouped_query" else 3, 6, 7))


@pytest.mark.parametrize("name", av.catalog())
def test_without_a_fault_the_values_are_the_oracles(name: str) -> None:
    case = Draw(av.load(name)).case({axis.name: 3 for axis in av.load(name).axes}, seed=1)
    altered, given, rounding = put(name, case)
    due = rounding.oracle(**given.arrays, **case.parameters, sizes=case.sizes)
    found = altered.right(given)
    assert altered.outputs == rounding.outputs
    for out in rounding.outputs:
        np.testing.assert_allclose(found[out], due[out].astype(float), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["global", "causal", "grouped_query"])
def test_a_scale_that_is_off_is_that_of_the_scores(name: str) -> None:
    case = drawn(name)
    altered, given, _ = put(name, case)
    found = altered.scaled(given, 1.01)
    assert found is not None
    np.testing.assert_allclose(found["O"], attention(case, causal(name), 1.01), rtol=1e-12)
    assert altered.temper == "the scores"


def test_the_gradient_is_carried_through_the_scale_of_an_input() -> None:
    """Without a softmax the first input is scaled: dQ is the slope of what Q gives, scaled."""
    case = Draw(av.load("linear")).case(SIZES, seed=2)
    altered, given, rounding = put("linear", case)
    found, step = altered.scaled(given, 1.5), 1e-6
    assert found is not None
    way = rng().standard_normal(case.arrays["Q"].shape)
    oracle = av.compile(av.load("linear"))

    def loss(q: Array) -> float:
        out = oracle(**{**case.arrays, "Q": 1.5 * q})["O"]
        return float((out * case.cotangents["O"]).sum())

    q = case.arrays["Q"]
    slope = (loss(q + step * way) - loss(q - step * way)) / (2 * step)
    assert slope == pytest.approx(float((found[rounding.gradients["Q"]] * way).sum()), rel=1e-6)


@pytest.mark.parametrize("name", ["global", "causal", "softcap", "linear"])
def test_the_slope_by_the_scale_is_the_tangent_along_the_queries(name: str) -> None:
    case = drawn(name)
    altered, given, _ = put(name, case)
    slope = altered.slope(given)
    assert slope is not None
    along = av.compile(tangent(av.load(name), "Q"))
    tangents = along(**case.arrays, tQ=case.arrays["Q"], **case.parameters)["tO"]
    if name != "softcap":  # a cap bends the scores, and what is scaled stands after it
        np.testing.assert_allclose(slope["O"], tangents, rtol=1e-6, atol=1e-9)
    assert np.abs(slope["O"]).max() > 1e-3


def changed_rows(found: Array, right: Array) -> int:
    return int((found != right).any(-1).sum())


@pytest.mark.parametrize("name", ["causal", "sliding_window", "masked"])
def test_one_leaked_key_changes_one_row(name: str) -> None:
    altered, given, _ = put(name, drawn(name))
    found, right = altered.leaked(given, rng()), altered.right(given)
    assert found is not None
    assert changed_rows(found["O"], right["O"]) == 1
    assert changed_rows(found["dQ"], right["dQ"]) == 1


WRITTEN = [
    "retention",
    "gated_linear",
    "gated_delta",
    "state_space_dual",
    "neighbourhood_2d",
    "shifted_window_2d",
    "paged",
]


@pytest.mark.parametrize("name", WRITTEN)
def test_a_key_leaks_past_a_mask_that_is_written_as_an_indicator(name: str) -> None:
    """One row of the first output changes, and no other."""
    spec = av.load(name)
    case = Draw(spec).case({axis.name: 4 for axis in spec.axes}, seed=2)
    altered, given, _ = put(name, case)
    found, right = altered.leaked(given, rng()), altered.right(given)
    assert found is not None
    (out, *_) = altered.outputs
    rows = (found[out] != right[out]).any(-1)
    assert rows.sum() == 1


def test_what_a_written_mask_shows_to_every_row_cannot_leak() -> None:
    """A sequence of one position hides nothing."""
    case = Draw(av.load("retention")).case({"batch": 1, "heads": 1, "positions": 1}, seed=3)
    altered, given, _ = put("retention", case)
    assert altered.leaked(given, rng()) is None


def test_a_leaked_key_is_one_that_the_mask_hides() -> None:
    case = drawn("causal")
    altered, given, _ = put("causal", case)
    found, right = altered.leaked(given, rng()), altered.right(given)
    assert found is not None
    (row,) = np.argwhere((found["O"] != right["O"]).any(-1))
    fits = []
    for key in range(row[2] + 1, 7):
        seen = causal("causal").copy()
        seen[*row, key] = True
        fits.append(np.allclose(attention(case, seen), found["O"]))
    assert sum(fits) == 1


@pytest.mark.parametrize("name", ["global", "causal", "grouped_query", "cross"])
def test_one_dropped_key_changes_one_row(name: str) -> None:
    altered, given, _ = put(name, drawn(name))
    found, right = altered.dropped(given, rng()), altered.right(given)
    assert found is not None
    assert changed_rows(found["O"], right["O"]) == 1


def test_without_a_softmax_a_position_of_the_values_is_lost() -> None:
    altered, given, _ = put("linear", drawn("linear"))
    found, right = altered.dropped(given, rng()), altered.right(given)
    assert found is not None
    lost = ~found["dV"].any(-1) & right["dV"].any(-1)
    assert lost.sum() == 1
    assert changed_rows(found["O"], right["O"]) == 6


def test_a_missing_row_takes_its_share_from_every_gradient() -> None:
    """Gradients are linear in the cotangent: what is missing is the gradient of that row alone."""
    altered, given, rounding = put("causal", drawn("causal"))
    found, right = altered.without_row(given, rng()), altered.right(given)
    assert found is not None
    assert set(found) == {"dQ", "dK", "dV"}
    (row,) = np.argwhere((found["dQ"] != right["dQ"]).any(-1))
    alone = np.zeros_like(given.arrays["dO"])
    alone[*row] = given.arrays["dO"][*row]
    own = rounding.oracle(**{**given.arrays, "dO": alone}, sizes=given.sizes)
    for name, array in found.items():
        np.testing.assert_allclose(array + own[name].astype(float), right[name], atol=1e-12)


def test_what_there_is_no_place_for_is_none() -> None:
    altered, given, _ = put("global", drawn("global"))
    assert altered.leaked(given, rng()) is None
    one = Draw(av.load("causal")).case({}, seed=0)
    altered, given, _ = put("causal", one)
    assert altered.leaked(given, rng()) is None
    assert altered.dropped(given, rng()) is None
    forward = Altered(av.load("causal"))
    own = {name: one.arrays[name] for name in "QKV"}
    assert forward.without_row(Given(own, {}, one.sizes), rng()) is None
