"""Gathers, running totals and running products: values, gradients, what is drawn and proved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from attnverify import check, compile, gradient, verify  # noqa: A004  the fixed public name
from attnverify.algebra import derivative as derivatives
from attnverify.algebra.terms import Expr, Index, Total, total
from attnverify.errors import SpecError
from attnverify.exact import evaluate
from attnverify.inputs import Draw
from attnverify.inputs.entries import integer_range
from attnverify.notation import (
    Spec,
    axes,
    eq,
    floor_div,
    gather,
    integers,
    let,
    running_product,
    running_total,
    softmax,
    tensors,
    where,
)
from attnverify.provers.normal import prove_equal
from attnverify.provers.routes import routes
from attnverify.serial import from_json, to_json
from attnverify.verdict import Status

Array = npt.NDArray[Any]

batch, keys, pages, slots, time, value_dim = axes("batch keys pages slots time value_dim")
b, j, n, o, t, u, c = (batch["b"], keys["j"], pages["n"], slots["o"], time["t"], time["u"],
                       value_dim["c"])  # fmt: skip
x, y, K, P, H, O, S, A, V = tensors("x y K P H O S A V")
table, lengths, segments = integers("table lengths segments")


# ---- Gather

GATHER = Spec(
    "gathered", [K[n, c], table[b, j]], [let(O[b, j, c], gather(K[n, c], n, table[b, j]))], [O]
)
PAGED = Spec(
    "paged",
    [K[(n, o), c], table[b, j]],
    [let(O[b, j, c], gather(K[(n, o), c], (n, o), table[b, j]))],
    [O],
)
TABLE = np.array([[0, 3, 3], [2, -1, 4]])


def test_a_gather_is_a_look_up_and_zero_outside() -> None:
    values = np.random.default_rng(0).normal(size=(4, 2))
    due = np.zeros((2, 3, 2))
    for place in np.ndindex(2, 3):
        if 0 <= TABLE[place] < 4:
            due[place] = values[TABLE[place]]
    for oracle in (compile(GATHER), compile(GATHER, backend="autograd")):
        assert np.array_equal(oracle(K=values, table=TABLE)["O"], due)
    exact = evaluate(GATHER, {"K": values, "table": TABLE})["O"]
    assert np.array_equal(exact.astype(float), due)


def test_a_gather_on_a_product_place_counts_through_it() -> None:
    values = np.arange(12.0).reshape(6, 2)
    for arrays in ({"K": values, "table": np.array([[0, 5, 3]])},):
        spec = PAGED.replace(inputs=(*PAGED.inputs, x[o]))
        whole = {**arrays, "x": np.ones(2)}
        due = values[arrays["table"]]
        assert np.array_equal(compile(spec)(**whole)["O"], due)
        assert np.array_equal(evaluate(spec, whole)["O"].astype(float), due)


def test_a_position_may_be_a_scalar() -> None:
    spec = Spec("doubled", [x[n]], [let(y[j], gather(x[n], n, floor_div(j, 2)))], [y])
    spec = spec.replace(inputs=(x[n], V[j]))
    found = compile(spec)(x=np.array([5.0, 7]), V=np.zeros(5))["y"]
    assert found.tolist() == [5, 5, 7, 7, 0]


def test_its_gradient_adds_up_what_was_read() -> None:
    run = compile(gradient(GATHER, wrt="K"))
    cotangent = np.arange(12.0).reshape(2, 3, 2)
    found = run(K=np.ones((4, 2)), table=TABLE, dO=cotangent)["dK"]
    due = np.zeros((4, 2))
    for place in np.ndindex(2, 3):
        if 0 <= TABLE[place] < 4:
            due[TABLE[place]] += cotangent[place]
    assert np.array_equal(found, due)


def test_what_is_not_gathered_does_not_spoil_the_rest() -> None:
    values = np.ones((4, 2))
    values[1], values[3, 1] = np.nan, np.inf
    for spec in (GATHER, gradient(GATHER, wrt="K")):
        arrays = {"K": values, "table": TABLE, "dO": np.ones((2, 3, 2))}
        arrays = {entry.tensor.name: arrays[entry.tensor.name] for entry in spec.inputs}
        found = next(iter(compile(spec)(**arrays).values()))
        spoiled = np.argwhere(~np.isfinite(found)).tolist()
        assert spoiled == ([[0, 1, 1], [0, 2, 1]] if spec is GATHER else [])


NONSENSE: list[tuple[Callable[[], object], str]] = [
    (lambda: gather(K[n, c], j, table[b, j]), "index of the entry"),
    (lambda: gather(K[n, c], K, table[b, j]), "index of the entry"),  # type: ignore[arg-type]  # the case
    (lambda: gather(K[n, c], n, n + 1), "does not move with the index"),
    (lambda: gather(K[n, c], n, table[b, j] + n), "does not move with the index"),
    (lambda: gather(K[n, c], n, x[j]), "whole number"),
    (lambda: gather(K[n, c], n, 1.5), "whole number"),
    (lambda: gather(K[n, c], n, j / 2), "whole number"),
    (lambda: running_total(x[t], along=t, upto=t), "another index"),
    (lambda: running_total(x[t], along=t, upto=j), "another index"),
    (lambda: running_total(x[t], along=time, upto=t), "runs along an index"),  # type: ignore[arg-type]  # the case
    (lambda: running_product(P[t], x[t], along=u), "index of its left side"),
]


@pytest.mark.parametrize(("wrong", "words"), NONSENSE)
def test_nonsense_is_refused(wrong: Callable[[], object], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        wrong()


# ---- Running totals and products

TOTALS: list[tuple[Expr, Callable[[Array], Array]]] = [
    (running_total(x[u], along=u, upto=t), np.cumsum),
    (running_total(x[u], along=u, upto=t, strict=True), lambda a: np.cumsum(a) - a),
    (running_total(x[u] ** 2, along=u, upto=t), lambda a: np.cumsum(a**2)),
]


@pytest.mark.parametrize(("expr", "due"), TOTALS, ids=[str(e) for e, _ in TOTALS])
def test_running_totals(expr: Expr, due: Callable[[Array], Array]) -> None:
    spec = Spec("totals", [x[t]], [let(y[t], expr)], [y])
    values = np.random.default_rng(0).normal(size=6)
    assert np.allclose(compile(spec)(x=values)["y"], due(values), atol=1e-13)
    assert np.allclose(evaluate(spec, {"x": values})["y"].astype(float), due(values), atol=1e-13)
    assert all(v.status is Status.HELD for v in routes(spec, examples=6))


def test_the_gradient_of_a_running_total_runs_the_other_way() -> None:
    spec = Spec("totals", [x[t]], [let(y[t], TOTALS[0][0])], [y])
    assert str(gradient(spec).equation("dx")) == "dx[t] = sum_t' dy[t'] [t <= t']"


@pytest.mark.parametrize("reverse", [False, True])
def test_running_products(reverse: bool) -> None:
    spec = Spec("products", [x[t, c]], [running_product(P[t, c], x[t, c], t, reverse=reverse)], [P])
    values = np.random.default_rng(0).normal(size=(5, 2))
    values[2, 0] = values[1, 1] = values[3, 1] = 0  # with zeros too, where logarithms have no value
    due = np.cumprod(values[::-1], 0)[::-1] if reverse else np.cumprod(values, 0)
    assert np.allclose(compile(spec)(x=values)["P"], due, atol=1e-15)
    assert np.allclose(evaluate(spec, {"x": values})["P"].astype(float), due, atol=1e-15)
    assert all(v.status is Status.HELD for v in routes(spec, examples=6))

    found = compile(gradient(spec))(x=values, dP=np.ones((5, 2)))["dx"]
    moved = values.astype(complex)
    for place in np.ndindex(5, 2):
        moved[place] += 1e-30j  # a step along the imaginary axis loses no digit
        products = np.cumprod(moved[::-1], 0) if reverse else np.cumprod(moved, 0)
        assert np.isclose(found[place], products.imag.sum() / 1e-30, atol=1e-12)
        moved[place] = values[place]


def test_json_keeps_them() -> None:
    spec = Spec(
        "products", [x[t]], [running_product(P[t], x[t], t), let(y[t], TOTALS[1][0])], [P, y]
    )
    for kept in (spec, GATHER, PAGED):
        assert from_json(to_json(kept)) == kept


# ---- A broken derivative is seen by another route


def test_a_gather_that_scatters_wrongly_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = GATHER
    assert all(v.status is Status.HELD for v in routes(spec, examples=6))
    original = derivatives._total_partials

    def without_the_mask(expr: Total, factor: Expr, bound: tuple[Index, ...]) -> Any:
        return original(Total(K[n, c], expr.over), factor, bound)

    monkeypatch.setattr(derivatives, "_total_partials", without_the_mask)
    found = {v.name: v.status for v in routes(spec, examples=6)}
    assert found["gradient: derived = autograd"] is Status.REFUTED
    assert found["gradient: derived = exact differences"] is Status.REFUTED


# ---- What is drawn


def reads(*equations: Any, inputs: Any = ()) -> Spec:
    """A spec with these equations."""
    return Spec("reads", [x[j], *inputs], list(equations), [e.head.tensor.name for e in equations])


RANGES = [
    (GATHER, "table", (0, 4)),  # positions of five pages
    (PAGED, "table", (0, 5 * 2 - 1)),
    (reads(let(y[b], gather(x[j], j, table[b] - 1)), inputs=[table[b]]), "table", (0, 6)),
    (reads(let(y[b], x_total := total(x[j] * where(j < lengths[b]), j)), inputs=[lengths[b]]),
     "lengths", (1, 7)),
    (reads(let(y[b], x_total * gather(x[j], j, lengths[b] - 1)), inputs=[lengths[b]]),
     "lengths", (1, 7)),
    (reads(let(y[j], x[j] * where(eq(segments[j], segments[j]))), inputs=[segments[j]]),
     "segments", (1, 7)),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "name", "due"), RANGES, ids=lambda case: str(case)[:12])
def test_integers_are_drawn_where_they_mean_something(
    spec: Spec, name: str, due: tuple[int, int]
) -> None:
    sizes = {"batch": 3, "keys": 7, "pages": 5, "slots": 2, "value_dim": 1}
    sizes = {axis.name: sizes[axis.name] for axis in spec.axes}
    assert integer_range(spec, name, sizes) == due


def test_all_positions_are_drawn() -> None:
    draw = Draw(GATHER)
    sizes = {"batch": 3, "keys": 7, "pages": 5}
    seen = {int(v) for k in range(8) for v in draw.case(sizes, seed=k).arrays["table"].ravel()}
    assert seen == set(range(5))


# ---- A cache read through a table, judged and verified


def cache() -> Spec:
    """Softmax attention of one query over keys that are read through a table."""
    return Spec(
        "cache",
        [x[b, c], K[n, c], V[n, c], table[b, j]],
        [
            let(P[b, j, c], gather(K[n, c], n, table[b, j])),
            let(H[b, j, c], gather(V[n, c], n, table[b, j])),
            let(S[b, j], total(x[b, c] * P[b, j, c], c)),
            let(A[b, j], softmax(S[b, j], j)),
            let(O[b, c], total(A[b, j] * H[b, j, c], j)),
        ],
        [O],
    )


def read(x: Array, K: Array, V: Array, table: Array) -> Array:
    """The same with NumPy's own indexing."""
    scores = np.einsum("bc,bjc->bj", x, K[table])
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return np.asarray(np.einsum("bj,bjc->bc", weights, V[table]))


def read_next(x: Array, K: Array, V: Array, table: Array) -> Array:
    """A look-up that is off by one in the values."""
    return read(x, K, np.roll(V, 1, 0), table)


def test_a_look_up_is_judged() -> None:
    assert check(read, cache(), dtypes=("float64",), cases=6).ok
    report = check(read_next, cache(), dtypes=("float64",), cases=6, explain=False)
    assert any(v.status is Status.REFUTED for v in report.verdicts)


def test_a_cache_is_verified() -> None:
    report = verify(cache(), examples=6)
    unexpected = [v for v in report.verdicts if v.status is Status.REFUTED and not v.expected]
    assert [v.name for v in unexpected] in ([], ["permutation equivariance"])
    assert "rows sum to one" in {v.name for v in report.verdicts if v.status is Status.PROVED}


def test_what_is_gathered_is_no_more_than_is_there() -> None:
    ones = let(y[n], x[n] * 0 + 1)
    spec = Spec("ones", [x[n], table[b]], [ones, let(O[b], gather(y[n], n, table[b]))], [O])
    once = where(table[b] >= 0) * where(table[b] < pages.size)
    assert prove_equal(spec, O[b], once).proved
    assert not prove_equal(spec, O[b], where(table[b] >= 0)).proved
    assert not prove_equal(spec, O[b], where(eq(table[b], table[b]))).proved
