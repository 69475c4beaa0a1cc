"""Plans of draws: how many, of which sizes, with which parameters and integers."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from attnverify import load
from attnverify.algebra.parameters import checked
from attnverify.algebra.terms import Axis, Parameter
from attnverify.notation import Spec, axes, eq, integers, let, tensors, total, where
from attnverify.provers.draws import (
    LARGEST,
    STYLES,
    TIES,
    Case,
    Drawer,
    Group,
    Meaning,
    draw,
    fitting,
    plain_values,
    plan,
    whole_sizes,
)
from attnverify.provers.shrink import shrunk
from attnverify.spec import Spec as Plain

batch, queries, keys, pages = axes("batch queries keys pages")
b, i, j, p = batch["b"], queries["i"], keys["j"], pages["p"]
X, Y = tensors("X Y")
lengths, table, ids, other = integers("lengths table ids other")

SPEC = Spec(
    "integers",
    [X[b, j], lengths[b], table[b, p], ids[b, i], other[b, j]],
    [
        let(
            Y[b, i],
            total(X[b, j] * where((j < lengths[b]) & eq(ids[b, i], other[b, j])), j)
            + total(X[b, j] * where(eq(table[b, p], j)), [j, p]),
        )
    ],
    [Y],
)


def test_a_plan_has_the_draws_asked_for_of_many_sizes() -> None:
    groups = plan([load("causal")], 200, smooth=True)
    assert sum(len(group.draws) for group in groups) == 200
    assert len({tuple(group.sizes.items()) for group in groups}) >= 20
    assert set(groups[0].sizes.values()) == {1}
    assert {style for group in groups for style, _ in group.draws} == set(STYLES)
    seeds = [seed for group in groups for _, seed in group.draws]
    assert len(set(seeds)) > 190


def test_ties_are_drawn_besides_where_they_are_no_place_for_a_gradient() -> None:
    groups = plan([load("linear")], 100)
    styles = [style for group in groups for style, _ in group.draws]
    assert sum(style not in TIES for style in styles) == 100
    assert sum(style in TIES for style in styles) == 20


@pytest.mark.parametrize("examples", [1, 2, 7, 9, 50])
def test_few_draws_are_of_different_sizes(examples: int) -> None:
    groups = plan([load("causal")], examples, smooth=True)
    assert sum(len(group.draws) for group in groups) == examples
    assert all(group.draws for group in groups)


def test_a_plan_follows_from_its_seed() -> None:
    spec = load("sliding_window")
    assert plan([spec], 40, 3) == plan([spec], 40, 3)
    assert plan([spec], 40, 3) != plan([spec], 40, 4)


def test_sizes_that_have_no_room_are_brought_down() -> None:
    groups = plan([load("causal")], 80, room=lambda sizes: sum(sizes.values()) <= 8)
    assert max(sum(group.sizes.values()) for group in groups) == 8
    assert fitting([Axis("keys")], {"keys": 4}, lambda _: False) == {"keys": 1}


def test_sizes_that_follow_from_others_follow() -> None:
    made = (Axis("side", fixed=2), Axis("whole", addends=(Axis("past"), Axis("new"))))
    found = whole_sizes([*made, Axis("past"), Axis("new")], {"side": 5, "past": 3, "new": 2})
    assert found == {"side": 2, "whole": 5, "past": 3, "new": 2}


PARAMETERS = [
    Parameter("n", integer=True, ge=Fraction(1)),
    Parameter("n", integer=True, gt=Fraction(-1, 2), le=Fraction(3)),
    Parameter("n", integer=True, lt=Fraction(0)),
    Parameter("n", integer=True),
    Parameter("x", gt=Fraction(0), lt=Fraction(1)),
    Parameter("x", ge=Fraction(0), lt=Fraction(1)),
    Parameter("x", le=Fraction(-2)),
    Parameter("x"),
]


@pytest.mark.parametrize("parameter", PARAMETERS, ids=str)
def test_values_lie_in_a_parameters_domain(parameter: Parameter) -> None:
    found = plain_values(parameter)
    assert 3 <= len(found) <= 2 * LARGEST + 1
    for value in found:
        checked(parameter, value, "")


@pytest.mark.parametrize(("name", "due"), [
    ("lengths", Meaning("keys")),
    ("table", Meaning("keys", position=True)),
    ("ids", Meaning(None, position=True)),
    ("X", Meaning()),
])  # fmt: skip
def test_what_integers_stand_for_is_read_from_the_spec(name: str, due: Meaning) -> None:
    assert Drawer(SPEC).meaning(name) == due


def test_integers_lie_where_the_spec_looks_and_a_few_beyond() -> None:
    sizes = {"batch": 3, "queries": 5, "keys": 4, "pages": 5}
    drawn = [draw(SPEC, Case(sizes, {}, "normal", seed)) for seed in range(60)]
    found = {
        name: np.concatenate([d[name].ravel() for d in drawn]) for name in ("lengths", "table")
    }
    assert set(found["lengths"]) == {0, 1, 2, 3, 4, 5}
    assert set(found["table"]) == {-1, 0, 1, 2, 3, 4}
    assert np.mean((found["table"] >= 0) & (found["table"] < 4)) > 0.8
    assert all((np.diff(d["ids"], axis=-1) >= 0).all() for d in drawn)


def test_an_array_follows_from_its_name_its_shape_and_the_case() -> None:
    wide = Spec("wide", [X[b, j], Y[b, i]], [let(tensors("Z")[0][b], total(X[b, j], j))], ["Z"])
    case = Case({"batch": 2, "keys": 3, "queries": 2, "pages": 1}, {}, "normal", 5)
    assert np.array_equal(draw(SPEC, case)["X"], draw(wide, case)["X"])


def test_shrinking_ends_at_the_least_sizes_and_plainest_values() -> None:
    spec: Plain = load("sliding_window")
    sizes = {axis.name: 5 for axis in spec.axes}
    start = Case(sizes, {"window": 7}, "peaked", 91)

    def fails(group: Group) -> tuple[Case, str] | None:
        for case in group.cases(spec):
            long = case.sizes["keys"] >= 3 and case.sizes["keys"] > case.sizes["queries"]
            if long and case.parameters["window"] >= 2 and case.style != "small integers":
                return case, "found"
        return None

    case, found = shrunk(spec, start, "as it was", fails)
    assert found == "found"
    assert case.sizes == {**dict.fromkeys(sizes, 1), "keys": 3}
    assert (case.parameters, case.style, case.seed) == ({"window": 2}, "normal", 0)


def test_what_fails_nowhere_else_stays_as_it_was() -> None:
    spec = load("global")
    start = Case({axis.name: 3 for axis in spec.axes}, {}, "normal", 4)
    assert shrunk(spec, start, "as it was", lambda _: None) == (start, "as it was")
