"""Spec, Equation and Recurrence: frozen data with a graph, a text and a LaTeX form."""

from __future__ import annotations

import pickle
from types import MappingProxyType

import networkx as nx
import pytest

from attnverify.algebra.terms import Axis
from attnverify.equations import Equation, Recurrence, equations_of, place_axis, reads
from attnverify.errors import SpecError
from attnverify.library import load
from attnverify.notation import axes, let, previous, recur, tensors, total, where
from attnverify.spec import Spec
from tests.members import MEMBERS, TITLES

keys, time, group, repeat = axes("keys time group repeat")
j, t, g, r = keys["j"], time["t"], group["g"], repeat["r"]
X, Y, Z, H, N = tensors("X Y Z H N")

DEAD_END = Spec(
    "trial",
    inputs=[X[j], N[t]],
    equations=[
        let(Z[j], 2 * X[j]),
        let(Y[j], X[j] ** 2),
        recur(along=t, initial={H: total(X[j], j)}, steps=[let(H[t], previous(H[t]) + N[t])]),
    ],
    outputs=[Y],
    announces={"linearity": "it squares"},
    choices={"power": 2},
)


def test_the_graph_goes_from_each_name_to_what_is_computed_from_it() -> None:
    graph = load("global").graph()
    assert isinstance(graph, nx.DiGraph)
    edges = {("Q", "S"), ("K", "S"), ("S", "A"), ("S", "L"), ("A", "O"), ("V", "O")}
    assert set(graph.edges) == edges
    assert set(DEAD_END.graph().edges) == {("X", "Z"), ("X", "Y"), ("N", "H"), ("X", "H")}


@pytest.mark.parametrize("title", TITLES)
def test_equations_come_in_an_order_of_the_graph(title: str) -> None:
    spec = MEMBERS[title]
    graph = spec.graph()
    order = list(spec.heads)
    # Within a recurrence a step may read what a later one gave a step earlier.
    coupled = [{e.name for e in s.steps} for s in spec.equations if isinstance(s, Recurrence)]
    between = [edge for edge in graph.edges if not any(names >= set(edge) for names in coupled)]
    assert all(order.index(one) < order.index(other) for one, other in between)
    assert set(graph.nodes) == set(spec.heads)


@pytest.mark.parametrize("title", TITLES)
def test_the_catalogue_has_no_dead_equation(title: str) -> None:
    # What may be asked for as an output besides: the log-sum-exp.
    assert set(MEMBERS[title].dead()) <= {"L"}


def test_dead_equations_are_named() -> None:
    assert DEAD_END.dead() == ("Z", "H")


def test_heads_axes_and_equations_are_found_by_name() -> None:
    spec = load("grouped_query")
    assert [str(head) for head in spec.heads.values()][:2] == ["Q[b,g.r,i,k]", "K[b,g,j,k]"]
    assert [axis.name for axis in spec.axes] == [
        "batch", "group", "repeat", "queries", "key_dim", "keys", "value_dim",
    ]  # fmt: skip
    assert spec.equation("O").head == spec.heads["O"]
    assert load("linear_rnn").equation("H").name == "H"
    with pytest.raises(SpecError, match="no equation assigns") as caught:
        spec.equation("P")
    assert caught.value.parts["due"] == "S, A, L, O"


def test_an_axis_that_only_a_size_names_is_an_axis() -> None:
    spec = Spec("trial", [X[j]], [let(Y[j], X[j] * time.size)], [Y])
    assert spec.axes == (keys, time)


def test_text_has_one_line_for_each_equation() -> None:
    lines = load("sliding_window").text().splitlines()
    assert lines[0] == "sliding_window(Q[b,h,i,k], K[b,h,j,k], V[b,h,j,c], window) -> O"
    assert lines[2].strip() == "A[b,h,i,j] = softmax_j(S[b,h,i,j] | j <= i and j >= i - window + 1)"
    assert str(load("causal")) == load("causal").text()
    assert "along t up, before the first step H = H0[b,d]" in load("linear_rnn").text()
    assert "  H[b,t,d] = " in load("linear_rnn").text()


def test_printed_rows_name_what_they_print() -> None:
    rows = load("linear_rnn").printed()
    assert [row["name"] for row in rows] == ["H", "H", "O"]
    assert rows[1]["text"] == "H = H0[b,d] before the first t"
    assert all(set(row) == {"name", "text", "latex"} for row in rows)
    assert [row["latex"] for row in rows] == load("linear_rnn").latex()


def test_expressions_and_predicates_of_a_spec_are_found() -> None:
    assert list(DEAD_END.expressions()) == [
        2 * X[j],
        X[j] ** 2,
        previous(H[t]) + N[t],
        total(X[j], j),
    ]
    found = {str(seen) for seen in load("local", left=1, right=2).predicates()}
    assert found == {"j >= i - 1 and j <= i + 2"}


def test_a_recurrence_knows_its_states() -> None:
    (rec,) = (s for s in DEAD_END.equations if isinstance(s, Recurrence))
    assert rec.states == {"H": total(X[j], j)}
    assert rec.head("H") == H[t]
    assert list(reads(rec)) == ["N", "X"]
    assert [e.name for e in equations_of(rec)] == ["H"]
    down = Recurrence(rec.along, rec.steps, rec.initial, reverse=True)
    assert str(down).startswith("along t down")


def test_a_place_has_an_axis() -> None:
    assert place_axis(j) == keys
    assert place_axis((g, r)) == Axis("group*repeat", (group, repeat))


def test_a_spec_is_frozen_equal_by_content_and_travels() -> None:
    spec = load("causal", align="bottom_right")
    assert pickle.loads(pickle.dumps(spec)) == spec  # noqa: S301  our own bytes
    assert spec == load("causal", align="bottom_right")
    assert spec != load("causal")
    assert len({spec, load("causal"), load("causal", align="bottom_right")}) == 2
    with pytest.raises(AttributeError):
        spec.name = "other"  # type: ignore[misc]  # frozen on purpose
    assert isinstance(spec.announces, MappingProxyType)
    with pytest.raises(TypeError):
        DEAD_END.announces["x"] = "y"  # type: ignore[index]  # frozen on purpose


def test_a_changed_spec_is_checked_again() -> None:
    renamed = DEAD_END.replace(name="other")
    assert (renamed.name, renamed.equations) == ("other", DEAD_END.equations)
    with pytest.raises(SpecError, match="output is not assigned"):
        DEAD_END.replace(outputs=("P",))


def test_an_equation_assigns_an_entry() -> None:
    assert str(let(Y[j], where(j <= 2) * X[j])) == "Y[j] = [j <= 2] X[j]"
    assert let(Y[j], 1) == Equation(Y[j], 1 * (Y[j] ** 0))
    for wrong in (Y, 2 * Y[j], "Y"):
        with pytest.raises(SpecError, match="assigns an entry"):
            let(wrong, X[j])  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(SpecError, match="takes an entry of a state"):
        previous(2 * H[t])  # type: ignore[arg-type]  # wrong on purpose
