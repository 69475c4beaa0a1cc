"""Relabelled specs: axes renamed and identified, inputs and names given by expressions."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from attnverify import load
from attnverify.algebra.predicates import TRUE, Compare
from attnverify.algebra.terms import ZERO, Apply, Entry, Tensor, as_expr, mul
from attnverify.errors import AttnverifyError
from attnverify.exact import evaluate
from attnverify.notation import Spec, axes, let, previous, recur, tensors, total, where
from attnverify.spec import Spec as Plain
from attnverify.transforms.relabel import cut, with_axes, with_nodes, with_values

SELF = {"queries": "time", "keys": "time"}
keys, time = axes("keys time")
j, l, t = keys["j"], keys["l"], time["t"]
X, Y, Z, H, O = tensors("X Y Z H O")


def heads_of(spec: Plain, name: str) -> list[str]:
    return [index.axis.name for index in spec.heads[name].indices]


def test_axes_are_identified_everywhere() -> None:
    spec = with_axes(load("causal", align="bottom_right"), SELF)
    assert heads_of(spec, "S") == ["batch", "heads", "time", "time"]
    # Positions and sizes follow: the alignments of one sequence are the same.
    assert str(spec.equation("A")) == str(with_axes(load("causal"), SELF).equation("A"))
    assert "queries" not in {axis.name for axis in spec.axes}


def test_recurrences_and_their_beginnings_are_relabelled() -> None:
    spec = with_axes(load("linear_rnn"), {"time": "steps", "hidden": "units"})
    assert heads_of(spec, "H") == ["batch", "steps", "units"]
    assert heads_of(spec, "H0") == ["batch", "units"]
    assert {"time", "hidden"}.isdisjoint(axis.name for axis in spec.axes)


def test_a_relabelled_spec_computes_the_same() -> None:
    given = {
        "X": [[[1, 2], [3, -1], [0, 2]]],
        "H0": [[1, -1]],
        "W": [[0, 1], [1, 1]],
        "U": [[1, 0], [2, 1]],
        "C": [[1, 1]],
    }
    plain = evaluate(load("linear_rnn"), given)["O"]
    moved = evaluate(with_axes(load("linear_rnn"), {"time": "steps", "hidden": "units"}), given)
    assert (plain == moved["O"]).all()


def test_a_value_is_read_where_its_input_was() -> None:
    spec = Spec("sum", [X[j], Y[j]], [let(O[j], X[j] * total(X[l] * Y[l], l))], [O])
    other = Entry(Tensor("Z"), (j,))
    given = with_values(spec, {"X": mul(2, other), "Y": as_expr(j)})
    assert [entry.tensor.name for entry in given.inputs] == ["Z"]
    assert evaluate(given, {"Z": [1, 2, 3]})["O"].tolist() == [32, 64, 96]


def test_a_value_may_read_its_own_name_in_another_shape() -> None:
    spec = Spec("row", [X[j]], [let(O[j], X[j] + 1)], [O])
    given = with_values(spec, {"X": total(where(j <= l) * X[l, t], [l, t])})
    assert heads_of(given, "X") == ["keys", "time"]
    assert evaluate(given, {"X": [[1], [2], [4]]})["O"].tolist() == [8, 7, 5]


def test_a_mask_is_given_by_a_predicate() -> None:
    spec = load("masked")
    *_, i, j_masked = spec.heads["mask"].indices
    causal = with_values(spec, {"mask": Compare("<=", as_expr(j_masked), as_expr(i))})
    assert str(causal.equation("A")) == str(load("causal").equation("A"))
    assert str(with_values(spec, {"mask": TRUE}).equation("A")) == str(load("global").equation("A"))


def test_a_mask_inside_a_comparison_is_given_too() -> None:
    mask = load("masked").heads["mask"]
    hidden = total(where(~mask), mask.indices[-1])
    rows = let(Tensor("n")[mask.indices[:-1]], where(hidden > 0))
    spec = Spec("hidden", [mask], [rows], ["n"])
    assert "mask" not in str(with_values(spec, {"mask": TRUE}))


def test_values_reach_steps_and_beginnings_of_recurrences() -> None:
    rows = recur(t, [let(H[t], previous(H[t]) + X[t])], {H: Y[()]})
    spec = Spec("running", [X[t], Y[()]], [rows, let(O[t], H[t])], [O])
    given = with_values(spec, {"X": as_expr(1), "Y": as_expr(5)})
    assert given.inputs == ()
    assert evaluate(given, {}, sizes={"time": 3})["O"].tolist() == [6, 7, 8]
    assert with_nodes(spec, {Y[()]: ZERO}).equations[0].initial == (("H", ZERO),)  # type: ignore[union-attr]  # a recurrence


def test_a_cut_spec_starts_from_a_name() -> None:
    spec = cut(load("causal"), "S")
    assert [entry.tensor.name for entry in spec.inputs] == ["S", "V"]
    assert cut(load("causal"), "A", "V").outputs == ("O",)
    assert [e.tensor.name for e in cut(load("causal"), "S", outputs=("A",)).inputs] == ["S"]


def test_nodes_are_replaced_wherever_they_stand() -> None:
    spec = Spec(
        "exp", [X[j]], [let(O[j], Apply("exp", (X[j],)) / (1 + Apply("exp", (X[j],))))], [O]
    )
    assert str(with_nodes(spec, {Apply("exp", (X[j],)): as_expr(0)}).equation("O")) == "O[j] = 0"


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: with_values(load("global"), {"A": ZERO}), "Q, K, V"),
    (lambda: cut(load("global"), "B"), "S, A"),
    (lambda: with_axes(Spec("two", [X[j], Y[time["j"]]], [let(O[j], X[j])], [O]), {"time": "keys"}),
     "one name"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "words"), REFUSED)
def test_what_does_not_fit_says_why(make: Callable[[], object], words: str) -> None:
    with pytest.raises(AttnverifyError, match=words):
        make()
