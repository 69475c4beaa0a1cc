"""The exact interpreter: values by hand, sizes solved and disputed, recurrences, differences."""

from __future__ import annotations

import ast
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy

from attnverify.algebra.terms import (
    Entry,
    Expr,
    Indicator,
    Scalar,
    Tensor,
)
from attnverify.errors import AttnverifyError
from attnverify.exact import Valuation, evaluate
from attnverify.library import load
from attnverify.notation import (
    eq,
    exp,
    let,
    log,
    previous,
    recur,
    relu,
    softmax,
    sqrt,
    total,
    where,
)
from attnverify.spec import Spec
from tests.drawn import SIZES, arrays, check_arrays_close, check_close, parameters
from tests.house import ROOT
from tests.trials import ONE_ROW, H, N, W, X, Y, Z, j, keys, l, t, value

# ---- Values


def reference(q: Any, k: Any, v: Any, seen: Any) -> Any:
    """Softmax attention in NumPy, rows without keys 0."""
    scores = np.where(seen, np.einsum("bhik,bhjk->bhij", q, k) / np.sqrt(q.shape[-1]), -np.inf)
    weights = np.where(seen, np.exp(scores), 0.0)
    sums = weights.sum(-1, keepdims=True)
    shares = np.divide(weights, sums, out=np.zeros_like(weights), where=sums > 0)
    return np.einsum("bhij,bhjc->bhic", shares, v)


MASKED = {
    "global": None,
    "causal": lambda i, j: j <= i,
    "sliding_window": lambda i, j: (j <= i) & (j > i - 2),
}


@pytest.mark.parametrize(("name", "sees"), MASKED.items())
def test_attention_is_what_numpy_computes(name: str, sees: Callable[..., Any] | None) -> None:
    spec = load(name)
    given = arrays(spec, np.random.default_rng(1))
    rows, columns = np.indices((SIZES["queries"], SIZES["keys"]))
    seen = np.ones(rows.shape, dtype=bool) if sees is None else sees(rows, columns)
    found = evaluate(spec, given, parameters(spec))["O"].astype(float)
    due = reference(given["Q"], given["K"], given["V"], seen)
    np.testing.assert_array_almost_equal_nulp(found, due, nulp=64)


def test_rows_without_keys_are_zero() -> None:
    given: dict[str, Any] = {**ONE_ROW, "mask": [[[[False, False]]]]}
    found = evaluate(load("masked"), given, names=["A", "O"])
    assert found["A"].tolist() == [[[[0, 0]]]]
    assert found["O"].tolist() == [[[[0]]]]


def test_scores_far_apart_lose_nothing() -> None:
    """A shift of every score by a million changes no digit that is kept."""
    far = {**ONE_ROW, "Q": [[[[1e6]]]], "K": [[[[1.0], [1.0 - 2**-20]]]]}
    weights = evaluate(load("global"), far, names=["A"])["A"][0, 0, 0]
    with mpmath.workdps(50):
        check_close(
            weights[1], 1 / (1 + mpmath.exp(mpmath.mpf(10) ** 6 * mpmath.mpf(2) ** -20)), 40
        )


EXACT: dict[str, tuple[Expr, Any, object]] = {
    "a sum": (total(X[j], j), [1, 2, 3], 6),
    "a product of halves": (total(X[j] * X[j], j), [0.5, 1.5, 0], Fraction(5, 2)),
    "the float 0.1": (total(X[j], j), [0.1, 0, 0], Fraction(0.1)),
    "a fraction": (total(X[j], j) / 7, [Fraction(1, 3), 0, 0], Fraction(1, 21)),
    "an inverse": (total(1 / X[j], j), [2, 4, -4], Fraction(1, 2)),
    "an inverse of zero": (total(1 / X[j], j), [0, 2, 0], Fraction(1, 2)),
    "zero over zero": (total(X[j] / X[j], j), [0, 2, 5], 2),
    "a negative power of zero": (total(X[j] ** -2, j), [0, 2, 0], Fraction(1, 4)),
    "a square root": (sqrt(total(X[j] ** 2, j)), [3, 4, 0], 5),
    "a root of a fraction": (total(X[j], j) ** Fraction(-3, 2), [0.25, 0, 0], 8),
    "a size": (total(X[j], j) * keys.size, [1, 1, 1], 9),
    "a position": (total(X[j] * j, j), [5, 7, 9], 25),
    "a power of a position": (total(X[j] * (j + 1) ** 2, j), [1, 1, 1], 14),
    "an indicator": (total(X[j] * where(j >= 1), j), [5, 7, 9], 16),
    "a comparison of entries": (total(where(X[j] > X[l]), [j, l]), [1, 2, 2], 2),
    "a tie": (total(where(eq(X[j], X[l])), [j, l]), [1, 2, 2], 5),
    "nested sums over one name": (total(X[j] * total(X[j], j), j), [1, 2, 3], 36),
    "a sum over another name": (total(X[j] * total(X[l] * where(l < j), l), j), [1, 2, 3], 11),
    "relu": (total(relu(X[j]), j), [-1, 0, 2], 2),
    "a positive power of zero": (total(X[j], j) ** Fraction(1, 2), [0, 0, 0], 0),
}  # fmt: skip


@pytest.mark.parametrize(("body", "given", "due"), EXACT.values(), ids=EXACT)
def test_what_is_rational_is_exact(body: Expr, given: Any, due: object) -> None:
    found = value(body, {"X": given}, X[j], rational=True)
    assert (found, type(found)) == (due, Fraction)
    check_close(value(body, {"X": given}, X[j]), mpmath.mpf(0) + due, digits=14)


def test_high_precision_has_the_digits_asked_for() -> None:
    for digits in (20, 50, 200):
        found = value(exp(X[()]), {"X": 1}, X[()], precision=digits)
        with mpmath.workdps(digits + 10):
            check_close(found, mpmath.e, digits - 1)


def test_constants_of_derivatives_are_known() -> None:
    pi = Scalar(2 / sympy.sqrt(sympy.pi))
    with mpmath.workdps(50):
        check_close(Valuation({}, {}).value(pi), 2 / mpmath.sqrt(mpmath.pi), 45)


def test_the_logarithm_of_zero_is_minus_infinity() -> None:
    assert value(log(X[()]), {"X": 0}, X[()]) == -mpmath.inf
    assert value(exp(log(X[()])), {"X": 0}, X[()]) == 0


def test_an_indicator_keeps_out_what_is_not_finite() -> None:
    """A product is 0 where an indicator is, also beside log 0 or an infinite input."""
    body = total(where(j >= 1) * log(X[j]), j)
    assert value(body, {"X": [0, 1, 1]}, X[j]) == 0
    assert value(total(where(j >= 1) * X[j], j), {"X": [float("inf"), 1, 1]}, X[j]) == 2


def test_an_infinite_bias_masks() -> None:
    given: dict[str, Any] = {**ONE_ROW, "bias": [[[[float("-inf"), 0.5]]]]}
    found = evaluate(load("biased"), given, names=["A"])
    assert found["A"].tolist() == [[[[0, 1]]]]


def test_intermediate_tensors_are_given_by_name() -> None:
    found = evaluate(load("global"), ONE_ROW, names=["S", "Q", "O"])
    assert list(found) == ["S", "Q", "O"]
    assert found["S"].tolist() == [[[[0, 1]]]]
    assert found["Q"].tolist() == [[[[1]]]]
    with pytest.raises(AttnverifyError, match="no such tensor") as caught:
        evaluate(load("global"), ONE_ROW, names=["P"])
    assert caught.value.parts["due"] == "Q, K, V, S, A, L, O"


def test_axes_may_be_empty() -> None:
    assert value(total(X[j], j), {"X": []}, X[j]) == 0
    assert evaluate(Spec("s", [X[j]], [let(Y[j], softmax(X[j], j))], [Y]), {"X": []})[
        "Y"
    ].shape == (0,)


# ---- Recurrences


@pytest.mark.parametrize(("reverse", "due"), [(False, [11, 23, 49]), (True, [95, 46, 21])])
def test_a_recurrence_runs_step_by_step(reverse: bool, due: list[int]) -> None:
    steps = [let(H[t], 2 * previous(H[t]) + X[t])]
    spec = Spec(
        "r", [X[t], N[()]], [recur(along=t, initial={H: N[()]}, steps=steps, reverse=reverse)], [H]
    )
    found = evaluate(
        spec, {"X": [1, 1, 3], "N": 5} if not reverse else {"X": [3, 4, 11], "N": 5}, rational=True
    )
    assert found["H"].tolist() == due


def test_coupled_states_read_the_step_before() -> None:
    """Fibonacci: one state's step reads the other's present value, the other its former one."""
    spec = Spec(
        "fibonacci",
        [X[t, j]],
        [
            recur(
                along=t,
                initial={H: 0, N: 1},
                steps=[
                    let(Z[t, j], previous(H[t, j]) + previous(N[t, j])),
                    let(H[t, j], previous(N[t, j]) * X[t, j]),
                    let(N[t, j], Z[t, j]),
                ],
            ),
            let(Y[j], total(N[t, j], t)),
        ],
        [N, Y],
    )
    found = evaluate(spec, {"X": np.ones((5, 1))}, rational=True)
    assert found["N"][:, 0].tolist() == [1, 2, 3, 5, 8]
    assert found["Y"].tolist() == [19]


def test_a_step_reads_other_places_of_the_step_before() -> None:
    steps = [let(H[t, j], total(W[j, l] * previous(H[t, l]), l))]
    spec = Spec("m", [W[j, l], Z[j], X[t]], [recur(along=t, initial={H: Z[j]}, steps=steps)], [H])
    given = {"W": [[0, 1], [1, 1]], "Z": [1, 1], "X": [0, 0, 0]}
    assert evaluate(spec, given, rational=True)["H"].tolist() == [[1, 2], [2, 3], [3, 5]]


def test_the_two_forms_of_linear_attention_are_equal() -> None:
    spec = load("linear", causal=True, form="recurrent")
    given = arrays(spec, np.random.default_rng(2))
    parallel = load("linear", causal=True, form="parallel")
    check_arrays_close(evaluate(spec, given)["O"], evaluate(parallel, given)["O"], digits=45)


# ---- The wall


def test_the_interpreter_knows_neither_compiler_nor_transforms_nor_rewrites() -> None:
    for path in (ROOT / "attnverify" / "exact").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            assert not module.startswith(("attnverify.compile", "attnverify.transforms"))
            assert module not in ("attnverify.algebra.rewrite", "attnverify.algebra.derivative")


def test_an_indicator_is_a_number() -> None:
    assert Valuation({"keys": 2}, {}).value(Indicator(j <= 0) + 1, {j: 0}) == 2
    assert Valuation({"keys": 2}, {"s": 3}).value(Entry(Tensor("s"), ())) == 3
