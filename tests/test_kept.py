"""Tables kept between exact evaluations: reused where all is the same, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from attnverify import load
from attnverify.exact import Kept, evaluate
from attnverify.exact import kept as module
from attnverify.invariants import applicable, roles
from attnverify.notation import Spec, axes, eq, let, parameter, tensors, total, where
from attnverify.provers.sampled import confirm, trial
from attnverify.verify import exact_cases
from tests.members import MEMBERS

queries, keys = axes("queries keys")
i, j = queries["i"], keys["j"]
X, Y, Z, W = tensors("X Y Z W")
LIMIT = parameter("limit", integer=True, ge=0)
SHARED = let(Y[i], total(where(X[i, j] > LIMIT, X[i, j]), over=j))
ONE = Spec("one", [X[i, j]], [SHARED, let(Z[i], 2 * Y[i])], [Z], parameters=[LIMIT])
OTHER = Spec("other", [X[i, j]], [SHARED, let(W[i], 3 * Y[i])], [W], parameters=[LIMIT])
VALUES = [[1.0, 2.0], [3.0, 4.0]]


class Counting:
    """How often an equation was computed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        real = module.run

        def counted(*given: Any) -> None:
            self.count += 1
            real(*given)

        monkeypatch.setattr(module, "run", counted)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    return Counting(monkeypatch)


def test_an_equation_that_two_specs_hold_is_computed_once(counting: Counting) -> None:
    kept = Kept()
    first = evaluate(ONE, {"X": VALUES}, {"limit": 1}, kept=kept)
    assert counting.count == 2
    second = evaluate(OTHER, {"X": VALUES}, {"limit": 1}, kept=kept)
    assert counting.count == 3
    assert [*map(float, first["Z"])] == [4, 14]
    assert [*map(float, second["W"])] == [6, 21]


@pytest.mark.parametrize("change", [
    {"arrays": {"X": [[1.0, 2.0], [3.0, 5.0]]}},
    {"arrays": {"X": [[1.0, 2.0, 0.0], [3.0, 4.0, 0.0]]}},
    {"arrays": {"X": [[1, 2], [3, 4]]}},
    {"parameters": {"limit": 2}},
    {"precision": 51},
    {"rational": True},
])  # fmt: skip
def test_whatever_values_depend_on_is_told_apart(
    counting: Counting, change: dict[str, Any]
) -> None:
    kept = Kept()
    usual: dict[str, Any] = {"arrays": {"X": VALUES}, "parameters": {"limit": 1}}
    evaluate(ONE, **usual, kept=kept)
    again = evaluate(ONE, **{**usual, **change}, kept=kept)
    assert counting.count == 4
    assert [*again["Z"]] == [*evaluate(ONE, **{**usual, **change})["Z"]]


def test_signed_zeros_and_objects_are_told_apart(counting: Counting) -> None:
    kept = Kept()
    for value in (0.0, -0.0, Fraction(1, 3), np.longdouble(0)):
        evaluate(ONE, {"X": np.array([[value]], dtype=object)}, {"limit": 1}, kept=kept)
    assert counting.count == 8


def test_an_equation_of_the_same_name_and_another_body_is_another(counting: Counting) -> None:
    kept = Kept()
    changed = replace(SHARED, body=total(X[i, j] * eq(j, 0), over=j))
    other = Spec("changed", [X[i, j]], [changed, let(Z[i], 2 * Y[i])], [Z])
    evaluate(ONE, {"X": VALUES}, {"limit": 1}, kept=kept)
    assert [*map(float, evaluate(other, {"X": VALUES}, kept=kept)["Z"])] == [2, 6]
    assert counting.count == 4


def test_a_recurrence_is_kept_as_a_whole(counting: Counting) -> None:
    spec, kept = load("gru"), Kept()
    rng = np.random.default_rng(0)
    sizes = {axis.name: 2 for axis in spec.axes}
    given = {
        entry.tensor.name: rng.normal(size=[sizes[place.axis.name] for place in entry.indices])
        for entry in spec.inputs
    }
    first, again = (evaluate(spec, given, sizes=sizes, kept=kept) for _ in range(2))
    assert counting.count == len(spec.equations)
    for name, array in evaluate(spec, given, sizes=sizes).items():
        assert first[name].tolist() == again[name].tolist() == array.tolist()


@pytest.mark.parametrize("title", ["causal", "retention", "sinks"])
def test_statements_that_share_tables_say_what_they_say_alone(title: str) -> None:
    spec = next(MEMBERS[name] for name in MEMBERS if name.startswith(title))
    asked = [invariant for invariant, reason in applicable(spec) if not reason]
    kept = Kept()
    for statement in (s for invariant in asked for s in invariant.statements(roles(spec))):
        for case in exact_cases(statement):
            assert confirm(trial(statement), case, kept) == confirm(trial(statement), case)
