"""The dependence graph against what changing an input changes, and path lengths by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import networkx as nx
import numpy as np
import pytest

from attnverify.algebra.terms import Entry
from attnverify.compile import compile  # noqa: A004  the fixed public name
from attnverify.errors import AttnverifyError, ParameterError, ShapeError
from attnverify.flow.graph import Dependence, Node, dependence
from attnverify.flow.reach import Reach
from attnverify.inputs.draw import Draw
from attnverify.library import load
from attnverify.spec import Spec
from tests.members import CAUSAL, GLOBAL, MEMBERS, TITLES

# Axes of which two positions show all there is: the others have three, sequences four.
TWO = {
    "batch", "heads", "rows", "columns", "tile_rows", "row_offsets", "tile_columns",
    "column_offsets", "tile", "offset", "rank", "place", "page", "slot", "block", "part", "chunk",
}  # fmt: skip
Pair = tuple[Node, Node]


def extent(spec: Spec) -> dict[str, int]:
    sizes = {
        axis.name: 2 if axis.name in TWO else 4 if axis.name in ("queries", "time") else 3
        for axis in spec.axes
    }
    return spec.fitted(sizes)


def spots(graph: Dependence, head: Entry) -> list[int]:
    """The array places of a tensor whose positions the graph tells apart."""
    places = [place if isinstance(place, tuple) else (place,) for place in head.places]
    return [n for n, p in enumerate(places) if any(i.axis.name in graph.along for i in p)]


def moved(spec: Spec, graph: Dependence, case: Any) -> Iterator[Pair]:
    """Each input node and each output node that changes with it."""
    rng = np.random.default_rng(0)
    oracle = compile(spec)

    def run(arrays: Mapping[str, Any]) -> dict[str, Any]:
        return oracle(**arrays, **case.parameters, sizes=case.sizes)

    usual = run(case.arrays)
    for entry in spec.inputs:
        name, where = entry.tensor.name, spots(graph, entry)
        if entry.tensor.kind != "real" or not where:
            continue
        for at in np.ndindex(*(case.arrays[name].shape[n] for n in where)):
            array = case.arrays[name].copy()
            chosen = tuple(
                at[where.index(n)] if n in where else slice(None) for n in range(array.ndim)
            )
            array[chosen] += rng.normal(size=array[chosen].shape)
            new = run({**case.arrays, name: array})
            for out in spec.outputs:
                same = (new[out] == usual[out]) | (np.isnan(new[out]) & np.isnan(usual[out]))
                kept = spots(graph, spec.heads[out])
                gone = tuple(n for n in range(same.ndim) if n not in kept)
                for place in np.argwhere(~same.all(axis=gone)).tolist():
                    yield (name, at), (out, tuple(place))


def drawn(spec: Spec) -> tuple[Dependence, Any]:
    """A graph, and a case of its sizes and parameters."""
    values: dict[str, Any] = {
        p.name: 20 if p.name == "max_distance" else 2 for p in spec.parameters if p.integer
    }
    case = Draw(spec).case(extent(spec), seed=3, parameters=values)
    return dependence(spec, case.sizes, **values), case


def missed(graph: Dependence, pairs: set[Pair]) -> set[Pair]:
    """Pairs of which the second changes with the first, and the graph has no path."""
    below = {node: nx.descendants(graph.graph, node) for node in {first for first, _ in pairs}}
    return {(first, second) for first, second in pairs if second not in below[first]}


@pytest.mark.parametrize("title", TITLES)
def test_what_changes_is_reached(title: str) -> None:
    spec = MEMBERS[title]
    graph, case = drawn(spec)
    pairs = set(moved(spec, graph, case))
    assert pairs, "nothing changed"
    assert missed(graph, pairs) == set()


def test_a_graph_of_another_mask_misses_what_changes() -> None:
    spec = MEMBERS[GLOBAL]
    graph, case = drawn(spec)
    other = dependence(MEMBERS[CAUSAL], case.sizes)
    assert missed(other, set(moved(spec, graph, case)))


# Every pair that the graph connects changes in these: no weight, slope or gate is 0 by its value.
TIGHT = [
    GLOBAL, CAUSAL, "sliding_window (align=top_left, counts=left)", "local (align=bottom_right)",
    "blocked", "dilated (causal=True)", "strided (pattern=fixed, part=both)",
    "elman (activation=tanh)", "lstm (forget=True)", "gru (reset=after)", "linear_rnn",
    "convolution (align=causal)", "convolution (align=centred)", "encoder_block (norm=pre)",
    "decoder_block (norm=post)", "kv_cache", "seq2seq (source=reversed)", "seq2seq_attention",
    "delta_rule (form=recurrent)", "retention (form=chunkwise, decay=multi_scale)",
    "axial_2d (order=rows_columns)", "shifted_window_2d", "neighbourhood_2d (relative=False)",
    "transformer_xl", "rwkv4 (form=recurrent)", "online_softmax (ordered=True)", "ring",
]  # fmt: skip


@pytest.mark.parametrize("title", TIGHT)
def test_what_is_reached_changes(title: str) -> None:
    spec = MEMBERS[title]
    graph, case = drawn(spec)
    sources, targets = graph.sources(), graph.targets()
    # A query that sees one key has the weight 1 whatever it is: positions count, not tensors.
    found = {(first[1], second[1]) for first, second in moved(spec, graph, case)}
    for source in sources:
        reached = nx.descendants(graph.graph, source)
        for target in targets:
            if target in reached and source[0] not in ("Q", "K"):
                assert (source[1], target[1]) in found, (source, target)


SQUARE = {"queries": 9, "keys": 9}
TAPS = {"time": 9, "taps": 3}
# Spec, sizes, parameters; the largest path length, the layers that connect, and the fields of 1, 2
# and 3 layers.
LENGTHS: list[tuple[str, dict[str, int], dict[str, Any], tuple[int, int, list[int]]]] = [
    ("global", SQUARE, {}, (1, 1, [9, 9, 9])),
    ("causal", SQUARE, {}, (1, 1, [9, 9, 9])),
    ("sliding_window", SQUARE, {"window": 3}, (4, 4, [3, 5, 7])),
    ("sliding_window", SQUARE, {"window": 1}, (1, 1, [1, 1, 1])),
    ("local", SQUARE, {"left": 2, "right": 1}, (8, 8, [4, 7, 9])),
    ("blocked", SQUARE, {"block": 4}, (1, 1, [4, 4, 4])),
    ("dilated", SQUARE, {"window": 3, "step": 2}, (2, 2, [3, 5, 5])),
    ("elman", {"time": 9}, {}, (8, 1, [9, 9, 9])),
    ("lstm", {"time": 9}, {}, (8, 1, [9, 9, 9])),
    ("convolution", TAPS, {"dilation": 1}, (4, 4, [3, 5, 7])),
    ("convolution", TAPS, {"dilation": 2}, (2, 2, [3, 5, 5])),
    ("encoder_block", {"time": 9}, {}, (1, 1, [9, 9, 9])),
    ("axial_2d", {"rows": 3, "columns": 3}, {}, (2, 1, [9, 9, 9])),
]


@pytest.mark.parametrize(("name", "sizes", "values", "due"), LENGTHS)
def test_path_lengths(
    name: str, sizes: dict[str, int], values: dict[str, Any], due: tuple[int, int, list[int]]
) -> None:
    found = dependence(name, sizes, **values)
    fields = [found.receptive_field(count) for count in (1, 2, 3)]
    assert (found.maximum_path_length(), found.layers_to_connect(), fields) == due


@pytest.mark.parametrize("name", ["elman", "lstm", "gru", "linear_rnn"])
def test_a_recurrence_takes_the_steps_between(name: str) -> None:
    found = dependence(name, {"time": 6})
    for s in range(6):
        for t in range(6):
            assert found.path_length(s, t) == (t - s if t >= s else None)
            assert found.reaches(s, t) == (t >= s)


def test_attention_is_near_where_the_chain_of_states_is_far() -> None:
    sizes = {"keys": 7, "time": 5}
    chain = dependence("seq2seq", sizes, inputs=["X"])
    near = dependence("seq2seq_attention", sizes, inputs=["X"])
    assert chain.path_length(0, 4) == 6 + 1 + 4
    assert near.path_length(0, 4) == 1


# Spec, sizes, source, target, paths: by hand.
PATHS = [
    ("elman", {"time": 5}, 1, 4, 1),
    ("global", {"queries": 3, "keys": 3}, ("V", (1,)), ("O", (2,)), 1),
    ("global", {"queries": 3, "keys": 3}, ("K", (1,)), ("O", (2,)), 3),
    ("global", {"queries": 3, "keys": 3}, ("Q", (2,)), ("O", (2,)), 9),
    ("causal", {"queries": 3, "keys": 3}, ("K", (1,)), ("O", (1,)), 2),
    ("causal", {"queries": 3, "keys": 3}, ("K", (1,)), ("O", (0,)), 0),
]


@pytest.mark.parametrize(("name", "sizes", "source", "target", "count"), PATHS)
def test_paths_are_counted(
    name: str, sizes: dict[str, int], source: Any, target: Any, count: int
) -> None:
    assert dependence(name, sizes).paths(source, target) == count


@pytest.mark.parametrize(
    ("name", "axis", "work"),
    [("elman", "time", lambda n: n), ("linear_rnn", "time", lambda n: n + 1),
     ("lstm", "time", lambda n: 3 * n), ("gru", "time", lambda n: 3 * n),
     ("encoder_block", "time", lambda _: 11), ("convolution", "time", lambda _: 1)],
)  # fmt: skip
def test_sequential_operations(name: str, axis: str, work: Any) -> None:
    taps, values = ({"taps": 2}, {"dilation": 1}) if name == "convolution" else ({}, {})
    given: dict[str, Any] = dict(values)
    for n in (3, 4, 7):
        found = dependence(name, {axis: n, **taps}, **given)
        assert found.sequential_operations() == work(n)


def test_a_hidden_key_gives_no_edge() -> None:
    graph = dependence("causal", {"queries": 3, "keys": 3}).graph
    assert ("V", (2,)) not in graph.pred["O", (1,)]
    assert ("S", (1, 2)) not in graph.pred["A", (1, 1)]
    assert graph.edges[("V", (1,)), ("O", (1,))] == {"hop": 1, "mask": False}


def test_what_a_mask_reads_is_told() -> None:
    found = dependence("padding", {"queries": 2, "keys": 2})
    assert found.graph.edges[("lengths", ()), ("A", (0, 1))]["mask"]
    assert found.undecided == ("j < lengths[b]",)


def test_layers_of_different_reach() -> None:
    sizes = {"time": 9, "taps": 3}
    near, far = (dependence("convolution", sizes, dilation=d).layer for d in (1, 3))
    both = near.then(far)
    assert both.longest() == 2
    assert np.isfinite(both.hops[8]).all()
    assert not np.isfinite(near.times(2).hops[8]).all()


REFUSED: list[tuple[type[AttnverifyError], str, dict[str, int], dict[str, Any]]] = [
    (ShapeError, "global", {"queries": 2}, {}),
    (ShapeError, "global", {"queries": 2, "keys": 2, "time": 2}, {}),
    (ShapeError, "global", {"queries": 2, "keys": -1}, {}),
    (ShapeError, "global", {"queries": 2, "keys": True}, {}),
    (ParameterError, "sliding_window", {"queries": 2, "keys": 2}, {}),
    (ParameterError, "sliding_window", {"queries": 2, "keys": 2}, {"window": 0}),
    (ParameterError, "global", {"queries": 2, "keys": 2}, {"along": ["time"]}),
    (ParameterError, "global", {"queries": 2, "keys": 2}, {"inputs": ["X"]}),
    (ParameterError, "global", {"queries": 9999, "keys": 9999}, {}),
]


@pytest.mark.parametrize(("error", "name", "sizes", "values"), REFUSED)
def test_what_is_refused(
    error: type[AttnverifyError], name: str, sizes: dict[str, int], values: dict[str, Any]
) -> None:
    with pytest.raises(error):
        dependence(name, sizes, **values)


@pytest.mark.parametrize("at", [5, (0, 0), ("V", (7,)), ("H", (0,))])
def test_a_position_that_is_not_there(at: Any) -> None:
    found = dependence("global", {"queries": 2, "keys": 2})
    with pytest.raises(ParameterError, match="nothing stands"):
        found.paths(at, 0)
    with pytest.raises(ParameterError, match="nothing stands"):
        found.path_length(at, 0)
    with pytest.raises(ParameterError, match="nothing stands"):
        found.path_length(0, at)


def test_layers_that_do_not_fit() -> None:
    wide = dependence("global", {"queries": 3, "keys": 4}).layer
    with pytest.raises(ParameterError, match="does not read"):
        wide.then(wide)
    with pytest.raises(ParameterError, match="has layers"):
        wide.times(0)
    assert isinstance(wide, Reach)
    assert not wide.stackable


def test_a_product_axis_is_one_position() -> None:
    ring = load("ring")
    found = dependence(ring, {"rank": 2, "place": 2, "offset": 2})
    assert found.layer.sources == ((0,), (1,), (2,), (3,))
    assert found.reaches(("K", (3,)), ("O", (0,)))
