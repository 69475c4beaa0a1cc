"""Autograd through compiled specs: slopes of broadcast branches, ties and zeros are ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np
import pytest

from attnverify import compile, gradient  # noqa: A004  the fixed public name
from attnverify.algebra.terms import Expr
from attnverify.compare import require
from attnverify.compile import traced
from attnverify.notation import (
    Spec,
    axes,
    larger,
    let,
    log,
    relu,
    smaller,
    sqrt,
    stop_gradient,
    tensors,
    total,
    where,
)
from tests.test_compile import _due

rows, columns = axes("rows columns")
i, j = rows["i"], columns["j"]
X, Y, W, O = tensors("X Y W O")
x, y = X[i], Y[j]

# Each is read at zeros, ties, and branches smaller than the result.
FORMS: dict[str, Callable[[], Expr]] = {
    "the larger of two axes": lambda: larger(x, y),
    "the smaller of two axes": lambda: smaller(x, y),
    "a branch of one row": lambda: where(x < y, x, y),
    "a selected row": lambda: where(y > 0, x),
    "a tie with a number": lambda: larger(x, 0) * y,
    "a kink": lambda: relu(x - y),
    "a root at zero": lambda: where(x > 0, sqrt(x * x)) * y,
    "a root of zero": lambda: sqrt(relu(x)) * y,
    "a fourth root at zero": lambda: where(x > 0, (x * x) ** 0.25) * y,
    "a power at zero": lambda: relu(x) ** 1.5 * y**3,
    "a small power at zero": lambda: relu(x) ** 0.25 * y,
    "an inverse at zero": lambda: y / x,
    "an inverse power at zero": lambda: y / relu(x) ** 1.5,
    "a logarithm at zero": lambda: where(x > 0, log(x * x)) * y,
    "what is held constant": lambda: stop_gradient(larger(x, y)) * x,
}
ARRAYS = {"X": np.array([0.0, 1.0, 2.0, -1.0]), "Y": np.array([1.0, 0.0, 2.5])}


def by_autograd(spec: Spec, arrays: dict[str, Any], weights: Any) -> dict[str, Any]:
    """The gradient of the weighted sum of the output by autograd."""
    forward = compile(spec, backend="autograd")
    with np.errstate(all="ignore"):
        found: dict[str, Any] = autograd.grad(
            lambda given: anp.sum(forward(**given)["O"] * weights)
        )(arrays)
    return found


def spec_of(body: Expr) -> Spec:
    """A spec whose output is the body at every place."""
    return Spec("form", [x, y], [let(W[i, j], body), let(O[i], total(W[i, j], j))], [O])


@pytest.mark.parametrize("name", FORMS)
def test_autograd_and_the_derived_gradient_agree_at_kinks_and_zeros(name: str) -> None:
    spec = spec_of(FORMS[name]())
    weights = np.array([1.0, -2.0, 0.5, 3.0])
    derived = compile(gradient(spec))(**ARRAYS, dO=weights)
    for wanted, value in by_autograd(spec, ARRAYS, weights).items():
        require(name, value, _due(derived[f"d{wanted}"], 1e-12))
        assert np.isfinite(value).all()


@pytest.mark.parametrize("name", ["a root at zero", "a fourth root at zero", "a logarithm at zero"])
def test_a_rule_of_the_library_gives_nan_where_ours_gives_zero(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(traced.NAMES, "np", anp)
    assert np.isnan(by_autograd(spec_of(FORMS[name]()), ARRAYS, np.ones(4))["X"]).any()


def test_the_library_loses_the_gradient_of_a_branch_that_is_broadcast(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = Spec("sum", [x, y], [let(O[i], total(larger(y, x), j))], [O])

    def slope() -> Any:
        forward = compile(spec, backend="autograd")
        return autograd.grad(lambda v: anp.sum(forward(X=v, Y=ARRAYS["Y"])["O"]))(ARRAYS["X"])

    due = compile(gradient(spec))(**ARRAYS, dO=np.ones(4))["dX"]
    require("dX", slope(), _due(due, 1e-12))
    monkeypatch.setitem(traced.NAMES, "np", anp)
    assert slope().shape != due.shape
