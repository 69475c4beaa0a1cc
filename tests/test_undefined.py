"""What is undefined: NaN in its own rows, no others, and no gradient; equal to itself alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from attnverify import compile, gradient, tangent  # noqa: A004  the fixed public name
from attnverify.algebra.terms import ONE, ZERO, Expr
from attnverify.compare import Due, judge, within
from attnverify.compile.pairs import Arithmetic
from attnverify.compile.run import run
from attnverify.errors import AttnverifyError
from attnverify.exact import Valuation, difference, evaluate
from attnverify.notation import (
    Spec,
    axes,
    booleans,
    eq,
    exp,
    let,
    log,
    previous,
    recur,
    softmax,
    tensors,
    total,
    undefined,
    where,
)
from attnverify.provers.normal import prove_equal
from attnverify.provers.routes import routes
from attnverify.provers.sampled import sampled
from attnverify.rounding import Rounding
from attnverify.serial import from_json, to_json
from attnverify.statement import Statement
from attnverify.verdict import Status

queries, keys, value_dim = axes("queries keys value_dim")
i, j, c = queries["i"], keys["j"], value_dim["c"]
S, A, V, X, H, O, R = tensors("S A V X H O R")
(mask,) = booleans("mask")
seen = total(where(mask[i, j]), j)
empty = eq(seen, 0)

ROWS = Spec(
    "rows",
    [S[i, j], V[j, c], mask[i, j]],
    [
        let(A[i, j], softmax(S[i, j], j, mask[i, j])),
        let(O[i, c], where(empty, undefined(), total(A[i, j] * V[j, c], j))),
    ],
    [O],
)
MASK = np.array([[True, True, False], [False] * 3, [False, True, True], [True] * 3])


def arrays(seed: int = 0) -> dict[str, Any]:
    """Arrays of four queries, of which the second sees no key."""
    rng = np.random.default_rng(seed)
    return {"S": rng.standard_normal((4, 3)), "V": rng.standard_normal((3, 2)), "mask": MASK}


def test_it_is_nan_in_its_rows_and_in_no_other() -> None:
    due = evaluate(ROWS, arrays())["O"].astype(float)
    found = compile(ROWS)(**arrays())["O"]
    sizes = {"queries": 4, "keys": 3, "value_dim": 2}
    stepped = run(compile(ROWS).recipe, arrays(), sizes, {})["O"]
    for got in (due, found, stepped):
        assert np.isnan(got).tolist() == [[False] * 2, [True] * 2, [False] * 2, [False] * 2]
    assert within("O", found, due, 1e-14).status is Status.HELD
    assert compile(ROWS, backend="autograd")(**arrays())["O"].shape == (4, 2)


def test_gradients_are_finite_and_zero_from_its_rows() -> None:
    given = {**arrays(), "dO": np.ones((4, 2))}
    for found in compile(gradient(ROWS))(**given).values():
        assert np.isfinite(found).all()
    assert (compile(gradient(ROWS))(**given)["dS"][1] == 0).all()
    moves = {"tS": np.ones((4, 3)), "tV": np.ones((3, 2))}
    assert (compile(tangent(ROWS))(**arrays(), **moves)["tO"][1] == 0).all()


@pytest.mark.parametrize("order", [1, 2])
def test_the_three_routes_agree(order: int) -> None:
    assert {v.status for v in routes(ROWS, examples=8, order=order)} == {Status.HELD}


def test_a_difference_of_what_is_undefined_is_zero_and_of_what_becomes_so_is_not() -> None:
    slopes = difference(ROWS, arrays(), {"V": np.ones((3, 2))})["O"].astype(float)
    assert slopes[1].tolist() == [0, 0]
    assert np.allclose(slopes[0], 1)
    edge = Spec("edge", [X[i]], [let(O[i], where(X[i] > 0, undefined(), X[i]))], [O])
    assert np.isnan(difference(edge, {"X": [0]}, {"X": [1]})["O"].astype(float)[0])


# Each reads an undefined value where a predicate does not hold: 0 times NaN would spread.
SELECTED: dict[str, Expr] = {
    "alone": where(~empty, O[i, c]),
    "in a product": where(~empty, S[i, j] * O[i, c] * V[j, c]),
    "beside an exponential": where(~empty, exp(S[i, j]) * O[i, c]),
    "in an exponential": where(~empty, exp(O[i, c]) * V[j, c]),
    "in a quotient": where(~empty, S[i, j] / O[i, c]),
    "in a logarithm": where(~empty, log(O[i, c] ** 2) * V[j, c]),
    "in a sum with its size": where(~empty, (O[i, c] + undefined() * 0 + 1) * 0 + V[j, c]),
}


@pytest.mark.parametrize("name", SELECTED)
def test_what_is_selected_away_does_not_spread(name: str) -> None:
    spec = ROWS.replace(
        equations=(*ROWS.equations, let(R[i, j, c], SELECTED[name])), outputs=("R",)
    )
    due = evaluate(spec, arrays())["R"].astype(float)
    found = compile(spec)(**arrays())["R"]
    assert not np.isnan(due[1]).any()
    assert within("R", found, due, 1e-12).status is Status.HELD


def test_multiplying_where_a_selection_is_due_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    body = SELECTED["in a product"]
    spec = ROWS.replace(equations=(*ROWS.equations, let(R[i, j, c], body)), outputs=("R",))
    monkeypatch.setattr(Arithmetic, "_loose", lambda _self, _value: False)
    due = evaluate(spec, arrays())["R"].astype(float)
    assert within("R", compile(spec)(**arrays())["R"], due, 1e-12).status is Status.REFUTED


def test_a_state_that_is_undefined_is_selected_too() -> None:
    t = axes("time")[0]["t"]
    step = let(H[t], previous(H[t]) + X[t])
    read = let(O[t], where(X[t] > 0, H[t] * X[t], X[t]))
    spec = Spec(
        "steps", [X[t]], [recur(along=t, initial={H: undefined()}, steps=[step]), read], [O]
    )
    found = compile(spec)(X=np.array([1.0, -1.0, 2.0]))["O"]
    due = evaluate(spec, {"X": [1, -1, 2]})["O"].astype(float)
    assert np.isnan(due).tolist() == np.isnan(found).tolist() == [True, False, True]


def test_a_masked_nan_among_the_inputs_stays_out_of_it() -> None:
    given = arrays()
    given["S"][2, 0] = np.nan  # masked
    given["S"][3, 0] = np.inf  # seen
    found = compile(ROWS)(**given)["O"]
    assert np.isnan(found[:, 0]).tolist() == [False, True, False, True]


def test_the_comparison_takes_nan_for_nan_alone() -> None:
    due = Due(np.array([1.0, np.nan]), np.array([1e-9, 0.0]), ("keys",))
    cases = [([1, np.nan], Status.HELD), ([1, 0], Status.REFUTED), ([np.nan] * 2, Status.REFUTED)]
    for got, status in cases:
        assert judge("O", np.array(got, float), due).status is status
    assert judge("O", np.array([1.0, np.inf]), due).status is Status.REFUTED


def test_a_bound_leaves_out_what_is_undefined() -> None:
    due = Rounding(ROWS, "float32").expected(arrays(), {}).dues["O"]
    assert np.isnan(due.value[1]).all()
    assert np.isfinite(due.sigma).all()
    assert (due.sigma[[0, 2, 3]] > 0).all()
    right = due.value.astype(np.float32)
    assert judge("O", right, due).status is Status.HELD
    assert judge("O", np.nan_to_num(right), due).status is Status.REFUTED


STATEMENTS: dict[str, tuple[str, Expr, Expr, Status]] = {
    "itself": ("equal", O[i, c], O[i, c], Status.HELD),
    "twice itself": ("equal", O[i, c], 2 * O[i, c], Status.REFUTED),
    "a number": ("equal", where(empty, O[i, c], 1), ONE, Status.REFUTED),
    "less itself": ("equal", O[i, c] - O[i, c], ZERO, Status.REFUTED),
    "a square": ("sign", O[i, c] ** 2, ZERO, Status.REFUTED),
    "a bound": ("bound", O[i, c], O[i, c] + 1, Status.REFUTED),
    "nothing else": ("equal", undefined(), 2 * undefined(), Status.UNDECIDED),
    "the weights": ("sign", A[i, j], ZERO, Status.HELD),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_about_it_is_not_held_by_accident(name: str) -> None:
    kind, left, right, status = STATEMENTS[name]
    assert sampled(Statement(name, kind, ROWS, left, right)).status is status


def test_a_statement_holds_where_its_hypotheses_leave_out_what_is_undefined() -> None:
    mean = total(A[i, j] * V[j, c], j)
    plain = Statement("plain", "equal", ROWS, O[i, c], mean)
    assert sampled(plain).status is Status.REFUTED
    given = Statement("given", "equal", ROWS, O[i, c], mean, (seen > 0,))
    assert sampled(given).status is Status.HELD


def test_in_proofs_it_is_one_number_nobody_knows() -> None:
    assert prove_equal(ROWS, undefined() * 2, undefined() + undefined()).proved
    for other in (ZERO, ONE, 2 * undefined(), undefined() ** 2, S[i, j]):
        assert not prove_equal(ROWS, undefined(), other).proved
    (named,) = tensors("undefined")
    spec = Spec("named", [named[()]], [let(O[()], named[()] * 2)], [O])
    assert not prove_equal(spec, undefined(), named[()]).proved
    assert not prove_equal(ROWS, where(empty, undefined()), ZERO).proved


def test_it_is_printed_and_read_again() -> None:
    assert "undefined()" in str(ROWS)
    assert r"\operatorname{undefined}" in ROWS.latex()[1]
    assert from_json(to_json(ROWS)) == ROWS
    with pytest.raises(AttnverifyError, match="not rational"):
        Valuation({}, {}, rational=True).value(undefined())
