"""Whole parts and remainders: every route gives Python's integers, and masks are decided."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from attnverify import compile, gradient, load, verify  # noqa: A004  the fixed public name
from attnverify.algebra import masks
from attnverify.algebra.latex import expression_latex
from attnverify.algebra.predicates import Predicate
from attnverify.algebra.terms import ONE, Expr, Scalar, as_expr
from attnverify.attention import Mask
from attnverify.compile import expressions
from attnverify.compile.lower import lower
from attnverify.compile.run import run
from attnverify.errors import AttnverifyError, SpecError
from attnverify.exact import Valuation, difference, evaluate
from attnverify.notation import (
    Spec,
    attention,
    axes,
    eq,
    floor_div,
    integers,
    let,
    parameter,
    previous,
    recur,
    remainder,
    tensors,
    total,
    where,
)
from attnverify.provers.normal import prove_equal
from attnverify.provers.routes import routes
from attnverify.serial import from_json, to_json
from attnverify.verdict import Status

queries, keys = axes("queries keys")
i, j, l = queries["i"], keys["j"], keys["l"]
block = parameter("block", integer=True, ge=1)
shift = parameter("shift", integer=True)
(lengths,) = integers("lengths")
x, O, H = tensors("x O H")
SIZES = {"queries": 5, "keys": 7}
SETTINGS = [{"block": b, "shift": s} for b in (1, 2, 3, 8) for s in (-3, 0, 4)]


class At(NamedTuple):
    """Positions of a query and a key, and the values of both parameters."""

    i: int
    j: int
    b: int
    s: int


# An expression, and what Python makes of these numbers.
CASES: list[tuple[Expr, Callable[[At], int]]] = [
    (floor_div(i, block), lambda at: at.i // at.b),
    (floor_div(i - j, 3), lambda at: (at.i - at.j) // 3),
    (remainder(i - j, 3), lambda at: (at.i - at.j) % 3),
    (remainder(i - j + shift, block), lambda at: (at.i - at.j + at.s) % at.b),
    (floor_div(shift, 2 * block), lambda at: at.s // (2 * at.b)),
    (remainder(shift, keys.size), lambda at: at.s % 7),
    (floor_div(keys.size + block - 1, block), lambda at: (7 + at.b - 1) // at.b),
    (
        floor_div(block * block * j - 1, block + 1),
        lambda at: (at.b * at.b * at.j - 1) // (at.b + 1),
    ),
    (floor_div(block * i + j, block), lambda at: (at.b * at.i + at.j) // at.b),
    (remainder(i, queries.size), lambda at: at.i),
    (floor_div(floor_div(j, 2) - i, block), lambda at: (at.j // 2 - at.i) // at.b),
    (floor_div(-i - 1, 2) * remainder(j, 2), lambda at: (-at.i - 1) // 2 * (at.j % 2)),
    (floor_div(-7, 2) + remainder(-7, 2), lambda _: -4 + 1),
]


def of(body: Expr) -> Spec:
    """A spec that gives one number for each query and key."""
    return Spec("whole", [x[i, j]], [let(O[i, j], body * x[i, j])], [O], parameters=[block, shift])


@pytest.mark.parametrize(("expr", "due"), CASES, ids=[str(e) for e, _ in CASES])
def test_all_routes_give_pythons_integers(expr: Expr, due: Callable[[At], int]) -> None:
    spec, ones = of(expr), {"x": np.ones((5, 7))}
    oracles = [compile(spec), compile(spec, dtype="float32"), compile(spec, backend="autograd")]
    for settings in SETTINGS:
        b, s = settings["block"], settings["shift"]
        wanted = np.array([[due(At(i, j, b, s)) for j in range(7)] for i in range(5)])
        for oracle in oracles:
            assert np.array_equal(oracle(**ones, **settings)["O"], wanted)
        assert np.array_equal(run(lower(spec), ones, SIZES, settings)["O"], wanted)
        assert (evaluate(spec, ones, settings, rational=True)["O"] == wanted).all()


@given(
    numbers=st.lists(st.integers(-4, 4), min_size=5, max_size=5),
    divisor=st.sampled_from(
        [1, 2, 3, 5, block, 2 * block, block + 1, keys.size, block * keys.size]
    ),
    at=st.builds(At, *[st.integers(0, 6)] * 2, st.integers(1, 4), st.integers(-5, 5)),
)
def test_what_sympy_simplifies_stays_true(numbers: list[int], divisor: object, at: At) -> None:
    one, two, three, four, five = numbers
    body = one * i + two * j * block + three * shift + four * keys.size + five
    due = one * at.i + two * at.j * at.b + three * at.s + four * 7 + five
    valuation = Valuation({"queries": 7, "keys": 7}, {}, {"block": at.b, "shift": at.s})
    places = {i: at.i, j: at.j}
    below = int(valuation.value(as_expr(divisor)))
    assert valuation.value(floor_div(body, divisor), places) == due // below
    assert valuation.value(remainder(body, divisor), places) == due % below


@pytest.mark.parametrize("expr", [expr for expr, _ in CASES], ids=str)
def test_json_and_values_of_parameters_keep_the_meaning(expr: Expr) -> None:
    spec = of(expr)
    assert from_json(to_json(spec)) == spec
    settings: dict[str, Any] = {"block": 3, "shift": -2}
    arrays = {"x": np.random.default_rng(0).normal(size=(5, 7))}
    assert np.array_equal(
        compile(load(spec, **settings))(**arrays)["O"], compile(spec)(**arrays, **settings)["O"]
    )


@pytest.mark.parametrize(
    ("expr", "text", "latex"),
    [
        (floor_div(i, block), "floor(i/block)",
         r"\left\lfloor \frac{i}{\mathrm{block}} \right\rfloor"),
        (floor_div(i - j, 2), "floor((i - j)/2)", r"\left\lfloor \frac{i - j}{2} \right\rfloor"),
        (floor_div(i, 2 * block), "floor(i/(2*block))",
         r"\left\lfloor \frac{i}{2 \mathrm{block}} \right\rfloor"),
        (remainder(i, 2), "i - 2*floor(i/2)", r"i - 2 \left\lfloor \frac{i}{2} \right\rfloor"),
        (floor_div(i + 4, 2), "floor(i/2) + 2", r"\left\lfloor \frac{i}{2} \right\rfloor + 2"),
        (floor_div(i, 2) ** 2, "floor(i/2)**2", r"\left\lfloor \frac{i}{2} \right\rfloor^{2}"),
    ],
)  # fmt: skip
def test_whole_parts_are_printed(expr: Expr, text: str, latex: str) -> None:
    assert str(expr) == text
    assert expression_latex(expr) == latex


def test_huge_positions_are_not_rounded() -> None:
    far = 2**53 + 1  # no float64 holds it
    spec = Spec("far", [x[j]], [let(O[j], where(eq(floor_div(j + far, 2), 2**52 + 1)) * x[j])], [O])
    assert compile(spec)(x=np.ones(4))["O"].tolist() == [0, 1, 1, 0]


def test_inside_a_recurrence_the_step_is_a_position() -> None:
    step = let(H[j], previous(H[j]) + floor_div(j, 2) * x[j] + remainder(j, 3))
    spec = Spec("steps", [x[j]], [recur(along=j, steps=[step], initial={H: 0})], [H])
    due = np.cumsum([n // 2 + n % 3 for n in range(7)])
    assert np.array_equal(compile(spec)(x=np.ones(7))["H"], due)
    assert (evaluate(spec, {"x": np.ones(7)}, rational=True)["H"] == due).all()


WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: floor_div(i, 0), "at least 1"),
    (lambda: floor_div(i, -2), "at least 1"),
    (lambda: floor_div(i, j), "at least 1"),
    (lambda: floor_div(i, shift), "at least 1"),
    (lambda: remainder(i, keys.size - 1), "at least 1"),
    (lambda: floor_div(i, 2.5), "whole numbers"),
    (lambda: floor_div(as_half(), 2), "whole numbers"),
    (lambda: floor_div(lengths[j], 2), "whole numbers"),
    (lambda: floor_div(x[j], 2), "whole numbers"),
    (lambda: remainder(parameter("share", gt=0) * i, 2), "whole numbers"),
]


def as_half() -> Expr:
    """Half a size."""
    return keys.size / 2


@pytest.mark.parametrize(("wrong", "words"), WRONG)
def test_only_whole_numbers_are_divided(wrong: Callable[[], object], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        wrong()


@pytest.mark.parametrize("inside", ["sqrt(2)*n", "n/shift", "n/(n - 1)", "pi"])
def test_a_whole_part_of_anything_else_is_refused(inside: str) -> None:
    names = {"n": sympy.Symbol("n:keys", integer=True, positive=True), "shift": shift.symbol}
    value = sympy.floor(sympy.sympify(inside, names), evaluate=False)
    with pytest.raises(SpecError, match="whole part"):
        of(Scalar(value))


def test_the_exact_rule_takes_whole_parts_of_fractions_alone() -> None:
    value = sympy.floor(sympy.sqrt(2) * keys.size.value, evaluate=False)
    with pytest.raises(AttnverifyError, match="whole part"):
        Valuation({"keys": 3}, {}).value(Scalar(value))


def test_a_wrong_compile_rule_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = of(floor_div(i - j, 2))
    assert all(v.status is Status.HELD for v in routes(spec, examples=4))
    # Rounded towards zero, as C divides.
    original = expressions.Lowering.map

    def towards_zero(self: Any, function: str, *operands: Any, hint: str = "x") -> Any:
        if function == "floor_divide":
            up = original(self, "negative", operands[0])
            return original(self, "negative", original(self, function, up, operands[1]))
        return original(self, function, *operands, hint=hint)

    monkeypatch.setattr(expressions.Lowering, "map", towards_zero)
    found = {v.name: v.status for v in routes(spec, examples=4)}
    assert found["gradient: derived = exact differences"] is Status.REFUTED


SAME_BLOCK = eq(floor_div(i, 2), floor_div(j, 2))
DECIDED: list[tuple[Predicate, Predicate, bool | None]] = [
    (SAME_BLOCK, j <= i + 1, True),
    (SAME_BLOCK, j <= i, False),
    (SAME_BLOCK, (2 * floor_div(j, 2) <= i) & (i <= 2 * floor_div(j, 2) + 1), True),
    (eq(remainder(i - j, 3), 0), eq(remainder(j - i, 3), 0), True),
    (eq(remainder(i - j, 3), 1), eq(remainder(j - i, 3), 1), False),
    (eq(remainder(i, 2), 0), eq(remainder(i, 4), 0), False),
    (eq(remainder(i, 4), 0), eq(remainder(i, 2), 0), True),
    (eq(floor_div(-i - 1, 3), -1), i <= 2, True),
    (eq(floor_div(-i - 1, 3), -1), i <= 1, False),
    # With an open divisor equal arguments give equal values, and the rest is within the divisor.
    (eq(floor_div(i, block), floor_div(j, block)) & (j <= i),
     eq(floor_div(i, block), floor_div(j, block)), True),
    (eq(floor_div(i, block), floor_div(j, block)), j < i + block, True),
    (eq(floor_div(i, block), floor_div(j, block)), j <= i, None),
]  # fmt: skip


@pytest.mark.parametrize(("mask", "then", "holds"), DECIDED, ids=str)
def test_masks_with_whole_parts_are_decided(
    mask: Predicate, then: Predicate, holds: bool | None
) -> None:
    answer = masks.implies(mask, then, [block])
    assert answer.holds is holds, answer
    places = [{i: a, j: b} for a, b in itertools.product(range(5), range(7))]
    seen = [
        valuation.holds(then, at)
        for valuation in (Valuation(SIZES, {}, {"block": b}) for b in (1, 2, 3))
        for at in places
        if valuation.holds(mask, at)
    ]
    if holds is not None:
        assert all(seen) is holds
    if answer.counterexample is not None:
        at = {i: answer.counterexample.positions.get("i", 0)}
        at[j] = answer.counterexample.positions.get("j", 0)
        valuation = Valuation({"queries": 9, "keys": 9}, {}, {"block": 1})
        assert valuation.holds(mask, at)
        assert not valuation.holds(then, at)


def blocked(size: object, *parameters: Any) -> Spec:
    """Softmax attention inside blocks of keys and queries."""
    same = Mask(lambda s: eq(floor_div(s.i, size), floor_div(s.j, size)), ordered=True)
    return attention("blocked", mask=same, parameters=parameters)


@pytest.mark.parametrize("spec", [blocked(3), blocked(block, block)], ids=["3", "block"])
def test_blocked_attention_is_verified(spec: Spec) -> None:
    report = verify(spec, examples=12)
    assert report.ok, [str(v) for v in report.verdicts if v.status is Status.REFUTED]
    proved = {v.name for v in report.verdicts if v.status is Status.PROVED}
    assert {"rows sum to one", "masked weights are zero", "<dQ, Q> = <dK, K>"} <= proved


def test_no_row_sum_is_proved_that_is_false() -> None:
    for size, parameters in ((2, ()), (block, (block,))):
        spec = blocked(size, *parameters)
        weights = spec.equation("A").head
        # A query far to the right of the last key sees none, and its row sums to 0.
        assert not prove_equal(spec, total(weights, weights.indices[-1]), ONE).proved


def test_the_gradient_reads_the_same_positions() -> None:
    spec = Spec(
        "pooled", [x[j]], [let(O[i], total(x[j] * where(eq(floor_div(j, 2), i)), over=j))], [O]
    )  # fmt: skip
    spec = spec.replace(inputs=(*spec.inputs, tensors("q")[0][i]))
    run_gradient = compile(gradient(spec, wrt="x"))
    arrays = {"x": np.arange(7.0), "q": np.zeros(3), "dO": np.array([1.0, 10, 100])}
    assert run_gradient(**arrays)["dx"].tolist() == [1, 1, 10, 10, 100, 100, 0]
    moved = difference(spec, {"x": arrays["x"], "q": arrays["q"]}, {"x": np.ones(7)})
    assert [float(v) for v in moved["O"]] == [2, 2, 2]
