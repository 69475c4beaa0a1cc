"""Axes whose size is declared: fixed, or the sum of two; every reader of sizes goes by it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnverify import check, compile, gradient  # noqa: A004  the fixed public name
from attnverify.algebra.sizes import completed, fitted, joined
from attnverify.algebra.terms import Axis, Expr
from attnverify.compile.sizes import bind
from attnverify.errors import ParameterError, ShapeError, SpecError
from attnverify.exact import evaluate
from attnverify.inputs import Draw, cases
from attnverify.inputs.sizes import supported
from attnverify.notation import (
    Spec,
    axes,
    axis,
    concatenate,
    concatenated,
    eq,
    let,
    softmax,
    tensors,
    total,
    where,
)
from attnverify.provers import draws
from attnverify.provers.normal import prove_equal
from attnverify.provers.routes import routes
from attnverify.serial import from_json, to_json
from attnverify.statement import Statement
from attnverify.verdict import Status
from attnverify.verify import exact_cases, verify
from tests.drawn import check_arrays_close

Array = npt.NDArray[Any]

batch, queries, past, new, pair, value_dim = axes("batch queries past new pair value_dim")
side, keys = axis("side", size=2), concatenated("keys", past, new)
b, i, p, n, l = batch["b"], queries["i"], past["p"], new["n"], keys["l"]
r, s, c = pair["r"], side["s"], value_dim["c"]
x, y, X, Q, K, V, S, A, O = tensors("x y X Q K V S A O")
K_old, K_new, V_old, V_new = tensors("K_old K_new V_old V_new")

CACHE = Spec(
    "cache",
    [Q[b, i, (r, s)], K_old[b, p, (r, s)], K_new[b, n, (r, s)], V_old[b, p, c], V_new[b, n, c]],
    [
        let(K[b, l, (r, s)], concatenate(l, K_old[b, p, (r, s)], K_new[b, n, (r, s)])),
        let(V[b, l, c], concatenate(l, V_old[b, p, c], V_new[b, n, c])),
        let(S[b, i, l], total(Q[b, i, (r, s)] * K[b, l, (r, s)], over=[r, s])),
        let(A[b, i, l], softmax(S[b, i, l], l, where=l <= i + keys.size - queries.size)),
        let(O[b, i, c], total(A[b, i, l] * V[b, l, c], over=l)),
    ],
    [O],
)
FREE = {"batch": 2, "queries": 3, "past": 4, "new": 3, "pair": 2, "value_dim": 1}
SIZES = {**FREE, "side": 2, "keys": 7}


def drawn(seed: int = 0) -> dict[str, Array]:
    """Arrays for the cache."""
    rng = np.random.default_rng(seed)
    shapes = {"Q": (2, 3, 4), "K_old": (2, 4, 4), "K_new": (2, 3, 4), "V_old": (2, 4, 1),
              "V_new": (2, 3, 1)}  # fmt: skip
    return {name: rng.normal(size=due) for name, due in shapes.items()}


def attend(Q: Array, K_old: Array, K_new: Array, V_old: Array, V_new: Array) -> Array:
    """The cache as people write it."""
    K, V = np.concatenate([K_old, K_new], 1), np.concatenate([V_old, V_new], 1)
    scores = np.einsum("bik,blk->bil", Q, K)
    rows, columns = np.indices(scores.shape[1:])
    scores = np.where(columns <= rows + K.shape[1] - Q.shape[1], scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(weights / weights.sum(-1, keepdims=True) @ V)


# ---- Declarations


WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: axis("side", size=0), "whole number of positions"),
    (lambda: axis("side", size=2.0), "whole number of positions"),  # type: ignore[arg-type]  # the case
    (lambda: axis("side", size=True), "whole number of positions"),
    (lambda: concatenated("keys", past, past), "two other axes"),
    (lambda: concatenated("past", past, new), "two other axes"),
    (lambda: concatenated("keys", past, Axis("new", (pair, side))), "two other axes"),
    (lambda: concatenate(p, x[p], y[n]), "index of a concatenated axis"),
    (lambda: concatenate(l, x[n], y[n]), "one index of their axis"),
    (lambda: concatenate(l, X[p, past["q"]], y[n]), "one index of their axis"),
    (lambda: Spec("two", [x[s], y[axis("side", 3)["s"]]], [], ["x"]), "two sizes"),
    (lambda: joined([keys, concatenated("keys", new, past)]), "two sizes"),
    (lambda: joined([keys, axis("keys", 3)]), "two sizes"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "words"), WRONG)
def test_a_declaration_that_makes_no_sense_is_refused(
    wrong: Callable[[], object], words: str
) -> None:
    with pytest.raises(SpecError, match=words):
        wrong()


def test_an_axis_made_from_a_name_alone_takes_the_declaration() -> None:
    found = joined([Axis("side"), side, Axis("keys"), keys, Axis("past")])
    assert [a.name for a in found] == ["side", "keys", "past", "new"]
    assert [a.declaration for a in found] == ["2", "past + new", "", ""]
    assert side == Axis("side")
    assert side["s"] == Axis("side")["s"]


COMPLETED: list[tuple[Mapping[str, int], Mapping[str, int] | None]] = [
    ({}, {"side": 2}),
    ({"side": 2, "past": 3, "new": 1}, {"keys": 4, "all": 5, "last": 1}),
    ({"all": 9, "last": 2, "new": 3}, {"keys": 7, "past": 4}),
    ({"keys": 4, "past": 4}, {"new": 0}),
    ({"keys": 4}, {"side": 2}),
    ({"side": 3}, None),
    ({"keys": 4, "past": 5}, None),
    ({"keys": 4, "past": 2, "new": 3}, None),
]


@pytest.mark.parametrize(("known", "due"), COMPLETED)
def test_sizes_follow_from_declarations(
    known: Mapping[str, int], due: Mapping[str, int] | None
) -> None:
    declared = [
        side,
        keys,
        concatenated("all", keys, axis("last", 1 if "last" not in known else None)),
    ]
    declared = list(joined(declared))
    if due is None:
        with pytest.raises(ShapeError, match="than it is declared with"):
            completed(declared, known)
        return
    found = completed(declared, known)
    assert {name: found[name] for name in [*known, *due]} == {**known, **due}


def test_sizes_that_do_not_fit_are_put_right() -> None:
    assert fitted([side, keys], {"keys": 9, "past": 2, "new": 1, "side": 1}) == {
        "keys": 3, "past": 2, "new": 1, "side": 2,
    }  # fmt: skip
    assert CACHE.fitted({**FREE, "side": 5, "keys": 5}) == SIZES
    assert CACHE.sized(FREE) == SIZES


def test_the_text_says_what_sizes_are() -> None:
    assert "where n_side = 2, n_k = n_past + n_new" in str(CACHE)


def test_a_spec_is_told_apart_by_its_sizes() -> None:
    def of(size: int | None) -> Spec:
        s = axis("side", size)["s"]
        return Spec("one", [x[s]], [let(y[s], 2 * x[s])], [y])

    assert of(2) == of(2)
    assert of(2) != of(3)
    assert of(2) != of(None)
    assert pickle.loads(pickle.dumps(of(2))) == of(2)  # noqa: S301  what was pickled here


# ---- JSON


def test_json_keeps_the_sizes() -> None:
    assert from_json(to_json(CACHE)) == CACHE
    assert "axes" not in json.loads(to_json(Spec("plain", [x[p]], [let(y[p], x[p])], [y])))


@pytest.mark.parametrize(
    "table",
    [{"side": 0}, {"side": "2"}, {"keys": ["past"]}, {"keys": ["past", "past"]},
     {"keys": ["past", 2]}, {"keys": ["keys", "new"]}, {"a": ["b", "c"], "b": ["a", "c"]},
     {"side": True}, []],
)  # fmt: skip
def test_json_with_other_sizes_is_refused(table: object) -> None:
    tree = json.loads(to_json(CACHE))
    with pytest.raises(SpecError):
        from_json(json.dumps({**tree, "axes": table}))


# ---- From arrays to sizes, by the compiler and by the interpreter


def test_both_solve_the_sizes() -> None:
    assert bind(CACHE, {name: array.shape for name, array in drawn().items()}) == SIZES
    oracle, exact = compile(CACHE), evaluate(CACHE, drawn())
    assert np.allclose(oracle(**drawn())["O"], attend(**drawn()), atol=1e-12)
    assert np.allclose(exact["O"].astype(float), attend(**drawn()), atol=1e-12)


def summed() -> Spec:
    """Values along the whole axis and along its first part."""
    return Spec(
        "whole", [x[l], y[p]], [let(X[n], total(x[l] * where(eq(l, n + past.size)), l))], [X]
    )


BAD: list[tuple[Spec, Mapping[str, Array], str]] = [
    (CACHE, {**drawn(), "Q": np.ones((2, 3, 5))}, "multiple of 2"),
    (summed(), {"x": np.ones(3), "y": np.ones(5)}, "keys = 3"),
    (
        Spec("three", [x[s]], [let(y[s], x[s] + 1)], [y]),
        {"x": np.ones(3)},
        r"side = 3|side \(axis 0\)",
    ),
]


@pytest.mark.parametrize(
    ("spec", "arrays", "words"), BAD, ids=lambda case: getattr(case, "name", "")
)
def test_arrays_that_do_not_fit_are_told_in_words(
    spec: Spec, arrays: Mapping[str, Array], words: str
) -> None:
    with pytest.raises(ShapeError, match=words):
        compile(spec)(**arrays)
    with pytest.raises(ShapeError, match=words):
        evaluate(spec, arrays)


def test_a_part_follows_from_the_whole() -> None:
    given_arrays = {"x": np.arange(5.0), "y": np.ones(2)}
    assert compile(summed())(**given_arrays)["X"].tolist() == [2, 3, 4]
    assert evaluate(summed(), given_arrays, rational=True)["X"].tolist() == [2, 3, 4]


def test_factors_that_cannot_be_told_are_told_in_words() -> None:
    spec = Spec("open", [X[b, (p, n)]], [let(y[b, (p, n)], X[b, (p, n)] * 2)], [y])
    with pytest.raises(ShapeError, match="cannot be told"):
        compile(spec)(X=np.ones((1, 6)))
    found = compile(spec)(X=np.ones((1, 6)), sizes={"new": 3, "other": 1})
    assert found["y"].shape == (1, 6)
    for size in (4, 5):
        with pytest.raises(ShapeError, match="does not split"):
            compile(spec)(X=np.ones((1, 6)), sizes={"new": size})
    with pytest.raises(ShapeError, match="in sizes or the arrays"):
        compile(spec)(X=np.ones((1, 6)), sizes={"batch": 2, "new": 3})


# ---- Derivatives


def test_the_gradient_of_a_concatenation_is_the_cotangents_parts() -> None:
    joined_spec = Spec("joined", [x[p], y[n]], [let(X[l], concatenate(l, x[p], y[n]))], [X])
    spec = gradient(joined_spec)
    assert {a.name: a.declaration for a in spec.axes}["keys"] == "past + new"
    found = compile(spec)(x=np.zeros(2), y=np.zeros(3), dX=np.arange(5.0))
    assert (found["dx"].tolist(), found["dy"].tolist()) == ([0, 1], [2, 3, 4])
    assert all(v.status is Status.HELD for v in routes(joined_spec, examples=4))
    assert all(v.status is Status.HELD for v in routes(CACHE, examples=4))


def test_a_wrong_concatenation_is_caught() -> None:
    def off_by_one(at: Any, first: Expr, second: Expr) -> Expr:
        return total(where(eq(at, p)) * first, p) + total(
            where(eq(at, past.size + n - 1)) * second, n
        )

    wrong = Spec("joined", [x[p], y[n]], [let(X[l], off_by_one(l, x[p], y[n]))], [X])
    right = Spec("joined", [x[p], y[n]], [let(X[l], concatenate(l, x[p], y[n]))], [X])
    arrays = {"x": np.arange(2.0), "y": np.arange(3.0)}
    check_arrays_close(evaluate(right, arrays)["X"], np.array([0, 1, 0, 1, 2]))
    with pytest.raises(AssertionError):
        check_arrays_close(evaluate(wrong, arrays)["X"], np.array([0, 1, 0, 1, 2]))


# ---- What is drawn


@given(case=draws.cases(CACHE))
def test_the_provers_draw_sizes_that_fit(case: draws.Case) -> None:
    assert CACHE.sized(case.sizes) == case.sizes
    evaluate(CACHE, draws.draw(CACHE, case))


@given(data=st.data())
def test_the_judge_draws_sizes_that_fit(data: st.DataObject) -> None:
    case = data.draw(cases(CACHE, empty=True))
    assert CACHE.sized(case.sizes) == case.sizes


def test_the_schedule_fits() -> None:
    for case in Draw(CACHE).schedule(count=12):
        assert bind(CACHE, {name: a.shape for name, a in case.arrays.items()}) == case.sizes


def test_a_size_that_follows_is_not_declared_for_a_subject() -> None:
    assert supported(CACHE, SIZES, {"side": 2, "past": 5})["keys"] == 8
    for support, hint in (({"keys": 8}, "its parts"), ({"side": 3}, "side = 2")):
        with pytest.raises(ParameterError, match=hint):
            supported(CACHE, SIZES, support)


def test_the_judge_knows_a_right_cache_from_a_wrong_one() -> None:
    def swapped(Q: Array, K_old: Array, K_new: Array, V_old: Array, V_new: Array) -> Array:
        return attend(Q, K_new, K_old, V_new, V_old)

    right = check(attend, CACHE, dtypes=("float64",), cases=8)
    assert right.ok, [str(v) for v in right.verdicts]
    wrong = check(swapped, CACHE, dtypes=("float64",), cases=8, explain=False)
    refuted = [v for v in wrong.verdicts if v.status is Status.REFUTED]
    assert refuted
    for verdict in refuted:
        assert verdict.witness is not None
        assert CACHE.sized(verdict.witness.sizes) == dict(verdict.witness.sizes)


# ---- What is proved


@pytest.mark.parametrize(("size", "proved"), [(2, True), (3, False), (None, False)])
def test_a_fixed_size_is_known_in_proofs(size: int | None, proved: bool) -> None:
    s = axis("side", size)["s"]
    spec = Spec("sides", [x[s]], [let(y[s], x[s])], [y])
    halves = where(eq(s, 0)) * x[s] + where(eq(s, 1)) * x[s]
    assert prove_equal(spec, halves, x[s]).proved is proved


def test_a_sum_of_sizes_is_known_in_proofs() -> None:
    whole = Spec("whole", [x[l], y[p]], [let(X[l], x[l])], [X])
    after = where(l >= past.size) * where(l < past.size + new.size) * x[l]
    assert prove_equal(whole, after + where(l < past.size) * x[l], x[l]).proved
    assert not prove_equal(whole, after, x[l]).proved
    free = axes("keys")[0]["l"]
    other = Spec("other", [x[free], y[p]], [let(X[free], x[free])], [X])
    after = where(free >= past.size) * where(free < past.size + new.size) * x[free]
    assert not prove_equal(other, after + where(free < past.size) * x[free], x[free]).proved


def test_proofs_are_evaluated_at_sizes_that_fit() -> None:
    report = verify(
        CACHE.replace(announces={"permutation equivariance": "the mask orders the keys"}),
        examples=6,
    )
    assert report.ok, [str(v) for v in report.verdicts]
    assert {"rows sum to one"} <= {v.name for v in report.verdicts if v.status is Status.PROVED}
    output = CACHE.heads["O"]
    statement = Statement("one", "equal", CACHE, output, output)
    assert all(CACHE.sized(case.sizes) == case.sizes for case in exact_cases(statement))
