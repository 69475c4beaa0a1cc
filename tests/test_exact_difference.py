"""Differences of the exact interpreter: the third route to a gradient."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest

from attnverify.errors import AttnverifyError, ParameterError, ShapeError
from attnverify.exact import difference, evaluate
from attnverify.library import load
from attnverify.notation import (
    exp,
    relu,
)
from tests.drawn import (
    arrays,
    check_arrays_close,
    check_close,
    extent,
    inner,
    moves,
    parameters,
)
from tests.members import MEMBERS, TITLES
from tests.trials import ONE_ROW, X, of

# ---- Differences


@pytest.mark.parametrize("title", TITLES)
def test_differences_are_linear_in_the_direction(title: str) -> None:
    spec = MEMBERS[title]
    rng = np.random.default_rng(6)
    given, u, v = arrays(spec, rng), moves(spec, rng), moves(spec, rng)
    both = {name: u[name] - 2 * v[name] for name in u}
    out = spec.outputs[0]
    sizes, values = extent(spec), parameters(spec)
    along = [difference(spec, given, d, values, sizes=sizes)[out] for d in (u, v, both)]
    check_arrays_close(along[2], along[0] - 2 * along[1], digits=14)


def test_a_difference_is_the_slope_to_thirty_digits() -> None:
    spec = of(exp(X[()] ** 2), X[()])
    found = difference(spec, {"X": 0.75}, {"X": 1})["Y"]
    assert found.shape == ()
    with mpmath.workdps(50):
        check_close(found[()], 1.5 * mpmath.exp(mpmath.mpf("0.5625")), digits=28)
    finer = difference(spec, {"X": 0.75}, {"X": 1}, precision=100)["Y"][()]
    with mpmath.workdps(100):
        check_close(finer, 1.5 * mpmath.exp(mpmath.mpf("0.5625")), digits=58)


def test_at_a_kink_a_difference_is_the_mean_of_both_slopes() -> None:
    found = difference(of(relu(X[()]), X[()]), {"X": 0}, {"X": 1})["Y"]
    check_close(found[()], 0.5, digits=40)


def test_what_is_not_moved_stays() -> None:
    spec = load("global")
    given = arrays(spec, np.random.default_rng(7))
    one = difference(spec, given, {"V": given["V"]})["O"]
    check_arrays_close(one, evaluate(spec, given)["O"], digits=28)
    assert inner(difference(spec, given, {})["O"], one) == 0


def test_a_wrong_direction_is_told_in_words() -> None:
    given: dict[str, Any] = {**ONE_ROW, "mask": [[[[True, True]]]]}
    spec = load("masked")
    for name in ("mask", "P"):
        with pytest.raises(ParameterError, match="belongs to a real input"):
            difference(spec, given, {name: [[[[1.0]]]]})
    with pytest.raises(ShapeError, match="another shape than its input") as caught:
        difference(spec, given, {"Q": [[[[1.0, 2.0]]]]})
    assert caught.value.parts["array"] == "Q"
    with pytest.raises(AttnverifyError, match="finite number"):
        difference(spec, given, {"Q": [[[[float("inf")]]]]})
