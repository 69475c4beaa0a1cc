"""Statements about paths, orders and Table 1: proved where true, refuted where false."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import sympy

from attnverify.algebra.terms import size_symbol
from attnverify.errors import AttnverifyError
from attnverify.flow import statements, table
from attnverify.flow.graph import dependence
from attnverify.flow.length import maximum_path_length, sequential_operations
from attnverify.flow.orders import Region, leading, never_negative, same_order
from attnverify.flow.statements import grows_as, longest_path, reachable_in_one, steps_apart
from attnverify.flow.ways import one_hop
from attnverify.library import load
from attnverify.verdict import Status
from tests.members import MEMBERS, TITLES

N, D, K, R = (sympy.Symbol(name, integer=True, positive=True) for name in "ndkr")
PROVED, HELD, REFUTED, UNDECIDED = Status

ONE_STEP: list[tuple[str, dict[str, Any], Status]] = [
    ("global", {}, PROVED),
    ("multi_head", {}, PROVED),
    ("encoder_block", {}, PROVED),
    ("relu", {}, PROVED),
    ("cross", {}, PROVED),
    ("causal", {}, REFUTED),
    ("causal", {"align": "bottom_right"}, REFUTED),
    ("sliding_window", {}, REFUTED),
    ("kv_cache", {}, REFUTED),
    ("decoder_block", {}, REFUTED),
    ("elman", {}, REFUTED),
    ("lstm", {}, REFUTED),
    ("convolution", {}, REFUTED),
    ("axial_2d", {}, REFUTED),
    ("linformer", {}, REFUTED),
    ("induced_set", {}, REFUTED),
    ("padding", {}, UNDECIDED),
    ("masked", {}, UNDECIDED),
]


@pytest.mark.parametrize(("name", "values", "status"), ONE_STEP)
def test_every_position_in_one_step(name: str, values: dict[str, Any], status: Status) -> None:
    found = reachable_in_one(name, **values)
    assert found.status is status, found
    assert (found.witness is not None) == (status is REFUTED)
    assert bool(found.certificate) == (status is PROVED)


STEPS: list[tuple[str, dict[str, Any], Status]] = [
    ("elman", {}, PROVED),
    ("lstm", {}, PROVED),
    ("gru", {"reset": "after"}, PROVED),
    ("linear_rnn", {}, PROVED),
    ("retention", {"form": "recurrent"}, PROVED),
    ("rwkv4", {"form": "recurrent"}, HELD),
    ("retention", {}, REFUTED),
    ("global", {}, REFUTED),
    ("causal", {}, REFUTED),
    ("convolution", {}, REFUTED),
    ("seq2seq", {}, REFUTED),
    ("padding", {}, UNDECIDED),
]


@pytest.mark.parametrize(("name", "values", "status"), STEPS)
def test_a_recurrence_needs_the_steps_between(
    name: str, values: dict[str, Any], status: Status
) -> None:
    found = steps_apart(name, **values)
    assert found.status is status, found


n_q, n_t, taps, window = (
    size_symbol("queries"), size_symbol("time"), size_symbol("taps"),
    sympy.Symbol("window", integer=True, positive=True),
)  # fmt: skip
LONGEST: list[tuple[str, dict[str, Any], sympy.Expr, Status]] = [
    ("global", {}, sympy.Integer(1), PROVED),
    ("causal", {}, sympy.Integer(1), PROVED),
    ("elman", {}, n_t - 1, PROVED),
    ("elman", {}, n_t, REFUTED),
    ("sliding_window", {}, sympy.ceiling((n_q - 1) / (window - 1)), PROVED),
    ("sliding_window", {}, sympy.ceiling(n_q / window), REFUTED),
    ("sliding_window", {"window": 4}, sympy.ceiling((n_q - 1) / 3), PROVED),
    ("convolution", {"dilation": 1}, sympy.ceiling((n_t - 1) / (taps - 1)), PROVED),
    ("convolution", {"dilation": 1}, sympy.ceiling((n_t - 1) / taps), REFUTED),
    ("linformer", {}, sympy.Integer(2), HELD),
    ("linformer", {}, sympy.Integer(1), REFUTED),
    ("blocked", {}, sympy.Integer(1), HELD),
]


@pytest.mark.parametrize(("name", "values", "claimed", "status"), LONGEST)
def test_the_longest_path(
    name: str, values: dict[str, Any], claimed: sympy.Expr, status: Status
) -> None:
    found = longest_path(name, claimed, **values)
    assert found.status is status, found
    assert found.status is UNDECIDED or found.cases or found.witness


def test_a_proof_that_a_graph_refutes_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "sees_all", lambda *_: True)
    assert reachable_in_one("causal").status is UNDECIDED
    monkeypatch.setattr(statements, "steps_alone", lambda _: ("a step",))
    assert steps_apart("global").status is UNDECIDED


# What the form of equations says, against graphs at small sizes


@pytest.mark.parametrize("title", TITLES)
def test_lengths_for_all_sizes_are_those_of_graphs(title: str) -> None:
    spec = MEMBERS[title]
    length, depth = maximum_path_length(spec), sequential_operations(spec)
    for n, value in ((2, 3), (5, 2)):
        values: dict[str, Any] = {
            p.name: 20 if p.name == "max_distance" else 2 * value
            for p in spec.parameters
            if p.integer
        }
        sequences = {"queries", "keys", "time"}
        sizes = spec.fitted({a.name: n if a.name in sequences else 2 for a in spec.axes})
        graph = dependence(spec, sizes, **values)
        table_of = {size_symbol(axis): size for axis, size in graph.sizes.items()}
        table_of |= {p.symbol: values[p.name] for p in spec.parameters if p.integer}
        low, high = depth.low.subs(table_of), depth.high.subs(table_of)
        assert low <= graph.sequential_operations() <= high
        if length is not None:
            assert length.value.subs(table_of) == graph.maximum_path_length()


@pytest.mark.parametrize("name", ["axial_2d", "seq2seq", "induced_set", "elman"])
def test_what_has_no_single_hop_to_tell(name: str) -> None:
    assert one_hop(load(name)) is None


# Orders


def test_orders_and_their_constants() -> None:
    region = Region(((R, 1), (N, R), (D, 1)))
    found = same_order(2 * R * N * D - (R**2 - 1) * D / 2, R * N * D, region)
    assert found is not None
    assert str(found) == "3/2 to 2 times, for all r >= 1, n >= r, d >= 1"
    assert same_order(N**2 * D, R * N * D, region) is None
    assert same_order(R * N * D, N**2 * D, region) is None


@pytest.mark.parametrize(
    ("expr", "holds"),
    [(N - 1, True), (N - 2, False), (N**2 - N, True), (1 / N - 1, False), (1 / (N - 1), False),
     (sympy.Max(N, 2), False), (sympy.Integer(0), True), (sympy.Integer(-1), False)],
)  # fmt: skip
def test_never_negative(expr: sympy.Expr, holds: bool) -> None:
    assert never_negative(expr, Region(((N, 1),))) is holds


def test_leading_terms() -> None:
    assert leading(3 * N**2 * D + 7 * N * D**2 + N * D + 5) == 3 * N**2 * D + 7 * N * D**2
    assert leading(sympy.Integer(4)) == 4


GROWTH = [
    (2 * N**2 * D, N**2 * D, PROVED),
    (2 * N**2 * D, N * D**2, REFUTED),
    (2 * N**2 * D, N * D, REFUTED),
    (N * D, N**2 * D, REFUTED),
    (100 * N * D, N * D, UNDECIDED),
    (sympy.ceiling(N / D), N / D, UNDECIDED),
    (sympy.ceiling(N**2 / D), N, REFUTED),
    (N - sympy.ceiling(N / 2), N, UNDECIDED),
    (sympy.Max(N, D), N, UNDECIDED),
]


@pytest.mark.parametrize(("count", "order", "status"), GROWTH)
def test_how_a_count_grows(count: sympy.Expr, order: sympy.Expr, status: Status) -> None:
    region = Region(((N, 1), (D, 1)))
    assert grows_as("it", count, order, region).status is status


# Table 1 of Vaswani et al. 2017: layer, complexity, sequential operations, maximum path length.
# Contiguous and dilated kernels are the two cases of section 4.
PAPER = {
    "self-attention": (N**2 * D, 1, 1),
    "recurrent": (N * D**2, N, N),
    "convolution, contiguous": (K * N * D**2, 1, N / K),
    "convolution, dilated": (K * N * D**2, 1, sympy.Symbol("log_k(n)", positive=True)),
    "self-attention, restricted": (R * N * D, 1, N / R),
}
DERIVED = {
    "self-attention": ("2*d*n**2", "1 to 3", "1"),
    "recurrent": ("2*d**2*n", "n", "n - 1"),
    "convolution, contiguous": ("d**2*k*n", "1", "ceiling((n - 1)/(k - 1))"),
    "convolution, dilated": ("d**2*k*n", "1", "ceiling(log_k(n))"),
    "self-attention, restricted": (
        "2*d*n*r - d*r**2/2 + d/2", "1 to 3", "ceiling((n - 1)/(r/2 - 1/2))",
    ),
}  # fmt: skip
CELLS = [(layer, column) for layer in PAPER for column in range(3)]


@pytest.mark.parametrize(("layer", "column"), CELLS)
def test_table_1_cell_by_cell(layer: str, column: int) -> None:
    (row,) = [row for row in table.table() if row.layer == layer]
    cell = list(row.cells.values())[column]
    assert cell.paper == PAPER[layer][column]
    assert str(cell) == DERIVED[layer][column]
    assert cell.agrees


def test_table_1_as_verdicts() -> None:
    found = table.verdicts()
    assert len(found) == 15
    held = [verdict.name for verdict in found if verdict.status is HELD]
    assert held == ["Table 1: convolution, dilated, maximum path length is O(log_k(n))"]
    assert all(verdict.status in (PROVED, HELD) for verdict in found)
    assert table.text().count("derived") == 15


def test_a_wrong_cell_is_refuted() -> None:
    row = table.table()[0]
    wrong = replace(row, complexity=replace(row.complexity, paper=N * D))
    first, *rest = table.verdicts([wrong])
    assert first.status is REFUTED
    assert all(verdict.status is PROVED for verdict in rest)


@pytest.mark.parametrize(("n", "k", "layers"), [(2, 2, 1), (5, 2, 3), (9, 3, 2), (10, 3, 3)])
def test_layers_of_dilated_convolutions(n: int, k: int, layers: int) -> None:
    assert table.layers(n, k) == layers


def test_a_parameter_that_is_not_there() -> None:
    with pytest.raises(AttnverifyError):
        reachable_in_one("global", window=2)
