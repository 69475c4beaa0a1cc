"""Many draws in one run give what each gives alone, recurrences and drawn expressions included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnverify import gradient, load, tangent
from attnverify.algebra.terms import Entry, Expr
from attnverify.compare import within
from attnverify.compile.lower import lower
from attnverify.compile.oracle import stack
from attnverify.compile.recipe import Recipe
from attnverify.compile.run import run
from attnverify.compile.stack import stacked
from attnverify.notation import Spec, axes, integers, let, previous, recur, tanh, tensors, total
from attnverify.provers.disturbed import DTYPE, RUNS, UNIT, disturbed, steps, work
from attnverify.provers.draws import STYLES, Case, draw
from attnverify.verdict import Status
from tests.drawn import extent, plain
from tests.expressions import EXTENT, SHAPES, I, M, P, S, X, Y, expressions
from tests.members import CAUSAL, MEMBERS, TITLES
from tests.trials import SIZES as SMALL
from tests.trials import TRIALS

batch, time, keys = axes("batch time keys")
b, t, j = batch["b"], time["t"], keys["j"]
A, H, N, O, U, V = tensors("A H N O U V")
(lengths,) = integers("lengths")
SIZES = {"batch": 2, "heads": 2, "queries": 3, "keys": 4, "time": 3, "group": 2, "repeat": 2}


def some(spec: Spec, count: int = 3) -> list[Case]:
    """Draws of one size, each of another style."""
    sizes = extent(spec, {**SIZES, **SMALL})
    parameters = {p.name: plain(p) for p in spec.parameters}
    return [Case(sizes, parameters, STYLES[1 + n], n) for n in range(count)]


def together(spec: Spec, cases: list[Case]) -> dict[str, Any]:
    """The arrays of all draws, stacked."""
    drawn = [draw(spec, case) for case in cases]
    return {name: np.stack([arrays[name] for arrays in drawn]) for name in drawn[0]}


def check_each(spec: Spec, found: Mapping[str, Any], cases: list[Case], slack: float) -> None:
    """Each draw of a stack is what the plain recipe gives for it, up to rounding."""
    recipe = lower(spec)
    for number, case in enumerate(cases):
        alone = run(recipe, draw(spec, case), case.sizes, case.parameters, DTYPE)
        for name, due in alone.items():
            size = 1 + np.max(np.abs(due), initial=0, where=np.isfinite(due))
            verdict = within(name, found[name][number], due, float(slack * size))
            assert verdict.status is Status.HELD, f"{spec.name}, {case}: {verdict.detail}"


def check_stack(spec: Spec) -> None:
    cases = some(spec)
    recipe = stacked(lower(spec))
    sizes = {**cases[0].sizes, recipe.axes[-1]: len(cases)}
    arrays = together(spec, cases)
    found = run(recipe, arrays, sizes, cases[0].parameters, DTYPE)
    check_each(spec, found, cases, UNIT / 64)


FORMS = {"forward": lambda spec: spec, "gradient": gradient, "tangent": tangent}


@pytest.mark.parametrize("title", [*TITLES, *TRIALS])
@pytest.mark.parametrize("form", FORMS)
def test_a_stack_of_draws_is_each_draw(title: str, form: str) -> None:
    check_stack(FORMS[form]({**MEMBERS, **TRIALS}[title]))


@pytest.mark.parametrize("title", ["linear (causal=True, form=recurrent)", *TRIALS])
def test_gradients_of_gradients_of_recurrences_stack(title: str) -> None:
    check_stack(gradient(gradient({**MEMBERS, **TRIALS}[title])))


INPUTS = [X[I], Y[I, P], M[I, I.axis["j"]], S[()]]


@given(expressions(), st.integers(0, 50))
@settings(max_examples=150)
def test_drawn_expressions_stack(body: Expr, seed: int) -> None:
    head = Entry(A, (I, P))
    spec = Spec("drawn", INPUTS, [let(head, body)], [A])
    cases = [Case(EXTENT, {}, "ties and zeros", seed + n) for n in range(4)]
    recipe = stacked(lower(spec))
    sizes = {**EXTENT, recipe.axes[-1]: len(cases)}
    found = run(recipe, together(spec, cases), sizes, {}, DTYPE)
    assert SHAPES.keys() == {entry.tensor.name for entry in spec.inputs}
    check_each(spec, found, cases, UNIT / 16)


RECURRENCES = [
    Spec(  # it starts from a number, and no step reads an input
        "numbers alone",
        [X[I]],
        [recur(along=t, initial={H: 1}, steps=[let(H[t], previous(H[t]) / 2 + t)]),
         let(O[I, t], X[I] * H[t])],
        [O, H],
    ),
    Spec(  # what one loop kept is summed, and read by another along another axis
        "two loops",
        [U[t, j], V[b]],
        [
            recur(along=t, initial={H: V[b]},
                  steps=[let(H[t, b, j], tanh(previous(H[t, b, j]) + U[t, j]))]),
            let(N[t, b], total(H[t, b, j], j)),
            recur(along=j, initial={A: 0},
                  steps=[let(A[j, t], previous(A[j, t]) + total(H[t, b, j] * N[t, b], b))]),
            let(O[t], total(A[j, t], j)),
        ],
        [O, A, N],
    ),
    Spec(  # integers of each draw stay integers
        "lengths",
        [U[t, j], lengths[b]],
        [let(O[b, t], total(U[t, j] * lengths[b], j) + lengths[b] ** 2)],
        [O],
    ),
]  # fmt: skip


@pytest.mark.parametrize("spec", RECURRENCES, ids=lambda spec: spec.name)
def test_corners_of_loops_stack(spec: Spec) -> None:
    check_stack(spec)
    check_stack(gradient(spec))


@pytest.mark.parametrize("title", [CAUSAL, *TITLES[-4:], "coupled", "chained"])
def test_printed_source_of_a_stack_is_each_draw(title: str) -> None:
    spec = gradient({**MEMBERS, **TRIALS}[title])
    cases = some(spec)
    arrays = {
        name: array.astype(DTYPE) if array.dtype.kind == "f" else array
        for name, array in together(spec, cases).items()
    }
    made = stack(spec, dtype=DTYPE)
    check_each(spec, made(arrays, cases[0].sizes, cases[0].parameters), cases, UNIT / 64)


def test_an_axis_called_draws_is_another() -> None:
    draws = axes("draws")[0]["d"]
    spec = Spec("named", [X[draws]], [let(Y[draws], X[draws] ** 2)], [Y])
    assert stacked(lower(spec)).axes == ("draws", "draws_")


def test_draws_are_disturbed_apart_and_the_first_are_not() -> None:
    spec = load("causal")
    recipe, cases = stacked(lower(spec)), some(spec)
    found = disturbed(recipe, together(spec, cases), cases)
    assert found["O"].shape[:2] == (1 + RUNS, len(cases))
    check_each(spec, {name: value[0] for name, value in found.items()}, cases, UNIT / 64)
    moved = np.abs(found["O"][1:] - found["O"][0]).astype(float)
    largest = moved.reshape(RUNS, len(cases), -1).max(axis=-1)
    assert (largest > UNIT / 64).all()
    assert len(np.unique(largest)) == RUNS * len(cases)


def test_draws_in_another_order_are_noticed() -> None:
    spec = RECURRENCES[1]
    recipe, cases = stacked(lower(spec)), some(spec)
    sizes = {**cases[0].sizes, recipe.axes[-1]: len(cases)}
    found = run(recipe, together(spec, cases[::-1]), sizes, {}, DTYPE)
    with pytest.raises(AssertionError):
        check_each(spec, found, cases, UNIT / 64)


def test_work_and_steps_count_a_loop_once_for_every_step() -> None:
    recipe: Recipe = stacked(lower(RECURRENCES[0]))
    few, many = {"rows": 2, "time": 2}, {"rows": 2, "time": 7}
    assert steps(recipe, many) > steps(recipe, few)
    assert work(recipe, many) > work(recipe, few)
