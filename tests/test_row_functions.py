"""The largest score of a row and the threshold of sparsemax and entmax, each by its own routes."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from typing import Any

import autograd
import autograd.numpy as anp
import mpmath
import numpy as np
import pytest

from attnverify import compile, gradient  # noqa: A004  the fixed public name
from attnverify.algebra.derivative import derivative, threshold_partials
from attnverify.algebra.predicates import TRUE
from attnverify.algebra.rewrite import entries, free, rename, substitute
from attnverify.algebra.terms import ZERO, Maximum, Threshold
from attnverify.compare import judge, within
from attnverify.compile import thresholds
from attnverify.compile.recipe import Op
from attnverify.compile.run import run
from attnverify.errors import AttnverifyError, SpecError, UnknownPrimitiveError
from attnverify.exact import Valuation, evaluate
from attnverify.notation import (
    Spec,
    axes,
    booleans,
    eq,
    exp,
    let,
    log,
    maximum,
    previous,
    recur,
    relu,
    softmax,
    stop_gradient,
    tensors,
    threshold,
    total,
    where,
)
from attnverify.provers.normal import prove_equal
from attnverify.provers.routes import routes
from attnverify.rounding import Rounding
from attnverify.rounding.amplitudes import Amplitudes
from attnverify.rounding.profiles import loose
from attnverify.serial import from_json, to_json
from attnverify.transforms import gradient as reverse
from attnverify.verdict import Status

queries, keys, time = axes("queries keys time")
i, j, l, t = queries["i"], keys["j"], keys["l"], time["t"]
S, A, M, T, O, L, H, X = tensors("S A M T O L H X")
(mask,) = booleans("mask")
HALF = Fraction(1, 2)
NO_INDEX: Any = keys
POWERS = [Fraction(1), Fraction(2), Fraction(3, 2), Fraction(4, 3), Fraction(3)]


def sparse(power: Fraction, *, masked: bool = True) -> Spec:
    """The weights max(s - tau, 0)^power of a row."""
    seen = mask[i, j] if masked else TRUE
    return Spec(
        f"sparse {power}",
        [S[i, j], mask[i, j]] if masked else [S[i, j]],
        [
            let(T[i], threshold(S[i, j], over=j, exponent=power, where=seen)),
            let(A[i, j], where(seen, relu(S[i, j] - T[i]) ** power)),
        ],
        [A],
    )


LARGEST = Spec(
    "log-sum-exp",
    [S[i, j], mask[i, j]],
    [
        let(M[i], maximum(S[i, j], over=j, where=mask[i, j])),
        let(
            L[i],
            M[i]
            + log(
                total(where(mask[i, j], exp(S[i, j] - M[i])), j)
                + where(eq(total(where(mask[i, j]), j), 0))
            ),
        ),
    ],
    [L],
)


def arrays(seed: int = 0, scale: float = 1.0) -> dict[str, Any]:
    """Scores and a mask of five queries, of which the second sees no key."""
    rng = np.random.default_rng(seed)
    seen = rng.random((5, 7)) < 0.6
    seen[1] = False
    return {"S": scale * rng.standard_normal((5, 7)), "mask": seen}


def numbers(exact: Any, dtype: str) -> Any:
    """Exact numbers in a floating type, by their digits: a float on the way would lose some."""
    to = np.dtype(dtype).type
    return np.array([to(mpmath.nstr(v, 30)) for v in exact.ravel()], dtype).reshape(exact.shape)


def projected(scores: Any) -> Any:
    """The nearest point of the simplex, by trying every support."""
    best, found = np.inf, scores
    for size in range(1, scores.size + 1):
        for support in combinations(range(scores.size), size):
            point = np.zeros(scores.size)
            chosen = list(support)
            point[chosen] = scores[chosen] - (scores[chosen].sum() - 1) / size
            gap = float(((point - scores) ** 2).sum())
            if (point >= 0).all() and gap < best:
                best, found = gap, point
    return found


def test_sparsemax_is_the_nearest_point_of_the_simplex() -> None:
    given = arrays()
    found = compile(sparse(Fraction(1)))(**given)["A"]
    for row, seen, weights in zip(given["S"], given["mask"], found, strict=True):
        due = projected(row[seen]) if seen.any() else np.zeros(0)
        assert np.abs(weights[seen] - due).max(initial=0) < 1e-15
        assert (weights[~seen] == 0).all()


def test_entmax_is_stationary() -> None:
    # Peters et al. 2019: A minimises <A, -s> + sum A^a - A over (a (a - 1)), so that on the support
    # s - A^(a-1) / (a - 1) is one number.
    scores = np.random.default_rng(1).standard_normal((5, 7))
    weights = compile(sparse(Fraction(2), masked=False))(S=scores / 2)["A"]
    for row, found in zip(scores, weights, strict=True):
        level = row - 2 * np.sqrt(found)
        inside = found > 0
        assert np.ptp(level[inside]) < 1e-14
        assert (level[~inside] <= level[inside].mean()).all()


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
@pytest.mark.parametrize("dtype", ["float64", "longdouble"])
def test_compiled_and_exact_thresholds_agree(power: Fraction, scale: float, dtype: str) -> None:
    given, spec = arrays(2, scale), sparse(power).replace(outputs=("T", "A"))
    oracle = compile(spec, dtype=dtype)
    found, due = oracle(**given), evaluate(spec, given)
    stepped = run(oracle.recipe, given, {"queries": 5, "keys": 7}, {}, dtype)
    unit = float(np.finfo(dtype).eps)
    for name, value in found.items():
        exact = numbers(due[name], dtype)
        assert within(name, value, exact, 40 * unit * (1 + scale)).status is Status.HELD
        assert within(name, stepped[name], exact, 40 * unit * (1 + scale)).status is Status.HELD
    assert found["T"][1] == 0
    assert np.abs(due["A"].sum(axis=1).astype(float) - [1, 0, 1, 1, 1]).max() < 1e-40 + 1e-15


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("order", [1, 2])
def test_three_routes_agree_on_the_gradient_of_a_threshold(power: Fraction, order: int) -> None:
    assert {v.status for v in routes(sparse(power), examples=4, order=order)} == {Status.HELD}


def test_a_threshold_inside_an_expression_has_the_same_derivative() -> None:
    nested = Spec(
        "nested",
        [S[i, j]],
        [let(A[i, j], relu(S[i, j] - threshold(S[i, l] * 2, l, 2, l <= i)) * S[i, j])],
        [A],
    )
    for order in (1, 2):
        assert {v.status for v in routes(nested, examples=4, order=order)} == {Status.HELD}


def curvature(power: Fraction) -> tuple[Any, Any]:
    """A threshold's second derivative along two directions, by autograd twice and as derived."""
    spec = sparse(power, masked=False).replace(outputs=("T",))
    rng = np.random.default_rng(4)
    scores, one, other = (rng.standard_normal((3, 4)) * size for size in (0.3, 1, 1))
    forward = compile(spec, backend="autograd")

    def along(values: Any) -> Any:
        return anp.sum(autograd.grad(lambda s: anp.sum(forward(S=s)["T"]))(values) * one)

    found = np.sum(autograd.grad(along)(scores) * other)
    second = compile(gradient(gradient(spec), wrt="S"))
    names = [e.tensor.name for e in second.spec.inputs]
    given = dict(zip(names, (scores, np.ones(3), one), strict=True))
    (value,) = second(**given).values()
    return found, np.sum(value * other)


@pytest.mark.parametrize("power", POWERS[1:])  # for exponent 1 a threshold is straight
def test_autograd_twice_gives_the_second_derivative(power: Fraction) -> None:
    found, due = curvature(power)
    assert abs(found - due) < 1e-12 * (1 + abs(due))


@pytest.mark.parametrize(("steps", "order"), [(0, 1), (1, 2)])
def test_fewer_newton_steps_lose_a_derivative(
    steps: int, order: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thresholds, "NEWTON_STEPS", steps)
    if order == 2:
        found, due = curvature(Fraction(3))
        assert abs(found - due) > 1e-3
        return
    verdicts = routes(sparse(Fraction(2)), examples=4)
    assert verdicts[0].status is Status.REFUTED
    assert verdicts[1].status is Status.HELD


def test_a_wrong_rule_is_seen_by_the_other_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(expr: Threshold, *rest: Any) -> Any:
        return threshold_partials(Threshold(expr.score, expr.over, expr.where, Fraction(2)), *rest)

    monkeypatch.setattr(reverse, "threshold_partials", wrong)
    statuses = [v.status for v in routes(sparse(Fraction(3)), examples=32)]
    assert statuses == [Status.REFUTED] * 3


def test_a_wrong_start_is_mended_or_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = thresholds.begin
    monkeypatch.setattr(thresholds, "begin", lambda s, axis, e: right(s, axis, e) - 0.5)
    given, spec = arrays(), sparse(Fraction(3, 2))
    due = evaluate(spec, given)["A"].astype(float)
    assert within("A", compile(spec)(**given)["A"], due, 1e-12).status is Status.REFUTED


@pytest.mark.parametrize("begin", ["1", "2", "3/2"])
def test_ties_and_empty_rows_begin_at_finite_numbers(begin: str) -> None:
    rows = np.array([[1.0, 1, 1, 1], [-np.inf] * 4, [5, -np.inf, 4, 4], [0, -1, -1, -3]])
    found = thresholds.begin(rows, 1, begin)
    power = float(Fraction(begin))
    assert found[1] == 0
    mass = np.sum(np.maximum(rows - found[:, None], 0) ** power, axis=1)
    assert np.abs(np.delete(mass, 1) - 1).max() < 1e-14
    assert thresholds.begin(np.zeros((2, 0)), 1, begin).tolist() == [0, 0]


def test_a_score_at_the_threshold_bears_no_weight() -> None:
    spec = sparse(Fraction(1), masked=False)
    scores = np.array([[1.0, 0.0, -2.0]])  # tau is 0, which the second score equals
    found = compile(gradient(spec))(S=scores, dA=np.array([[1.0, 2.0, 4.0]]))["dS"]
    assert found.tolist() == [[0, 0, 0]]
    forward = compile(spec, backend="autograd")
    weights = np.array([[1.0, 2.0, 4.0]])
    slope = autograd.grad(lambda s: anp.sum(forward(S=s)["A"] * weights))(scores)
    assert slope.tolist() == [[0, 0, 0]]


def test_fractions_give_sparsemax_exactly_and_nothing_else() -> None:
    tau = Threshold(S[i, j], j, TRUE, Fraction(1))
    tables = {"S": [[1, HALF, -3]]}
    valuation = Valuation({"queries": 1, "keys": 3}, tables, rational=True)
    assert valuation.value(tau, {i: 0}) == Fraction(1, 4)
    with pytest.raises(AttnverifyError, match="not rational"):
        valuation.value(Threshold(S[i, j], j, TRUE, Fraction(2)), {i: 0})


def test_the_largest_score_agrees_and_is_held_constant() -> None:
    given = arrays()
    spec = LARGEST.replace(outputs=("M", "L"))
    due = evaluate(spec, given)
    for name, value in compile(spec)(**given).items():
        assert within(name, value, due[name].astype(float), 1e-14).status is Status.HELD
    assert compile(spec)(**given)["M"][1] == 0
    assert {v.status for v in routes(LARGEST, examples=6)} == {Status.HELD}
    alone = Spec("top", [S[i, j]], [let(M[i], maximum(S[i, j], j))], [M])
    assert (compile(gradient(alone))(S=given["S"], dM=np.ones(5))["dS"] == 0).all()


def test_a_largest_score_that_is_not_held_constant_raises() -> None:
    with pytest.raises(UnknownPrimitiveError, match="stop_gradient"):
        derivative(Maximum(S[i, j], j, TRUE), S[i, l])
    assert derivative(stop_gradient(Maximum(S[i, j], j, TRUE)), S[i, l]) == ZERO
    spec = Spec("top", [S[i, j]], [let(M[i], Maximum(S[i, j], j, TRUE))], [M])
    with pytest.raises(UnknownPrimitiveError, match="no derivative rule"):
        gradient(spec)


@pytest.mark.parametrize("spec", [LARGEST, sparse(Fraction(1)), sparse(Fraction(3, 2))], ids=str)
def test_a_masked_nan_stays_out_and_a_visible_one_comes_in(spec: Spec) -> None:
    given = arrays()
    given["mask"][2:] = [[True] * 3 + [False] * 4] * 3
    given["S"][2, 5], given["S"][3, 1] = np.nan, np.inf
    for value in compile(spec)(**given).values():
        rows = value.reshape(5, -1)
        assert np.isfinite(rows[[0, 1, 2, 4]]).all()
        assert np.isnan(rows[3, 0])


@pytest.mark.parametrize(
    "node", [Maximum(S[i, j], j, l <= j), Threshold(S[i, j], j, l <= j, Fraction(2))]
)
def test_names_are_renamed_without_capture(node: Maximum | Threshold) -> None:
    assert list(free(node)) == [i, l]
    moved = rename(node, {l: j})
    assert isinstance(moved, Maximum | Threshold)
    assert moved.over.name == "j'"
    assert list(free(moved)) == [i, j]
    tables = {"S": np.arange(6).reshape(2, 3) ** 2 / 4}
    valuation = Valuation({"queries": 2, "keys": 3}, tables)
    for place in range(3):
        due = valuation.value(node, {i: 1, l: place})
        assert valuation.value(moved, {i: 1, j: place}) == due
    read = substitute(node, {"S": (S[i, j], X[i] * S[i, j] + total(S[l, j], l))})
    assert {e.tensor.name for e in entries(read)} == {"S", "X"}


def test_scores_that_do_not_run_along_the_axis_are_counted() -> None:
    spec = Spec(
        "flat",
        [X[i], S[i, j]],
        [
            let(T[i], threshold(X[i], j)),
            let(M[i], threshold(X[i], j, 2, j <= i) * (1 + 0 * maximum(X[i], j, j < i))),
            let(O[i], T[i] + M[i] + 0 * total(S[i, j], j)),
        ],
        [O],
    )
    given = {"X": np.array([0.5, -1.0, 2.0]), "S": np.zeros((3, 4))}
    due = evaluate(spec, given)["O"].astype(float)
    assert within("O", compile(spec)(**given)["O"], due, 1e-14).status is Status.HELD
    assert {v.status for v in routes(spec, examples=4)} == {Status.HELD}


def test_rows_inside_a_recurrence() -> None:
    top = maximum(X[t] * S[i, j], over=j)
    step = let(H[t, i], previous(H[t, i]) / 2 + top + threshold(S[i, j] + X[t], j, 2))
    spec = Spec("steps", [X[t], S[i, j]], [recur(along=t, initial={H: 0}, steps=[step])], [H])
    rng = np.random.default_rng(0)
    given = {"X": rng.standard_normal(4), "S": rng.standard_normal((2, 3))}
    due = evaluate(spec, given)["H"].astype(float)
    assert within("H", compile(spec)(**given)["H"], due, 1e-14).status is Status.HELD


def float32_sparsemax(scores: Any) -> Any:
    """Sparsemax by sorting, as libraries write it, in float32."""
    ordered = -np.sort(-scores, axis=-1)
    sums = np.cumsum(ordered, axis=-1, dtype=np.float32) - np.float32(1)
    count = np.arange(1, scores.shape[-1] + 1, dtype=np.float32)
    size = np.sum(count * ordered > sums, axis=-1)[:, None]
    tau = np.take_along_axis(sums, size - 1, axis=-1) / size.astype(np.float32)
    return np.maximum(scores - tau, 0)


def test_a_bound_takes_right_code_and_refutes_wrong_code() -> None:
    spec = sparse(Fraction(1), masked=False)
    scores = np.random.default_rng(3).standard_normal((20, 30)).astype(np.float32)
    due = Rounding(spec, "float32").expected({"S": scores}, {}).dues["A"]
    right = float32_sparsemax(scores)
    assert right.dtype == np.float32
    assert judge("A", right, due).status is Status.HELD
    assert judge("A", right * np.float32(1 + 1e-4), due).status is Status.REFUTED
    assert due.sigma.max() < 1e-5


def test_proofs_give_up_what_they_have_no_rule_for() -> None:
    for spec, name in ((sparse(Fraction(1)), "T"), (LARGEST, "M")):
        entry = spec.equation(name).head
        assert not prove_equal(spec, entry, ZERO).proved
        assert not prove_equal(spec, entry, entry * 2).proved


def test_they_print_and_are_read_again() -> None:
    spec = sparse(Fraction(3, 2))
    assert "threshold_j(S[i,j] | mask[i,j]; 3/2)" in str(spec)
    assert r"\tau^{(3/2)}_{j:\,mask_{i j}}" in spec.latex()[0].replace(r"\mathrm{mask}", "mask")
    assert "stop_gradient(max_j(S[i,j] | mask[i,j]))" in str(LARGEST)
    assert r"\max_{j" in LARGEST.latex()[0]
    for made in (spec, sparse(Fraction(1), masked=False), LARGEST, gradient(spec)):
        assert from_json(to_json(made)) == made
    broken = to_json(LARGEST).replace('"maximum"', '"threshold"')
    with pytest.raises(SpecError, match="not a function of a row"):
        from_json(broken)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: threshold(S[i, j], j, Fraction(1, 2)), "at least 1"),
        (lambda: threshold(S[i, j], j, "2"), "is a number"),
        (lambda: threshold(S[i, j], NO_INDEX), "takes an index"),
        (lambda: maximum(S[i, j], NO_INDEX), "takes an index"),
        (
            lambda: Spec("s", [S[i, j]], [let(T[i], Threshold(S[i, j], j, TRUE, HALF))], [T]),
            "at least 1",
        ),
        (
            lambda: Spec("s", [S[i, j]], [let(M[j], maximum(S[i, j], j))], [M]),
            "neither on",
        ),
        (lambda: Spec("s", [S[i, j]], [let(M[i], maximum(X[j], j))], [M]), "unbound name"),
        (lambda: Spec("s", [S[i, j]], [let(M[i], maximum(S[i, j], j, X[j] > 0))], [M]), "unbound"),
    ],
)
def test_wrong_arguments_are_told_in_words(make: Any, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        make()


def test_softmax_by_its_largest_score_is_softmax() -> None:
    top = maximum(S[i, j], over=j, where=mask[i, j])
    grown = where(mask[i, j], exp(S[i, j] - top))
    other = where(mask[i, l], exp(S[i, l] - maximum(S[i, j], over=j, where=mask[i, j])))
    ours = Spec("ours", [S[i, j], mask[i, j]], [let(A[i, j], grown / total(other, l))], [A])
    due = Spec("due", [S[i, j], mask[i, j]], [let(A[i, j], softmax(S[i, j], j, mask[i, j]))], [A])
    given = arrays()
    weights = np.random.default_rng(0).standard_normal((5, 7))
    for made in (lambda s: s, gradient):
        extra = {} if made(ours) is ours else {"dA": weights}
        one, other_ = (compile(made(s))(**given, **extra) for s in (ours, due))
        for name, value in one.items():
            assert within(name, value, other_[name], 1e-14).status is Status.HELD


def test_an_operation_without_a_rule_is_not_taken_for_exact() -> None:
    recipe = compile(sparse(Fraction(1))).recipe
    amplitudes = Amplitudes(recipe, loose("float32"), {"queries": 2, "keys": 3})
    amplitudes.record(Op("tau", ("i@queries",), "root", (), "1"), np.ones(2), ())
    (found,) = amplitudes.steps
    assert found is not None
    assert (found > 0).all()
